/**
 * SEARCH and UID SEARCH. RFC 9051 §6.4.4; RFC 3501 §6.4.4; RFC 4731 and RFC 5182 (RETURN, `$`); RFC 5267 §4 (CONTEXT,
 * UPDATE); RFC 9394 (PARTIAL). The keys are those of proto/search-program.ts.
 */
import { someKey, type SearchKey } from '../../../mailbox/search-key.ts';
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';
import { parseResultRange, type ResultRange } from '../result-range.ts';
import { parseCharset, parseProgram, type Charset } from '../search-program.ts';

export type SearchCommand = Readonly<{
  kind: 'search';
  byUid: boolean;
  /** Null: the answer is the untagged SEARCH of RFC 3501 (or, under IMAP4rev2, ESEARCH with ALL). */
  returns: SearchReturns | null;
  key: SearchKey;
}>;

/** What RETURN asks for; `RETURN ()` is ALL. */
export type SearchReturns = Readonly<{
  min: boolean;
  max: boolean;
  all: boolean;
  count: boolean;
  save: boolean;
  /** RFC 6203 §4. */
  relevancy: boolean;
  /** RFC 5267 §4.3: changes of the result are to be told. */
  update: boolean;
  /** RFC 9394 §3.1. */
  partial: ResultRange | null;
}>;

const NOTHING: SearchReturns = {
  min: false,
  max: false,
  all: false,
  count: false,
  save: false,
  relevancy: false,
  update: false,
  partial: null,
};
export const ALL_ONLY: SearchReturns = { ...NOTHING, all: true };
type Flag = Exclude<keyof SearchReturns, 'partial'>;
const FLAGS: ReadonlyMap<string, Flag> = new Map([
  ['MIN', 'min'],
  ['MAX', 'max'],
  ['ALL', 'all'],
  ['COUNT', 'count'],
  ['SAVE', 'save'],
  ['RELEVANCY', 'relevancy'],
  ['UPDATE', 'update'],
]);
const MAX_RETURN_OPTIONS = 16;

export function parseSearch(lexer: Lexer, numbering: 'uid' | 'sequence'): SearchCommand {
  lexer.space();
  const returns = parseReturns(lexer);
  return { kind: 'search', byUid: numbering === 'uid', returns, key: checkedKey(parseSearchProgram(lexer), returns) };
}

/** `[CHARSET name SP] key ...`. Throws SyntaxFault. RFC 9051 §9 (search-program) */
export function parseSearchProgram(lexer: Lexer): SearchKey {
  let charset: Charset = 'UTF-8'; // RFC 9051's default; a superset of RFC 3501's
  if (lexer.takeKeyword('CHARSET')) {
    lexer.space();
    charset = parseCharset(lexer);
    lexer.space();
  }
  return parseProgram(lexer, charset);
}

/** `RETURN (...)` and the space after it; null when it is not next. Throws SyntaxFault. RFC 9051 §6.4.4. */
export function parseReturns(lexer: Lexer): SearchReturns | null {
  if (!lexer.takeKeyword('RETURN')) return null;
  lexer.space();
  const returns: { -readonly [Name in keyof SearchReturns]: SearchReturns[Name] } = { ...NOTHING };
  let asked = 0;
  lexer.list(MAX_RETURN_OPTIONS, () => {
    const name = lexer.keyword();
    const flag = FLAGS.get(name);
    if (name === 'CONTEXT') return; // a hint: RFC 5267 §4.2
    asked += 1;
    if (flag) returns[flag] = true;
    else if (name === 'PARTIAL' && !returns.partial) {
      lexer.space();
      returns.partial = parseResultRange(lexer);
    } else throw new SyntaxFault('Unknown return option');
  });
  lexer.space();
  // RFC 9394 §3.1: one of them
  if (returns.partial && returns.all) throw new SyntaxFault('ALL and PARTIAL exclude each other');
  return asked === 0 ? ALL_ONLY : returns;
}

/** RFC 6203 §4: scores are of fuzzy matches only. Throws SyntaxFault. */
export function checkedKey(key: SearchKey, asks: Readonly<{ relevancy: boolean }> | null): SearchKey {
  if (asks?.relevancy && !someKey(key, ({ kind }) => kind === 'fuzzy')) {
    throw new SyntaxFault('RELEVANCY needs a FUZZY search key');
  }
  return key;
}
