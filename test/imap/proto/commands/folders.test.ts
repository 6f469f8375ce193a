import { expect, test } from 'vitest';
import { fault, parse } from '../parse.ts';

test.for([
  ['CREATE owatagusiam/', { kind: 'create', folder: 'owatagusiam', specialUses: [] }],
  ['CREATE a/b', { kind: 'create', folder: 'a/b', specialUses: [] }],
  [
    'CREATE "Gesendet" (USE (\\Sent \\sent \\ARCHIVE))',
    { kind: 'create', folder: 'Gesendet', specialUses: ['\\Sent', '\\Archive'] },
  ],
  ['CREATE __proto__', { kind: 'create', folder: '__proto__', specialUses: [] }],
  ['DELETE a', { kind: 'delete', folder: 'a' }],
  ['SUBSCRIBE #news.comp', { kind: 'subscribe', folder: '#news.comp' }],
  ['UNSUBSCRIBE "a b"', { kind: 'unsubscribe', folder: 'a b' }],
  ['RENAME "a b" c/d', { kind: 'rename', from: 'a b', to: 'c/d' }],
  ['RENAME inbox old', { kind: 'rename', from: 'INBOX', to: 'old' }],
  [
    'STATUS blurdybloop (UIDNEXT MESSAGES uidnext)',
    { kind: 'status', folder: 'blurdybloop', items: ['UIDNEXT', 'MESSAGES'] },
  ],
  [
    'STATUS x (MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE RECENT HIGHESTMODSEQ APPENDLIMIT)',
    {
      items: [
        'MESSAGES',
        'UIDNEXT',
        'UIDVALIDITY',
        'UNSEEN',
        'DELETED',
        'SIZE',
        'RECENT',
        'HIGHESTMODSEQ',
        'APPENDLIMIT',
      ],
    },
  ],
] as const)('%s', ([line, expected]) => {
  expect(parse(line)).toMatchObject(expected);
});

test.for([
  'CREATE',
  'CREATE a b',
  'CREATE a (X)',
  'CREATE a (USE)',
  'DELETE',
  'DELETE a b',
  'RENAME a',
  'RENAME a b c',
  'STATUS a',
  'STATUS a ()',
  'STATUS a MESSAGES',
  'STATUS a (FOO)',
  'STATUS a (MESSAGES',
  'CREATE a*',
  'CREATE {2+}\r\na\0',
])('%j is refused', (line) => {
  expect(fault(line)).toMatch(/^(BAD|NO CANNOT)$/);
});

test.for([
  'CREATE ""',
  'CREATE ../x',
  'CREATE a/../../b',
  'CREATE "a*"',
  'CREATE "a%"',
  'CREATE a//b',
  'CREATE /a',
  `CREATE ${'x'.repeat(256)}`,
  `CREATE ${'a/'.repeat(33)}b`,
  `CREATE ${'n'.repeat(10_000)}`,
  'CREATE &',
  'CREATE &AGE-',
  'CREATE &AAo-',
  'RENAME a "b*"',
])('I6 %s cannot be made', (line) => {
  expect(fault(line)).toBe('NO CANNOT');
});

test('an unknown special use', () => {
  expect(fault('CREATE a (USE (\\Foo))')).toBe('NO USEATTR');
});

test('I5 a name with a line end does not come through', () => {
  expect(fault('CREATE {12+}\r\nx\r\n* 3 EXISTS')).toBe('NO CANNOT');
  expect(fault('DELETE {15+}\r\nx\r\n* 3 EXISTS\r\n', { utf8: true })).toContain('"kind":"delete"'); // no such folder, then
});
