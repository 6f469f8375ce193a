import fc from 'fast-check';
import { expect, test } from 'vitest';
import { matchesPattern } from '../../../src/imap/proto/folder-pattern.ts';

test.for([
  ['INBOX', 'INBOX', true],
  ['INBOX', '*', true],
  ['INBOX', '%', true],
  ['a/b', '%', false],
  ['a/b', '*', true],
  ['a/b', '%/%', true],
  ['a/b', 'a%', false],
  ['a/b', 'a*', true],
  ['a/b/c', 'a/%', false],
  ['a/b/c', '%/b*', true],
  ['a', 'a*%*', true],
  ['a', '', false],
  ['', '', true],
  ['a.b', 'a?b', false],
  ['A', 'a', false],
  ['INBOX', 'inbox', true],
  ['INBOX/Sub', 'iNb*/Sub', true],
  ['INBOX/Sub', 'inbox/sub', false],
  ['INBOXES', 'inboxes', false],
] as const)('%s matches %s: %s', ([name, pattern, matches]) => {
  expect(matchesPattern(name, pattern)).toBe(matches);
});

test('the same answers as a regular expression', () => {
  const chars = fc.constantFrom('a', 'b', '/');
  fc.assert(
    fc.property(
      fc.array(chars, { maxLength: 8 }),
      fc.array(fc.oneof(chars, fc.constantFrom('*', '%')), { maxLength: 6 }),
      (name, pattern) => {
        const source = pattern.map((char) => (char === '*' ? '.*' : char === '%' ? '[^/]*' : char)).join('');
        expect(matchesPattern(name.join(''), pattern.join(''))).toBe(new RegExp(`^${source}$`).test(name.join('')));
      },
    ),
    { numRuns: 5_000 },
  );
});

test('G1 I9 many wildcards stay cheap', () => {
  const start = performance.now();
  expect(matchesPattern('a'.repeat(1_000), `${'*a'.repeat(200)}*b`)).toBe(false);
  expect(performance.now() - start).toBeLessThan(100); // milliseconds; without the bound it never ends
});
