import { expect, test } from 'vitest';
import { fault, parse } from '../parse.ts';

const base = { kind: 'store', byUid: false, change: 'replace', flags: [], silent: false, unchangedSince: null };

test.for([
  ['STORE 1 FLAGS (\\Deleted)', { flags: ['\\Deleted'] }],
  [
    'STORE 1 +FLAGS.SILENT (\\deleted \\Seen \\DELETED)',
    { change: 'add', silent: true, flags: ['\\Deleted', '\\Seen'] },
  ],
  ['STORE 1 -flags \\Seen $Forwarded', { change: 'remove', flags: ['\\Seen', '$Forwarded'] }],
  ['STORE 1 FLAGS ()', {}],
  ['STORE 1 +FLAGS NonJunk nonjunk', { change: 'add', flags: ['NonJunk'] }],
  ['STORE 1 +FLAGS (__proto__ constructor)', { change: 'add', flags: ['__proto__', 'constructor'] }],
  ['UID STORE 1 (UNCHANGEDSINCE 12) +FLAGS (x)', { byUid: true, unchangedSince: 12, change: 'add', flags: ['x'] }],
  ['STORE 1 (unchangedsince 0) FLAGS.SILENT ()', { unchangedSince: 0, silent: true }],
] as const)('%s', ([line, expected]) => {
  const messages = { kind: 'set', set: { ranges: [{ first: 1, last: 1 }], openFrom: null } };
  expect(parse(line)).toEqual({ ...base, messages, ...expected });
});

test.for([
  'STORE', 'STORE 1', 'STORE 1 FLAGS', 'STORE 1 FOO ()', 'STORE 1 + FLAGS ()', 'STORE 1 FLAGS (\\Recent)', 'STORE 1 FLAGS (\\Foo)', 'STORE 1 FLAGS (\\*)', 'STORE 1 FLAGS (\\)',
  'STORE 1 FLAGS ("x")', 'STORE 1 FLAGS (a]b)', 'STORE 1 FLAGS (a', 'STORE 1 FLAGS ({1+}\r\na)', 'STORE 1 FLAGS (\u00e9)', 'STORE 1 (FOO 1) FLAGS ()', 'STORE 1 (UNCHANGEDSINCE) FLAGS ()',
  'STORE x FLAGS ()', 'STORE 1 FLAGS () x',
])('%j is refused', (line) => {
  expect(fault(line)).toBe('BAD');
}); // prettier-ignore

test('I7 keywords are limited in length and number', () => {
  expect(fault(`STORE 1 +FLAGS (${'k'.repeat(64)})`)).toContain('"kind":"store"');
  expect(fault(`STORE 1 +FLAGS (${'k'.repeat(65)})`)).toBe('NO LIMIT');
  const many = Array.from({ length: 5_000 }, (_, at) => `k${String(at)}`).join(' ');
  expect(fault(`STORE 1 +FLAGS (${many})`)).toBe('NO LIMIT');
  expect(fault(`STORE 1 +FLAGS ${many}`)).toBe('NO LIMIT');
});
