import { expect, test } from 'vitest';
import { TransferPace } from '../../src/smtp/pace.ts';

const LIMITS = { dataTimeoutMs: 600_000, dataMinimumBytesPerSecond: 100 };

test('S1 each minute must bring its bytes', () => {
  const pace = new TransferPace(LIMITS, 0);
  expect(pace.isTooSlow(59_000)).toBe(false);
  pace.add(6000);
  expect(pace.isTooSlow(60_000)).toBe(false);
  pace.add(5999);
  expect(pace.isTooSlow(120_000)).toBe(true);
});

test('S1 the whole has its time, however fast', () => {
  const pace = new TransferPace(LIMITS, 0);
  pace.add(1e9);
  expect(pace.isTooSlow(600_000)).toBe(false);
  expect(pace.isTooSlow(600_001)).toBe(true);
});

test('S1 a minimum of 0 is none', () => {
  expect(new TransferPace({ ...LIMITS, dataMinimumBytesPerSecond: 0 }, 0).isTooSlow(60_000)).toBe(false);
});

test('S2 time in which the peer waited for us does not count', () => {
  const pace = new TransferPace(LIMITS, 0);
  pace.excuse(50_000);
  expect(pace.isTooSlow(100_000)).toBe(false);
  expect(pace.isTooSlow(110_000)).toBe(true);
});
