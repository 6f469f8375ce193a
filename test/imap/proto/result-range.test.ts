import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lexer } from '../../../src/imap/proto/lexer.ts';
import { parseResultRange, resultsIn } from '../../../src/imap/proto/result-range.ts';

const parsed = (text: string): ReturnType<typeof parseResultRange> =>
  parseResultRange(new Lexer({ text, literals: [] }));

/** RFC 9394 §3.1. */
test('a range takes from either end what is there', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 1, max: 15 }),
      fc.integer({ min: 1, max: 15 }),
      (length, a, b) => {
        const results = Array.from({ length }, (_, at) => at + 1);
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        expect(resultsIn(results, parsed(`${String(a)}:${String(b)}`))).toEqual(
          results.filter((n) => n >= low && n <= high),
        );
        const fromEnd = (n: number): number => length + 1 - n;
        expect(resultsIn(results, parsed(`-${String(a)}:-${String(b)}`))).toEqual(
          results.filter((n) => fromEnd(n) >= low && fromEnd(n) <= high),
        );
      },
    ),
  );
  expect(parsed('-500:-400').text).toBe('-500:-400');
});

test.for(['', '1', '1:', ':1', '0:1', '1:0', '-1:1', '1:-1', '*:1', '1:*', '--1:-1', '4294967296:1', 'x'])(
  '%j',
  (text) => {
    expect(() => parsed(text)).toThrow();
  },
);
