import { expect, test } from 'vitest';
import { SyntaxFault } from '../../../../src/imap/proto/codes.ts';
import { parseAppendEnd, parseAppendNext, parseAppendStart } from '../../../../src/imap/proto/commands/append.ts';
import type { CommandText } from '../../../../src/imap/proto/lexer.ts';
import { frame } from '../parse.ts';

const none = { flags: [], internalDate: null, isUtf8: false };
const text = (line: string): CommandText => ({ text: line, literals: [] });
const context = { utf8: false };

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
  ['APPEND x UTF8 (~{5+}', 'x', { isUtf8: true }],
] as const)('%s', ([line, folder, expected]) => {
  expect(parseAppendStart(frame(line).args, context)).toEqual({ folder, first: { ...none, ...expected } });
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
  expect(() => parseAppendStart(frame(line).args, context)).toThrow(SyntaxFault);
});

test('I7 the number of flags is limited', () => {
  const flags = Array.from({ length: 257 }, (_, at) => `k${String(at)}`).join(' ');
  expect(() => parseAppendStart(text(` x (${flags}) `), context)).toThrow('too long');
});

test('what follows a literal: another message (RFC 3502) or the end', () => {
  expect(parseAppendNext(text(' (\\Seen) '), none)).toEqual({ ...none, flags: ['\\Seen'] });
  expect(parseAppendNext(text(') UTF8 ('), { ...none, isUtf8: true })).toEqual({ ...none, isUtf8: true });
  expect(() => parseAppendNext(text('(\\Seen) '), none)).toThrow(SyntaxFault);
  parseAppendEnd(text(''), none);
  parseAppendEnd(text(' '), none);
  parseAppendEnd(text(')'), { ...none, isUtf8: true });
  expect(() => {
    parseAppendEnd(text(')'), none);
  }).toThrow(SyntaxFault);
  expect(() => {
    parseAppendEnd(text(''), { ...none, isUtf8: true });
  }).toThrow(SyntaxFault);
  expect(() => {
    parseAppendEnd(text(' x'), none);
  }).toThrow(SyntaxFault);
});
