import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MboxSplitter, type MboxMessage, type MboxQuoting } from '../../src/moving/mbox-splitter.ts';

const FROM = 'From ann@example.org Mon Sep 12 10:00:00 2022';

function split(text: string, options: { quoting?: MboxQuoting; chunkBytes?: number; maxBytes?: number } = {}) {
  const { quoting = 'mboxrd', chunkBytes = 7, maxBytes = 1 << 20 } = options;
  const splitter = new MboxSplitter({ quoting, maxBytes });
  const bytes = Buffer.from(text, 'latin1');
  const messages: MboxMessage[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes)
    messages.push(...splitter.push(bytes.subarray(at, at + chunkBytes)));
  messages.push(...splitter.end());
  return messages;
}
const texts = (messages: readonly MboxMessage[]) => messages.map(({ bytes }) => bytes?.toString('latin1') ?? null);

test('MB1 a message begins after a blank line at a From line with a date, and nowhere else', () => {
  const one = 'Subject: a\n\nFrom here to there\nFrom x Mon Sep 12 10:00:00 2022\nis text\n\nFrom the heart\n';
  const two = 'Subject: b\r\n\r\nbody\r\n';
  const found = split(`${FROM}\n${one}\n${FROM}\r\n${two}\r\n`);
  expect(texts(found)).toEqual([one, two]);
  expect(found.map(({ fromLine }) => fromLine)).toEqual([FROM, FROM]);
  expect(found[1]?.offset).toBe(FROM.length + 2 + one.length);
});

test.for([
  ['From - Thu Jan  1 00:00:00 1970'],
  ['From 1744@xxx Fri Sep 05 14:03:11 +0000 2025'],
  ['From MAILER-DAEMON Fri Jul  8 12:08 2011'],
  ['From "a b"@c.example Tue, 3 Jun 2008 11:05:30 +0200'],
  ['From a@b Mon Sep 12 10:00:00 CEST 2022'],
] as const)('MB1 %s', ([line]) => {
  expect(texts(split(`${line}\nSubject: a\n\na\n\n${line}\nSubject: b\n\nb\n`))).toEqual([
    'Subject: a\n\na\n',
    'Subject: b\n\nb\n',
  ]);
});

test('MB2 a Content-Length that fits is believed, one that does not is ignored', () => {
  const body = `>From quoted\n\n${FROM}\nis content\n`;
  const exact = `Subject: a\nContent-Length: ${String(body.length)}\n\n${body}`;
  const wrong = 'Subject: b\nContent-Length: 9999\n\n>From unquoted\n';
  expect(texts(split(`${FROM}\n${exact}\n${FROM}\n${wrong}\n${FROM}\n${exact}`))).toEqual([
    exact,
    wrong.replace('>', ''),
    exact,
  ]);
});

test.for([
  ['mboxrd', 'From a\n>From b\n>>From c\n> From d\n'],
  ['mboxo', 'From a\n>>From b\n>>>From c\n> From d\n'],
  ['none', '>From a\n>>From b\n>>>From c\n> From d\n'],
] as const)('MB3 quoting %s', ([quoting, expected]) => {
  const text = `${FROM}\nSubject: a\n\n>From a\n>>From b\n>>>From c\n> From d\n\n`;
  expect(texts(split(text, { quoting }))).toEqual([`Subject: a\n\n${expected}`]);
});

test('MB4 a message that is too large is counted, and the next one is found', () => {
  const large = `Subject: l\n\n${'x'.repeat(99)}\n`.repeat(20_000);
  const found = split(`${FROM}\n${large}\n${FROM}\nSubject: b\n\nb\n`, { maxBytes: 10_000, chunkBytes: 65_536 });
  expect(texts(found)).toEqual([null, 'Subject: b\n\nb\n']);
  expect(found[0]?.sizeBytes).toBe(large.length);
});

test('what does not begin with a From line is no mbox; nothing is an mbox of no messages', () => {
  expect(() => split('Subject: a\n\n')).toThrow(SyntaxError);
  expect(split('')).toEqual([]);
});

test('messages that are quoted and joined come apart as they were, however the bytes come', () => {
  const line = fc.constantFrom('From x', '>From y', FROM, '', 'text', '>>From', 'From', 'Content-Length: 3', '\r');
  const message = fc.array(line, { maxLength: 8 }).map((lines) => `Subject: s\n\n${lines.join('\n')}\n`);
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 200 }),
      (messages, chunkBytes) => {
        const mbox = messages.map((text) => `${FROM}\n${text.replaceAll(/^(>*From )/gm, '>$1')}\n`).join('');
        expect(texts(split(mbox, { chunkBytes }))).toEqual(messages);
      },
    ),
    { numRuns: 300 },
  );
});
