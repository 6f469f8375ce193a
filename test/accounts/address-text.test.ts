import { expect, test } from 'vitest';
import { foldLocal, isCreatableLocal, parseAddress, withoutTag } from '../../src/accounts/address-text.ts';

test.for([
  ['ann@Example.ORG', 'ann', 'example.org'],
  ['"ann"@example.org', 'ann', 'example.org'],
  ['"a b\\"c"@example.org', 'a b"c', 'example.org'],
  ['"a@b"@example.org', 'a@b', 'example.org'],
  ['a@b@example.org', 'a@b', 'example.org'],
  ['jörg@bücher.example', 'jörg', 'xn--bcher-kva.example'],
] as const)('%s is %s at %s', ([text, local, domain]) => {
  expect(parseAddress(text)).toEqual({ local, domain });
});

test.for([
  '',
  'ann',
  '@example.org',
  'ann@',
  'ann@[192.0.2.1]',
  'a b@example.org',
  'a\r\n@example.org',
  '"@example.org',
  '""@example.org',
  '"a\r\nb"@example.org',
  '<ann>@example.org',
  'ann\ud800@example.org',
  `${'a'.repeat(65)}@example.org`,
  `${'ö'.repeat(33)}@example.org`,
])('%j is no address', (text) => {
  expect(parseAddress(text)).toBeNull();
});

test('T1 case and composition fold, nothing else does', () => {
  expect(foldLocal('J\u00d6RG')).toBe(foldLocal('jo\u0308rg'));
  const different = ['ann', 'a.nn', 'ann.', 'änn', 'ann+x', 'ａｎｎ'];
  expect(new Set(different.map(foldLocal)).size).toBe(different.length);
});

test('T2 the tag starts at the first +, and is not everything', () => {
  expect(['ann+x', 'ann+x+y', 'ann', '+x', 'ann+'].map(withoutTag)).toEqual(['ann', 'ann', null, null, 'ann']);
});

test('T3 only what needs no quoting can be created', () => {
  expect(['ann', 'ann.b', 'a+b', "o'neil", 'jörg', 'A-1_x'].every(isCreatableLocal)).toBe(true);
  const bad = ['', '.ann', 'ann.', 'a..b', 'a b', 'a@b', 'a"b', 'a\tb', 'a\u0085b', 'a,b', 'a(b)'];
  expect(bad.some(isCreatableLocal)).toBe(false);
});
