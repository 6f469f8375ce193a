import { expect, test } from 'vitest';
import { RateLimit } from '../../src/smtp/rate-limit.ts';

test('RL1 the allowance may be used at once, and comes back over an hour', () => {
  let nowMs = 0;
  const limit = new RateLimit(60, () => nowMs);
  const takeAll = (): number => {
    let taken = 0;
    while (limit.take('a')) taken += 1;
    return taken;
  };
  expect([takeAll(), limit.hasRoom('a'), limit.hasRoom('b')]).toEqual([60, false, true]);
  nowMs += 59_000;
  expect(limit.hasRoom('a')).toBe(false);
  nowMs += 1000;
  expect(limit.hasRoom('a')).toBe(true); // asking takes nothing
  expect(takeAll()).toBe(1);
  nowMs += 10 * 3_600_000;
  expect(takeAll()).toBe(60);
});

test('RL2 accounts that are whole again are forgotten, others are not', () => {
  let nowMs = 0;
  const limit = new RateLimit(1, () => nowMs);
  for (let n = 0; n < 10_000; n += 1) limit.take(`old ${String(n)}`);
  nowMs += 3_600_000;
  limit.take('recent');
  limit.take('another'); // sweeps
  expect([limit.take('recent'), limit.take('old 1')]).toEqual([false, true]);
});
