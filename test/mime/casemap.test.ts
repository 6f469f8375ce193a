import fc from 'fast-check';
import { expect, test } from 'vitest';
import { casemap, orderKey } from '../../src/mime/casemap.ts';

/** RFC 5051 §2. */
test.for([
  ['Apple', 'APPLE'],
  ['äpfel', 'A\u0308PFEL'],
  ['привет', 'ПРИВЕТ'],
  ['ß', 'ß'], // UnicodeData.txt has no titlecase of it
  ['ǆ', 'Dz\u030c'],
  ['Ａ', 'A'],
] as const)('%s', ([text, mapped]) => {
  expect(casemap(text)).toBe(mapped);
});

test('keys order as the UTF-8 bytes of the texts do', () => {
  const char = fc.constantFrom('a', 'Z', '\u00e9', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}');
  const text = fc.array(char, { maxLength: 5 }).map((chars) => chars.join(''));
  fc.assert(
    fc.property(text, text, (a, b) => {
      const [x, y] = [orderKey(a), orderKey(b)];
      const order = x === y ? 0 : x < y ? -1 : 1;
      expect(order).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});
