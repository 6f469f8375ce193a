/**
 * Whether a message keeps arriving fast enough.
 *
 * S1  The whole message has `dataTimeoutMs`; each window of a minute must bring `dataMinimumBytesPerSecond`.
 * S2  Time in which we make the peer wait (`excuse`) does not count against the minimum.
 *
 * Called by listener.ts. Pure.
 */
type PaceLimits = Readonly<{ dataTimeoutMs: number; dataMinimumBytesPerSecond: number }>;

const WINDOW_MS = 60_000;

export class TransferPace {
  readonly #limits: PaceLimits;
  readonly #startMs: number;
  #windowStartMs: number;
  #windowBytes = 0;

  constructor(limits: PaceLimits, startMs: number) {
    this.#limits = limits;
    this.#startMs = startMs;
    this.#windowStartMs = startMs;
  }

  add(lengthBytes: number): void {
    this.#windowBytes += lengthBytes;
  }

  /** Begins a new window (S2). */
  excuse(nowMs: number): void {
    this.#windowStartMs = nowMs;
    this.#windowBytes = 0;
  }

  /** True when the message is to be given up. */
  isTooSlow(nowMs: number): boolean {
    if (nowMs - this.#startMs > this.#limits.dataTimeoutMs) return true;
    if (nowMs - this.#windowStartMs < WINDOW_MS) return false;
    const isTooSlow = this.#windowBytes * 1000 < this.#limits.dataMinimumBytesPerSecond * (nowMs - this.#windowStartMs);
    this.excuse(nowMs);
    return isTooSlow;
  }
}
