import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DataEncoder } from '../../src/outbound/message-data.ts';

/** `message` in `pieces`, as it goes over the wire. */
function sent(...pieces: readonly string[]): string {
  const encoder = new DataEncoder();
  const out = pieces.map((piece) => encoder.push(Buffer.from(piece, 'latin1')));
  return Buffer.concat([...out, encoder.end()]).toString('latin1');
}

/** What a server reads that knows CRLF only: the message, and what it would take for commands after it. */
function received(wire: string): { message: string; after: string } {
  const lines = wire.split('\r\n');
  const end = lines.indexOf('.');
  const unstuffed = lines.slice(0, end).map((line) => (line.startsWith('.') ? line.slice(1) : line));
  return { message: unstuffed.map((line) => `${line}\r\n`).join(''), after: lines.slice(end + 1).join('\r\n') };
}

const normalised = (text: string): string => {
  const lines = text.replaceAll(/\r\n|\r|\n/g, '\r\n');
  return lines === '' || lines.endsWith('\r\n') ? lines : `${lines}\r\n`;
};

const TRICKS = [
  '\n.\n',
  '\n.\r\n',
  '\r\n.\n',
  '\r.\r',
  '\r.\r\n',
  '\r\n.\r',
  '\n.\r',
  '\r\n.\r\n',
  '\r\n\0.\r\n',
  '\r\n.\0\r\n',
  '\r\r\n.\r\r\n',
  '\r\n..\r\n',
];
const messageWith = (trick: string): string => `Subject: x\r\n\r\nbody${trick}MAIL FROM:<evil@example.org>\r\n`;

test.for(TRICKS)('S2 P9 MD1 MD2 %j stays inside its message at every split', (trick) => {
  const message = messageWith(trick);
  for (let at = 0; at <= message.length; at += 1) {
    for (let then = at; then <= message.length; then += 1) {
      const wire = sent(message.slice(0, at), message.slice(at, then), message.slice(then));
      expect(received(wire)).toEqual({ message: normalised(message), after: '' });
      expect(wire).not.toMatch(/[^\r]\n|\r(?!\n)/);
    }
  }
});

test('MD3 a message that follows the rules is not changed but for dots', () => {
  const message = 'A: b\r\n\r\nline\r\n\r\nend\r\n';
  expect(sent(message)).toBe(`${message}.\r\n`);
  expect(sent('.\r\n.a\r\n')).toBe('..\r\n..a\r\n.\r\n');
  expect(sent('')).toBe('.\r\n');
  expect(sent('a')).toBe('a\r\n.\r\n');
  expect(sent('a\r')).toBe('a\r\n.\r\n');
});

test('MD1 MD2 any text in any pieces arrives as one message with whole line ends', () => {
  const text = fc
    .array(fc.constantFrom('\r', '\n', '.', 'a', '\r\n', '\0'), { maxLength: 30 })
    .map((all) => all.join(''));
  fc.assert(
    fc.property(fc.array(text, { maxLength: 5 }), (pieces) => {
      const wire = sent(...pieces);
      expect(received(wire)).toEqual({ message: normalised(pieces.join('')), after: '' });
      expect(wire).not.toMatch(/(?<!\r)\n|\r(?!\n)/);
    }),
    { numRuns: 2000, seed: 7 },
  );
});

test('a megabyte of bare LFs takes no time to speak of', () => {
  const started = performance.now();
  new DataEncoder().push(Buffer.alloc(1024 * 1024, 'a\n'));
  new DataEncoder().push(Buffer.alloc(1024 * 1024, 'a\r'));
  expect(performance.now() - started).toBeLessThan(10_000);
});
