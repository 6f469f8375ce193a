import { expect, test } from 'vitest';
import { dateOf, headerText, notMail, withCrlf } from '../../src/moving/message-text.ts';

test.for([
  ['A: b\n\nc\n', 'A: b\r\n\r\nc\r\n'],
  ['A: b\r\n\r\nc\n', 'A: b\r\n\r\nc\n'], // kept with CRLF: left as it is
  ['A: b\nC: d\r\n\n', 'A: b\r\nC: d\r\n\r\n'],
  ['\nbody\n', '\r\nbody\r\n'],
  ['no line end', 'no line end'],
] as const)('line ends of %j', ([given, expected]) => {
  expect(withCrlf(Buffer.from(given)).toString()).toBe(expected);
});

test.for([
  ['A: b\r\n\r\n', null],
  ['\r\nbody\r\n', null],
  ['', 'it is empty'],
  ['hello there\r\n', 'it does not begin with header fields'],
  ['\x00\x01\x02', 'it is no text'],
] as const)('%j is mail: %s', ([text, reason]) => {
  expect(notMail(Buffer.from(text))).toBe(reason);
});

test('the date of the newest Received field counts, then that of Date', () => {
  const date = 'Date: Mon, 1 Jan 2024 09:00:00 +0000\r\n';
  const received =
    'Received: by b; Tue, 2 Jan 2024 10:00:00 +0100\r\nReceived: by a; Mon, 1 Jan 2024 09:30:00 +0000\r\n';
  const of = (text: string) => dateOf(headerText(Buffer.from(`${text}\r\n`)))?.atMs;
  expect(of(received + date)).toBe(Date.UTC(2024, 0, 2, 9));
  expect(of(`Received: nonsense\r\n${date}`)).toBe(Date.UTC(2024, 0, 1, 9));
  expect(of('Subject: s\r\n')).toBeUndefined();
});
