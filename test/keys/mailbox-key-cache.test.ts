import { expect, test } from 'vitest';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import { deriveMailboxKeys, type MailboxKeys } from '../../src/crypto/derive.ts';
import { epoch } from '../../src/base/ids.ts';
import { MailboxKeyCache } from '../../src/keys/mailbox-key-cache.ts';
import { mailbox, organization } from '../crypto/fixtures.ts';

type CacheLimits = ConstructorParameters<typeof MailboxKeyCache>[1];

function setup(limits: Partial<CacheLimits> = {}) {
  const kms = { nowMs: 0, ready: Promise.resolve() as Promise<unknown>, made: [] as MailboxKeys[], asked: 0 };
  const unwrap = async (): Promise<MailboxKeys> => {
    kms.asked += 1;
    await kms.ready;
    const keys = deriveMailboxKeys(SecretBytes.random(32), { organization, mailbox, epoch: epoch(1) });
    kms.made.push(keys);
    return keys;
  };
  const deps = { nowMs: () => kms.nowMs, isTransient: (error: unknown) => String(error).includes('away') };
  const cache = new MailboxKeyCache(deps, { maxAgeMs: 1000, graceMs: 0, maxLeases: 9, maxEntries: 9, ...limits });
  const lease = (id = 'a', signal?: AbortSignal) => cache.lease(id, unwrap, signal);
  const use = async (id = 'a') => {
    (await lease(id))[Symbol.dispose]();
  };
  const fail = (text: string) => {
    kms.ready = Promise.reject(new Error(text));
    kms.ready.catch(() => undefined);
  };
  const zeroed = () =>
    kms.made.map(({ wrap, record, blindIndex }) => wrap.zeroed && record.zeroed && blindIndex.zeroed);
  return { cache, kms, lease, use, fail, zeroed };
}

test.for([
  ['K1 within age and leases', {}, [0, 0, 999], 1],
  ['K1 at maxAgeMs', {}, [0, 1000], 2],
  ['K1 the age counts from the unwrap, not from the last lease', {}, [0, 600, 1200], 2],
  ['K1 past maxLeases', { maxLeases: 2 }, [0, 0, 0], 2],
] as const)('%s', async ([, limits, times, unwraps]) => {
  const { kms, use } = setup(limits);
  for (kms.nowMs of times) await use();
  expect(kms.made).toHaveLength(unwraps);
});

test('K2 zeroed after the last lease, never under a reader', async () => {
  const { cache, kms, lease, use, zeroed } = setup({ maxEntries: 2 });
  await use('b');
  const [first, twin] = [await lease(), await lease()];
  for (const one of [twin, twin]) one[Symbol.dispose](); // the second does nothing
  for (const id of ['b', 'c']) await use(id); // c evicts a, the least recent, which is on loan
  expect(zeroed()).toEqual([false, false, false]);
  first[Symbol.dispose]();
  expect(zeroed()).toEqual([false, true, false]);
  kms.nowMs = 999;
  expect(cache.sweep()).toBe(1);
  kms.nowMs = 1000;
  expect(cache.sweep()).toBe(null);
  expect(zeroed()).toEqual([true, true, true]);
  expect(cache.sizeCount).toBe(0);
});

test('K2 keys that were used up while on loan are zeroed with the last lease', async () => {
  const { lease, zeroed } = setup({ maxLeases: 2 });
  const [one, two] = [await lease(), await lease()];
  one[Symbol.dispose]();
  expect(zeroed()).toEqual([false]);
  two[Symbol.dispose]();
  expect(zeroed()).toEqual([true]);
});

test('K3 one unwrap for many callers; a failure is not remembered', async () => {
  const { kms, use, fail } = setup();
  fail('KMS down');
  await expect(use()).rejects.toThrow('KMS down');
  kms.ready = Promise.resolve();
  await Promise.all([use(), use(), use()]);
  expect([kms.made.length, kms.asked]).toEqual([1, 2]);
});

test('K4 abort is personal; a key revoked in flight is not let in', async () => {
  const { cache, kms, lease, use, zeroed } = setup();
  const [gate, leaver] = [Promise.withResolvers<undefined>(), new AbortController()];
  kms.ready = gate.promise;
  const [patient, hasty] = [use(), lease('a', leaver.signal)];
  leaver.abort('bye');
  await expect(hasty).rejects.toBe('bye');
  cache.revoke((id) => id === 'a');
  gate.resolve(undefined);
  await patient; // served, by asking the provider once more
  expect(zeroed()).toEqual([true, false]);
});

test('K4 revoking takes what matches, and leaves the rest', async () => {
  const { cache, use, zeroed } = setup();
  for (const id of ['x/1', 'x/2', 'y/1']) await use(id);
  cache.revoke((id) => id.startsWith('x/'));
  expect(zeroed()).toEqual([true, true, false]);
  expect(cache.sizeCount).toBe(1);
});

test('K5 without grace an old key is never leased, whatever the failure', async () => {
  const { kms, use, fail, zeroed } = setup();
  await use();
  fail('away');
  kms.nowMs = 1000;
  await expect(use()).rejects.toThrow('away');
  expect(zeroed()).toEqual([true]);
});

test('K5 in grace an old key is leased while the provider is away, and no longer', async () => {
  const { cache, kms, use, fail, zeroed } = setup({ graceMs: 5000 });
  await use();
  fail('away');
  for (kms.nowMs of [1000, 2500, 4999]) await use();
  expect(kms.asked).toBe(4); // each time it was tried first
  expect(cache.sweep()).toBe(1);
  kms.nowMs = 5000;
  await expect(use()).rejects.toThrow('away');
  expect(zeroed()).toEqual([true]);
  kms.ready = Promise.resolve();
  await use();
  expect(zeroed()).toEqual([true, false]);
});

test('K5 a refusal ends the grace at once', async () => {
  const { kms, use, fail, zeroed } = setup({ graceMs: 5000 });
  await use();
  fail('refused');
  kms.nowMs = 1000;
  await expect(use()).rejects.toThrow('refused');
  expect(zeroed()).toEqual([true]);
  fail('away');
  await expect(use()).rejects.toThrow('away');
});

test('K5 a new unwrap replaces and zeroes the old keys', async () => {
  const { kms, use, zeroed } = setup({ graceMs: 5000 });
  await use();
  kms.nowMs = 1000;
  await use();
  expect(zeroed()).toEqual([true, false]);
});
