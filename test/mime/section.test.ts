import { expect, test } from 'vitest';
import { filterHeader } from '../../src/mime/headers.ts';
import { scanMessage } from '../../src/mime/scan.ts';
import { findPart, resolveSection, type SectionSpec } from '../../src/mime/section.ts';

const INNER = 'Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nfirst\r\n--i\r\nContent-Type: text/html\r\n\r\nsecond\r\n--i--\r\n'; // prettier-ignore
const MIXED = `Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-ID: <1>\r\n\r\none\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n${INNER}\r\n--o--\r\n`; // prettier-ignore
const PLAIN = 'Subject: s\r\n\r\nbody\r\n';
const TOP_MESSAGE = `Content-Type: message/rfc822\r\n\r\n${PLAIN}`;

function section(text: string, kind: 'all' | 'header' | 'text' | 'mime', ...part: number[]): string | null {
  const range = resolveSection(scanMessage(Buffer.from(text)), { kind, part });
  return range && text.slice(range.start, range.end);
}

test.for([
  ['BODY[]', MIXED, 'all', [], MIXED],
  ['HEADER', PLAIN, 'header', [], 'Subject: s\r\n\r\n'],
  ['TEXT', PLAIN, 'text', [], 'body\r\n'],
  ['1 of a message that is no multipart', PLAIN, 'all', [1], 'body\r\n'],
  ['1.MIME of such', PLAIN, 'mime', [1], 'Subject: s\r\n\r\n'],
  ['1.1 of such', PLAIN, 'all', [1, 1], null],
  ['2 of such', PLAIN, 'all', [2], null],
  ['MIME without a part', PLAIN, 'mime', [], null],
  ['1', MIXED, 'all', [1], 'one'],
  ['1.MIME', MIXED, 'mime', [1], 'Content-ID: <1>\r\n\r\n'],
  ['1.HEADER of a part that is no message', MIXED, 'header', [1], null],
  ['1.TEXT of such', MIXED, 'text', [1], null],
  ['2', MIXED, 'all', [2], INNER],
  ['2.MIME', MIXED, 'mime', [2], 'Content-Type: message/rfc822\r\n\r\n'],
  ['2.HEADER of an embedded message', MIXED, 'header', [2], INNER.slice(0, INNER.indexOf('--i'))],
  ['2.TEXT', MIXED, 'text', [2], INNER.slice(INNER.indexOf('--i'))],
  ['2.1', MIXED, 'all', [2, 1], 'first'],
  ['2.2', MIXED, 'all', [2, 2], 'second'],
  ['2.2.MIME', MIXED, 'mime', [2, 2], 'Content-Type: text/html\r\n\r\n'],
  ['2.3', MIXED, 'all', [2, 3], null],
  ['3', MIXED, 'all', [3], null],
  ['0', MIXED, 'all', [0], null],
  ['1 of a message that is a message', TOP_MESSAGE, 'all', [1], PLAIN],
  ['1.HEADER of such', TOP_MESSAGE, 'header', [1], 'Subject: s\r\n\r\n'],
  ['1.1 of such', TOP_MESSAGE, 'all', [1, 1], 'body\r\n'],
  ['1.1.MIME of such', TOP_MESSAGE, 'mime', [1, 1], 'Subject: s\r\n\r\n'],
  ['1 of a multipart without parts', 'Content-Type: multipart/mixed; boundary=b\r\n\r\nx', 'all', [1], ''],
  ['2 of such', 'Content-Type: multipart/mixed; boundary=b\r\n\r\nx', 'all', [2], null],
] as const)('RFC 9051 §6.4.5: %s', ([, text, kind, part, expected]) => {
  expect(section(text, kind, ...part)).toBe(expected);
});

test('a part is found by its numbers', () => {
  const { root } = scanMessage(Buffer.from(MIXED));
  expect(findPart(root, [2, 2])?.subtype).toBe('html');
  expect(findPart(root, [])).toBeNull();
});

test.for([
  [
    'fields in any case, in their order, byte for byte',
    'A: 1\r\nb : 2\r\n folded\r\nC: 3\r\nA: 4\r\n\r\n',
    ['B', 'a'],
    'A: 1\r\nb : 2\r\n folded\r\nA: 4\r\n\r\n',
    'C: 3\r\n\r\n',
  ],
  ['none of them', 'A: 1\r\n\r\n', ['x'], '\r\n', 'A: 1\r\n\r\n'],
  ['bare LF stays', 'A: 1\nB: 2\n\n', ['a'], 'A: 1\n\r\n', 'B: 2\n\r\n'],
  ['a last line without line end', 'A: 1\r\nB: 2', ['b'], 'B: 2\r\n\r\n', 'A: 1\r\n\r\n'],
  ['junk is no field', 'junk\r\nA: 1\r\n\r\n', ['junk', ''], '\r\n', 'junk\r\nA: 1\r\n\r\n'],
  ['8-bit bytes', 'A: \xff\0\r\n\r\n', ['a'], 'A: \xff\0\r\n\r\n', '\r\n'],
] as const)('header filter: %s', ([, block, fields, only, allBut]) => {
  const filtered = (kind: 'only' | 'all-but'): string =>
    filterHeader(Buffer.from(block, 'latin1'), { kind, fields }).toString('latin1');
  expect([filtered('only'), filtered('all-but')]).toEqual([only, allBut]);
});

test('header-fields sections resolve to the header block to be filtered', () => {
  const spec: SectionSpec = { kind: 'header-fields', part: [2], fields: ['Subject'] };
  const range = resolveSection(scanMessage(Buffer.from(MIXED)), spec);
  expect(range && MIXED.slice(range.start, range.end)).toBe(section(MIXED, 'header', 2));
});
