import { expect, test } from 'vitest';
import { SyntaxFault } from '../../../../src/imap/proto/codes.ts';
import {
  parseAppendNext,
  parseAppendStart,
  type AppendStart,
  type AppendWant,
} from '../../../../src/imap/proto/commands/append.ts';
import type { CommandText } from '../../../../src/imap/proto/lexer.ts';
import { frame } from '../parse.ts';

const none = { flags: [], internalDate: null };
const text = (line: string): CommandText => ({ text: line, literals: [] });
const context = { utf8: false };
const begin = (item: object = {}): object => ({ kind: 'begin', item: { ...none, ...item } });
const start = (line: string): AppendStart => {
  const { name, args } = frame(line);
  return parseAppendStart({ name, args, isWhole: false }, context);
};

test.for([
  ['APPEND saved-messages {5}', 'saved-messages', {}],
  ['APPEND saved-messages (\\Seen) {5+}', 'saved-messages', { flags: ['\\Seen'] }],
  ['APPEND "a b" () {5+}', 'a b', {}],
  ['APPEND {5+}\r\ninbox (\\seen \\SEEN $Junk $junk) {5+}', 'INBOX', { flags: ['\\Seen', '$Junk'] }],
  [
    'APPEND x "17-Jul-1996 02:44:25 -0700" {5+}',
    'x',
    { internalDate: { atMs: Date.UTC(1996, 6, 17, 9, 44, 25), zoneMinutes: -420 } },
  ],
  [
    'APPEND x (\\Draft) " 1-jan-2026 23:59:60 +0530" {5+}',
    'x',
    { flags: ['\\Draft'], internalDate: { atMs: Date.UTC(2026, 0, 1, 18, 30, 0), zoneMinutes: 330 } },
  ],
  [
    'APPEND x " 7-Feb-0050 00:00:00 +0000" {5+}',
    'x',
    { internalDate: { atMs: Date.parse('0050-02-07T00:00:00Z'), zoneMinutes: 0 } },
  ],
] as const)('%s', ([line, folder, expected]) => {
  expect(start(line)).toEqual({ folder, replaced: null, piece: { steps: [begin(expected)], wants: 'message' } });
});

test.for([
  'APPEND x (\\Recent) {5}',
  'APPEND x (\\Foo) {5}',
  'APPEND x "17-Jul-1996" {5}',
  'APPEND x "30-Feb-2026 00:00:00 +0000" {5}',
  'APPEND x "01-Jan-2026 24:00:00 +0000" {5}',
  'APPEND x "01-Jan-2026 00:00:00 UTC" {5}',
  'APPEND x (\\Seen {5}',
  'APPEND x y {5}',
  'APPEND x "01-Jan-2026 00:00:00 +0000" (\\Seen) {5}',
  `APPEND x (${'k'.repeat(65)}) {5}`,
  'APPEND &AGE- {5}',
  'APPEND x(\\Seen) {5}',
])('%s is refused', (line) => {
  expect(() => start(line)).toThrow(SyntaxFault);
});

test('I7 the number of flags is limited', () => {
  const flags = Array.from({ length: 257 }, (_, at) => `k${String(at)}`).join(' ');
  expect(() => parseAppendStart({ name: 'APPEND', args: text(` x (${flags}) `), isWhole: false }, context)).toThrow(
    'too long',
  );
});

test.for<[string, AppendWant, boolean, unknown]>([
  [' (\\Seen) ', 'message', false, { steps: [begin({ flags: ['\\Seen'] })], wants: 'message' }],
  [') UTF8 (', 'utf8-message', false, { steps: [begin()], wants: 'utf8-message' }],
  ['', 'message', true, { steps: [], wants: 'end' }],
  [')', 'utf8-message', true, { steps: [], wants: 'end' }],
  [' URL "/a/;UID=1" TEXT ', 'text', false, { steps: [{ kind: 'url', url: '/a/;UID=1' }], wants: 'text' }],
  [' URL ', 'url', false, { steps: [], wants: 'url' }],
  [')', 'text', true, { steps: [{ kind: 'finish' }], wants: 'end' }],
  [
    ' CATENATE (URL "u")',
    'message',
    true,
    { steps: [begin(), { kind: 'url', url: 'u' }, { kind: 'finish' }], wants: 'end' },
  ],
  [') CATENATE (TEXT ', 'url', false, { steps: [{ kind: 'finish' }, begin()], wants: 'text' }],
])('after a literal %j (%s)', ([piece, after, isWhole, expected]) => {
  expect(parseAppendNext(text(piece), { after, isWhole })).toEqual(expected);
});

test.for<[string, AppendWant, boolean]>([
  ['', 'utf8-message', true],
  [') x', 'utf8-message', true],
  [' x', 'message', true],
  ['', 'message', false],
  ['', 'text', true],
  [' TEXT "x")', 'text', true],
  [' URL)', 'text', true],
  [' NOSUCH "x")', 'text', true],
  ['URL "u")', 'text', true],
  [' CATENATE ()', 'message', true],
  [' CATENATE (URL "u"', 'message', true],
])('after a literal %j (%s) is refused', ([piece, after, isWhole]) => {
  expect(() => parseAppendNext(text(piece), { after, isWhole })).toThrow(SyntaxFault);
});

/** RFC 8508 §3.2, §3.3. */
test('REPLACE names a message first', () => {
  const piece = { steps: [begin()], wants: 'message' };
  expect(start('REPLACE 4 Drafts {5}')).toEqual({ folder: 'Drafts', replaced: { byUid: false, number: 4 }, piece });
  expect(start('UID replace * {6+}\r\nDrafts {5}')).toEqual({
    folder: 'Drafts',
    replaced: { byUid: true, number: null },
    piece,
  });
  for (const line of ['REPLACE 0 x {5}', 'REPLACE 1:2 x {5}', 'REPLACE x {5}'])
    expect(() => start(line)).toThrow(SyntaxFault);
});
