/**
 * What every operation on one mailbox shares: its store, its keys, its notifier, and who asks.
 *
 * N1  Mailbox keys are leased for one batch of work and given back: no operation holds one while it waits
 *     for a peer, so that a key that was revoked or grew old is not used for longer than a batch.
 * N2  Nothing opened is kept from one operation to the next; what one operation holds while it waits for a peer is
 *     tied to `currency`: message keys to the mailbox key that unwrapped them (read.ts, X4).
 * N3  The mailbox says which epoch seals and finds (store/epoch.ts). When a rotation changed it, or took an epoch
 *     away, while an operation waited for keys, the operation begins again with what it reads then: `withKeys`.
 */
import { ServerError } from '../base/errors.ts';
import type { Epoch } from '../base/ids.ts';
import type { MailboxKeys } from '../crypto/derive.ts';
import type { KeyChanges } from '../keys/key-changes.ts';
import type { KeyService, KeyUse } from '../keys/key-service.ts';
import type { MailboxKeyLease, MailboxRef } from '../keys/mailbox-keys.ts';
import { EpochMoved } from '../store/epoch.ts';
import type { FreeSpace } from '../store/free-space.ts';
import type { MailboxStore } from '../store/mailbox-store.ts';
import type { Quota } from '../store/quota.ts';
import type { Principal } from './model.ts';
import type { Notifier } from './notify.ts';
import type { TextExtractor } from './text-extractor.ts';

export type MailboxLimits = Readonly<{
  keywordCount: number;
  folderCount: number;
  subscriptionCount: number;
  searchTextBytes: number;
  waitingMessagesCount: number;
  annotationCount: number;
  annotationTotalBytes: number;
}>;

/** Where keys come from: the key service, or on a gateway, where no key can be leased or changed, what it was told. */
export type KeySource = Pick<KeyService, 'leaseMailbox' | 'publicKey'> &
  Readonly<{ changes: Pick<KeyChanges, 'beginRotation' | 'endRotation'> | null }>;

export type MailboxSession = Readonly<{
  ref: MailboxRef;
  store: MailboxStore;
  keys: KeySource;
  notifier: Notifier;
  texts: TextExtractor;
  space: FreeSpace;
  limits: MailboxLimits;
  /** As it is at the moment. */
  quota(): Quota | null;
  /** How long expunged messages are kept, at the moment. */
  retentionMs(): number;
  principal: Principal;
}>;

/** Two rotations of one mailbox cannot follow on each other so fast that more tries are needed. */
const TRIES_MAX_COUNT = 5;

/** For what purpose keys are asked, and how long is waited for them. */
type KeyRequest = Readonly<{ purpose: string; signal?: AbortSignal | undefined }>;

/** Runs `work` with a ring of keys of its own; again from its start when it met another epoch than its keys' (N3). */
export function withKeys<T>(
  session: MailboxSession,
  { purpose, signal }: KeyRequest,
  work: (ring: KeyRing) => Promise<T>,
): Promise<T> {
  return anew(async () => {
    using ring = new KeyRing(session, purpose, signal);
    return await work(ring);
  });
}

/** Runs `work`; again from its start when the mailbox went over to another epoch meanwhile (N3). */
export async function anew<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof EpochMoved) || tries === TRIES_MAX_COUNT) throw error;
    }
  }
}

/** How a use of keys for `purpose` appears in the key audit. */
export function keyUse({ principal }: MailboxSession, purpose: string): KeyUse {
  const { protocol, name, session } = principal;
  return {
    purpose,
    protocol,
    ...(name === undefined ? {} : { principal: name }),
    ...(session === undefined ? {} : { session }),
  };
}

/** The leases of one batch of work, one for each epoch it meets; bind it with `using`. */
export class KeyRing implements Disposable {
  readonly #session: MailboxSession;
  readonly #purpose: string;
  readonly #signal: AbortSignal | undefined;
  readonly #leases = new Map<Epoch, MailboxKeyLease>();
  #current: MailboxKeyLease | null = null;

  constructor(session: MailboxSession, purpose: string, signal?: AbortSignal) {
    this.#session = session;
    this.#purpose = purpose;
    this.#signal = signal;
  }

  /** The key of the mailbox's epoch, for sealing and for looking up names. Throws ServerError 'key-*'. */
  async current(): Promise<Readonly<{ keys: MailboxKeys; epoch: Epoch }>> {
    if (this.#current) return this.#current;
    const epoch = this.#session.store.folders.epoch();
    this.#current = this.#leases.get(epoch) ?? (await this.#lease(epoch)); // never two of one epoch
    this.#leases.set(epoch, this.#current);
    return this.#current;
  }

  /** Makes the keys of these epochs ready for `of`. Throws ServerError 'key-*'. */
  async load(epochs: Iterable<Epoch>): Promise<void> {
    for (const epoch of new Set(epochs)) {
      if (!this.#leases.has(epoch)) this.#leases.set(epoch, await this.#lease(epoch));
    }
  }

  /** The keys of an epoch that was loaded. */
  of(epoch: Epoch): MailboxKeys {
    const lease = this.#leases.get(epoch);
    if (!lease) throw new TypeError(`epoch ${String(epoch)} was not loaded`);
    return lease.keys;
  }

  /** Says, also after the ring was disposed, whether the keys of a loaded epoch might still be leased. */
  currency(epoch: Epoch): () => boolean {
    const lease = this.#leases.get(epoch);
    return () => lease?.isCurrent() ?? false;
  }

  [Symbol.dispose](): void {
    for (const lease of this.#leases.values()) lease[Symbol.dispose]();
    this.#leases.clear();
    this.#current = null;
  }

  async #lease(epoch: Epoch): Promise<MailboxKeyLease> {
    try {
      return await this.#session.keys.leaseMailbox(this.#session.ref, {
        use: keyUse(this.#session, this.#purpose),
        epoch,
        ...(this.#signal === undefined ? {} : { signal: this.#signal }),
      });
    } catch (error) {
      const isGone = error instanceof ServerError && error.code === 'not-found';
      if (isGone && epoch < this.#session.store.folders.epoch()) throw new EpochMoved();
      throw error;
    }
  }
}
