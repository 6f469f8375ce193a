/**
 * When a recipient is tried again, and when its sender is told. RFC 5321 §4.5.4.1. Pure.
 *
 * RT1  The pauses grow from `firstRetryMs` to `maxRetryMs`, each varied by `JITTER`, so that what failed together does
 *      not come back together.
 * RT2  The last attempt is at the time of expiry; whoever fails it has failed for good.
 * RT3  A sender is told of a delay once.
 */

export type RetrySchedule = Readonly<{
  firstRetryMs: number;
  /** The longest pause between two attempts. */
  maxRetryMs: number;
  /** From acceptance to the last attempt. */
  giveUpAfterMs: number;
  /** From acceptance to the report that a message is delayed. */
  delayReportAfterMs: number;
}>;

/** What of a recipient and its message decides. */
type RetryState = Readonly<{
  acceptedAtMs: number;
  expiresAtMs: number;
  /** Attempts so far, the one that has just failed included. */
  attemptsCount: number;
  delayReportedAtMs: number | null;
}>;

const GROWTH = 2;
const JITTER = 0.2;

/** The time of the next attempt, or null where there is none (RT2). `random`: 0 <= n < 1. */
export function nextAttemptMs(
  schedule: RetrySchedule,
  { attemptsCount, expiresAtMs }: RetryState,
  { nowMs, random }: Readonly<{ nowMs: number; random: number }>,
): number | null {
  if (nowMs >= expiresAtMs) return null;
  const doublings = Math.min(Math.max(attemptsCount - 1, 0), 60);
  const pauseMs = Math.min(schedule.firstRetryMs * GROWTH ** doublings, schedule.maxRetryMs);
  const varied = pauseMs * (1 - JITTER + 2 * JITTER * random);
  return Math.min(nowMs + Math.max(Math.round(varied), 1), expiresAtMs);
}

/** Whether the sender is to be told now that the message is delayed (RT3). */
export function owesDelayReport(
  schedule: RetrySchedule,
  { acceptedAtMs, delayReportedAtMs }: RetryState,
  nowMs: number,
): boolean {
  return delayReportedAtMs === null && nowMs - acceptedAtMs >= schedule.delayReportAfterMs;
}
