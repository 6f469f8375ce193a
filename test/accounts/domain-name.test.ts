import fc from 'fast-check';
import { expect, test } from 'vitest';
import { normalizeDomain } from '../../src/accounts/domain-name.ts';

test.for([
  ['example.org', 'example.org'],
  ['EXAMPLE.Org', 'example.org'],
  ['bücher.example', 'xn--bcher-kva.example'],
  ['XN--BCHER-KVA.example', 'xn--bcher-kva.example'],
  ['BÜCHER。example', 'xn--bcher-kva.example'],
  ['bu\u0308cher.example', 'xn--bcher-kva.example'],
  ['faß.example', 'xn--fa-hia.example'],
  ['localhost', 'localhost'],
  [`${'a'.repeat(63)}.example`, `${'a'.repeat(63)}.example`],
] as const)('N1 %s is %s', ([text, name]) => {
  expect(normalizeDomain(text)).toBe(name);
});

test.for([
  '',
  '.',
  'example.org.',
  '.example.org',
  'a..b',
  '-a.example',
  'a-.example',
  'a_b.example',
  'a b.example',
  'a@b.example',
  'ex%61mple.org',
  'example.org/x',
  'example.org:25',
  'example.org\0',
  '[192.0.2.1]',
  '192.0.2.1',
  '0x7f.1',
  '1',
  `${'a'.repeat(64)}.example`,
  `${'a.'.repeat(130)}example`,
])('N2 %j names no domain', (text) => {
  expect(normalizeDomain(text)).toBeNull();
});

test('N1 a normalised name is its own normal form, and nothing throws', () => {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.domain(), fc.stringMatching(/^[a-zA-Z0-9.-]*$/));
  fc.assert(
    fc.property(text, (input) => {
      const name = normalizeDomain(input);
      if (name !== null) {
        expect(normalizeDomain(name)).toBe(name);
        expect(name).toMatch(/^[a-z0-9.-]+$/);
      }
    }),
  );
});
