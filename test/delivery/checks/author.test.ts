import fc from 'fast-check';
import { expect, test } from 'vitest';
import { authorOf } from '../../../src/delivery/checks/author.ts';
import { parseHeaderFields } from '../../../src/mime/headers.ts';

function author(header: string): string {
  const block = Buffer.from(`${header}\r\n`).toString('latin1');
  const found = authorOf(block, parseHeaderFields(block));
  return found.kind === 'known' ? found.domain : found.kind;
}

test.for([
  ['From: ann@example.net', 'example.net'],
  ['From: Ann <ann@Example.NET>', 'example.net'],
  ['FROM : "Ann, A." <ann@example.net> (at example.com)', 'example.net'],
  ['From: ann@example.net, bob@example.net', 'example.net'],
  ['From: ann@example.net <ann@example.net>', 'example.net'], // as some programs write it
  ['From: "boss@bank.example" <ann@example.net>', 'example.net'], // readers see a name in quotes
  ['From: Ann\r\n <ann@example.net>', 'example.net'],
  ['From: ann@b\u00fccher.example', 'xn--bcher-kva.example'],
  ['From: ann@example.net.', 'example.net'],
] as const)('%j is clear: %s', ([header, domain]) => {
  expect(author(header)).toBe(domain);
});

test.for([
  ['Subject: x', 'missing'],
  ['From: a@example.net\r\nFrom: b@bank.example', 'repeated'],
  ['From: a@example.net\r\nfrom : a@example.net', 'repeated'],
  ['From:', 'unclear'],
  ['From: Ann', 'unclear'],
  ['From: undisclosed:;', 'unclear'],
  ['From: a@example.net, b@bank.example', 'unclear'],
  ['From: <a@example.net> <b@bank.example>', 'unclear'],
  ['From: boss@bank.example <a@example.net>', 'unclear'],
  ['From: <b@bank.example>, a@example.net', 'unclear'],
  ['From: <@bank.example,@x.example:a@example.net>', 'unclear'],
  ['From: a@example.net\0@bank.example', 'unclear'],
  ['From: a@example.net(b@bank.example', 'unclear'], // a comment that never ends
  ['From: "a@example.net', 'unclear'],
  ['From: a@example.net@bank.example', 'unclear'],
  ['From: a@[192.0.2.1]', 'unclear'],
  ['From: a@localhost', 'unclear'],
  ['From: =?utf-8?q?a=40bank.example?= <@>', 'unclear'],
  [`From: ${'a@example.net,'.repeat(21)}`, 'unclear'],
  [`From: ${'x'.repeat(9000)} <a@example.net>`, 'unclear'],
] as const)('M5 %j is %s', ([header, kind]) => {
  expect(author(header)).toBe(kind);
});

test('no From field throws, or takes long', () => {
  const part = fc.constantFrom(
    '<',
    '>',
    '@',
    '"',
    '(',
    ')',
    '\\',
    ',',
    ';',
    ':',
    'a',
    'example.net',
    ' ',
    '\r\n ',
    '\0',
    '\u00e9',
    '[',
    ']',
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 60 }), (parts) => {
      expect(typeof author(`From: ${parts.join('')}`)).toBe('string');
    }),
    { numRuns: 500 },
  );
  for (const one of ['g0:', '"', '(', '<a@b>', 'a@b,', '\\', '((', '@']) author(`From: ${one.repeat(300_000)}`);
});
