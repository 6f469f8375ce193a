import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resultsField, withoutForged } from '../../../src/delivery/checks/results-field.ts';
import { parseHeaderFields } from '../../../src/mime/headers.ts';

const HOST = 'mx.example.org';

function left(header: string): string {
  const block = Buffer.from(header, 'latin1');
  return withoutForged(block, parseHeaderFields(header), { hostname: HOST, others: ['x-spam-status'] }).toString(
    'latin1',
  );
}

test.for([
  'Authentication-Results: mx.example.org; dmarc=pass',
  'authentication-results : MX.Example.ORG; dmarc=pass',
  'Authentication-Results:\r\n\tmx.example.org;\r\n\tdmarc=pass',
  'Authentication-Results: (hi (there)) mx.example.org 1; dmarc=pass',
  'Authentication-Results: "mx.example.org"; dmarc=pass',
  'Authentication-Results: "mx.exa\\mple.org"; dmarc=pass',
  'Authentication-Results: mx.example.org.; dmarc=pass',
  'Authentication-Results: mx.example.org',
  'Authentication-Results: ; dmarc=pass',
  'Authentication-Results:',
  'X-Spam-Status: No',
  `Authentication-Results: other.example;${' x=y;'.repeat(5000)}`,
] as const)('RF2 M7 %j is taken away', (field) => {
  expect(left(`A: 1\r\n${field}\r\nB: 2\r\n${field}\r\n`)).toBe('A: 1\r\nB: 2\r\n');
});

test.for([
  'Authentication-Results: other.example; dmarc=pass',
  'Authentication-Results: x.mx.example.org; dmarc=pass',
  'ARC-Authentication-Results: i=1; mx.example.org; dmarc=pass',
  'X-Authentication-Results: mx.example.org; dmarc=pass',
  'Subject: Authentication-Results: mx.example.org',
] as const)('%j stays', (field) => {
  expect(left(`${field}\r\n`)).toBe(`${field}\r\n`);
});

test('RF1 what a sender chose ends no value and no line', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const results = [{ method: 'spf', result: 'pass', properties: { 'smtp.mailfrom': text } }] as const;
      const field = resultsField(HOST, results).toString();
      const safe = /^Authentication-Results: mx\.example\.org;\r\n\tspf=pass(?: smtp\.mailfrom=[A-Za-z0-9._-]+)?\r\n$/;
      expect(field).toMatch(safe);
    }),
  );
  const shown = [
    { method: 'dkim', result: 'pass', properties: { 'header.d': 'a.example', 'header.s': 'b;dmarc=pass' } },
    { method: 'dmarc', result: 'fail', reason: 'no From field', properties: { 'header.from': null } },
  ] as const;
  expect(resultsField(HOST, shown).toString()).toBe(
    'Authentication-Results: mx.example.org;\r\n\tdkim=pass header.d=a.example;\r\n\tdmarc=fail reason="no From field"\r\n',
  );
});

test('filtering never throws, and takes nothing but such fields', () => {
  const part = fc.constantFrom(
    'Authentication-Results:',
    ' mx.example.org',
    ';',
    '(',
    ')',
    '"',
    '\\',
    '\r\n',
    '\r\n ',
    'Subject: x',
    'a',
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
      const header = parts.join('');
      const kept = left(header);
      expect(kept.length).toBeLessThanOrEqual(header.length);
      const others = (text: string): string[] =>
        parseHeaderFields(text).flatMap(({ name, start, end }) =>
          name === 'authentication-results' ? [] : [text.slice(start, end)],
        );
      if (!header.startsWith('\r\n') && !header.includes('\r\n\r\n')) expect(others(kept)).toEqual(others(header));
    }),
    { numRuns: 500 },
  );
});
