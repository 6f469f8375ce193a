/** What every command starts from: the server it talks to, and how it prints. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { askServer } from '../client.ts';
import type { OperationAnswer, OperationInput, OperationName } from '../operations.ts';
import type { Terminal } from './terminal.ts';

/** Read when no --config is given and it exists. */
export const DEFAULT_CONFIG_FILE = '/etc/sealpost/sealpost.toml';

export type GlobalOptions = Readonly<{ config?: string; socket?: string; json?: boolean }>;
export type Session = Readonly<{
  socketFile: string;
  ask<Name extends OperationName>(name: Name, input: OperationInput<Name>): Promise<OperationAnswer<Name>>;
  /** Prints `answer` as one line of JSON with --json, otherwise `text` of it. */
  print<Answer>(answer: Answer, text: (answer: Answer) => string): void;
  terminal: Terminal;
}>;

export async function openSession(command: Command, terminal: Terminal): Promise<Session> {
  const options = command.optsWithGlobals<GlobalOptions>();
  const socketFile = options.socket ?? (await configuredSocket(options.config));
  return {
    socketFile,
    terminal,
    ask: (name, input) => askServer(socketFile, name, input),
    print: (answer, text) => {
      terminal.write(options.json === true ? `${JSON.stringify(answer)}\n` : text(answer));
    },
  };
}

/** The file that --config names, or the usual one if it is there. */
export function configFile(named: string | undefined): string | undefined {
  return named ?? (existsSync(DEFAULT_CONFIG_FILE) ? DEFAULT_CONFIG_FILE : undefined);
}

async function configuredSocket(named: string | undefined): Promise<string> {
  const { loadConfig } = await import('../../config/load.ts'); // only when it is needed: it takes its time
  return loadConfig({ file: configFile(named), env: process.env }).admin.socketFile;
}
