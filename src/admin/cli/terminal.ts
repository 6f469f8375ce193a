/** How commands speak with the person or script that runs them. */
import { readFileSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { AdminRequestError } from '../client.ts';

/** Standard input of a terminal, or of a script. `setRawMode` exists on a terminal only. */
type Input = AsyncIterable<Buffer | string> & Readonly<{ isTTY?: boolean; setRawMode?(raw: boolean): unknown }>;
export type Terminal = Readonly<{
  input: Input;
  write(text: string): void;
  writeError(text: string): void;
  /** Standard error is a terminal: progress is shown there. */
  showsProgress?: boolean;
}>;

const LINE_MAX_CHARS = 4096;
const [END_OF_TEXT, END_OF_TRANSMISSION, BACKSPACE, DELETE] = ['\u0003', '\u0004', '\b', '\u007f'];

/** Columns padded to their widest cell; the first row is the heading. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, cell.length)));
  const line = (row: readonly string[]): string => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  ');
  return rows.map((row) => `${line(row).trimEnd()}\n`).join('');
}

/** Local time to the second. */
export function timeText(atMs: number): string {
  return new Date(atMs)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, ' UTC');
}

/**
 * A new password: the first line of `file`, or of standard input, or typed twice without echo. It is never taken from
 * an argument, which every process of the machine can read. Throws AdminRequestError.
 */
export async function newPassword(terminal: Terminal, file: string | undefined): Promise<string> {
  if (file !== undefined) return firstLine(readPasswordFile(file));
  if (terminal.input.isTTY !== true) return readLine(terminal, { echo: false });
  terminal.writeError('New password: ');
  const password = await readLine(terminal, { echo: false });
  terminal.writeError('\nOnce more: ');
  const again = await readLine(terminal, { echo: false });
  terminal.writeError('\n');
  if (password !== again)
    throw new AdminRequestError('invalid-argument', 'The two passwords differ. Nothing was changed.');
  return password;
}

/** A secret for another server: the first line of `file`, or of standard input, or typed without echo. Throws AdminRequestError. */
export async function readSecret(terminal: Terminal, what: string, file: string | undefined): Promise<string> {
  if (file !== undefined) return firstLine(readPasswordFile(file));
  if (terminal.input.isTTY === true) terminal.writeError(`${what}: `);
  const secret = await readLine(terminal, { echo: false });
  if (terminal.input.isTTY === true) terminal.writeError('\n');
  if (secret === '') throw new AdminRequestError('invalid-argument', `${what}: nothing was given.`);
  return secret;
}

/** Has the operator type `word` before something is lost for good. Throws AdminRequestError when they do not. */
export async function confirmLoss(
  terminal: Terminal,
  loss: Readonly<{ text: string; word: string; isConfirmed: boolean }>,
): Promise<void> {
  if (loss.isConfirmed) return;
  if (terminal.input.isTTY !== true) {
    throw new AdminRequestError(
      'not-confirmed',
      `${loss.text}\nNothing was changed. Add --yes to do it without being asked.`,
    );
  }
  terminal.writeError(`${loss.text}\nType ${loss.word} to go on: `);
  const typed = await readLine(terminal, { echo: true });
  if (typed.trim() !== loss.word) throw new AdminRequestError('not-confirmed', 'Nothing was changed.');
}

function readPasswordFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new AdminRequestError('invalid-argument', `The password file ${file} cannot be read (${reason}).`);
  }
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? '';
}

/** One line of input; on a terminal without echo when `echo` is false. */
async function readLine(terminal: Terminal, options: Readonly<{ echo: boolean }>): Promise<string> {
  const { input } = terminal;
  const isRaw = !options.echo && input.isTTY === true;
  if (isRaw) input.setRawMode?.(true);
  const decoder = new StringDecoder('utf8');
  let line = '';
  try {
    // Not `for await`: leaving that loop would close the stream, and a second line may be wanted.
    const chunks = input[Symbol.asyncIterator]();
    for (;;) {
      const chunk = await chunks.next();
      if (chunk.done === true) return firstLine(line);
      line = typed(line, typeof chunk.value === 'string' ? chunk.value : decoder.write(chunk.value), isRaw);
      if (/[\r\n]/.test(line)) return firstLine(line);
      if (line.length > LINE_MAX_CHARS) throw new AdminRequestError('invalid-argument', 'The line is too long.');
    }
  } finally {
    if (isRaw) input.setRawMode?.(false);
  }
}

/** In raw mode the terminal does not edit the line: we do. */
function typed(line: string, text: string, isRaw: boolean): string {
  if (!isRaw) return line + text;
  let edited = line;
  for (const key of text) {
    if (key === END_OF_TEXT || key === END_OF_TRANSMISSION) throw new AdminRequestError('not-confirmed', 'Given up.');
    if (key === BACKSPACE || key === DELETE) edited = Array.from(edited).slice(0, -1).join('');
    else if (key === '\r') return `${edited}\n`;
    else edited += key;
  }
  return edited;
}
