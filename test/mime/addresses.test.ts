import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseAddressList } from '../../src/mime/addresses.ts';

/** `name|route|mailbox|host`, with `-` for null. */
const parsed = (value: string): string[] =>
  parseAddressList(value, 100).map(({ name, route, mailbox, host }) =>
    [name, route, mailbox, host].map((part) => part ?? '-').join('|'),
  );

test.for([
  ['a@b.example', ['-|-|a|b.example']],
  ['Ann Bee <a@b>, "C, D" <c@d>', ['Ann Bee|-|a|b', 'C, D|-|c|d']],
  ['J. R. Doe <j@h>', ['J. R. Doe|-|j|h']],
  ['"q\\"uote \\\\" <j@h>', ['q"uote \\|-|j|h']],
  ['j@h (Joe (the) Comment)', ['Joe (the) Comment|-|j|h']],
  ['<@a.example,@b.example:c@d>', ['-|@a.example,@b.example|c|d']],
  ['"quoted local"@h', ['-|-|quoted local|h']],
  ['u@[127.0.0.1]', ['-|-|u|[127.0.0.1]']],
  ['a . b @ c . d', ['-|-|a.b|c.d']],
  ['Team: a@b, C <c@d>; , e@f', ['-|-|Team|-', '-|-|a|b', 'C|-|c|d', '-|-|-|-', '-|-|e|f']],
  ['undisclosed-recipients:;', ['-|-|undisclosed-recipients|-', '-|-|-|-']],
  ['Open: a@b', ['-|-|Open|-', '-|-|a|b', '-|-|-|-']],
  ['lonely', ['-|-|lonely|']],
  ['Doe, John <j@h>', ['-|-|Doe|', 'John|-|j|h']],
  ['Just A Name', ['Just A Name|-||']],
  ['Name without angle a@b', ['Name without angle|-|a|b']],
  ['<>', ['-|-||']],
  ['@', ['-|-||']],
  ['J <j@h, K <k@h>', ['J|-|j|h', 'K|-|k|h']],
  ['a@b; c@d', ['-|-|a|b', '-|-|c|d']],
  [',, a@b ,,', ['-|-|a|b']],
  ['"never closed <a@b>', ['never closed <a@b>|-||']],
  ['\xe4\xf6 <\xfc@b>', ['\xe4\xf6|-|\xfc|b']],
  ['', []],
  ['  ', []],
] as const)('%s', ([value, expected]) => {
  expect(parsed(value)).toEqual(expected);
});

test('A1 A2 no input throws, and no more come back than allowed', () => {
  const token = fc.constantFrom(
    'a',
    '@',
    '.',
    ' ',
    ',',
    ';',
    ':',
    '<',
    '>',
    '(',
    ')',
    '"',
    '\\',
    '[',
    ']',
    '\xff',
    '\0',
  );
  fc.assert(
    fc.property(fc.array(token, { maxLength: 40 }), fc.integer({ min: 1, max: 5 }), (tokens, maxCount) => {
      const list = parseAddressList(tokens.join(''), maxCount);
      // a group that is cut still ends
      expect(list.length).toBeLessThanOrEqual(maxCount + 1);
    }),
    { numRuns: 2000 },
  );
});
