import { expect, test } from 'vitest';
import { fault, parse } from '../parse.ts';

test.for([
  ['SELECT INBOX', { kind: 'select', folder: 'INBOX', condStore: false, qresync: null }],
  ['SELECT inbox', { kind: 'select', folder: 'INBOX', condStore: false, qresync: null }],
  ['EXAMINE "Entw&APw-rfe"', { kind: 'examine', folder: 'Entwürfe', condStore: false, qresync: null }],
  ['SELECT {5+}\r\na/b c (CONDSTORE)', { kind: 'select', folder: 'a/b c', condStore: true, qresync: null }],
  ['SELECT x (QRESYNC (67890007 20050715194045000))', { qresync: { uidValidity: 67890007, modSeq: Number.MAX_SAFE_INTEGER, knownUids: null, match: null } }],
  ['SELECT x (QRESYNC (1 2 41,43:211))', { qresync: { knownUids: [{ first: 41, last: 41 }, { first: 43, last: 211 }], match: null } }],
  ['SELECT x (QRESYNC (1 2 1:9 (5 6)) CONDSTORE)', { condStore: true, qresync: { match: { sequences: [{ first: 5, last: 5 }], uids: [{ first: 6, last: 6 }] } } }],
  ['SELECT x (QRESYNC (1 2 (5 6)))', { qresync: { knownUids: null, match: { uids: [{ first: 6, last: 6 }] } } }],
] as const)('%j', ([line, expected]) => {
  expect(parse(line)).toMatchObject(expected);
}); // prettier-ignore

test.for([
  'SELECT',
  'SELECT a b',
  'SELECT (a)',
  'SELECT x (FOO)',
  'SELECT x (QRESYNC)',
  'SELECT x (QRESYNC (1))',
  'SELECT x (QRESYNC (0 1))',
  'SELECT x (QRESYNC (1 2 1:*))',
  'SELECT x (QRESYNC (1 10000000000000000000))',
  'SELECT x (CONDSTORE',
  'SELECT *',
  'SELECT a%',
])('%s is refused', (line) => {
  expect(fault(line)).toBe('BAD');
});

test.for(['SELECT &', 'SELECT &AGE-', 'SELECT "&2AA-"', 'SELECT "caf\u00c3\u00a9"'])('%s is no folder name', (line) => {
  expect(fault(line)).toBe('NO CANNOT');
});

test('with UTF-8 enabled, names are UTF-8 and & is itself', () => {
  expect(parse('SELECT "caf\u00c3\u00a9&AOk-"', { utf8: true })).toMatchObject({ folder: 'café&AOk-' });
  expect(parse('SELECT "cafe\u00cc\u0081"', { utf8: true })).toMatchObject({ folder: 'caf\u00e9' });
  expect(fault('SELECT "caf\u00e9"', { utf8: true })).toBe('BAD');
});
