/** Ranges of results: `1:500` from the first, `-1:-100` from the last. RFC 5267 §4.4, RFC 9394 §3.1, §4 (partial-range). */
import { MAX_SET_NUMBER } from '../../base/uid-set.ts';
import { SyntaxFault } from './codes.ts';
import type { Lexer } from './lexer.ts';

/** `first <= last`, both counted from 1; `text` as the client wrote it, safe to print. */
export type ResultRange = Readonly<{ first: number; last: number; isFromEnd: boolean; text: string }>;

/** Throws SyntaxFault. */
export function parseResultRange(lexer: Lexer): ResultRange {
  const isFromEnd = lexer.take('-');
  const one = position(lexer);
  lexer.expect(':');
  if (lexer.take('-') !== isFromEnd) throw new SyntaxFault('Both ends of a range count from the same side');
  const other = position(lexer);
  const sign = isFromEnd ? '-' : '';
  const text = `${sign}${String(one)}:${sign}${String(other)}`;
  return { first: Math.min(one, other), last: Math.max(one, other), isFromEnd, text };
}

function position(lexer: Lexer): number {
  const value = lexer.number(MAX_SET_NUMBER);
  if (value === 0) throw new SyntaxFault('Results are counted from 1');
  return value;
}

/** The results of a range, in their order. */
export function resultsIn<T>(results: readonly T[], { first, last, isFromEnd }: ResultRange): readonly T[] {
  const { length } = results;
  if (!isFromEnd) return results.slice(first - 1, last);
  return first > length ? [] : results.slice(Math.max(0, length - last), length - first + 1);
}
