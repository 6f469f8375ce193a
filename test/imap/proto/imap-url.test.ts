import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseMessageUrl } from '../../../src/imap/proto/imap-url.ts';

const all = { kind: 'all', part: [] };
const none = { uidValidity: null, section: all, partial: null };

/** RFC 5092 §4, §11; the second is the example of RFC 4469 §3. */
test.for([
  ['/INBOX/;UID=20', { ...none, folder: 'INBOX', uid: 20 }],
  ['/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER', { ...none, folder: 'Drafts', uidValidity: 385759045, uid: 20, section: { kind: 'header', part: [] } }],
  ['/a/b%20%C3%A4/;uid=1/;section=1.2.MIME/;partial=5.10', { folder: 'a/b ä', uidValidity: null, uid: 1, section: { kind: 'mime', part: [1, 2] }, partial: { start: 5, count: 10 } }],
  ['/x/;UID=1/;PARTIAL=0', { ...none, folder: 'x', uid: 1, partial: { start: 0, count: null } }],
  [';UID=3', { ...none, folder: '', uid: 3 }],
  ['/;UID=3', { ...none, folder: '', uid: 3 }],
] as const)('%s', ([url, expected]) => {
  expect(parseMessageUrl(url)).toEqual(expected);
}); // prettier-ignore

test.for([
  ['another server', 'imap://u@h/INBOX/;UID=1'],
  ['an authority', '//h/INBOX/;UID=1'],
  ['a folder', '/INBOX'],
  ['no UID', '/INBOX/;UID=0'],
  ['a UID too large', '/INBOX/;UID=4294967296'],
  ['UIDVALIDITY 0', '/INBOX;UIDVALIDITY=0/;UID=1'],
  ['no section', '/INBOX/;UID=1/;SECTION=NOSUCH'],
  ['more than a section', '/INBOX/;UID=1/;SECTION=TEXT]%20x'],
  ['not UTF-8', '/%ff/;UID=1'],
  ['half an escape', '/%/;UID=1'],
  ['a NUL', '/a%00/;UID=1'],
  ['URLAUTH', '/INBOX/;UID=1;URLAUTH=anonymous'],
  ['nothing', ''],
])('%s is none of ours', ([, url]) => {
  expect(parseMessageUrl(url!)).toBeNull();
});

test('no URL throws or takes long', () => {
  const piece = fc.constantFrom(
    '/',
    ';',
    'UID=',
    'SECTION=',
    'PARTIAL=',
    'UIDVALIDITY=',
    '1',
    '.',
    '%',
    '%20',
    '(',
    ')',
    ']',
    '\xff',
    '\r\n',
  );
  fc.assert(fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => void parseMessageUrl(pieces.join(''))));
  for (const hostile of [';UIDVALIDITY=1'.repeat(500), '/'.repeat(8_000), ';UID=1'.repeat(1_300)])
    parseMessageUrl(hostile);
});
