import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';

test('S1 no string form shows the bytes', () => {
  const secret = new SecretBytes(Buffer.from('a very secret thing'));
  secret.exposeKey();
  const shown = [
    String(secret),
    JSON.stringify({ secret }),
    inspect(secret),
    inspect({ secret }, { showHidden: true }),
  ];
  for (const text of shown) {
    expect(text).toContain('[secret]');
    expect(text).not.toMatch(/very|61 20 76|97/);
  }
  expect(Object.keys(structuredClone(secret))).toEqual([]);
});

test('S3 disposing zeroes the bytes and closes both doors', () => {
  const bytes = new Uint8Array(32).fill(7);
  const secret = new SecretBytes(bytes);
  expect(secret.exposeKey().symmetricKeySize).toBe(32);
  expect(secret.zeroed).toBe(false);
  secret[Symbol.dispose]();
  expect([...new Set(bytes)]).toEqual([0]);
  expect(secret.zeroed).toBe(true);
  expect(() => secret.expose()).toThrow(TypeError);
  expect(() => secret.exposeKey()).toThrow(TypeError);
});

test('copies are independent, random secrets differ', () => {
  const source = new Uint8Array(32).fill(7);
  const copy = SecretBytes.copyOf(source);
  source.fill(0);
  expect([...new Set(copy.expose())]).toEqual([7]);
  const seen = new Set(Array.from({ length: 50 }, () => Buffer.from(SecretBytes.random(32).expose()).toString('hex')));
  expect(seen.size).toBe(50);
});

test('equal bytes are equal, others and shorter ones are not; a disposed secret cannot be compared', () => {
  const one = SecretBytes.random(32);
  using same = SecretBytes.copyOf(one.expose());
  using other = SecretBytes.random(32);
  using short = SecretBytes.copyOf(one.expose().subarray(1));
  expect([one.equals(same), one.equals(other), one.equals(short)]).toEqual([true, false, false]);
  one[Symbol.dispose]();
  expect(() => one.equals(same)).toThrow(TypeError);
  expect(() => same.equals(one)).toThrow(TypeError);
});
