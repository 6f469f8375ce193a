/**
 * Making a backup while the server serves: ciphertext only, consistent for each mailbox, sharing what has not changed.
 *
 * BC1  A mailbox in it is one moment of that mailbox: its database is copied in one read transaction, and no blob that the
 *      copy names is removed before it was sent.
 * BC2  The directory is copied last, and every mailbox is held against it: where the keys of a mailbox's epochs are not in
 *      that copy (a rotation came between), mailbox and directory are copied anew. So each set that has a manifest opens.
 * BC3  What was killed leaves objects and no manifest. The next backup sends only what is missing.
 * BC4  No root key, keyring or signing key is in it.
 * BC5  A mailbox that cannot be read does not stop the backup of the others: its last copy is carried on, and it is named.
 *
 * Called by jobs of app.ts.
 */
import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ServerError } from '../base/errors.ts';
import { bodyId, mailboxId, organizationId, randomHexId, type BodyId, type MailboxId } from '../base/ids.ts';
import type { OnProgress } from '../base/task.ts';
import { sealedBodySizeBytes } from '../crypto/sealed-body.ts';
import type { DatabaseReader } from '../db/reader.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import {
  blobName,
  databaseName,
  encodeIndex,
  encodeManifest,
  fileName,
  hashOf,
  indexName,
  manifestName,
  newBackupId,
  parseIndex,
  type BackedUpMailbox,
  type HashedObject,
  type IndexedBlob,
  type Manifest,
} from './manifest.ts';
import { hashFile, readObject } from './objects.ts';
import { newestManifest } from './list.ts';
import type { BackupTarget, ObjectSource } from './target.ts';

type BackupDeps = Readonly<{
  /** The data directory. */
  data: string;
  reader: DatabaseReader;
  mailboxes: Pick<Mailboxes, 'openWithoutKey'>;
  /** Of the program. */
  version: string;
  nowMs(): number;
}>;
type Follow = Readonly<{ onProgress: OnProgress; signal: AbortSignal }>;
export type BackupSummary = Readonly<{
  id: string;
  mailboxesCount: number;
  /** Mailboxes that had not changed since the backup before. */
  unchangedCount: number;
  messagesCount: number;
  sentObjectsCount: number;
  sentBytes: number;
  missingBlobsCount: number;
  /** Their databases cannot be read; the copy of the backup before is in this one too, where there is one. */
  damagedMailboxes: readonly MailboxId[];
}>;

const PRINCIPAL = { protocol: 'admin', name: 'backup' };
const ROUNDS_MAX_COUNT = 5;
/** A file that was written so lately may be written again without its time changing. */
const SETTLED_MS = 2000;
const RECEIPTS = /^(?:[0-9a-f]{32}\.json|public-key\.pem)$/;
const BLOBS = `SELECT lower(hex(body)) AS body, size_bytes AS sizeBytes FROM bodies
  WHERE id > ? AND id NOT IN (SELECT id FROM inline_bodies) ORDER BY id LIMIT 2000`;
const LAST_ID = `SELECT max(id) AS id FROM (SELECT id FROM bodies WHERE id > ? AND id NOT IN (SELECT id FROM inline_bodies)
  ORDER BY id LIMIT 2000)`;
const EPOCHS = `SELECT epoch FROM messages UNION SELECT epoch FROM waiting_messages UNION SELECT epoch FROM retained
  UNION SELECT value FROM counters WHERE name = 'epoch'`;
const MESSAGES = 'SELECT ifnull(sum(message_count), 0) AS count, ifnull(sum(size_bytes), 0) AS bytes FROM folders';
const MAILBOXES = `SELECT organization, id FROM mailboxes WHERE state <> 'deleting' ORDER BY id`;
const KEYS = `SELECT owner, epoch FROM wrapped_keys WHERE owner <> 'directory'`;

/** Makes a backup. Throws ServerError 'storage-*', 'content-damaged' for a database that cannot be copied. */
export async function createBackup(deps: BackupDeps, target: BackupTarget, follow: Follow): Promise<BackupSummary> {
  const run = new BackupRun(deps, target, follow);
  await mkdir(run.scratch, { recursive: true, mode: 0o700 });
  try {
    return await run.make();
  } finally {
    await rm(run.scratch, { recursive: true, force: true });
  }
}

class BackupRun {
  /** Copies of databases lie here while they are sent; swept by the next backup. */
  readonly scratch: string;
  readonly #deps: BackupDeps;
  readonly #target: BackupTarget;
  readonly #follow: Follow;
  readonly #done = new Map<MailboxId, BackedUpMailbox>();
  readonly #sizes = new Map<MailboxId, number>();
  #before: Manifest | null = null;
  readonly #damaged = new Set<MailboxId>();
  #unchangedCount = 0;
  #sentObjectsCount = 0;
  #sentBytes = 0;
  #missingBlobsCount = 0;
  #doneBytes = 0;

  constructor(deps: BackupDeps, target: BackupTarget, follow: Follow) {
    this.#deps = deps;
    this.#target = target;
    this.#follow = follow;
    this.scratch = join(deps.data, 'backup-scratch');
  }

  async make(): Promise<BackupSummary> {
    const { signal } = this.#follow;
    for (const name of await readdir(this.scratch)) await rm(join(this.scratch, name), { force: true });
    this.#before = await newestManifest(this.#target, signal);
    await this.#measure();
    let directory: HashedObject | null = null;
    let wanted = await this.#refs(join(this.#deps.data, 'directory.db'));
    for (let round = 1; !directory || wanted.length > 0; round += 1) {
      if (round > ROUNDS_MAX_COUNT) throw changingTooFast();
      for (const ref of wanted) await this.#mailbox(ref);
      const copy = await this.#copyOf(join(this.#deps.data, 'directory.db'), 'directory.db');
      wanted = await this.#unfit(copy);
      directory = await this.#send(copy, databaseName);
      await rm(copy);
    }
    return this.#finish(directory);
  }

  async #finish(directory: HashedObject): Promise<BackupSummary> {
    const receipts = await this.#receipts();
    const mailboxes = [...this.#done.values()];
    const nowMs = this.#deps.nowMs();
    const id = newBackupId(nowMs, randomHexId());
    const missingBlobsCount = this.#missingBlobsCount;
    const described = { id, createdAt: new Date(nowMs).toISOString(), version: this.#deps.version, missingBlobsCount };
    const manifest = encodeManifest({ ...described, directory, receipts, mailboxes });
    this.#follow.signal.throwIfAborted();
    await this.#target.put(manifestName(id), { bytes: manifest });
    return {
      id,
      mailboxesCount: mailboxes.length,
      unchangedCount: this.#unchangedCount,
      messagesCount: mailboxes.reduce((sum, { messagesCount }) => sum + messagesCount, 0),
      sentObjectsCount: this.#sentObjectsCount,
      sentBytes: this.#sentBytes,
      missingBlobsCount,
      damagedMailboxes: [...this.#damaged],
    };
  }

  /** How much there is, for the progress. */
  async #measure(): Promise<void> {
    for (const { mailbox } of await this.#refs(join(this.#deps.data, 'directory.db'))) {
      this.#follow.signal.throwIfAborted();
      const file = this.#databaseOf(mailbox);
      if (!existsSync(file)) continue;
      const [rows = []] = await this.#deps.reader.read(file, [{ sql: MESSAGES }]).catch(() => []); // told later
      this.#sizes.set(mailbox, (rows as Readonly<{ bytes: number }>[])[0]?.bytes ?? 0);
    }
    this.#tell();
  }

  #tell(): void {
    const totalCount = [...this.#sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
    this.#follow.onProgress({ doneCount: Math.min(this.#doneBytes, totalCount), totalCount });
  }

  async #refs(directory: string): Promise<readonly MailboxRef[]> {
    const [rows = []] = await this.#deps.reader.read(directory, [{ sql: MAILBOXES }]);
    return (rows as Readonly<{ organization: string; id: string }>[]).map((row) => ({
      organization: organizationId(row.organization),
      mailbox: mailboxId(row.id),
    }));
  }

  /** Mailboxes that do not go with this copy of the directory (BC2); those that it lacks are left out of the backup. */
  async #unfit(directory: string): Promise<readonly MailboxRef[]> {
    const refs = await this.#refs(directory);
    const [rows = []] = await this.#deps.reader.read(directory, [{ sql: KEYS }]);
    const keys = new Set(
      (rows as Readonly<{ owner: string; epoch: number }>[]).map((row) => keyOf(row.owner, row.epoch)),
    );
    const known = new Set<string>(refs.map(({ mailbox }) => mailbox));
    for (const mailbox of this.#done.keys()) if (!known.has(mailbox)) this.#done.delete(mailbox);
    return refs.filter(({ mailbox }) => {
      const made = this.#done.get(mailbox);
      if (this.#damaged.has(mailbox)) return false; // another try would find no more
      if (!made) return existsSync(this.#databaseOf(mailbox)); // without files: nobody has used it yet
      return made.epochs.some((epoch) => !keys.has(keyOf(mailbox, epoch)));
    });
  }

  async #mailbox(ref: MailboxRef): Promise<void> {
    this.#follow.signal.throwIfAborted();
    const file = this.#databaseOf(ref.mailbox);
    if (!existsSync(file)) return;
    const startBytes = this.#doneBytes;
    const before = this.#before?.mailboxes.find(({ mailbox }) => mailbox === ref.mailbox);
    const signature = await this.#signatureOf(file);
    const isUnchanged = before !== undefined && signature !== null && before.signature === signature;
    if (isUnchanged && !this.#done.has(ref.mailbox)) {
      this.#done.set(ref.mailbox, before);
      this.#unchangedCount += 1;
    } else {
      await this.#copyMailbox(ref, { signature, before }).catch((error: unknown) => {
        this.#noteDamage(error, { mailbox: ref.mailbox, before });
      });
    }
    this.#doneBytes = startBytes + (this.#sizes.get(ref.mailbox) ?? 0);
    this.#tell();
  }

  /** BC5. Throws every other error. */
  #noteDamage(
    error: unknown,
    { mailbox, before }: Readonly<{ mailbox: MailboxId; before: BackedUpMailbox | undefined }>,
  ): void {
    if (!(error instanceof ServerError) || error.code !== 'content-damaged') throw error;
    this.#damaged.add(mailbox);
    if (before) this.#done.set(mailbox, before);
  }

  async #copyMailbox(
    { organization, mailbox }: MailboxRef,
    known: Readonly<{ signature: string | null; before: BackedUpMailbox | undefined }>,
  ): Promise<void> {
    const { reader, mailboxes } = this.#deps;
    using opened = await mailboxes.openWithoutKey({ organization, mailbox }, PRINCIPAL);
    await using _held = opened.holdFiles(); // BC1
    const copy = await this.#copyOf(this.#databaseOf(mailbox), `${mailbox}.db`);
    const database = await this.#send(copy, databaseName);
    const [epochs = [], counts = []] = await reader.read(copy, [{ sql: EPOCHS }, { sql: MESSAGES }]);
    const blobs = await this.#blobs(copy, { mailbox, before: known.before });
    await rm(copy);
    const indexBytes = encodeIndex(blobs);
    const index = hashOf(indexBytes);
    await this.#sendUnlessThere(indexName(index), { bytes: indexBytes });
    this.#missingBlobsCount += blobs.filter(({ sha256 }) => sha256 === null).length;
    this.#done.set(mailbox, {
      organization,
      mailbox,
      database,
      index,
      messagesCount: (counts as Readonly<{ count: number }>[])[0]?.count ?? 0,
      blobsCount: blobs.length,
      blobBytes: blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      epochs: (epochs as Readonly<{ epoch: number }>[]).map(({ epoch }) => epoch),
      signature: known.signature,
    });
  }

  /** Sends the blobs that the copy names, but for those that are there already. */
  async #blobs(
    copy: string,
    { mailbox, before }: Readonly<{ mailbox: MailboxId; before: BackedUpMailbox | undefined }>,
  ): Promise<readonly IndexedBlob[]> {
    const sent = await this.#indexedBefore(before);
    const blobs: IndexedBlob[] = [];
    for (let last = 0; ;) {
      const queries = [BLOBS, LAST_ID].map((sql) => ({ sql, values: [last] }));
      const [rows = [], ends = []] = await this.#deps.reader.read(copy, queries);
      for (const row of rows as Readonly<{ body: string; sizeBytes: number }>[]) {
        this.#follow.signal.throwIfAborted();
        const body = bodyId(row.body);
        blobs.push(
          sent.get(body) ?? (await this.#blob({ mailbox, body, sizeBytes: sealedBodySizeBytes(row.sizeBytes) })),
        );
        this.#doneBytes += row.sizeBytes;
        this.#tell();
      }
      const end = (ends as Readonly<{ id: number | null }>[])[0]?.id ?? null;
      if (end === null) return blobs;
      last = end;
    }
  }

  async #indexedBefore(before: BackedUpMailbox | undefined): Promise<ReadonlyMap<BodyId, IndexedBlob>> {
    if (!before) return new Map();
    const bytes = await readObject(this.#target, { name: indexName(before.index), expected: before.index });
    return new Map(parseIndex(bytes).flatMap((blob) => (blob.sha256 === null ? [] : [[blob.body, blob]])));
  }

  async #blob(of: Readonly<{ mailbox: MailboxId; body: BodyId; sizeBytes: number }>): Promise<IndexedBlob> {
    const { mailbox, body } = of;
    const file = join(this.#deps.data, 'mailboxes', mailbox, 'blobs', body.slice(0, 2), body);
    try {
      const { sha256, sizeBytes } = await hashFile(file, this.#follow.signal);
      await this.#sendUnlessThere(blobName(mailbox, body), { file, sizeBytes });
      return { body, sha256, sizeBytes };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return { body, sizeBytes: of.sizeBytes, sha256: null }; // damaged already: the doctor tells
    }
  }

  async #receipts(): Promise<Manifest['receipts']> {
    const folder = join(this.#deps.data, 'receipts');
    const names = existsSync(folder) ? (await readdir(folder)).filter((name) => RECEIPTS.test(name)) : []; // BC4
    const receipts: (HashedObject & { name: string })[] = [];
    for (const name of names) receipts.push({ name, ...(await this.#send(join(folder, name), fileName)) });
    return receipts;
  }

  async #copyOf(file: string, name: string): Promise<string> {
    const copy = join(this.scratch, name);
    await rm(copy, { force: true });
    await this.#deps.reader.copy(file, copy);
    return copy;
  }

  async #send(file: string, nameOf: (object: HashedObject) => string): Promise<HashedObject> {
    const object = await hashFile(file, this.#follow.signal);
    await this.#sendUnlessThere(nameOf(object), { file, sizeBytes: object.sizeBytes });
    return object;
  }

  async #sendUnlessThere(name: string, source: ObjectSource): Promise<void> {
    const { signal } = this.#follow;
    const sizeBytes = 'file' in source ? source.sizeBytes : source.bytes.length;
    if ((await this.#target.sizeOf(name, signal)) === sizeBytes) return; // whole: TG1
    await this.#target.put(name, source, signal);
    this.#sentObjectsCount += 1;
    this.#sentBytes += sizeBytes;
  }

  /** Size and time of the database and its log: what is written changes one of them. */
  async #signatureOf(file: string): Promise<string | null> {
    const parts: string[] = [];
    for (const each of [file, `${file}-wal`]) {
      const stats = await lstat(each, { bigint: true }).catch(() => null);
      const written = stats && stats.size > 0n ? stats : null; // looking makes an empty log
      if (written && this.#deps.nowMs() - Number(written.mtimeMs) < SETTLED_MS) return null;
      parts.push(written ? `${String(written.size)}/${String(written.mtimeNs)}` : '-');
    }
    return parts.join('/');
  }

  #databaseOf(mailbox: MailboxId): string {
    return join(this.#deps.data, 'mailboxes', mailbox, 'mailbox.db');
  }
}

function keyOf(owner: string, epoch: number): string {
  return `${owner}/${String(epoch)}`;
}

function changingTooFast(): ServerError {
  return new ServerError('key-unavailable', {
    clientText: 'The keys of mailboxes were changed faster than they could be copied. Try again when that has ended.',
    retryable: true,
  });
}
