/** Who may touch key bytes and ciphers: read from the source, so that a new reader is noticed. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const SOURCE = join(import.meta.dirname, '../../src');
const filesWith = (pattern: RegExp): string[] =>
  globSync('**/*.ts', { cwd: SOURCE })
    .filter((file) => pattern.test(readFileSync(join(SOURCE, file), 'utf8')))
    .sort();

test('S2 the doors of SecretBytes are used in crypto/ and keys/providers/ only', () => {
  const readers = filesWith(/\.expose(Key)?\(/);
  expect(readers).toContain('crypto/derive.ts');
  expect(readers.filter((file) => !/^(crypto|keys\/providers)\//.test(file))).toEqual([]);
});

test('G1 one file makes ciphers', () => {
  expect(filesWith(/\bcreate(Cipher|Decipher)iv\b/)).toEqual(['crypto/gcm.ts']);
});
