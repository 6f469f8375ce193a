import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeCharset, decodeTransfer, TransferDecoder, transferEncoding } from '../../src/mime/decode.ts';

const base64 = (text: string): string => decodeTransfer(Buffer.from(text, 'latin1'), 'base64').toString('latin1');
const quoted = (text: string): string =>
  decodeTransfer(Buffer.from(text, 'latin1'), 'quoted-printable').toString('latin1');

test.for([
  ['7bit', 'identity'],
  [' BINARY', 'identity'],
  ['Base64', 'base64'],
  ['Quoted-Printable', 'quoted-printable'],
  ['8-bit', null],
  ['x-uuencode', null],
] as const)('the encoding %s', ([written, expected]) => {
  expect(transferEncoding(written)).toBe(expected);
});

test.for([
  ['plain', 'YWJj', 'abc'],
  ['lines', 'YW\r\nJj\r\n', 'abc'],
  ['padding', 'YWI=', 'ab'],
  ['padding within', 'YWI=YWI=', 'abab'],
  ['no padding', 'YWI', 'ab'],
  ['garbage within', 'Y!W\0J\xffj', 'abc'],
  ['a digit too many', 'YWJjZ', 'abc'],
  ['nothing', '', ''],
] as const)('D1 base64: %s', ([, text, expected]) => {
  expect(base64(text)).toBe(expected);
});

test.for([
  ['escapes in either case', '=3D=3d=FF', '==\xff'],
  ['soft line ends', 'a=\r\nb=\nc= \t\r\nd', 'abcd'],
  ['a soft line end at the end', 'a=', 'a'],
  ['white space at line ends is dropped, within lines kept', 'a b \t\r\nc ', 'a b\r\nc'],
  ['escaped white space is kept', 'a=20\r\n', 'a \r\n'],
  ['bad escapes stay', '=zz=4=', '=zz=4'],
  ['8-bit bytes stay', '\xe4=E4', '\xe4\xe4'],
] as const)('D1 quoted-printable: %s', ([, text, expected]) => {
  expect(quoted(text)).toBe(expected);
});

describe('streams', () => {
  test.for(['identity', 'base64', 'quoted-printable'] as const)(
    'D2 D3 %s: any cut gives the same, never longer',
    (encoding) => {
      const piece = fc.constantFrom(
        'YWJj',
        'Y',
        '=',
        '==',
        '=4',
        '=41',
        '=\r\n',
        '\r\n',
        '\n',
        '\r',
        ' ',
        '\t',
        '\xff',
        'ab',
      );
      fc.assert(
        fc.property(fc.array(piece, { maxLength: 30 }), fc.integer({ min: 1, max: 5 }), (pieces, size) => {
          const raw = Buffer.from(pieces.join(''), 'latin1');
          const decoder = new TransferDecoder(encoding);
          const out: Buffer[] = [];
          for (let at = 0; at < raw.length; at += size)
            out.push(Buffer.from(decoder.push(raw.subarray(at, at + size))));
          out.push(decoder.end());
          expect(Buffer.concat(out)).toEqual(decodeTransfer(raw, encoding));
          expect(Buffer.concat(out).length).toBeLessThanOrEqual(raw.length);
        }),
        { numRuns: 1000 },
      );
    },
  );

  test('D2 a line without end is decoded as it comes', () => {
    const decoder = new TransferDecoder('quoted-printable');
    const chunk = Buffer.from('=41'.repeat(10_000));
    const sizes = Array.from({ length: 20 }, () => decoder.push(chunk).length);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeGreaterThan(170_000);
    expect(decoder.end().length).toBeLessThan(30_000);
  });

  test('round trips', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const escaped = Array.from(bytes, (byte) => `=${byte.toString(16).padStart(2, '0')}`).join('');
        expect(quoted(escaped)).toBe(Buffer.from(bytes).toString('latin1'));
        expect(base64(Buffer.from(bytes).toString('base64'))).toBe(Buffer.from(bytes).toString('latin1'));
      }),
    );
  });
});

test.for([
  ['utf-8', 'c3a4e282ac', 'ä€'],
  [' UTF-8 ', 'c3a4', 'ä'],
  ['iso-8859-1', 'e4', 'ä'],
  ['iso-8859-15', 'a4', '€'],
  ['koi8-r', 'c6', 'ф'],
  ['shift_jis', '93fa967b', '日本'],
  ['iso-2022-jp', '1b2442467c4b5c1b2842', '日本'],
  ['gb18030', 'c4e3', '你'],
  ['euc-kr', 'b0a1', '가'],
  ['utf-7', '2b414f512d', 'ä'],
  ['cp850', '84', 'ä'],
  ['utf-16', '00e40041', 'äA'],
  ['utf-16', 'fffee4004100', 'äA'],
  ['utf-16le', 'e400', 'ä'],
  [null, 'c3a4', 'ä'],
  [null, 'e4', 'ä'],
  ['us-ascii', 'c3a4', 'ä'],
  ['no-such-charset', 'e4', 'ä'],
  ['utf-8', 'e441', '�A'],
  ['iso-2022-jp', 'c6fccbdc', '日本'],
] as const)('charset %s %s', ([charset, hex, expected]) => {
  expect(decodeCharset(Buffer.from(hex, 'hex'), charset)).toBe(expected);
});

test('D1 no charset name and no bytes throw', () => {
  const name = fc.oneof(fc.string(), fc.constantFrom('utf-7', 'utf-16', 'utf-32', 'replacement', 'hex', 'base64', 'x-user-defined', 'gbk', 'internal')); // prettier-ignore
  fc.assert(
    fc.property(name, fc.uint8Array({ maxLength: 50 }), (charset, bytes) => {
      expect(typeof decodeCharset(bytes, charset)).toBe('string');
    }),
  );
});
