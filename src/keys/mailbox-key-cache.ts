/**
 * Mailbox-key cache: the derived subkeys of unwrapped keys, held for a bounded time and number of leases,
 * so that one call to the key provider serves many messages.
 *
 * K1  No lease is granted on keys older than `maxAgeMs`, nor more than `maxLeases` on one unwrap.
 * K2  Keys are zeroed when their entry is retired and its last lease is disposed; never sooner.
 * K3  Concurrent misses on one key share one unwrap; a failed unwrap is not remembered.
 * K4  One caller's abort leaves the others waiting; a key revoked meanwhile is not let in.
 * K5  Where `graceMs` is more than `maxAgeMs`: keys past `maxAgeMs` are leased only after a new unwrap
 *     failed in a way that `isTransient`, and never past `graceMs`. Any other failure retires them.
 * K6  A lease says whether its keys might be leased now: what was derived from keys that were retired or grew too
 *     old is to be thrown away with them.
 *
 * Called by key-service.ts, which has one for mailbox keys (no grace, at most a minute) and one for
 * directory keys.
 */
import { raceAbort } from '../base/abort.ts';
import type { MailboxKeys } from '../crypto/derive.ts';

/** Valid until disposed: bind it with `using`. */
type KeysLease = Disposable &
  Readonly<{
    keys: MailboxKeys;
    /** K6; to be asked after the lease was disposed, too. */
    isCurrent(): boolean;
  }>;
/** All >= 1, but `graceMs` may be 0 for none. Ages count from the unwrap; `maxEntries` drops the least recently leased. */
type CacheLimits = Readonly<{ maxAgeMs: number; graceMs: number; maxLeases: number; maxEntries: number }>;
type CacheDeps = Readonly<{
  /** Monotonic: a step of the wall clock must not prolong a key's life. */
  nowMs(): number;
  isTransient(error: unknown): boolean;
}>;
/** Asks the key provider; the cache owns what it returns. */
type Unwrap = () => Promise<MailboxKeys>;
type Entry = { readonly keys: MailboxKeys; readonly bornMs: number; granted: number; open: number; retired: boolean };

export class MailboxKeyCache {
  readonly #deps: CacheDeps;
  readonly #limits: CacheLimits;
  readonly #entries = new Map<string, Entry>(); // least recently leased first
  readonly #loads = new Map<string, Promise<Entry>>();
  #hitsCount = 0;
  #missesCount = 0;

  constructor(deps: CacheDeps, limits: CacheLimits) {
    this.#deps = deps;
    this.#limits = limits;
  }

  /** Keys held, on loan or not. */
  get sizeCount(): number {
    return this.#entries.size;
  }

  /** Leases that asked nobody, and those that waited for an unwrap, their own or another's. */
  get counts(): Readonly<{ hitsCount: number; missesCount: number }> {
    return { hitsCount: this.#hitsCount, missesCount: this.#missesCount };
  }

  /** Leases the keys of `id`; on a miss the first caller's `unwrap` serves all. Throws what it throws, or `signal.reason`. */
  async lease(id: string, unwrap: Unwrap, signal?: AbortSignal): Promise<KeysLease> {
    for (;;) {
      signal?.throwIfAborted();
      const fresh = this.#fresh(id);
      if (fresh) this.#hitsCount += 1;
      else this.#missesCount += 1;
      const entry = fresh ?? (await raceAbort(this.#load(id, unwrap), signal));
      if (!entry.retired) return this.#grant(id, entry); // else used up or revoked while we waited
    }
  }

  /** Forgets every key whose id `matches` now; open leases run out by themselves. */
  revoke(matches: (id: string) => boolean): void {
    for (const id of [...this.#loads.keys()]) if (matches(id)) this.#loads.delete(id);
    for (const [id, entry] of [...this.#entries]) if (matches(id)) this.#retire(id, entry);
  }

  /** Retires what is too old, so that idle keys do not linger; gives the time until the next one is, if any. */
  sweep(): number | null {
    let nextMs: number | null = null;
    for (const [id, entry] of this.#entries) {
      const leftMs = this.#keptForMs() - this.#ageMs(entry);
      if (leftMs <= 0) this.#retire(id, entry);
      else nextMs = Math.min(nextMs ?? leftMs, leftMs);
    }
    return nextMs;
  }

  #keptForMs(): number {
    return Math.max(this.#limits.maxAgeMs, this.#limits.graceMs);
  }

  #ageMs(entry: Entry): number {
    return this.#deps.nowMs() - entry.bornMs;
  }

  #fresh(id: string): Entry | undefined {
    const entry = this.#kept(id);
    return entry && this.#ageMs(entry) < this.#limits.maxAgeMs ? entry : undefined;
  }

  /** The entry that may still serve, if only in grace. */
  #kept(id: string): Entry | undefined {
    const entry = this.#entries.get(id);
    if (entry && this.#ageMs(entry) < this.#keptForMs()) return entry;
    this.#retire(id, entry);
    return undefined;
  }

  #load(id: string, unwrap: Unwrap): Promise<Entry> {
    const shared = this.#loads.get(id);
    if (shared) return shared;
    const isWanted = (): boolean => this.#loads.get(id) === load; // not so once the key was revoked
    const load: Promise<Entry> = unwrap()
      .then(
        (keys) => this.#admit(id, keys, isWanted()),
        (error: unknown) => this.#inGrace(id, error, isWanted()),
      )
      .finally(() => {
        if (isWanted()) this.#loads.delete(id);
      });
    this.#loads.set(id, load);
    return load;
  }

  /** K5: the old keys, if they may still serve; else throws `error`. */
  #inGrace(id: string, error: unknown, isWanted: boolean): Entry {
    const kept = this.#kept(id);
    if (kept && isWanted && this.#deps.isTransient(error)) return kept;
    if (isWanted) this.#retire(id, kept);
    throw error;
  }

  #admit(id: string, keys: MailboxKeys, isWanted: boolean): Entry {
    const entry: Entry = { keys, bornMs: this.#deps.nowMs(), granted: 0, open: 0, retired: false };
    if (!isWanted) {
      this.#retire(id, entry);
      return entry;
    }
    this.#retire(id, this.#entries.get(id));
    this.#entries.set(id, entry);
    const [oldest] = this.#entries;
    if (oldest && this.#entries.size > this.#limits.maxEntries) this.#retire(...oldest);
    return entry;
  }

  #grant(id: string, entry: Entry): KeysLease {
    entry.open += 1;
    entry.granted += 1;
    this.#entries.delete(id); // and back in, as the most recent
    if (entry.granted < this.#limits.maxLeases) this.#entries.set(id, entry);
    else entry.retired = true;
    const release = new DisposableStack(); // runs once, however often the lease is disposed
    release.defer(() => {
      entry.open -= 1;
      this.#wipe(entry);
    });
    return {
      keys: entry.keys,
      isCurrent: () => !entry.retired && this.#ageMs(entry) < this.#keptForMs(),
      [Symbol.dispose]: () => {
        release.dispose();
      },
    };
  }

  #retire(id: string, entry: Entry | undefined): void {
    if (!entry) return;
    entry.retired = true;
    if (this.#entries.get(id) === entry) this.#entries.delete(id);
    this.#wipe(entry);
  }

  #wipe(entry: Entry): void {
    if (entry.retired && entry.open === 0) entry.keys[Symbol.dispose]();
  }
}
