import { expect, test } from 'vitest';
import { fault, parse } from '../parse.ts';

test.for([
  ['ENABLE CONDSTORE', ['CONDSTORE']],
  ['ENABLE imap4rev2 UTF8=ACCEPT X-FOO', ['IMAP4REV2', 'UTF8=ACCEPT', 'X-FOO']],
] as const)('%s', ([line, extensions]) => {
  expect(parse(line)).toEqual({ kind: 'enable', extensions });
});

test.for([
  ['ID NIL', null],
  ['ID nil', null],
  ['ID ()', []],
  ['ID ("name" "Thunderbird" "version" NIL)', [['name', 'Thunderbird'], ['version', null]]],
  ['ID ("name" {3+}\r\na\r\n "os" "x\\"y")', [['name', 'a\r\n'], ['os', 'x"y']]],
] as const)('%s', ([line, fields]) => {
  expect(parse(line)).toEqual({ kind: 'id', fields });
}); // prettier-ignore

test.for([
  'ENABLE', 'ENABLE (A)', 'ENABLE "A"', 'ID', 'ID ("a")', 'ID (NIL "a")', 'ID ("a" "b"', 'ID ("a" "b") x', 'ID "a"', 'ID (a b)',
  `ID ("${'n'.repeat(31)}" "v")`, `ID ("n" "${'v'.repeat(1025)}")`, `ENABLE${' X'.repeat(51)}`,
])('%s is refused', (line) => {
  expect(fault(line)).toBe('BAD');
}); // prettier-ignore

test('ID takes 30 fields and no more', () => {
  expect(fault(`ID (${'"a" "b" '.repeat(30)})`)).toContain('"kind":"id"');
  expect(fault(`ID (${'"a" "b" '.repeat(31)})`)).toBe('NO LIMIT');
});
