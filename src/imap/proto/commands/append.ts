/**
 * APPEND and REPLACE, in the pieces that command-reader.ts hands out: the text before the first message literal, between
 * two, and after the last. RFC 9051 §6.3.12; RFC 3502 (MULTIAPPEND); RFC 4469 (CATENATE); RFC 6855 §4 (UTF8); RFC 8508.
 */
import { MAX_SET_NUMBER } from '../../../base/uid-set.ts';
import type { InternalDate } from '../../../mailbox/model.ts';
import type { ParseContext } from '../arguments.ts';
import { dateTime, flagList, folderName } from '../arguments.ts';
import { SyntaxFault } from '../codes.ts';
import type { CommandText } from '../lexer.ts';
import { Lexer } from '../lexer.ts';

/** What stands before one message. `internalDate` null: now. */
export type AppendItem = Readonly<{ flags: readonly string[]; internalDate: InternalDate | null }>;

/** What a piece of text asks to be done, in order. `url`: a byte string, its bytes go into the message that was begun. */
type AppendStep =
  Readonly<{ kind: 'begin'; item: AppendItem }> | Readonly<{ kind: 'url'; url: string }> | Readonly<{ kind: 'finish' }>;

/**
 * What comes after the text: the literal of a whole message (`utf8-message`: a `)` follows it), a part of one to be put
 * together (`text`), the URL of one (`url`), or the end of the command.
 */
export type AppendWant = 'message' | 'utf8-message' | 'text' | 'url' | 'end';
export type AppendPiece = Readonly<{ steps: readonly AppendStep[]; wants: AppendWant }>;

/** The message that REPLACE removes, as the client names it; null is `*`. RFC 8508 §3.2. */
export type Replaced = Readonly<{ byUid: boolean; number: number | null }>;
export type AppendStart = Readonly<{ folder: string; replaced: Replaced | null; piece: AppendPiece }>;
/** The command's name and the text before its first literal, or all of it. */
type AppendHead = Readonly<{ name: string; args: CommandText; isWhole: boolean }>;

const MAX_CATENATED_PARTS = 1_000;

/** Whether a command is one of these: REPLACE has a UID form. */
export function isAppend(name: string, args: CommandText): boolean {
  return name === 'APPEND' || name === 'REPLACE' || (name === 'UID' && /^ +REPLACE(?= |$)/i.test(args.text));
}

/** The text before the first literal. Throws SyntaxFault. */
export function parseAppendStart({ name, args, isWhole }: AppendHead, context: ParseContext): AppendStart {
  const lexer = new Lexer(args);
  lexer.space();
  let replaced: Replaced | null = null;
  if (name !== 'APPEND') {
    if (name === 'UID') {
      lexer.keyword(); // REPLACE
      lexer.space();
    }
    const number = lexer.take('*') ? null : lexer.number(MAX_SET_NUMBER);
    if (number === 0) throw new SyntaxFault('Messages are counted from 1');
    replaced = { byUid: name === 'UID', number };
    lexer.space();
  }
  const folder = folderName(lexer, context);
  return { folder, replaced, piece: parsePiece(lexer, { after: null, isWhole }) };
}

/** The text after a literal that was `after`. Throws SyntaxFault. RFC 3502 §6.3.11. */
export function parseAppendNext(args: CommandText, at: Readonly<{ after: AppendWant; isWhole: boolean }>): AppendPiece {
  return parsePiece(new Lexer(args), at);
}

function parsePiece(
  lexer: Lexer,
  { after, isWhole }: Readonly<{ after: AppendWant | null; isWhole: boolean }>,
): AppendPiece {
  const steps: AppendStep[] = [];
  let wants: AppendWant = 'end';
  if (after === 'utf8-message') lexer.expect(')');
  if (after === 'text' || after === 'url') wants = parseParts(lexer, steps);
  // one message at least
  while (wants === 'end' && !(isWhole && lexer.isAtEnd && (after ?? steps[0]))) {
    lexer.space();
    wants = parseMessage(lexer, steps);
  }
  lexer.end();
  if ((wants === 'end') !== isWhole)
    throw new SyntaxFault(isWhole ? 'A message literal was expected' : 'A literal was not expected');
  return { steps, wants };
}

function parseMessage(lexer: Lexer, steps: AppendStep[]): AppendWant {
  let flags: readonly string[] = [];
  let internalDate: InternalDate | null = null;
  if (lexer.isAtList) {
    flags = flagList(lexer);
    lexer.space();
  }
  if (lexer.peek() === '"') {
    internalDate = dateTime(lexer);
    lexer.space();
  }
  steps.push({ kind: 'begin', item: { flags, internalDate } });
  if (lexer.isAtEnd) return 'message';
  if (lexer.takeKeyword('UTF8')) {
    lexer.space();
    lexer.expect('(');
    return 'utf8-message';
  }
  if (!lexer.takeKeyword('CATENATE')) throw new SyntaxFault('A message literal was expected');
  lexer.space();
  lexer.expect('(');
  return parsePart(lexer, steps) ?? parseParts(lexer, steps);
}

/** More parts up to the end of the list, or to a literal. RFC 4469 §5 (cat-part). */
function parseParts(lexer: Lexer, steps: AppendStep[]): AppendWant {
  while (!lexer.take(')')) {
    lexer.space();
    const want = parsePart(lexer, steps);
    if (want) return want;
  }
  steps.push({ kind: 'finish' });
  return 'end';
}

/** One part; what it waits for, or null when it is whole. */
function parsePart(lexer: Lexer, steps: AppendStep[]): AppendWant | null {
  const kind = lexer.keyword();
  lexer.skipSpace();
  if (kind === 'TEXT' && lexer.isAtEnd) return 'text';
  if (kind !== 'URL') throw new SyntaxFault('URL or TEXT was expected');
  if (lexer.isAtEnd) return 'url';
  if (steps.length > MAX_CATENATED_PARTS) throw new SyntaxFault('Too many parts', { status: 'NO', code: 'LIMIT' });
  steps.push({ kind: 'url', url: lexer.stringBytes() });
  return null;
}
