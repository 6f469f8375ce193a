import { expect, test } from 'vitest';
import { ReplyFault, ReplyReader, replyText } from '../../src/outbound/reply.ts';

const read = (...pieces: readonly string[]) => {
  const reader = new ReplyReader();
  return pieces.flatMap((piece) => reader.push(Buffer.from(piece)));
};

test('replies of one line and of several, in any pieces', () => {
  const wire = '250-remote.test\r\n250-SIZE 10\r\n250 OK\r\n550 5.1.1 No such user\r\n354\r\n';
  const expected = [
    { code: 250, enhanced: null, lines: ['remote.test', 'SIZE 10', 'OK'] },
    { code: 550, enhanced: '5.1.1', lines: ['5.1.1 No such user'] },
    { code: 354, enhanced: null, lines: [''] },
  ];
  for (let at = 0; at <= wire.length; at += 1) expect(read(wire.slice(0, at), wire.slice(at))).toEqual(expected);
});

test('an enhanced code of another class does not count (RFC 2034 §4)', () => {
  expect(read('250 5.1.1 odd\r\n')).toMatchObject([{ enhanced: null }]);
  expect(read('451 4.7.1 later\r\n')).toMatchObject([{ enhanced: '4.7.1' }]);
});

test.for([
  ['no reply', 'hello\r\n'],
  ['a code that there is not', '199 x\r\n'],
  ['two codes', '250-a\r\n550 b\r\n'],
  ['a long line', `250 ${'x'.repeat(5000)}\r\n`],
  ['a line without end', '2'.repeat(5000)],
  ['many lines', '250-x\r\n'.repeat(300)],
] as const)('RP1 %s is a fault', ([, wire]) => {
  expect(() => read(wire)).toThrow(ReplyFault);
});

test('RP2 the text of a reply is one printable line, and bounded', () => {
  const [reply] = read(`550-5.1.1 no\x1b[31m such\0\r\n550 user${' z'.repeat(900)}\r\n`);
  expect(reply && replyText(reply)).toMatch(/^5\.1\.1 no \[31m such user z/);
  expect(reply && replyText(reply)).toHaveLength(1000);
});
