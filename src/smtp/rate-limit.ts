/**
 * How much one account may send within an hour, so that a stolen password is not a spammer's gift. In memory only.
 *
 * RL1  An account may use what it has at once; it comes back evenly over an hour.
 * RL2  What is remembered is bounded: an account whose allowance is whole again is forgotten.
 *
 * Called by submission.ts.
 */
type Bucket = { left: number; atMs: number };

const HOUR_MS = 3_600_000;
const SWEEP_ABOVE_COUNT = 10_000;

export class RateLimit {
  readonly #perHourCount: number;
  readonly #nowMs: () => number;
  readonly #buckets = new Map<string, Bucket>();

  /** `nowMs` is monotonic. */
  constructor(perHourCount: number, nowMs: () => number) {
    this.#perHourCount = perHourCount;
    this.#nowMs = nowMs;
  }

  /** Whether `account` may do one more now. */
  hasRoom(account: string): boolean {
    return this.#bucket(account).left >= 1;
  }

  /** Takes one; false where none is left. */
  take(account: string): boolean {
    const bucket = this.#bucket(account);
    if (bucket.left < 1) return false;
    bucket.left -= 1;
    return true;
  }

  #bucket(account: string): Bucket {
    const nowMs = this.#nowMs();
    const known = this.#buckets.get(account);
    if (known) {
      this.#refill(known, nowMs);
      return known;
    }
    if (this.#buckets.size >= SWEEP_ABOVE_COUNT) this.#sweep(nowMs);
    const fresh = { left: this.#perHourCount, atMs: nowMs };
    this.#buckets.set(account, fresh);
    return fresh;
  }

  #refill(bucket: Bucket, nowMs: number): void {
    const returned = ((nowMs - bucket.atMs) / HOUR_MS) * this.#perHourCount;
    bucket.left = Math.min(this.#perHourCount, bucket.left + returned);
    bucket.atMs = nowMs;
  }

  /** RL2. */
  #sweep(nowMs: number): void {
    for (const [account, bucket] of this.#buckets) {
      this.#refill(bucket, nowMs);
      if (bucket.left >= this.#perHourCount) this.#buckets.delete(account);
    }
  }
}
