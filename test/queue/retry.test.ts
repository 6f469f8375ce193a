import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nextAttemptMs, owesDelayReport, type RetrySchedule } from '../../src/queue/retry.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const usual: RetrySchedule = {
  firstRetryMs: 5 * MINUTE_MS,
  maxRetryMs: 2 * HOUR_MS,
  giveUpAfterMs: 120 * HOUR_MS,
  delayReportAfterMs: 4 * HOUR_MS,
};
const schedules = fc
  .record({
    firstRetryMs: fc.integer({ min: 1000, max: HOUR_MS }),
    maxRetryMs: fc.integer({ min: 1000, max: 9 * HOUR_MS }),
  })
  .map((some) => ({ ...usual, ...some }));
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const state = { acceptedAtMs: 0, expiresAtMs: 120 * HOUR_MS, delayReportedAtMs: null };

/** The times of all attempts of a message that nobody takes. */
function attempts(schedule: RetrySchedule, varied: () => number): number[] {
  const times = [0];
  for (;;) {
    const next = nextAttemptMs(
      schedule,
      { ...state, attemptsCount: times.length },
      { nowMs: times.at(-1) ?? 0, random: varied() },
    );
    if (next === null) return times;
    times.push(next);
  }
}

test('RT1 the pauses grow from the first to the longest, and none is off by more than a fifth', () => {
  fc.assert(
    fc.property(
      schedules,
      fc.integer({ min: 1, max: 10_000 }),
      random,
      fc.integer({ min: 0, max: HOUR_MS }),
      (schedule, attemptsCount, varied, nowMs) => {
        const next = nextAttemptMs(schedule, { ...state, attemptsCount }, { nowMs, random: varied }) ?? 0;
        const pauseMs = Math.min(schedule.firstRetryMs * 2 ** Math.min(attemptsCount - 1, 50), schedule.maxRetryMs);
        expect(next - nowMs).toBeGreaterThanOrEqual(Math.floor(pauseMs * 0.8));
        expect(next - nowMs).toBeLessThanOrEqual(Math.ceil(pauseMs * 1.2));
      },
    ),
  );
});

test('RT1 what failed together does not come back together', () => {
  const at = (varied: number) => nextAttemptMs(usual, { ...state, attemptsCount: 3 }, { nowMs: 0, random: varied });
  expect([at(0), at(0.5), at(0.999999)]).toEqual([16 * MINUTE_MS, 20 * MINUTE_MS, 24 * MINUTE_MS]);
});

test('RT2 attempts end, the last one at the time of expiry', () => {
  fc.assert(
    fc.property(fc.infiniteStream(random), (stream) => {
      const times = attempts(usual, () => stream.next().value as number);
      expect(times.at(-1)).toBe(state.expiresAtMs);
      expect(times.length).toBeGreaterThan(50);
      expect(times.length).toBeLessThan(100);
    }),
    { numRuns: 20 },
  );
});

test('RT3 a delay is told once, after its time', () => {
  const owes = (nowMs: number, delayReportedAtMs: number | null = null) =>
    owesDelayReport(usual, { ...state, attemptsCount: 9, delayReportedAtMs }, nowMs);
  expect([owes(4 * HOUR_MS - 1), owes(4 * HOUR_MS), owes(50 * HOUR_MS)]).toEqual([false, true, true]);
  expect(owes(50 * HOUR_MS, 5 * HOUR_MS)).toBe(false);
});
