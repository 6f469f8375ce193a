import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fieldValue, parseHeaderFields } from '../../src/mime/headers.ts';

const fieldsOf = (block: string): [string, string][] =>
  parseHeaderFields(block).map((field) => [field.name, fieldValue(block, field)]);

test.for([
  [
    'fields, names in lower case',
    'A: 1\r\nX-B:2\r\n\r\n',
    [
      ['a', '1'],
      ['x-b', '2'],
    ],
  ],
  ['folded values', 'A: 1\r\n 2\r\n\t3 \r\n\r\n', [['a', '1 2\t3']]],
  ['a value that starts on the next line', 'A:\r\n b\r\n\r\n', [['a', 'b']]],
  ['white space before the colon', 'A \t: 1\r\n\r\n', [['a', '1']]],
  ['colons in values', 'A: b: c\r\n\r\n', [['a', 'b: c']]],
  [
    'bare LF',
    'A: 1\nB: 2\n\nC: 3\n',
    [
      ['a', '1'],
      ['b', '2'],
    ],
  ],
  [
    'a last line without line end',
    'A: 1\r\nB: 2',
    [
      ['a', '1'],
      ['b', '2'],
    ],
  ],
  ['white space lines continue', 'A: 1\r\n \r\n 2\r\n\r\n', [['a', '1  2']]],
  ['no-break spaces are content', 'A: \xa0x\xa0\r\n\r\n', [['a', '\xa0x\xa0']]],
  [
    'H2 a colon in a continuation makes no field',
    'junk\r\n a: b\r\nC: d\r\n\r\n',
    [
      ['', 'junk a: b'],
      ['c', 'd'],
    ],
  ],
  [
    'H2 a first continuation',
    ' a: b\r\nC: d\r\n\r\n',
    [
      ['', 'a: b'],
      ['c', 'd'],
    ],
  ],
  ['nothing after the blank line', '\r\nA: 1\r\n', []],
  ['nothing', '', []],
] as const)('%s', ([, block, expected]) => {
  expect(fieldsOf(block)).toEqual(expected);
});

test('H1 every byte before the blank line is in exactly one field', () => {
  const piece = fc.constantFrom('A', ':', ' ', '\t', '\r', '\n', '\r\n', '\r\n ', 'x: y\r\n', '\xff', '\0');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const block = pieces.join('');
      let end = 0;
      for (const field of parseHeaderFields(block)) {
        expect([field.start, field.end > field.start, field.valueStart >= field.start]).toEqual([end, true, true]);
        end = field.end;
      }
      expect(block.slice(end)).toMatch(/^(?:\r?\n|$)/);
    }),
    { numRuns: 1000 },
  );
});
