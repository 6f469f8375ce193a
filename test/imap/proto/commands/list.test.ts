import { expect, test } from 'vitest';
import { fault, parse } from '../parse.ts';

const plain = {
  kind: 'list',
  select: new Set(),
  reference: '',
  patterns: ['*'],
  returns: new Set(),
  status: null,
  metadata: null,
  isExtended: false,
};

test.for([
  ['LIST "" *', {}],
  ['LIST "" "*"', {}],
  ['LIST "" ""', { patterns: [''] }],
  ['LIST #news. %.x]', { reference: '#news.', patterns: ['%.x]'] }],
  ['LIST "" "Entw&APw-*"', { patterns: ['Entwü*'] }],
  ['LIST "" &AGE-', { patterns: [] }],
  ['LIST () "" ("INBOX" Drafts "Sent/%")', { patterns: ['INBOX', 'Drafts', 'Sent/%'], isExtended: true }],
  [
    'LIST (SUBSCRIBED recursivematch REMOTE) "" %',
    { patterns: ['%'], select: new Set(['SUBSCRIBED', 'RECURSIVEMATCH', 'REMOTE']), isExtended: true },
  ],
  ['LIST (SPECIAL-USE) "" *', { select: new Set(['SPECIAL-USE']), isExtended: true }],
  [
    'LIST "" * RETURN (CHILDREN SPECIAL-USE SUBSCRIBED)',
    { returns: new Set(['CHILDREN', 'SPECIAL-USE', 'SUBSCRIBED']), isExtended: true },
  ],
  [
    'LIST "" * RETURN (SUBSCRIBED STATUS (MESSAGES UNSEEN))',
    { returns: new Set(['SUBSCRIBED']), status: ['MESSAGES', 'UNSEEN'], isExtended: true },
  ],
  ['LIST "" * RETURN ()', { isExtended: true }],
] as const)('%s', ([line, expected]) => {
  expect(parse(line)).toEqual({ ...plain, ...expected });
});

test('LSUB', () => {
  expect(parse('LSUB "" "#news.*"')).toEqual({ kind: 'lsub', reference: '', patterns: ['#news.*'] });
});

test.for([
  'LIST',
  'LIST ""',
  'LIST "" * x',
  'LIST (FOO) "" *',
  'LIST (RECURSIVEMATCH) "" *',
  'LIST (RECURSIVEMATCH REMOTE) "" *',
  'LIST "" * RETURN',
  'LIST "" * RETURN (FOO)',
  'LIST "" * RETURN (STATUS)',
  'LIST "" * RETURN (STATUS ())',
  'LIST "" (* ',
  'LIST "" "*',
  'LIST & *',
  'LSUB ""',
  `LIST "" ${'*a'.repeat(2_000)}`,
])('%s is refused', (line) => {
  expect(fault(line)).toBe('BAD');
});

test('the number of patterns is limited', () => {
  expect(fault(`LIST "" (${'a '.repeat(101)})`)).toBe('NO LIMIT');
});
