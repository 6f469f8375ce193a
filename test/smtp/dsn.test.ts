import { expect, test } from 'vitest';
import { parseEnvelopeId, parseNotify, parseOriginalRecipient, parseReturn } from '../../src/smtp/dsn.ts';

// RFC 3461 §4.1
test.for([
  ['NEVER', []],
  ['never', []],
  ['SUCCESS,FAILURE,DELAY', ['success', 'failure', 'delay']],
  ['Delay', ['delay']],
  ['NEVER,SUCCESS', null],
  ['SUCCESS,SUCCESS', null],
  ['', null],
  ['SUCCESS,', null],
  ['constructor', null],
] as const)('DP2 NOTIFY=%s', ([value, expected]) => {
  expect(parseNotify(value)).toEqual(expected);
});

// RFC 3461 §4.2, §4
test.for([
  ['rfc822;anna@example.org', 'rfc822;anna@example.org'],
  ['rfc822;a+2Bb+3D@example.org', 'rfc822;a+b=@example.org'],
  ['utf-8;j\\x{F6}rg@example.org', 'utf-8;j\\x{F6}rg@example.org'],
  ['anna@example.org', null],
  [';anna@example.org', null],
  ['rfc822;', null],
  ['rfc822;a+2b', null], // hex digits are in upper case
  ['rfc822;a+', null],
  ['rfc822;a=b', null],
  ['rfc822;a+0Ab', null], // a line end
  [`rfc822;${'a'.repeat(500)}`, null],
] as const)('DP1 DP2 ORCPT=%s', ([value, expected]) => {
  expect(parseOriginalRecipient(value)).toBe(expected);
});

test('DP1 DP2 ENVID and RET', () => {
  expect([parseEnvelopeId('QQ+2B1'), parseEnvelopeId('a'.repeat(101)), parseEnvelopeId('+00')]).toEqual([
    'QQ+1',
    null,
    null,
  ]);
  expect([parseReturn('full'), parseReturn('HDRS'), parseReturn('headers')]).toEqual(['full', 'headers', null]);
});
