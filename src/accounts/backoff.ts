/**
 * Back-off after failed logins. In memory only: a restart forgives.
 *
 * Q1  Each failed attempt spaces the next ones of the same key further apart; parallel attempts queue up behind each
 *     other, so opening more connections gains nothing.
 * Q2  A key is one client address, or one client address with one account: never an account alone, so nobody can keep
 *     an owner at another address waiting.
 * Q3  At most `entriesMaxCount` keys are held; the ones that failed longest ago go first.
 *
 * Called by login.ts.
 */
import { isIPv6 } from 'node:net';

export type BackoffLimits = Readonly<{
  /** Failures that cost nothing: people mistype. */
  freeCount: number;
  /** Space after the first failure that counts; doubled by each further one up to `spaceMaxMs`. */
  spaceMs: number;
  spaceMaxMs: number;
  /** An attempt that would have to wait longer is turned away. */
  waitMaxMs: number;
  /** A key without a failure for so long is forgotten. */
  memoryMs: number;
  entriesMaxCount: number;
}>;
type Entry = { failures: number; lastFailureMs: number; nextAtMs: number };

export class Backoff {
  readonly #limits: BackoffLimits;
  readonly #entries = new Map<string, Entry>(); // longest without failure first

  constructor(limits: BackoffLimits) {
    this.#limits = limits;
  }

  /** How long the next attempt of `key` must wait, its turn taken; null when that is too long. */
  takeTurn(key: string, nowMs: number): number | null {
    const entry = this.#fresh(key, nowMs);
    if (!entry) return 0;
    const startMs = Math.max(nowMs, entry.nextAtMs);
    if (startMs - nowMs > this.#limits.waitMaxMs) return null;
    entry.nextAtMs = startMs + this.#space(entry.failures);
    return startMs - nowMs;
  }

  failed(key: string, nowMs: number): void {
    const entry = this.#fresh(key, nowMs) ?? { failures: 0, lastFailureMs: nowMs, nextAtMs: nowMs };
    entry.failures += 1;
    entry.lastFailureMs = nowMs;
    entry.nextAtMs = Math.max(entry.nextAtMs, nowMs + this.#space(entry.failures));
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined && this.#entries.size > this.#limits.entriesMaxCount) this.#entries.delete(oldest);
  }

  succeeded(key: string): void {
    this.#entries.delete(key);
  }

  get entriesCount(): number {
    return this.#entries.size;
  }

  #fresh(key: string, nowMs: number): Entry | undefined {
    const entry = this.#entries.get(key);
    if (!entry || nowMs - entry.lastFailureMs < this.#limits.memoryMs) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  #space(failures: number): number {
    const counted = failures - this.#limits.freeCount;
    return counted <= 0 ? 0 : Math.min(this.#limits.spaceMaxMs, this.#limits.spaceMs * 2 ** Math.min(counted - 1, 30));
  }
}

/** The key of a client address: an IPv6 client commands a whole /64 (RFC 4291 §2.5.4). */
export function clientKey(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const bare = address.replace(/%.*$/, '');
  if (!isIPv6(bare)) return address;
  const [head = '', tail = ''] = bare.split('::', 2);
  const [before, after] = [head.split(':').filter(Boolean), tail.split(':').filter(Boolean)];
  const zeros = bare.includes('::') ? Math.max(0, 8 - before.length - after.length) : 0;
  const groups = [...before, ...Array<string>(zeros).fill('0'), ...after].slice(0, 4);
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}
