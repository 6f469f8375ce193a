import { expect, test } from 'vitest';
import { SyntaxFault } from '../../../../src/imap/proto/codes.ts';
import { decodeSaslLine } from '../../../../src/imap/proto/commands/login.ts';
import { fault, parse } from '../parse.ts';

test.for([
  ['LOGIN fred blurdybloop', 'fred', 'blurdybloop'],
  ['LOGIN "fred@example.com" "a b\\"c\\\\d"', 'fred@example.com', 'a b"c\\d'],
  ['LOGIN {4+}\r\nfred {5+}\r\np\r\nw)', 'fred', 'p\r\nw)'],
  ['LOGIN fred ""', 'fred', ''],
  ['LOGIN fred p]w', 'fred', 'p]w'],
  ['LOGIN "fred" "p\u00c3\u00a4ss"', 'fred', 'p\u00e4ss'],
  ['LOGIN  fred  pw ', 'fred', 'pw'],
] as const)('%j', ([line, user, password]) => {
  expect(parse(line)).toEqual({ kind: 'login', user, password });
});

test.for([
  'LOGIN',
  'LOGIN fred',
  'LOGIN fred pw x',
  'LOGIN (a) b',
  'LOGIN "fred pw',
  'LOGIN fred p"w',
  'LOGIN fred "\u00e4"',
  'LOGIN fred {1+}\r\n\0',
  'LOGIN a{1+}\r\nb c',
])('%j is refused', (line) => {
  expect(fault(line)).toBe('BAD');
});

test('AUTHENTICATE with and without an initial response', () => {
  expect(parse('AUTHENTICATE plain')).toEqual({ kind: 'authenticate', mechanism: 'PLAIN', initialResponse: null });
  expect(parse('AUTHENTICATE PLAIN =')).toEqual({
    kind: 'authenticate',
    mechanism: 'PLAIN',
    initialResponse: Buffer.alloc(0),
  });
  expect(parse('AUTHENTICATE PLAIN AGEAYg==')).toEqual({
    kind: 'authenticate',
    mechanism: 'PLAIN',
    initialResponse: Buffer.from('\0a\0b'),
  });
});

test.for([
  'AUTHENTICATE',
  'AUTHENTICATE PLAIN !!!',
  'AUTHENTICATE PLAIN AGEAYg',
  'AUTHENTICATE PLAIN AGEAYh==',
  'AUTHENTICATE PLAIN AA== x',
  'AUTHENTICATE "PLAIN"',
])('%s is refused', (line) => {
  expect(fault(line)).toBe('BAD');
});

test('the answer to a challenge', () => {
  expect(decodeSaslLine('AGEAYg==')).toEqual(Buffer.from('\0a\0b'));
  expect(decodeSaslLine('')).toEqual(Buffer.alloc(0));
  expect(decodeSaslLine('*')).toBeNull();
  for (const bad of ['**', 'A', '====', 'AA==\0', 'A A=', '\u00e9'])
    expect(() => decodeSaslLine(bad)).toThrow(SyntaxFault);
});
