/** Runs one command line through reader and grammar. */
import { SyntaxFault } from '../../../src/imap/proto/codes.ts';
import { CommandReader } from '../../../src/imap/proto/command-reader.ts';
import { LIMITS_AFTER_LOGIN } from '../../../src/imap/proto/reader-events.ts';
import type { Command } from '../../../src/imap/proto/grammar.ts';
import { parseCommand } from '../../../src/imap/proto/grammar.ts';
import type { CommandText } from '../../../src/imap/proto/lexer.ts';

/** `line`: a byte string without tag and last line end; literals as `{n+}`. */
export function frame(line: string): { name: string; args: CommandText } {
  const reader = new CommandReader({ ...LIMITS_AFTER_LOGIN, lineBytes: 1 << 20 });
  reader.push(Buffer.from(`t ${line}\r\n`, 'latin1'));
  const event = reader.next();
  if (event?.kind !== 'command' && event?.kind !== 'literal-wanted')
    throw new Error(`no command but ${JSON.stringify(event)}`);
  return event;
}

export function parse(line: string, { utf8 = false } = {}): Command {
  const { name, args } = frame(line);
  return parseCommand(name, args, { utf8 });
}

/** The status (and code) of the SyntaxFault that the line gives, or the command as JSON. */
export function fault(line: string, options: { utf8?: boolean } = {}): string {
  try {
    return JSON.stringify(parse(line, options));
  } catch (error) {
    if (!(error instanceof SyntaxFault)) throw error;
    if (error.code === null) return error.status;
    return `${error.status} ${typeof error.code === 'string' ? error.code : error.code.kind}`;
  }
}
