import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DataDecoder } from '../../src/smtp/data-decoder.ts';

function decode(pieces: readonly (string | Buffer)[]) {
  const decoder = new DataDecoder();
  const content: Buffer[] = [];
  let rest: string | null = null;
  for (const piece of pieces) {
    const bytes = Buffer.from(piece as string, 'latin1');
    if (rest !== null) {
      rest += bytes.toString('latin1');
      continue;
    }
    const decoded = decoder.push(bytes);
    content.push(...decoded.content.map((part) => Buffer.from(part)));
    if (decoded.endOffset !== null) rest = bytes.subarray(decoded.endOffset).toString('latin1');
  }
  return { content: Buffer.concat(content).toString('latin1'), rest, bare: decoder.hasBareNewlines };
}

const CASES: readonly (readonly [string, string, string, boolean])[] = [
  ['empty', '.\r\n', '', false],
  ['plain', 'a\r\nb\r\n.\r\n', 'a\r\nb\r\n', false],
  ['stuffed', '..a\r\n...\r\n.\r\n', '.a\r\n..\r\n', false],
  ['a lone stuffed dot', '..\r\n.\r\n', '.\r\n', false],
  ['an unstuffed dot loses it, RFC 5321 §4.5.2', '.a\r\n.\r\n', 'a\r\n', false],
  ['C2 bare LF', 'a\nb\r\n.\r\n', 'a\r\nb\r\n', true],
  ['C3 a dot after bare LF', 'a\n.b\n..c\r\n.\r\n', 'a\r\n.b\r\n..c\r\n', true],
  ['C2 bare CR', 'a\rb\r\n.\r\n', 'a\r\nb\r\n', true],
  ['C3 a dot after bare CR', 'a\r.\r\n.\r\n', 'a\r\n.\r\n', true],
  ['C2 CRCRLF', 'a\r\r\nb\r\n.\r\n', 'a\r\nb\r\n', true],
  ['C2 empty lines of bare CRs', 'a\r\rb\r\r\rc\r\r\r\n.\r\n', 'a\r\n\r\nb\r\n\r\n\r\nc\r\n\r\n', true],
  ['C1 LF . LF', 'a\n.\nb\r\n.\r\n', 'a\r\n.\r\nb\r\n', true],
  ['C1 LF . CRLF', 'a\n.\r\nb\r\n.\r\n', 'a\r\n.\r\nb\r\n', true],
  ['C1 CRLF . LF', 'a\r\n.\nb\r\n.\r\n', 'a\r\n\r\nb\r\n', true],
  ['C1 CRLF . CR', 'a\r\n.\rb\r\n.\r\n', 'a\r\n\r\nb\r\n', true],
  ['C1 CRLF . CR CRLF', 'a\r\n.\r\r\nb\r\n.\r\n', 'a\r\n\r\nb\r\n', true],
  ['C1 CR . CR', 'a\r.\rb\r\n.\r\n', 'a\r\n.\r\nb\r\n', true],
  ['C1 NUL in the mark', 'a\r\n.\0\r\nb\r\n\0.\r\n.\r\n', 'a\r\n\0\r\nb\r\n\0.\r\n', false],
  ['a CR at the start', '\r\n.\r\n', '\r\n', false],
];

describe.each(CASES)('%s', (_name, wire, content, bare) => {
  const rest = 'MAIL FROM:<x>\r\n';
  const expected = { content, rest, bare };

  test('at once, and cut at every byte', () => {
    expect(decode([wire + rest])).toEqual(expected);
    for (let at = 1; at < wire.length + 3; at += 1) {
      const pieces = [(wire + rest).slice(0, at), (wire + rest).slice(at)];
      expect(decode(pieces), `cut at ${String(at)}`).toEqual(expected);
    }
    expect(decode([...(wire + rest)])).toEqual(expected);
  });
});

const lineText = fc.string({ unit: fc.constantFrom('.', 'a', ' ', '\0', '\xff'), maxLength: 6 });

test('any message that is stuffed comes back as it was, however it is cut', () => {
  fc.assert(
    fc.property(fc.array(lineText, { maxLength: 12 }), fc.array(fc.nat(80), { maxLength: 6 }), (lines, cuts) => {
      const message = lines.map((line) => `${line}\r\n`).join('');
      const wire = `${message.replaceAll(/^\./gm, '..')}.\r\n`;
      const offsets = [0, ...cuts.filter((cut) => cut < wire.length).sort((a, b) => a - b), wire.length];
      const pieces = offsets.slice(1).map((end, index) => wire.slice(offsets[index], end));
      expect(decode(pieces)).toEqual({ content: message, rest: '', bare: false });
    }),
  );
});

test('C1 C2 whatever comes: cutting changes nothing, only CRLF.CRLF ends it, no bare CR or LF comes out', () => {
  const anything = fc.string({ unit: fc.constantFrom('\r', '\n', '.', 'a', '\r\n', '\r\n.'), maxLength: 24 });
  fc.assert(
    fc.property(anything, (wire) => {
      const whole = decode([wire]);
      expect(decode([...wire])).toEqual(whole);
      expect(whole.content.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
      const end = /(?:^|\r\n)\.\r\n/.exec(wire);
      expect(whole.rest).toBe(end ? wire.slice(end.index + end[0].length) : null);
    }),
    { numRuns: 2000 },
  );
});

test('C4 what needs no change is not copied', () => {
  const piece = Buffer.from('a\r\nb\r\n');
  expect(new DataDecoder().push(piece).content[0]).toBe(piece);
});

test('C4 dots and bare line ends cost no more than text', () => {
  const elapsed = (text: string) => {
    const piece = Buffer.alloc(1 << 20, text);
    const decoder = new DataDecoder();
    decoder.push(piece);
    const startMs = performance.now();
    for (let round = 0; round < 4; round += 1) decoder.push(piece);
    return performance.now() - startMs;
  };
  for (const text of ['..\r\n', '\n', '\r', '\r.']) expect(elapsed(text), JSON.stringify(text)).toBeLessThan(1000);
});
