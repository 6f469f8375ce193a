/**
 * APPEND, in the pieces that command-reader.ts hands out: the text before the first message literal, and
 * the text between a literal and the next (RFC 3502, MULTIAPPEND). RFC 9051 §6.3.12; RFC 6855 §4 (UTF8).
 */
import type { InternalDate } from '../../../mailbox/model.ts';
import type { ParseContext } from '../arguments.ts';
import { dateTime, flagList, folderName } from '../arguments.ts';
import { SyntaxFault } from '../codes.ts';
import type { CommandText } from '../lexer.ts';
import { Lexer } from '../lexer.ts';

/** What stands before one message. */
export type AppendItem = Readonly<{
  flags: readonly string[];
  /** Null: now. */
  internalDate: InternalDate | null;
  /** Written `UTF8 (~{n}`: a `)` follows the literal. */
  isUtf8: boolean;
}>;

type AppendStart = Readonly<{ folder: string; first: AppendItem }>;

/** The text before the first literal. Throws SyntaxFault. */
export function parseAppendStart(args: CommandText, context: ParseContext): AppendStart {
  const lexer = new Lexer(args);
  lexer.space();
  const folder = folderName(lexer, context);
  lexer.space();
  return { folder, first: parseItem(lexer) };
}

/** The text between two literals; `previous` is the item whose literal just ended. Throws SyntaxFault. RFC 3502 §6.3.11. */
export function parseAppendNext(args: CommandText, previous: AppendItem): AppendItem {
  const lexer = new Lexer(args);
  if (previous.isUtf8) lexer.expect(')');
  lexer.space();
  return parseItem(lexer);
}

/** The text after the last literal. Throws SyntaxFault. */
export function parseAppendEnd(args: CommandText, previous: AppendItem): void {
  const lexer = new Lexer(args);
  if (previous.isUtf8) lexer.expect(')');
  lexer.end();
}

function parseItem(lexer: Lexer): AppendItem {
  let flags: readonly string[] = [];
  let internalDate: InternalDate | null = null;
  let isUtf8 = false;
  if (lexer.isAtList) {
    flags = flagList(lexer);
    lexer.space();
  }
  if (lexer.peek() === '"') {
    internalDate = dateTime(lexer);
    lexer.space();
  }
  if (!lexer.isAtEnd) {
    // todo RFC 4469 §3: CATENATE would continue here
    if (!lexer.takeKeyword('UTF8')) throw new SyntaxFault('A message literal was expected');
    lexer.space();
    lexer.expect('(');
    isUtf8 = true;
  }
  lexer.end();
  return { flags, internalDate, isUtf8 };
}
