import { createHmac, hkdfSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { deriveMailboxKeys, deriveMessageKey, expand } from '../../src/crypto/derive.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import { firstEpoch, mailbox, nextEpoch, organization, otherMailbox, otherOrganization } from './fixtures.ts';

const hex = (secret: SecretBytes): string => Buffer.from(secret.expose()).toString('hex');

test('D1 every purpose, organization, mailbox and epoch has its own keys', () => {
  const key = SecretBytes.random(32);
  const scope = { organization, mailbox, epoch: firstEpoch };
  const scopes = [
    scope,
    { ...scope, organization: otherOrganization },
    { ...scope, mailbox: otherMailbox },
    { ...scope, mailbox: 'directory' as const },
    { ...scope, epoch: nextEpoch },
  ];
  const keys = scopes
    .map((each) => deriveMailboxKeys(key, each))
    .flatMap((each) => [each.wrap, each.record, each.blindIndex]);
  const messageKeys = (['body', 'summary', 'text'] as const).map((purpose) => deriveMessageKey(key, purpose));
  const all = [key, ...keys, ...messageKeys].map(hex);
  expect(new Set(all).size).toBe(all.length);
  expect(hex(deriveMailboxKeys(key, scope).wrap)).toBe(all[1]);
  expect(hex(deriveMailboxKeys(SecretBytes.random(32), scope).wrap)).not.toBe(all[1]);
});

test('D2 disposing zeroes all three subkeys and leaves the mailbox key alone', () => {
  const key = SecretBytes.random(32);
  const keys = deriveMailboxKeys(key, { organization, mailbox, epoch: firstEpoch });
  keys[Symbol.dispose]();
  expect([keys.wrap.zeroed, keys.record.zeroed, keys.blindIndex.zeroed, key.zeroed]).toEqual([true, true, true, false]);
});

test('expand is the second half of HKDF', () => {
  const [input, salt, info] = [Buffer.alloc(40, 1), Buffer.alloc(20, 2), Buffer.from('some info')];
  const extracted = new SecretBytes(createHmac('sha512', salt).update(input).digest());
  for (const lengthBytes of [1, 32, 64, 65, 76, 128]) {
    const expected = Buffer.from(hkdfSync('sha512', input, salt, info, lengthBytes));
    expect(expand(extracted, info, lengthBytes)).toEqual(expected);
  }
});
