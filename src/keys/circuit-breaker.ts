/**
 * Circuit breaker: how long a root key that failed is left alone, so that an outage costs neither a wait for
 * each request nor a storm of calls.
 *
 * CB1  A refusal (disabled, denied, gone) pauses the root key for `refusalPauseMs`; then one may probe again.
 * CB2  `TRANSIENT_FAILURES` failures in a row of other kinds pause it, twice as long each time, up to a limit.
 * CB3  One success ends all pauses. Damage to one wrapped key pauses nothing: the others are fine.
 *
 * Called by key-service.ts.
 */
import type { KeyFailure } from './provider.ts';

type State = { failures: number; pausedUntilMs: number; failure: KeyFailure };

const TRANSIENT_FAILURES = 3;
const TRANSIENT_PAUSE_MS = 250;
const TRANSIENT_PAUSE_MAX_MS = 8000;
/** Root keys remembered; the one that failed first is forgotten. */
const MAX_ENTRIES = 10_000;

/** The provider has answered, and said no: keys of the organization must go. */
export function isRefusal(failure: KeyFailure): boolean {
  return failure === 'disabled' || failure === 'denied' || failure === 'not-found';
}

/** Another try may go better. */
export function isTransientFailure(failure: KeyFailure): boolean {
  return failure === 'unreachable' || failure === 'throttled' || failure === 'internal';
}

export class CircuitBreaker {
  readonly #nowMs: () => number;
  readonly #refusalPauseMs: number;
  readonly #states = new Map<string, State>();

  constructor(nowMs: () => number, refusalPauseMs: number) {
    this.#nowMs = nowMs;
    this.#refusalPauseMs = refusalPauseMs;
  }

  /** The failure that paused `rootKey`, or null when it may be called. */
  paused(rootKey: string): KeyFailure | null {
    const state = this.#states.get(rootKey);
    return state && this.#nowMs() < state.pausedUntilMs ? state.failure : null;
  }

  /** Ends every pause: an operator has changed something. */
  reset(): void {
    this.#states.clear();
  }

  succeeded(rootKey: string): void {
    this.#states.delete(rootKey);
  }

  failed(rootKey: string, failure: KeyFailure): void {
    if (!isRefusal(failure) && !isTransientFailure(failure)) return;
    const failures = (this.#states.get(rootKey)?.failures ?? 0) + 1;
    this.#states.set(rootKey, { failures, failure, pausedUntilMs: this.#nowMs() + this.#pauseMs(failure, failures) });
    const [oldest] = this.#states.keys();
    if (oldest !== undefined && this.#states.size > MAX_ENTRIES) this.#states.delete(oldest);
  }

  #pauseMs(failure: KeyFailure, failures: number): number {
    if (isRefusal(failure)) return this.#refusalPauseMs;
    if (failures < TRANSIENT_FAILURES) return 0;
    return Math.min(TRANSIENT_PAUSE_MS * 2 ** (failures - TRANSIENT_FAILURES), TRANSIENT_PAUSE_MAX_MS);
  }
}
