import { expect, test } from 'vitest';
import { fault, parse } from '../parse.ts';

const messages = { kind: 'set', set: { ranges: [{ first: 2, last: 4 }], openFrom: null } };

test.for([
  ['COPY 2:4 MEETING', { kind: 'copy', byUid: false, messages, folder: 'MEETING' }],
  ['MOVE 4:2 "Tr&AOk-sor"', { kind: 'move', byUid: false, messages, folder: 'Trésor' }],
  ['uid copy 2:4 inbox', { kind: 'copy', byUid: true, messages, folder: 'INBOX' }],
  ['UID MOVE $ x', { kind: 'move', byUid: true, messages: { kind: 'saved' }, folder: 'x' }],
] as const)('%s', ([line, expected]) => {
  expect(parse(line)).toEqual(expected);
});

test.for(['COPY', 'COPY 1', 'COPY x y', 'COPY 1 a b', 'MOVE 0 a', 'UID MOVE 1', 'COPY 1 (a)', 'COPY 1 "a'])(
  '%s is refused',
  (line) => {
    expect(fault(line)).toBe('BAD');
  },
);
