/**
 * The queue: mail on its way out, whole and durable, sealed to the transit key of its organization.
 *
 * Q1  `commit` of a message resolves when it is on disk with all its recipients; from then on it is delivered, reported
 *     as failed, or removed by an operator, whenever the process is killed.
 * Q2  A message is claimed by one worker at a time. Claims are in memory only: after a kill everything that was not
 *     settled is due again, and nothing that was settled is.
 * Q3  A message that does not open is reported once and left alone; it holds up no other.
 * Q4  While the transit key of an organization cannot be had, its mail stays as it is, for `KEY_PAUSE_MS` at a time.
 *
 * Called by delivery/ (filling), outbound/ (draining) and admin/.
 */
import { ServerError } from '../base/errors.ts';
import type { Epoch, MessageId, OrganizationId } from '../base/ids.ts';
import { KeyPairOpener } from '../crypto/key-pair.ts';
import type { MailboxKeys } from '../crypto/derive.ts';
import type { Checkpointer } from '../db/checkpointer.ts';
import type { TransitKeys } from '../accounts/transit-keys.ts';
import type { KeyUse } from '../keys/key-service.ts';
import type { Logger } from '../observe/logger.ts';
import { FreeSpace } from '../store/free-space.ts';
import { ClaimedItem, type OpenedMessageKey } from './item.ts';
import { QueueStore, type ItemRow, type QueueCounts } from './queue-store.ts';
import { QueueWriter } from './writer.ts';

export type PublicTransitKey = Readonly<{ epoch: Epoch; key: Uint8Array }>;
type QueueOptions = Readonly<{
  directory: string;
  inlineBodyMaxBytes: number;
  freeSpaceReserveBytes: number;
  maxMessagesCount: number;
  giveUpAfterMs: number;
  checkpointer: Checkpointer;
  transitKeys: Pick<TransitKeys, 'publicKey' | 'lease' | 'isGone'>;
  logger: Logger;
  nowMs(): number;
  onFailure(error: Error): void;
}>;
type DueItem = Readonly<{ id: MessageId; organization: OrganizationId }>;
/** `keysMissingCount`: organizations whose mail waits for their key (Q4). */
export type QueueState = QueueCounts &
  Readonly<{ damagedCount: number; claimedCount: number; keysMissingCount: number }>;
/** A message as operators see it; `item` is null for one that does not open, or whose key cannot be had. */
export type ListedItem = Readonly<{ row: ItemRow; item: ClaimedItem | null }>;

const KEY_PAUSE_MS = 30_000;
const LIST_PAGE_COUNT = 100;
const ENQUEUE_USE: KeyUse = { purpose: 'enqueue', protocol: 'submission', principal: 'queue' };
const DRAIN_USE: KeyUse = { purpose: 'drain-queue', protocol: 'smtp', principal: 'queue' };
const LIST_USE: KeyUse = { purpose: 'list-queue', protocol: 'admin', principal: 'admin' };

export class Queue {
  readonly #options: QueueOptions;
  readonly #store: QueueStore;
  readonly #space: FreeSpace;
  readonly #claims = new Map<MessageId, ClaimedItem | null>(); // null: being opened
  readonly #damaged = new Set<MessageId>();
  readonly #pausedUntilMs = new Map<OrganizationId, number>();
  readonly #warned = new Set<OrganizationId>();
  readonly #openers = new WeakMap<MailboxKeys, KeyPairOpener>(); // derived once for each minute of a key
  readonly #listeners = new Set<() => void>();

  constructor(options: QueueOptions, store: QueueStore) {
    this.#options = options;
    this.#store = store;
    this.#space = new FreeSpace(options.directory, options.freeSpaceReserveBytes);
  }

  /** Opens the queue of a data directory. Throws ServerError 'storage-failed'. */
  static async open(options: QueueOptions): Promise<Queue> {
    const store = await QueueStore.open(options);
    for (const organization of store.organizations()) {
      if (options.transitKeys.isGone(organization)) await store.removeOrganization(organization);
    }
    return new Queue(options, store);
  }

  /** Begins a message of `organization`. Throws ServerError 'key-*', 'storage-full', 'limit-exceeded' (retryable). */
  async newMessage(organization: OrganizationId, signal?: AbortSignal): Promise<QueueWriter> {
    const { transitKeys, maxMessagesCount, giveUpAfterMs, nowMs } = this.#options;
    await transitKeys.publicKey(organization, ENQUEUE_USE, signal);
    await this.#space.check();
    if (this.#store.messagesCount >= maxMessagesCount) {
      const detail = `the queue holds ${String(maxMessagesCount)} messages`;
      throw new ServerError('limit-exceeded', {
        clientText: 'Too much mail waits to be sent.',
        detail,
        retryable: true,
      });
    }
    return new QueueWriter({
      store: this.#store,
      organization,
      publicKey: () => transitKeys.publicKey(organization, ENQUEUE_USE),
      onEnqueued: () => {
        this.#wake();
      },
      nowMs,
      giveUpAfterMs,
    });
  }

  /** Messages that could be claimed now: with a recipient to try or a report to make, the longest due first. */
  due(nowMs: number, limit: number): readonly DueItem[] {
    for (const [organization, untilMs] of this.#pausedUntilMs) {
      if (untilMs <= nowMs) this.#pausedUntilMs.delete(organization);
    }
    const more = limit + this.#claims.size + this.#damaged.size;
    return this.#store
      .due(nowMs, { limit: more, without: [...this.#pausedUntilMs.keys()] })
      .filter(({ message }) => !this.#claims.has(message) && !this.#damaged.has(message))
      .slice(0, limit)
      .map(({ message, organization }) => ({ id: message, organization }));
  }

  /** When, after `nowMs`, something becomes due by itself; null when nothing waits. */
  nextDueMs(nowMs: number): number | null {
    const times = [this.#store.nextDueMs(nowMs), ...this.#pausedUntilMs.values()].filter((atMs) => atMs !== null);
    return times.length > 0 ? Math.min(...times) : null;
  }

  /** Calls `listener` whenever something may have become due before its time. */
  onWork(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /**
   * Claims and opens a message (Q2); dispose it when done. Null when it cannot be claimed: it is gone, held or claimed,
   * does not open (Q3), or its key cannot be had (Q4).
   */
  async claim(id: MessageId, signal?: AbortSignal): Promise<ClaimedItem | null> {
    if (this.#claims.has(id) || this.#damaged.has(id)) return null;
    const row = this.#store.find(id);
    if (!row || row.isHeld) return null;
    this.#claims.set(id, null);
    try {
      const item = await this.#open(row, DRAIN_USE, signal);
      this.#claims.set(id, item);
      this.#warned.delete(row.organization);
      return item;
    } catch (error) {
      this.#claims.delete(id);
      this.#cannotOpen(row, error);
      return null;
    }
  }

  /** All messages, oldest first, opened where they can be; each is disposed when the next is asked for. */
  async *list(organization: OrganizationId | null = null, signal?: AbortSignal): AsyncGenerator<ListedItem> {
    let after = 0;
    for (;;) {
      const rows = this.#store.list({ after, limit: LIST_PAGE_COUNT });
      for (const row of rows) {
        if (organization !== null && row.organization !== organization) continue;
        using item = await this.#listed(row, signal);
        yield { row, item };
      }
      if (rows.length < LIST_PAGE_COUNT) return;
      after = rows.at(-1)?.row ?? after;
    }
  }

  /** One message, opened where it can be; the caller disposes it. Null when there is none. */
  async show(id: MessageId, signal?: AbortSignal): Promise<ListedItem | null> {
    const row = this.#store.find(id);
    return row && { row, item: await this.#listed(row, signal) };
  }

  /** Keeps a message from being tried; durable when it resolves. False where there is none, as for the following. */
  hold(id: MessageId): Promise<boolean> {
    return this.#store.setHeld(id, true);
  }

  async release(id: MessageId): Promise<boolean> {
    const found = await this.#store.setHeld(id, false);
    this.#wake();
    return found;
  }

  /** Has what waits be tried at once, held or not. */
  retry(id: MessageId): Promise<boolean> {
    return this.#reschedule(id, false);
  }

  /** As `retry`, for the last time: who fails now has failed for good. */
  expire(id: MessageId): Promise<boolean> {
    return this.#reschedule(id, true);
  }

  /** Destroys a message; nobody is told. */
  async remove(id: MessageId): Promise<boolean> {
    const found = await this.#store.remove(id);
    this.#damaged.delete(id);
    this.#claims.get(id)?.abort();
    return found;
  }

  /** How many messages of an organization are there. */
  countOf(organization: OrganizationId): number {
    return this.#store.countOf(organization);
  }

  /** Destroys all messages of an organization that is deleted. */
  async removeOrganization(organization: OrganizationId): Promise<number> {
    for (const item of this.#claims.values()) if (item?.organization === organization) item.abort();
    return this.#store.removeOrganization(organization);
  }

  state(): QueueState {
    return {
      ...this.#store.counts(),
      damagedCount: this.#damaged.size,
      claimedCount: this.#claims.size,
      keysMissingCount: this.#pausedUntilMs.size,
    };
  }

  async close(): Promise<void> {
    await this.#store.close();
  }

  async #reschedule(id: MessageId, isLast: boolean): Promise<boolean> {
    const row = this.#store.find(id);
    if (row) this.#pausedUntilMs.delete(row.organization);
    const found = await this.#store.reschedule(id, { atMs: this.#options.nowMs(), isLast });
    this.#damaged.delete(id);
    this.#wake();
    return found;
  }

  async #listed(row: ItemRow, signal?: AbortSignal): Promise<ClaimedItem | null> {
    try {
      return await this.#open(row, LIST_USE, signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof ServerError) return null;
      throw error;
    }
  }

  async #open(row: ItemRow, use: KeyUse, signal?: AbortSignal): Promise<ClaimedItem> {
    const { nowMs } = this.#options;
    const openKey = (of: ItemRow, waiting?: AbortSignal): Promise<OpenedMessageKey> => this.#openKey(of, use, waiting);
    const isClaim = use === DRAIN_USE;
    const onDisposed = (): void => {
      if (isClaim) this.#claims.delete(row.message);
    };
    const onDamaged = (error: ServerError): void => {
      this.#setDamaged(row, error);
    };
    const deps = { store: this.#store, openKey, nowMs, onDamaged, onDisposed };
    return new ClaimedItem(deps, row, await openKey(row, signal));
  }

  async #openKey(row: ItemRow, use: KeyUse, signal?: AbortSignal): Promise<OpenedMessageKey> {
    using lease = await this.#options.transitKeys.lease(row, use, signal);
    const opener = this.#openers.get(lease.keys) ?? new KeyPairOpener(lease.keys.pairSeed);
    this.#openers.set(lease.keys, opener);
    const { organization, epoch, message, body, commitment } = row;
    const context = {
      kind: 'message-key',
      organization,
      mailbox: 'transit',
      epoch,
      message,
      body,
      commitment,
    } as const;
    const { key, sizeBytes } = await opener.open(context, row.sealedKey);
    if (sizeBytes === row.sizeBytes) return { key, isCurrent: () => lease.isCurrent() };
    key[Symbol.dispose]();
    const detail = `queue item ${message}: its size is not the sealed one`;
    throw new ServerError('content-damaged', { clientText: 'Stored data is damaged', detail });
  }

  #cannotOpen(row: ItemRow, error: unknown): void {
    const { logger, nowMs } = this.#options;
    const code = error instanceof ServerError ? error.code : null;
    if (code === 'content-damaged') {
      this.#setDamaged(row, error);
    } else if (code !== null && (code.startsWith('key-') || code === 'suspended' || code === 'not-found')) {
      this.#pausedUntilMs.set(row.organization, nowMs() + KEY_PAUSE_MS); // Q4
      if (!this.#warned.has(row.organization)) {
        logger.warn('mail waits in the queue for its key', { organization: row.organization, code });
      }
      this.#warned.add(row.organization);
    } else {
      throw error;
    }
  }

  /** Q3. */
  #setDamaged({ message }: ItemRow, error: unknown): void {
    this.#damaged.add(message);
    this.#options.logger.error('a message in the queue does not open', { item: message, error });
  }

  #wake(): void {
    for (const listener of this.#listeners) listener();
  }
}
