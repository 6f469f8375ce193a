import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  imapAstring,
  imapNstring,
  imapString,
  imapText,
  literalPrefix,
  utf8Bytes,
} from '../../../src/imap/proto/strings.ts';
import { ClientParser } from './client-parser.ts';

test.for([
  ['', '""'],
  ['plain text', '"plain text"'],
  ['say "hi" \\o/', '"say \\"hi\\" \\\\o/"'],
  ['a\r\n* 9 EXISTS', '{13}\r\na\r\n* 9 EXISTS'],
  ['tab\there', '{8}\r\ntab\there'],
  ['nul\0gone', '{7}\r\nnulgone'],
  ['\u00e9', '{1}\r\n\u00e9'],
  ['x'.repeat(1024), `"${'x'.repeat(1024)}"`],
  ['x'.repeat(1025), `{1025}\r\n${'x'.repeat(1025)}`],
] as const)('P2 P3 %j', ([bytes, printed]) => {
  expect(imapString(bytes)).toBe(printed);
});

test('P2 UTF-8 is quoted only where it is enabled, and only if it is UTF-8', () => {
  expect(imapText('é', { utf8: true })).toBe('"\u00c3\u00a9"');
  expect(imapText('é', { utf8: false })).toBe('{2}\r\n\u00c3\u00a9');
  expect(imapString('\u00e9', { utf8: true })).toBe('{1}\r\n\u00e9');
  expect(imapText('é"\\', { utf8: true })).toBe('"\u00c3\u00a9\\"\\\\"');
  expect(imapText('é\n', { utf8: true })).toBe('{3}\r\n\u00c3\u00a9\n');
});

test('P1 chars above 255 cannot turn into line ends', () => {
  expect(imapString('\u010d\u010a')).toBe(`{4}\r\n${utf8Bytes('\u010d\u010a')}`);
});

test('atoms and NIL', () => {
  expect([imapAstring('INBOX'), imapAstring('a b'), imapAstring('nil'), imapAstring(''), imapAstring('a]')]).toEqual([
    'INBOX',
    '"a b"',
    '"nil"',
    '""',
    '"a]"',
  ]);
  expect([imapNstring(null), imapNstring('NIL')]).toEqual(['NIL', '"NIL"']);
  expect([literalPrefix(5), literalPrefix(5, 'binary')]).toEqual(['{5}\r\n', '~{5}\r\n']);
});

test('P2 I5 whatever the text, a client reads back one string and nothing else', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array).toString('latin1')),
    fc
      .array(fc.constantFrom('\r\n', '* 9 EXISTS', '"', '\\', '{5}', ')', '(', '\0', 'a', ' ', '\u00c3\u00a9'), {
        maxLength: 12,
      })
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(bytes, fc.boolean(), (value, utf8) => {
      const clean = value.replaceAll('\0', '');
      const lines = new ClientParser(`* ${imapString(value, { utf8 })} ${imapAstring(value, { utf8 })} x\r\n`).lines();
      expect(lines).toHaveLength(1);
      const [star, string, astring, last, ...rest] = lines[0] ?? [];
      expect([star, string, last, rest]).toEqual(['*', `"${clean}`, 'x', []]);
      expect([`"${clean}`, clean]).toContain(astring); // quoted or bare
    }),
    { numRuns: 10_000 },
  );
});
