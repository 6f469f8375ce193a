/**
 * Answers that may be used again, in memory.
 *
 * C1  An answer is served for its `ttlS` at most, with what is left of it.
 * C2  The cache holds `maxBytes` at most; the answers least recently used go first.
 */
import type { Answer } from './resolver.ts';

/** A failure is remembered, too, so that an outage is not asked about all the time. */
export type Remembered = Answer | Readonly<{ kind: 'failure'; reason: string; ttlS: number }>;
type Entry = Readonly<{ what: Remembered; expiresMs: number; bytes: number }>;

const ENTRY_OVERHEAD_BYTES = 512;

export class AnswerCache {
  readonly #entries = new Map<string, Entry>(); // least recently used first
  readonly #maxBytes: number;
  readonly #nowMs: () => number;
  #bytes = 0;

  constructor(maxBytes: number, nowMs: () => number) {
    this.#maxBytes = maxBytes;
    this.#nowMs = nowMs;
  }

  get(key: string): Remembered | null {
    const entry = this.#entries.get(key);
    if (!entry) return null;
    this.#remove(key, entry);
    const leftMs = entry.expiresMs - this.#nowMs();
    if (leftMs <= 0) return null;
    this.#add(key, entry);
    return { ...entry.what, ttlS: Math.ceil(leftMs / 1000) };
  }

  /** `bytes`: what came over the wire, as the measure of its size. */
  put(key: string, what: Remembered, bytes: number): void {
    const old = this.#entries.get(key);
    if (old) this.#remove(key, old);
    if (what.ttlS <= 0) return;
    const entry = { what, expiresMs: this.#nowMs() + what.ttlS * 1000, bytes: 2 * bytes + ENTRY_OVERHEAD_BYTES };
    this.#add(key, entry);
    for (const [oldest, { bytes: size }] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#entries.delete(oldest);
      this.#bytes -= size;
    }
  }

  #add(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#bytes += entry.bytes;
  }

  #remove(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }
}
