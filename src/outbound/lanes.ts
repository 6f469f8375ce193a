/**
 * How much goes to one domain at a time, and how much in all.
 *
 * LA1  At most `perDomainCount` deliveries to a domain, and `totalCount` in all; further ones wait in their order.
 * LA2  A domain that cannot be reached several times in a row is left alone for a while: its mail is deferred with what
 *      was the matter, without another try. Then one delivery finds out.
 *
 * Called by worker.ts.
 */
import type { Attempt } from '../queue/envelope.ts';

type LaneLimits = Readonly<{ perDomainCount: number; totalCount: number }>;
type Lane = {
  busyCount: number;
  readonly waiting: (() => void)[];
  failures: number;
  pausedUntilMs: number;
  lastFailure: Attempt | null;
};

const FAILURES_MIN_COUNT = 3;
const PAUSE_MS = 60_000;
const PAUSE_MAX_MS = 15 * 60_000;
const LANES_MAX_COUNT = 10_000;

export class Lanes {
  readonly #limits: LaneLimits;
  readonly #nowMs: () => number;
  readonly #lanes = new Map<string, Lane>();
  readonly #waiting: (() => void)[] = []; // for one of all
  #busyCount = 0;

  constructor(limits: LaneLimits, nowMs: () => number) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  /** Deliveries to `domain` that are under way or wait for their turn, in proportion to what may be under way. */
  load(domain: string): number {
    const lane = this.#lanes.get(domain);
    return lane ? (lane.busyCount + lane.waiting.length) / this.#limits.perDomainCount : 0;
  }

  /** Waits for a turn; dispose it when done. */
  async enter(domain: string): Promise<Disposable> {
    const lane = this.#lane(domain);
    if (lane.busyCount < this.#limits.perDomainCount) lane.busyCount += 1;
    else await new Promise<void>((go) => lane.waiting.push(go));
    if (this.#busyCount < this.#limits.totalCount) this.#busyCount += 1;
    else await new Promise<void>((go) => this.#waiting.push(go));
    return {
      [Symbol.dispose]: () => {
        const next = this.#waiting.shift();
        if (next) next();
        else this.#busyCount -= 1;
        const nextOfLane = lane.waiting.shift();
        if (nextOfLane) nextOfLane();
        else lane.busyCount -= 1;
        this.#drop(domain, lane);
      },
    };
  }

  /** What was the matter, while the domain is left alone (LA2). */
  paused(domain: string): Attempt | null {
    const lane = this.#lanes.get(domain);
    if (!lane || lane.failures < FAILURES_MIN_COUNT) return null;
    if (this.#nowMs() < lane.pausedUntilMs) return lane.lastFailure;
    lane.pausedUntilMs = this.#nowMs() + PAUSE_MS; // this one finds out; the others go on waiting
    return null;
  }

  reached(domain: string): void {
    const lane = this.#lanes.get(domain);
    if (!lane) return;
    lane.failures = 0;
    lane.lastFailure = null;
  }

  unreached(domain: string, failure: Attempt): void {
    const lane = this.#lane(domain);
    lane.failures += 1;
    lane.lastFailure = failure;
    const doublings = Math.max(0, Math.min(lane.failures - FAILURES_MIN_COUNT, 10));
    lane.pausedUntilMs = this.#nowMs() + Math.min(PAUSE_MS * 2 ** doublings, PAUSE_MAX_MS);
  }

  #lane(domain: string): Lane {
    const known = this.#lanes.get(domain);
    if (known) return known;
    const lane = { busyCount: 0, waiting: [], failures: 0, pausedUntilMs: 0, lastFailure: null };
    this.#lanes.set(domain, lane);
    if (this.#lanes.size > LANES_MAX_COUNT) {
      for (const [name, { busyCount }] of this.#lanes) {
        if (busyCount > 0 || name === domain) continue;
        this.#lanes.delete(name);
        break;
      }
    }
    return lane;
  }

  /** A lane in which nothing is and was the matter need not be remembered. */
  #drop(domain: string, lane: Lane): void {
    if (lane.busyCount === 0 && lane.failures === 0 && this.#lanes.get(domain) === lane) this.#lanes.delete(domain);
  }
}
