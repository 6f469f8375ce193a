import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkHeader, HeaderCollector } from '../../src/smtp/submitted-header.ts';

const DEFAULTS = { sender: 'anna@example.org', nowMs: Date.UTC(2026, 10, 28, 9, 5, 7), uniqueId: 'abc' };
const ADDED = 'Date: Sat, 28 Nov 2026 09:05:07 +0000\r\nMessage-ID: <abc@example.org>\r\n';
const check = (lines: readonly string[]) =>
  checkHeader(Buffer.from(lines.map((line) => `${line}\r\n`).join('')), DEFAULTS);
const mended = (...lines: string[]) => check(lines)?.bytes.toString();
const FULL = ['From: Anna <anna@example.org>', 'Date: today', 'Message-ID: <1@x>'];

test('SH2 a header that has everything stays byte for byte', () => {
  const lines = [...FULL, 'Subject: a', ' folded', 'X-Odd:\tvalue ', 'To: undisclosed:;'];
  expect(mended(...lines)).toBe(`${lines.join('\r\n')}\r\n\r\n`);
});

test('SH2 Date, Message-ID and From are added; Bcc and Return-Path are taken out, in any spelling', () => {
  expect(mended('From: anna@example.org')).toBe(`${ADDED}From: anna@example.org\r\n\r\n`);
  expect(mended('Subject: x')).toBe(`${ADDED}From: <anna@example.org>\r\nSubject: x\r\n\r\n`);
  expect(mended()).toBe(`${ADDED}From: <anna@example.org>\r\n\r\n`);
  const hidden = [
    'BCC : a@b.example,',
    '\tc@d.example',
    'bcc:',
    'Resent-Bcc: x@y.example',
    'Return-Path: <x@y.example>',
  ];
  expect(mended(FULL[0]!, ...hidden, ...FULL.slice(1))).toBe(`${FULL.join('\r\n')}\r\n\r\n`);
});

test('SH2 text before an empty line that is no header is the start of the body', () => {
  expect(mended('hello there', 'more')).toBe(`${ADDED}From: <anna@example.org>\r\n\r\nhello there\r\nmore\r\n\r\n`);
  expect(mended(...FULL, 'no field', 'Bcc: hidden@x.example')).toBe(
    `${FULL.join('\r\n')}\r\n\r\nno field\r\nBcc: hidden@x.example\r\n\r\n`,
  );
});

// One row: fields, and the authors that the login must own; null: refused.
test.for([
  [['From: anna@example.org'], ['anna@example.org']],
  [['From: "A, B" <anna@example.org>, bob@example.org'], ['anna@example.org', 'bob@example.org']],
  [
    ['From: anna@example.org', 'Sender: eve@example.org'],
    ['anna@example.org', 'eve@example.org'],
  ],
  [['from : (c) anna (d) @ example.org'], ['anna@example.org']],
  [['From: "a b"@example.org'], ['"a b"@example.org']],
  [['From: =?utf-8?q?eve=40x?= <anna@example.org>'], ['anna@example.org']],
  [['From: j\u00f6rg@example.org'], ['j\u00f6rg@example.org']],
  [['Subject: none'], ['anna@example.org']],
  [['From: anna@example.org', 'From: eve@example.org'], null], // M5
  [['From: anna@example.org', 'no field', 'FROM: eve@example.org'], null],
  [['From: anna@example.org', 'Sender: a@b.example, c@d.example'], null],
  [['From: anna@example.org', 'Sender: a@b.example', 'Sender: a@b.example'], null],
  [['From:'], null],
  [['From: group: anna@example.org;'], null],
  [['From: undisclosed:;'], null],
  [['From: anna'], null],
  [['From: <>'], null],
  [['From: anna@example.org <eve@example.net'], ['anna@example.org', 'eve@example.net']],
  [['From: anna@example.org <anna@example.org>'], ['anna@example.org']],
  [['From: "eve@example.net" (eve@example.net) <anna@example.org>'], ['anna@example.org']],
  [['From: Anna @ work <anna@example.org>'], ['Anna@work', 'anna@example.org']],
  [[`From: ${'a@b.example,'.repeat(51)}`], null],
] as const)('SH1 %j', ([lines, authors]) => {
  expect(check(lines)?.authors ?? null).toEqual(authors);
});

test.for([
  [['Content-Type: multipart/report; report-type=disposition-notification'], true],
  [['Auto-Submitted: auto-replied'], true],
  [['Auto-Submitted: no'], false],
  [['Content-Type: multipart/reporting'], false],
  [['Subject: multipart/report'], false],
] as const)('a report or automatic answer: %j', ([lines, expected]) => {
  expect(check([...FULL, ...lines])?.isAutomatic).toBe(expected);
});

test('the header is split from the body wherever the pieces are cut', () => {
  const messages = ['\r\nbody', 'A: b\r\n\r\n', 'A: b\r\nC: d\r\n\r\nbody\r\n\r\nmore', 'A: b\r\n e\r\n\r\n\r\n'];
  const expected = [
    ['', 'body'],
    ['A: b\r\n', ''],
    ['A: b\r\nC: d\r\n', 'body\r\n\r\nmore'],
    ['A: b\r\n e\r\n', '\r\n'],
  ];
  const whole = fc.constantFrom(...messages.keys());
  fc.assert(
    fc.property(whole, fc.infiniteStream(fc.integer({ min: 1, max: 4 })), (index, sizes) => {
      const message = messages[index] ?? '';
      const collector = new HeaderCollector();
      let split = null;
      let at = 0;
      while (split === null && at < message.length) {
        const end = at + (sizes.next().value as number);
        split = collector.push(Buffer.from(message.slice(at, end)));
        at = end;
      }
      split ??= collector.end();
      expect([split.header.toString(), `${split.rest.toString()}${message.slice(at)}`]).toEqual(expected[index]);
    }),
  );
});

test('SH3 a header without an end is given up', () => {
  const collector = new HeaderCollector();
  expect(collector.push(Buffer.alloc(1_000_000, 'x'))).toBeNull();
  expect(collector.isTooLarge).toBe(false);
  collector.push(Buffer.alloc(1_000_000, 'x'));
  expect(collector.isTooLarge).toBe(true);
});

test('no header throws, and what is mended has an end', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('\r\n', ':', 'From', ' ', 'a@b.example', '<', '"', '\0', 'é', ',', ';') }),
      (text) => {
        const checked = checkHeader(Buffer.from(text), DEFAULTS);
        if (checked) expect(checked.bytes.includes('\r\n\r\n')).toBe(true);
      },
    ),
  );
});
