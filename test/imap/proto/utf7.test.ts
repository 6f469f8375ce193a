import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalFolderName, decodeUtf7, encodeUtf7, folderNameFault } from '../../../src/imap/proto/utf7.ts';

test.for([
  ['INBOX', 'INBOX'],
  ['A&B', 'A&-B'],
  ['&&', '&-&-'],
  ['Entwürfe', 'Entw&APw-rfe'],
  ['~peter/mail/台北/日本語', '~peter/mail/&U,BTFw-/&ZeVnLIqe-'],
  ['Hi Mom -☺-!', 'Hi Mom -&Jjo--!'],
  ['📬', '&2D3c7A-'],
  ['é&é', '&AOk-&-&AOk-'],
  ['', ''],
] as const)('N1 %s <-> %s', ([name, encoded]) => {
  expect(encodeUtf7(name)).toBe(encoded);
  expect(decodeUtf7(encoded)).toBe(name);
});

test.for([
  ['an open shift', '&'],
  ['an open shift with content', '&AOk'],
  ['encoded printable ASCII', '&AGE-'],
  ['an encoded ampersand', '&ACY-'],
  ['a lone high surrogate', '&2AA-'],
  ['a lone low surrogate', '&3AA-'],
  ['padding bits', '&AOl-'],
  ['a sextet too many', '&AOkA-'],
  ['a sextet too few', '&AO-'],
  ['two shifts for one', '&AOk-&AOk-'],
  ['a char that is not base64', '&AO k-'],
  ['the slash of plain base64', '&U/BTFw-'],
  ['eight-bit text', 'caf\u00e9'],
  ['a control character', 'a\tb'],
])('N1 refuses %s', ([, encoded]) => {
  expect(decodeUtf7(encoded ?? '')).toBeNull();
});

test('N1 round trip, and one spelling only', () => {
  const units = fc.oneof(
    fc.constantFrom('&', '-', 'a', 'é', '☺', '📬', '\u0000', '\u007f', '~'),
    fc.string({ unit: 'grapheme', maxLength: 3 }),
  );
  fc.assert(
    fc.property(fc.array(units), (parts) => {
      const name = parts.join('');
      fc.pre(name.isWellFormed());
      const encoded = encodeUtf7(name);
      expect(encoded).toMatch(/^[ -~]*$/);
      expect(decodeUtf7(encoded)).toBe(name);
    }),
  );
  const wire = fc.array(fc.constantFrom('&', '-', 'A', 'O', 'k', 'D', '2', 'c', 'r', ',', '+', 'x'), { maxLength: 14 });
  fc.assert(
    fc.property(wire, (chars) => {
      const encoded = chars.join('');
      const name = decodeUtf7(encoded);
      if (name !== null) expect(encodeUtf7(name)).toBe(encoded);
    }),
    { numRuns: 20_000 },
  );
});

test('N2 one spelling: NFC, INBOX in upper case', () => {
  expect(canonicalFolderName('e\u0301')).toBe('\u00e9');
  expect(canonicalFolderName('inBox')).toBe('INBOX');
  expect(canonicalFolderName('inbox/Sub')).toBe('INBOX/Sub');
  expect(canonicalFolderName('Inboxes')).toBe('Inboxes');
});

test.for([
  ['INBOX', true],
  ['a/b/c', true],
  ['__proto__', true],
  [`${'a/'.repeat(31)}a`, true],
  [`${'a/'.repeat(32)}a`, false],
  ['ü'.repeat(127), true],
  ['ü'.repeat(128), false],
  ['', false],
  ['/a', false],
  ['a//b', false],
  ['a/', false],
  ['../x', false],
  ['a/../../b', false],
  ['a*', false],
  ['a%b', false],
  ['a\r\nb', false],
  ['a\0', false],
  ['a\u0085', false],
  ['a\u2028', false],
  ['\ud800', false],
] as const)('I6 name %j may be created: %s', ([name, ok]) => {
  expect(folderNameFault(name) === null).toBe(ok);
});
