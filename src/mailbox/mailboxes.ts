/**
 * The open mailboxes of this process. Called by imap/, delivery/ and admin/.
 *
 * M1  A mailbox is open once in a process, however many use it; it is closed when nobody does and more than
 *     `maxOpenCount` are open.
 * M2  A mailbox that is new has its default folders before anybody sees it.
 * M3  A mailbox that is open and was not asked for a while gives back the memory of its database.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ServerError } from '../base/errors.ts';
import type { MailboxId } from '../base/ids.ts';
import type { Checkpointer } from '../db/checkpointer.ts';
import { DatabaseReader } from '../db/reader.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import { FreeSpace } from '../store/free-space.ts';
import type { Quota, Usage } from '../store/quota.ts';
import { eraseMailbox, MailboxStore } from '../store/mailbox-store.ts';
import { ensureDefaultFolders } from './folders.ts';
import { Mailbox } from './mailbox.ts';
import type { Principal } from './model.ts';
import { Notifier } from './notify.ts';
import type { KeySource, MailboxLimits, MailboxSession } from './session.ts';
import { TextExtractor } from './text-extractor.ts';

type MailboxesOptions = Readonly<{
  /** Holds one directory for each mailbox. */
  directory: string;
  inlineBodyMaxBytes: number;
  maxOpenCount: number;
  freeSpaceReserveBytes: number;
  checkpointer: Checkpointer;
  keys: KeySource;
  /** What a mailbox may hold, at the moment. */
  quotaOf(mailbox: MailboxId): Quota | null;
  /** How long expunged messages are kept; 0 without it. */
  retentionMsOf?(mailbox: MailboxId): number;
  onFailure(error: Error): void;
  /** A mailbox that was not asked for so long gives its memory back. Replaced by tests. */
  restEveryMs?: number;
}>;

type Entry = { readonly store: Promise<MailboxStore>; readonly notifier: Notifier; ready: boolean; users: number };

const LIMITS: MailboxLimits = {
  keywordCount: 256,
  folderCount: 10_000,
  subscriptionCount: 10_000,
  searchTextBytes: 8 << 20,
  waitingMessagesCount: 10_000,
  annotationCount: 1000,
  annotationTotalBytes: 4 << 20,
};
const TEXT_TIMEOUT_MS = 10_000;
const REST_EVERY_MS = 15_000;

export class Mailboxes {
  readonly #options: MailboxesOptions;
  readonly #space: FreeSpace;
  /** Looks at databases apart from the event loop. */
  readonly reader = new DatabaseReader();
  readonly #texts = new TextExtractor({ timeoutMs: TEXT_TIMEOUT_MS });
  /** Least recently opened first. */
  readonly #open = new Map<MailboxId, Entry>();
  readonly #resting: NodeJS.Timeout;
  #closed = false;

  constructor(options: MailboxesOptions) {
    this.#options = options;
    this.#space = new FreeSpace(options.directory, options.freeSpaceReserveBytes);
    this.#resting = setInterval(() => {
      for (const { store } of this.#open.values()) void store.then((it) => it.restIfIdle()).catch(() => undefined);
    }, options.restEveryMs ?? REST_EVERY_MS).unref();
  }

  /** Opens a mailbox for `principal`; dispose it when done. Throws ServerError 'key-*' for a new one, 'storage-failed'. */
  open(ref: MailboxRef, principal: Principal, signal?: AbortSignal): Promise<Mailbox> {
    return this.#openFor({ ref, principal, withFolders: true }, signal);
  }

  /** As `open`, without the mailbox key: a new mailbox has no folders yet. For mail that waits. */
  openWithoutKey(ref: MailboxRef, principal: Principal): Promise<Mailbox> {
    return this.#openFor({ ref, principal, withFolders: false });
  }

  async #openFor(
    { ref, principal, withFolders }: Readonly<{ ref: MailboxRef; principal: Principal; withFolders: boolean }>,
    signal?: AbortSignal,
  ): Promise<Mailbox> {
    if (this.#closed)
      throw new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true });
    const entry = this.#entry(ref.mailbox);
    entry.users += 1;
    const release = new DisposableStack();
    release.defer(() => {
      entry.users -= 1;
      this.#closeIdle();
    });
    try {
      const { keys } = this.#options;
      const { notifier } = entry;
      const store = await entry.store;
      const quota = (): Quota | null => this.#options.quotaOf(ref.mailbox);
      const retentionMs = (): number => this.#options.retentionMsOf?.(ref.mailbox) ?? 0;
      const shared = { keys, texts: this.#texts, space: this.#space, limits: LIMITS, quota, retentionMs };
      const session: MailboxSession = { ...shared, ref, store, notifier, principal };
      if (withFolders && !entry.ready) {
        await ensureDefaultFolders(session, signal);
        entry.ready = true;
      }
      return new Mailbox(session, () => {
        release.dispose();
      });
    } catch (error) {
      release.dispose();
      throw error;
    }
  }

  /** What a mailbox holds; its key is not needed. */
  async usage(ref: MailboxRef): Promise<Usage> {
    using mailbox = await this.openWithoutKey(ref, { protocol: 'admin' });
    return mailbox.usage();
  }

  /** Whether a mailbox has anything on disk. */
  async has(id: MailboxId): Promise<boolean> {
    if (this.#open.has(id)) return true;
    return await stat(this.#directory(id)).then(
      () => true,
      () => false,
    );
  }

  /**
   * A mailbox apart from all others: a copy in `directory`, opened with keys of its own. Dispose it when done.
   * Throws ServerError 'storage-failed'.
   */
  async openCopy(
    copy: Readonly<{ directory: string; ref: MailboxRef; keys: MailboxSession['keys'] }>,
    principal: Principal,
  ): Promise<AsyncDisposable & Readonly<{ mailbox: Mailbox; store: MailboxStore }>> {
    const store = await this.#openStore(copy.directory);
    const own = { store, notifier: new Notifier(), texts: this.#texts, space: this.#space, limits: LIMITS, principal };
    const mailbox = new Mailbox(
      { ref: copy.ref, keys: copy.keys, ...own, quota: () => null, retentionMs: () => 0 },
      () => undefined,
    );
    return { mailbox, store, [Symbol.asyncDispose]: () => store.close() };
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** Closes every mailbox that nobody uses; gives their number. */
  async closeIdle(): Promise<number> {
    const idle = [...this.#open].filter(([, entry]) => entry.users === 0);
    for (const [id] of idle) this.#open.delete(id);
    for (const [, { store }] of idle) await (await store.catch(() => null))?.close(); // null: it failed to open
    return idle.length;
  }

  /** Destroys a mailbox's directory: its messages, keys wrapped in it, and names. Nobody may use it any more. */
  async erase(id: MailboxId): Promise<void> {
    const entry = this.#open.get(id);
    this.#open.delete(id);
    await (await entry?.store)?.close();
    await eraseMailbox(this.#directory(id));
  }

  /** Closes all; operations under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#resting);
    await this.#texts.close();
    const entries = [...this.#open.values()];
    this.#open.clear();
    for (const entry of entries) await (await entry.store).close();
    await this.reader[Symbol.asyncDispose]();
  }

  #entry(id: MailboxId): Entry {
    const known = this.#open.get(id);
    const entry = known ?? {
      store: this.#openStore(this.#directory(id)),
      notifier: new Notifier(),
      ready: false,
      users: 0,
    };
    this.#open.delete(id); // and back in, as the most recent
    this.#open.set(id, entry);
    if (!known) entry.store.catch(() => this.#open.delete(id));
    return entry;
  }

  #openStore(directory: string): Promise<MailboxStore> {
    const { inlineBodyMaxBytes, checkpointer } = this.#options;
    return MailboxStore.open({
      directory,
      reader: this.reader,
      inlineBodyMaxBytes,
      checkpointer,
      onFailure: (error) => {
        this.#options.onFailure(error);
      },
    });
  }

  #directory(id: MailboxId): string {
    return join(this.#options.directory, id);
  }

  #closeIdle(): void {
    for (const [id, entry] of this.#open) {
      if (this.#open.size <= this.#options.maxOpenCount) return;
      if (entry.users > 0) continue;
      this.#open.delete(id);
      entry.store.then((store) => store.close()).catch(() => undefined); // it failed to open: nothing to close
    }
  }
}
