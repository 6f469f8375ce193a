import { expect, test } from 'vitest';
import { blindIndex } from '../../src/crypto/blind-index.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import { codeOf, mailbox, organization, otherMailbox, otherOrganization } from './fixtures.ts';

const key = SecretBytes.random(32);
const folder = { kind: 'folder', organization, mailbox } as const;

test('B1 equal in one scope, unrelated in every other', () => {
  const contexts: Parameters<typeof blindIndex>[1][] = [
    folder,
    { ...folder, kind: 'keyword' },
    { ...folder, mailbox: otherMailbox },
    { ...folder, organization: otherOrganization },
    { kind: 'address-local', organization, domain: mailbox },
    { kind: 'address-local', organization, domain: 'example.org' },
  ];
  const indexes = contexts.map((context) => blindIndex(key, context, 'anna').toString('hex'));
  const others = [blindIndex(key, folder, 'Anna'), blindIndex(SecretBytes.random(32), folder, 'anna')];
  indexes.push(...others.map((each) => each.toString('hex')));
  expect(new Set(indexes).size).toBe(indexes.length);
  expect(blindIndex(key, folder, 'anna').toString('hex')).toBe(indexes[0]);
  expect(blindIndex(key, folder, 'anna')).toHaveLength(16);
});

test('malformed and endless text is refused', () => {
  expect(codeOf(() => blindIndex(key, folder, 'a\ud800b'))).toBe('invalid-argument');
  expect(codeOf(() => blindIndex(key, folder, 'x'.repeat(4097)))).toBe('invalid-argument');
  expect(codeOf(() => blindIndex(key, folder, 'x'.repeat(4096)))).toBe('opened');
});
