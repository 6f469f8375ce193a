import { expect, test } from 'vitest';
import { Passwords, type HashFunction } from '../../src/accounts/passwords.ts';
import { formatPhc, parsePhc } from '../../src/accounts/phc.ts';
import { CHEAP_ARGON2 } from './fixture.ts';

const options = { argon2: CHEAP_ARGON2, concurrencyCount: 2, queueMaxCount: 3 };
// From the test suite of the reference implementation: password "password", salt "somesalt".
const VECTOR = '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4';

test('the published vector verifies, and is outdated under other parameters', async () => {
  const passwords = new Passwords(options);
  expect(await passwords.verify('password', VECTOR)).toEqual({ kind: 'match', outdated: true });
  expect(await passwords.verify('Password', VECTOR)).toEqual({ kind: 'mismatch' });
});

test('a hash verifies with its password only, and two hashes of one password differ', async () => {
  const passwords = new Passwords(options);
  const [a, b] = [await passwords.hash('geheim'), await passwords.hash('geheim')];
  expect(a).toMatch(/^\$argon2id\$v=19\$m=64,t=1,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
  expect(a).not.toBe(b);
  expect(await passwords.verify('geheim', a)).toEqual({ kind: 'match', outdated: false });
  expect(await passwords.verify('geheim ', a)).toEqual({ kind: 'mismatch' });
});

test('H1 H2 only whole PHC strings with sane parameters are taken', () => {
  expect(parsePhc(VECTOR)?.parameters).toEqual({ memoryKib: 256, passes: 2, lanes: 1 });
  const hash = parsePhc(VECTOR);
  expect(hash && formatPhc(hash)).toBe(VECTOR);
  for (const text of [
    '',
    'password',
    VECTOR.replace('argon2id', 'argon2i'),
    VECTOR.replace('v=19', 'v=16'),
    VECTOR.replace('m=256', 'm=99999999'),
    VECTOR.replace('m=256', 'm=7'),
    VECTOR.replace('t=2', 't=0'),
    VECTOR.replace('p=1', 'p=0'),
    VECTOR.slice(0, -30),
    `${VECTOR}\n`,
    `x${VECTOR}`,
  ]) {
    expect(parsePhc(text), text).toBeNull();
  }
});

test('H3 hashes beyond the limit wait, and beyond the queue are refused', async () => {
  const gates: (() => void)[] = [];
  let [running, most] = [0, 0];
  const slow: HashFunction = async ({ tagBytes }) => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => gates.push(resolve));
    running -= 1;
    return Buffer.alloc(tagBytes);
  };
  const passwords = new Passwords(options, slow);
  const accepted = Array.from({ length: 5 }, () => passwords.hash('x'));
  await expect(passwords.hash('x')).rejects.toMatchObject({ code: 'limit-exceeded', retryable: true });
  for (let opened = 0; opened < 5; opened += 1) {
    await expect.poll(() => gates.length).toBeGreaterThan(opened);
    gates[opened]?.();
  }
  await Promise.all(accepted);
  expect([most, running]).toEqual([2, 0]);
});

test('H3 a hash that fails gives its place back', async () => {
  let calls = 0;
  const passwords = new Passwords(options, ({ tagBytes }) => {
    calls += 1;
    return calls <= 4 ? Promise.reject(new Error('out of memory')) : Promise.resolve(Buffer.alloc(tagBytes));
  });
  const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => passwords.hash('x')));
  expect(outcomes.every((it) => it.status === 'rejected')).toBe(true);
  await expect(passwords.hash('x')).resolves.toMatch(/^\$argon2id/);
});

test("H4 one hash with today's parameters when there is nothing to compare with", async () => {
  const seen: unknown[] = [];
  const passwords = new Passwords(options, ({ parameters, tagBytes, salt }) => {
    seen.push({ parameters, tagBytes, saltBytes: salt.length });
    return Promise.resolve(Buffer.alloc(tagBytes, 7));
  });
  const credential = await passwords.hash('x');
  for (const stored of [credential, null, 'damaged']) await passwords.verify('y', stored);
  expect(new Set(seen.map((it) => JSON.stringify(it))).size).toBe(1);
  expect(seen).toHaveLength(4);
  expect(await passwords.verify('x', null)).toEqual({ kind: 'mismatch' });
});

test('H5 a password matches however it was composed; empty, long and control characters never match', async () => {
  const passwords = new Passwords(options);
  const stored = await passwords.hash('p\u00e4ss w\u00f6rd');
  expect((await passwords.verify('pa\u0308ss\u00a0wo\u0308rd', stored)).kind).toBe('match');
  for (const bad of ['', 'a\0b', 'a\nb', 'x'.repeat(1025), 'ö'.repeat(513)]) {
    await expect(passwords.hash(bad)).rejects.toMatchObject({ code: 'invalid-argument' });
    expect((await passwords.verify(bad, stored)).kind).toBe('mismatch');
  }
});
