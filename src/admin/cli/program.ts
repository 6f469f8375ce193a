/**
 * The command line. `createProgram` declares every command with its help; each action loads what it needs, so that
 * `sealpost --help` and the admin commands start fast.
 */
import { Command } from 'commander';
import { addAliasCommands, addPasswordCommands } from './aliases.ts';
import { addApplyCommands } from './apply.ts';
import { addBackupCommands } from './backups.ts';
import { addCacheCommands } from './caches.ts';
import { addDoctorCommand, type ExamineOffline } from './doctor.ts';
import { addDomainCommands } from './domains.ts';
import { addGatewayCommands } from './gateways.ts';
import { addExportCommands } from './exports.ts';
import { addGrantCommands } from './grants.ts';
import { addImportCommands } from './imports.ts';
import { addKeyCommands } from './keys.ts';
import { addKeyringCommands } from './keyring.ts';
import { addMailboxCommands } from './mailboxes.ts';
import { addOrganizationCommands } from './organizations.ts';
import { addQueueCommands } from './queue.ts';
import { addReceiptCommands } from './receipts.ts';
import { DEFAULT_CONFIG_FILE } from './session.ts';
import { addStatusCommand } from './status.ts';
import type { Terminal } from './terminal.ts';
import { addTlsCommands } from './tls.ts';

/** What commands do themselves while no server runs; main.ts knows how. */
type OfflineWork = Readonly<{ examine?: ExamineOffline }>;

/** The program with its global options and the admin commands. */
export function createProgram(terminal: Terminal, offline: OfflineWork = {}): Command {
  const program = new Command('sealpost')
    .description('A mail server whose mail is always encrypted at rest.')
    .option('--config <file>', `configuration file (default: ${DEFAULT_CONFIG_FILE}, if it exists)`)
    .option('--socket <file>', 'admin socket of the running server (default: as configured)')
    .option('--json', 'print one line of JSON instead of text')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => {
        terminal.write(text);
      },
      writeErr: (text) => {
        terminal.writeError(text);
      },
    })
    .showHelpAfterError('(add --help for the options and examples)')
    .exitOverride();
  // Subcommands take over the output and exit settings when they are made, so these come after them.
  addOrganizationCommands(program, terminal);
  addDomainCommands(program, terminal);
  addMailboxCommands(program, terminal);
  addImportCommands(program, terminal);
  addExportCommands(program, terminal);
  addAliasCommands(program, terminal);
  addPasswordCommands(program, terminal);
  addKeyCommands(program, terminal);
  addGrantCommands(program, terminal);
  addKeyringCommands(program, terminal);
  addCacheCommands(program, terminal);
  addQueueCommands(program, terminal);
  addReceiptCommands(program, terminal);
  addTlsCommands(program, terminal);
  addGatewayCommands(program, terminal);
  addBackupCommands(program, terminal);
  addDoctorCommand(program, terminal, offline.examine);
  addApplyCommands(program, terminal);
  addStatusCommand(program, terminal);
  return program;
}

/** Runs one command line. Answers the exit code: 0 done, 1 failed, 2 not understood. */
export async function runProgram(program: Command, terminal: Terminal, arguments_: readonly string[]): Promise<number> {
  try {
    await program.parseAsync(arguments_, { from: 'user' });
    return 0;
  } catch (error) {
    if (isCommanderError(error)) return error.exitCode === 0 ? 0 : 2; // commander has written its text
    terminal.writeError(`sealpost: ${messageOf(error)}\n`);
    return 1;
  }
}

function isCommanderError(error: unknown): error is Error & { exitCode: number } {
  return error instanceof Error && error.name === 'CommanderError' && 'exitCode' in error;
}

/** What the operator reads; a ServerError's text for clients is written for them too. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'clientText' in error && typeof error.clientText === 'string' ? error.clientText : error.message;
}
