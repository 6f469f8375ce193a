import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  parameterValue,
  parseContentType,
  parseDisposition,
  parseLanguages,
  parseTransferEncoding,
} from '../../src/mime/params.ts';

const LIMITS = { parameterCount: 50, continuationCount: 20 };

test.for([
  [
    'text/plain; charset = "utf-8" ; x=y',
    'text',
    'plain',
    [
      ['charset', 'utf-8'],
      ['x', 'y'],
    ],
  ],
  ['TeXt/(c)HtMl (d); Charset(e)=(f)UTF-8', 'TeXt', 'HtMl', [['Charset', 'UTF-8']]],
  ['a/b; name="a\\"b\\\\c; d=e"', 'a', 'b', [['name', 'a"b\\c; d=e']]],
  ['a/b; boundary=a=b/c:d', 'a', 'b', [['boundary', 'a=b/c:d']]],
  ['a/b; x; y=; z=1;', 'a', 'b', [['z', '1']]],
  ['a/b; x="open; y=1', 'a', 'b', []],
] as const)('P1 Content-Type %s', ([value, type, subtype, parameters]) => {
  expect(parseContentType(value, LIMITS)).toEqual({ type, subtype, parameters });
});

test.for(['', 'text', 'text/', '/plain', 'text plain', 'text/plain/x', 'text/plain, x=y', '; a=b'])(
  'P1 %j is no media type',
  (value) => {
    expect(parseContentType(value, LIMITS)).toBeNull();
  },
);

describe('P3 RFC 2231', () => {
  const parametersOf = (value: string): unknown => parseDisposition(`inline${value}`, LIMITS)?.parameters;
  test.for([
    ['; f*0="a"; f*1="b"; f*2=c', [['f', 'abc']]],
    ['; f*2=c; f*0=a; F*1=b', [['f', 'abc']]],
    ['; f*0*=utf-8\'\'%E2%82; f*1*=%AC; f*2=" x"', [['f*', "utf-8''%E2%82%AC x"]]],
    ["; f*=utf-8''%41", [['f*', "utf-8''%41"]]],
    [
      '; f*0=a; f*2=c',
      [
        ['f*0', 'a'],
        ['f*2', 'c'],
      ],
    ],
    [
      '; f*0=a; g=1',
      [
        ['g', '1'],
        ['f', 'a'],
      ],
    ],
  ] as const)('%s', ([value, expected]) => {
    expect(parametersOf(value)).toEqual(expected);
  });
  test('P2 sections past the limit are left out', () => {
    const sections = Array.from({ length: 40 }, (_, place) => `; f*${String(place)}=x`).join('');
    expect(parametersOf(sections)).toEqual([['f', 'x'.repeat(20)]]);
  });
});

test('Content-Disposition without a type keeps its parameters; an empty one is none', () => {
  expect(parseDisposition('; filename=x', LIMITS)).toEqual({ type: '', parameters: [['filename', 'x']] });
  expect(parseDisposition(' ', LIMITS)).toBeNull();
});

test.for([
  ['base64 (a comment)', 'base64'],
  ['BASE64', 'BASE64'],
  ['base64, quoted-printable', null],
  ['7bit;', null],
  ['"7bit"', null],
  ['', null],
] as const)('Content-Transfer-Encoding %s', ([value, expected]) => {
  expect(parseTransferEncoding(value)).toBe(expected);
});

test.for([
  ['en, de-CH,, fr (c)', ['en', 'de-CH', 'fr']],
  ['', null],
  [';;', null],
] as const)('Content-Language %s', ([value, expected]) => {
  expect(parseLanguages(value, 10)).toEqual(expected);
});

test('the first parameter of a name counts, in any case', () => {
  expect(parameterValue([['X', '1'], ['x', '2']], 'x')).toBe('1'); // prettier-ignore
  expect(parameterValue([], 'x')).toBeNull();
});

test('P1 no input throws', () => {
  const token = fc.constantFrom(
    'a',
    '/',
    '=',
    ' ',
    ',',
    ';',
    '*',
    '0',
    '1',
    '(',
    ')',
    '"',
    '\\',
    "'",
    '%',
    '\xff',
    '\0',
  );
  fc.assert(
    fc.property(fc.array(token, { maxLength: 40 }), (tokens) => {
      const value = tokens.join('');
      parseContentType(`a/b;${value}`, LIMITS);
      parseDisposition(value, LIMITS);
      parseTransferEncoding(value);
      expect(parseLanguages(value, 3)?.length ?? 1).toBeLessThanOrEqual(3);
    }),
    { numRuns: 2000 },
  );
});
