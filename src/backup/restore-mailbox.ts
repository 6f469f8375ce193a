/**
 * Restoring one mailbox of a backup, or one folder, beside what is there: as new messages in folders below `Restored/`.
 *
 * RM1  Nothing that is there is changed. Every message is opened with the keys of the backup and sealed anew, under a key
 *      of its own and the present key of the mailbox that takes it in.
 * RM2  A message that does not open is left out and counted, and holds up no other.
 * RM3  A restore that was cut short goes on: what a folder has already is not put there again.
 * RM4  Only sealed bytes touch the disk: copies of the backup's objects, removed at the end.
 *
 * Called by service.ts.
 */
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ServerError } from '../base/errors.ts';
import type { BodyId, FolderId, Uid } from '../base/ids.ts';
import type { OnProgress } from '../base/task.ts';
import type { KeyService } from '../keys/key-service.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { PreparedMessage } from '../mailbox/append.ts';
import type { Mailbox } from '../mailbox/mailbox.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import type { OpenMessage } from '../mailbox/read.ts';
import type { MailboxStore } from '../store/mailbox-store.ts';
import {
  blobName,
  databaseName,
  indexName,
  parseIndex,
  type BackedUpMailbox,
  type IndexedBlob,
  type Manifest,
} from './manifest.ts';
import { fetchObject, readObject } from './objects.ts';
import { StoredKeys, type StoredKey } from './stored-keys.ts';
import type { BackupTarget } from './target.ts';

type RestoreDeps = Readonly<{ keys: KeyService; mailboxes: Mailboxes; /** Of this restore alone. */ scratch: string }>;
type MailboxRestoreRequest = Readonly<{
  target: BackupTarget;
  manifest: Manifest;
  /** In the backup. */
  source: MailboxRef;
  storedKeys: readonly StoredKey[];
  /** Null: all folders. */
  folder: string | null;
  /** Which takes it in. */
  into: MailboxRef;
}>;
type RestoredFolder = Readonly<{ from: string; to: string; messagesCount: number; damagedCount: number }>;
export type MailboxRestoreSummary = Readonly<{ id: string; folders: readonly RestoredFolder[] }>;
type Follow = Readonly<{ onProgress: OnProgress; signal: AbortSignal }>;

const PRINCIPAL = { protocol: 'admin', name: 'restore' };
const BATCH_COUNT = 20;
const BATCH_BYTES = 8 * 1024 * 1024;

/** Throws ServerError 'not-found', 'key-*', 'over-quota', 'content-damaged' for the backup itself, 'storage-*'. */
export async function restoreMailbox(
  deps: RestoreDeps,
  request: MailboxRestoreRequest,
  follow: Follow,
): Promise<MailboxRestoreSummary> {
  const entry = request.manifest.mailboxes.find(({ mailbox }) => mailbox === request.source.mailbox);
  if (!entry) throw new ServerError('not-found', { clientText: 'The backup has no mail of this mailbox.' });
  await rm(deps.scratch, { recursive: true, force: true });
  await mkdir(deps.scratch, { recursive: true, mode: 0o700 });
  try {
    const { target } = request;
    const copy = {
      name: databaseName(entry.database),
      file: join(deps.scratch, 'mailbox.db'),
      expected: entry.database,
    };
    await fetchObject(target, copy, follow.signal);
    using keys = new StoredKeys(deps.keys, request.storedKeys);
    const refuse = (): never => {
      throw new TypeError('a copy of a backup takes in no mail');
    };
    const source = { leaseMailbox: keys.leaseMailbox.bind(keys), publicKey: refuse, changes: null };
    const place = { directory: deps.scratch, ref: request.source, keys: source };
    await using opened = await deps.mailboxes.openCopy(place, PRINCIPAL);
    using into = await deps.mailboxes.open(request.into, PRINCIPAL, follow.signal);
    const run = new MailboxRestore({ ...opened, into, entry, scratch: deps.scratch }, request, follow);
    return await run.make();
  } finally {
    await rm(deps.scratch, { recursive: true, force: true });
  }
}

type Places = Readonly<{
  /** The copy. */
  mailbox: Mailbox;
  store: MailboxStore;
  into: Mailbox;
  entry: BackedUpMailbox;
  scratch: string;
}>;
type Batch = { prepared: PreparedMessage; flags: readonly string[] }[];

class MailboxRestore {
  readonly #places: Places;
  readonly #request: MailboxRestoreRequest;
  readonly #follow: Follow;
  #blobs: ReadonlyMap<BodyId, IndexedBlob> = new Map();
  #doneBytes = 0;
  #totalBytes = 0;

  constructor(places: Places, request: MailboxRestoreRequest, follow: Follow) {
    this.#places = places;
    this.#request = request;
    this.#follow = follow;
  }

  async make(): Promise<MailboxRestoreSummary> {
    const { target, manifest, folder: wanted } = this.#request;
    const { mailbox, entry } = this.#places;
    const { signal } = this.#follow;
    const index = await readObject(target, { name: indexName(entry.index), expected: entry.index }, signal);
    this.#blobs = new Map(parseIndex(index).map((blob) => [blob.body, blob]));
    await mailbox.adoptWaiting(signal); // in the copy
    const named = wanted === null ? null : await mailbox.folder(wanted, signal);
    if (wanted !== null && !named) {
      throw new ServerError('not-found', { clientText: 'The backup has no folder of that name in this mailbox.' });
    }
    const folders = named ? [named] : await mailbox.folders(signal);
    for (const { id } of folders) this.#totalBytes += (await mailbox.status(id)).sizeBytes;
    const restored: RestoredFolder[] = [];
    for (const { id, name } of folders) {
      const to = `Restored/${manifest.createdAt.slice(0, 16).replace('T', ' ').replace(':', '')}/${name}`;
      const counts = await this.#folder(id, to);
      if (counts) restored.push({ from: name, to, ...counts });
    }
    return { id: manifest.id, folders: restored };
  }

  /** Null for a folder without messages, which is not made. */
  async #folder(id: FolderId, to: string): Promise<Pick<RestoredFolder, 'messagesCount' | 'damagedCount'> | null> {
    const { mailbox, into } = this.#places;
    const { signal } = this.#follow;
    const { uids } = await mailbox.snapshot(id);
    if (uids.length === 0) return null;
    const folder = (await into.folder(to, signal)) ?? (await into.createFolder({ name: to }, signal));
    let there = (await into.status(folder.id)).uidNext - 1; // RM3
    let [messagesCount, damagedCount] = [0, 0];
    let batch: Batch = [];
    let batchBytes = 0;
    try {
      for (const uid of uids) {
        signal.throwIfAborted();
        const taken = await this.#take(id, uid as Uid, { isThere: there > 0 });
        if (taken) messagesCount += 1;
        else damagedCount += 1;
        if (taken && there > 0) there -= 1;
        if (taken?.prepared) batch.push({ prepared: taken.prepared, flags: taken.flags });
        batchBytes += taken?.sizeBytes ?? 0;
        if (batch.length < BATCH_COUNT && batchBytes < BATCH_BYTES) continue;
        await this.#append(folder.id, batch.splice(0));
        batchBytes = 0;
      }
      await this.#append(folder.id, batch.splice(0));
    } finally {
      for (const { prepared } of batch) await prepared.discard();
      batch = [];
    }
    return { messagesCount, damagedCount };
  }

  async #append(folder: FolderId, messages: Batch): Promise<void> {
    if (messages.length > 0) await this.#places.into.append({ folder, messages }, this.#follow.signal);
  }

  /** One message, sealed anew unless it is there already; null when it does not open (RM2). */
  async #take(
    folder: FolderId,
    uid: Uid,
    { isThere }: Readonly<{ isThere: boolean }>,
  ): Promise<Readonly<{ prepared: PreparedMessage | null; flags: readonly string[]; sizeBytes: number }> | null> {
    const file = await this.#fetchBlob(folder, uid);
    try {
      using message = await this.#places.mailbox.message(folder, uid, this.#follow.signal);
      if (!message) return null;
      const { flags, sizeBytes } = message.row;
      this.#doneBytes += sizeBytes;
      this.#follow.onProgress({ doneCount: this.#doneBytes, totalCount: this.#totalBytes });
      const prepared = await this.#sealed(message, isThere);
      return { prepared, flags, sizeBytes };
    } catch (error) {
      if (error instanceof ServerError && ['content-damaged', 'key-mismatch'].includes(error.code)) return null;
      throw error;
    } finally {
      if (file !== null) await rm(file, { force: true });
    }
  }

  /** What is there already is opened too: whether it opened then must be counted as it was then. */
  async #sealed(message: OpenMessage, isThere: boolean): Promise<PreparedMessage | null> {
    const { internalDate, scanned } = message.summary;
    const options = { internalDate, scanned: () => scanned };
    const writer = isThere ? null : await this.#places.into.newMessage(options, this.#follow.signal);
    try {
      for await (const piece of message.range(0, message.row.sizeBytes)) await writer?.write(piece);
    } catch (error) {
      await writer?.discard();
      throw error;
    }
    return writer ? await writer.finish() : null;
  }

  /** Null for a body that lies in the database. Throws ServerError 'content-damaged' never: what is missing does not open. */
  async #fetchBlob(folder: FolderId, uid: Uid): Promise<string | null> {
    const body = this.#places.store.messages.sealedRow(folder, uid)?.body;
    const blob = body && this.#blobs.get(body);
    if (!blob?.sha256) return null;
    const file = join(this.#places.scratch, 'blobs', blob.body.slice(0, 2), blob.body);
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const name = blobName(this.#places.entry.mailbox, blob.body);
    const expected = { sha256: blob.sha256, sizeBytes: blob.sizeBytes };
    try {
      if (!existsSync(file)) await fetchObject(this.#request.target, { name, file, expected }, this.#follow.signal);
    } catch (error) {
      if (!(error instanceof ServerError) || !['content-damaged', 'not-found'].includes(error.code)) throw error;
    }
    return file;
  }
}
