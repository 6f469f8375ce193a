import { expect, test } from 'vitest';
import { mailboxId } from '../../src/base/ids.ts';
import { packKey, PACKED_KEY_BYTES, unpackKey } from '../../src/crypto/packed-key.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import { codeOf, firstEpoch, flipped, mailbox, nextEpoch, otherMailbox } from './fixtures.ts';

const key = SecretBytes.random(32);
const scope = { owner: mailbox, epoch: firstEpoch };

test('PK1 a packed key opens for its own owner and epoch only', () => {
  const packed = packKey(scope, key);
  expect(packed.lengthBytes).toBe(PACKED_KEY_BYTES);
  expect(unpackKey(scope, packed).expose()).toEqual(key.expose());
  for (const other of [
    { ...scope, owner: otherMailbox },
    { ...scope, owner: 'directory' as const },
    { ...scope, owner: 'transit' as const },
    { ...scope, epoch: nextEpoch },
  ]) {
    expect(codeOf(() => unpackKey(other, packed))).toBe('key-mismatch');
  }
});

test('PK1 an altered, short or long structure does not open', () => {
  const packed = packKey(scope, key).expose();
  for (let at = 0; at < PACKED_KEY_BYTES - 32; at += 1) {
    expect(codeOf(() => unpackKey(scope, new SecretBytes(flipped(packed, at))))).toBe('key-mismatch');
  }
  for (const bytes of [packed.slice(0, -1), Buffer.concat([packed, Buffer.alloc(1)]), key.expose(), Buffer.alloc(0)]) {
    expect(codeOf(() => unpackKey(scope, SecretBytes.copyOf(bytes)))).toBe('key-mismatch');
  }
});

test('PK1 no mailbox can pose as the directory or the queue', () => {
  for (const last of ['1', '2']) {
    const posing = { owner: mailboxId(`${'0'.repeat(31)}${last}`), epoch: firstEpoch };
    expect(() => packKey(posing, key)).toThrow(TypeError);
  }
  expect(() => packKey(scope, SecretBytes.random(31))).toThrow(TypeError);
});
