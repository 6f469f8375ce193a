/** What was sealed to a public key once opens for ever: frozen, never made anew. Format: src/crypto/README.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { MessageKeyContext } from '../../src/crypto/context.ts';
import { KeyPairOpener, publicKeyOf } from '../../src/crypto/key-pair.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';

type Vector = Readonly<{
  name: string;
  seed: string;
  context: Omit<MessageKeyContext, 'commitment'> & Readonly<{ commitment: string }>;
  publicKey: string;
  sealed: string;
  key: string;
  sizeBytes: number;
}>;
const vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'key-pair.json'), 'utf8')) as readonly Vector[];
const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));

test.for(vectors)('key pair: $name', async (vector) => {
  const seed = new SecretBytes(bytes(vector.seed));
  expect((await publicKeyOf(seed, bytes(vector.sealed)[0])).toString('hex')).toBe(vector.publicKey);
  const context = { ...vector.context, commitment: bytes(vector.context.commitment) };
  const { key, sizeBytes } = await new KeyPairOpener(seed).open(context, bytes(vector.sealed));
  expect(Buffer.from(key.expose()).toString('hex')).toBe(vector.key);
  expect(sizeBytes).toBe(vector.sizeBytes);
});
