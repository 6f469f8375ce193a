import { expect, test } from 'vitest';
import { Backoff, clientKey } from '../../src/accounts/backoff.ts';

const limits = { freeCount: 2, spaceMs: 100, spaceMaxMs: 400, waitMaxMs: 1000, memoryMs: 10_000, entriesMaxCount: 3 };

test('Q1 attempts are spaced after the free ones, more and more, up to the most', () => {
  const backoff = new Backoff(limits);
  let nowMs = 0;
  const waits: (number | null)[] = [];
  for (let attempt = 0; attempt < 7; attempt += 1) {
    const waitMs = backoff.takeTurn('a', nowMs);
    waits.push(waitMs);
    nowMs += waitMs ?? 0;
    backoff.failed('a', nowMs);
  }
  expect(waits).toEqual([0, 0, 0, 100, 200, 400, 400]);
});

test('Q1 parallel attempts queue up behind each other, and too long a queue is turned away', () => {
  const backoff = new Backoff(limits);
  for (let failures = 0; failures < 5; failures += 1) backoff.failed('a', 0);
  expect(Array.from({ length: 4 }, () => backoff.takeTurn('a', 0))).toEqual([400, 800, null, null]);
  expect(backoff.takeTurn('a', 1300)).toBe(0);
});

test('Q2 keys do not touch each other; success and time forgive', () => {
  const backoff = new Backoff(limits);
  for (let failures = 0; failures < 9; failures += 1) for (const key of ['a', 'b']) backoff.failed(key, 0);
  expect(backoff.takeTurn('c', 0)).toBe(0);
  backoff.succeeded('a');
  expect(backoff.takeTurn('a', 0)).toBe(0);
  expect(backoff.takeTurn('b', 10_000)).toBe(0);
});

test('Q3 the key that failed longest ago goes first', () => {
  const backoff = new Backoff(limits);
  for (const key of ['a', 'b', 'c', 'a', 'd'])
    for (let failures = 0; failures < 5; failures += 1) backoff.failed(key, 0);
  expect(['a', 'b', 'c', 'd'].map((key) => backoff.takeTurn(key, 0) === 0)).toEqual([false, true, false, false]);
});

test.for([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:DB8:1:0002:0:0:0:9', '2001:db8:1:2::/64'],
  ['2001:db8::9', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
] as const)('the key of %s is %s', ([address, key]) => {
  expect(clientKey(address)).toBe(key);
});
