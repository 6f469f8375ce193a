/**
 * Restoring a whole backup into a fresh data directory. Needs no key: what it writes is ciphertext.
 *
 * BR1  Nothing that is there is written over: the directory is new, or a restore of the same backup was begun in it.
 * BR2  Every file is checked against its hash before it has its name; a file that has it is not fetched again.
 * BR3  A restore that has not ended is marked, and no server serves it.
 *
 * Called by the command line.
 */
import { existsSync, readFileSync } from 'node:fs';
import { lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ServerError } from '../base/errors.ts';
import type { OnProgress } from '../base/task.ts';
import { syncFolder } from '../db/sync-folder.ts';
import { readManifest } from './list.ts';
import {
  blobName,
  databaseName,
  fileName,
  indexName,
  parseIndex,
  type BackedUpMailbox,
  type HashedObject,
  type Manifest,
} from './manifest.ts';
import { fetchObject, readObject } from './objects.ts';
import type { BackupTarget } from './target.ts';

export type RestoreSummary = Readonly<{
  id: string;
  into: string;
  mailboxesCount: number;
  messagesCount: number;
  bytesCount: number;
  /** Blobs that the backup lacks: they were missing when it was made. */
  missingBlobsCount: number;
}>;
type Follow = Readonly<{ onProgress: OnProgress; signal?: AbortSignal }>;

const MARK = 'restoring.json';

/** Throws ServerError 'not-allowed' for a directory in which a restore has not ended (BR3). */
export function requireRestored(data: string): void {
  if (!existsSync(join(data, MARK))) return;
  throw new ServerError('not-allowed', {
    clientText: `The restore into ${data} has not ended. Run the same sealpost backup restore again: it goes on.`,
  });
}

/** Throws ServerError 'not-allowed' (BR1), 'not-found', 'content-damaged', 'storage-failed'. */
export async function restoreAll(
  { target, id, into }: Readonly<{ target: BackupTarget; id: string | undefined; into: string }>,
  follow: Follow,
): Promise<RestoreSummary> {
  const manifest = await readManifest(target, id, follow.signal);
  await begin(into, manifest.id);
  const run = new Restore(target, { manifest, into }, follow);
  return run.make();
}

class Restore {
  readonly #target: BackupTarget;
  readonly #manifest: Manifest;
  readonly #into: string;
  readonly #follow: Follow;
  readonly #touched = new Set<string>();
  #doneBytes = 0;

  constructor(target: BackupTarget, to: Readonly<{ manifest: Manifest; into: string }>, follow: Follow) {
    this.#target = target;
    this.#manifest = to.manifest;
    this.#into = to.into;
    this.#follow = follow;
  }

  async make(): Promise<RestoreSummary> {
    const { id, receipts, mailboxes, directory, missingBlobsCount } = this.#manifest;
    await mkdir(join(this.#into, 'mailboxes'), { recursive: true, mode: 0o700 });
    for (const receipt of receipts) {
      // the key that signs is not in a backup: a new pair is made, and the old public half keeps its proofs
      const name = receipt.name === 'public-key.pem' ? 'public-key-before-restore.pem' : receipt.name;
      await this.#file(fileName(receipt), join(this.#into, 'receipts', name), receipt);
    }
    for (const mailbox of mailboxes) await this.#mailbox(mailbox);
    await this.#file(databaseName(directory), join(this.#into, 'directory.db'), directory);
    for (const folder of this.#touched) await syncFolder(folder);
    await syncFolder(join(this.#into, 'mailboxes'));
    await rm(join(this.#into, MARK));
    await syncFolder(this.#into);
    return {
      ...{ id, into: this.#into, mailboxesCount: mailboxes.length, bytesCount: this.#doneBytes, missingBlobsCount },
      messagesCount: mailboxes.reduce((sum, { messagesCount }) => sum + messagesCount, 0),
    };
  }

  async #mailbox({ mailbox, database, index }: BackedUpMailbox): Promise<void> {
    const folder = join(this.#into, 'mailboxes', mailbox);
    const bytes = await readObject(this.#target, { name: indexName(index), expected: index }, this.#follow.signal);
    for (const { body, sha256, sizeBytes } of parseIndex(bytes)) {
      if (sha256 === null) continue;
      const file = join(folder, 'blobs', body.slice(0, 2), body);
      await this.#file(blobName(mailbox, body), file, { sha256, sizeBytes });
    }
    await this.#file(databaseName(database), join(folder, 'mailbox.db'), database);
  }

  async #file(name: string, file: string, expected: HashedObject): Promise<void> {
    this.#follow.signal?.throwIfAborted();
    const there = await lstat(file).catch(() => null);
    if (there?.size !== expected.sizeBytes) {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      await fetchObject(this.#target, { name, file, expected }, this.#follow.signal);
      for (let folder = dirname(file); folder.length > this.#into.length; folder = dirname(folder))
        this.#touched.add(folder);
    }
    this.#doneBytes += expected.sizeBytes;
    const { directory, mailboxes } = this.#manifest;
    const ofAll = mailboxes.reduce((sum, it) => sum + it.database.sizeBytes + it.blobBytes, directory.sizeBytes);
    this.#follow.onProgress({ doneCount: Math.min(this.#doneBytes, ofAll), totalCount: ofAll });
  }
}

/** BR1. */
async function begin(into: string, id: string): Promise<void> {
  await mkdir(into, { recursive: true, mode: 0o700 });
  const names = await readdir(into);
  const mark = join(into, MARK);
  if (names.length > 0 && !names.includes(MARK)) {
    throw new ServerError('not-allowed', { clientText: `${into} is not empty. Name a new folder to restore into.` });
  }
  if (names.includes(MARK)) {
    const begun = JSON.parse(readFileSync(mark, 'utf8')) as { id: string };
    if (begun.id === id) return;
    throw new ServerError('not-allowed', { clientText: `In ${into} the restore of backup ${begun.id} was begun.` });
  }
  const handle = await open(mark, 'wx', 0o600);
  await handle.writeFile(JSON.stringify({ id }));
  await handle.sync();
  await handle.close();
  await syncFolder(into);
}
