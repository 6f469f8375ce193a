/**
 * Proving a backup: every object is what the manifest says, every database is sound, and every wrapped key in it still opens.
 *
 * BV1  Nothing in the target is changed, and nothing is taken on trust: all of it is read.
 * BV2  A key service that does not answer is said so; it is neither a fault of the backup nor its being well.
 *
 * Called by jobs of app.ts.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ServerError } from '../base/errors.ts';
import { FAULTS_MAX_COUNT } from '../base/fault.ts';
import type { OnProgress } from '../base/task.ts';
import { checkDatabase } from '../db/checks.ts';
import type { DatabaseReader } from '../db/reader.ts';
import type { KeyService } from '../keys/key-service.ts';
import { STORED_KEYS, toRow, type StoredKey } from './stored-keys.ts';
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
import { fetchObject, hashObject, isSame, readObject } from './objects.ts';
import type { BackupTarget } from './target.ts';

type VerifyDeps = Readonly<{
  /** For copies of databases while they are looked at. */
  scratch: string;
  reader: DatabaseReader;
  keys: Pick<KeyService, 'changes'>;
}>;
type OrganizationVerdict = Readonly<{
  organization: string;
  mailboxesCount: number;
  keysCount: number;
  openedCount: number;
  /** Why keys could not be tried; null when all were. */
  unanswered: string | null;
}>;
export type BackupVerdict = Readonly<{
  id: string;
  createdAt: string;
  mailboxesCount: number;
  objectsCount: number;
  bytesCount: number;
  faults: readonly Readonly<{ what: string; where: string }>[];
  organizations: readonly OrganizationVerdict[];
}>;
type Follow = Readonly<{ onProgress: OnProgress; signal: AbortSignal }>;

const BLOBS = `SELECT count(*) AS count FROM bodies WHERE id NOT IN (SELECT id FROM inline_bodies)`;
const USE = { purpose: 'verify-backup', protocol: 'admin', principal: 'backup' };

/** Verifies one backup, the newest without an id. Throws ServerError 'not-found', 'content-damaged' for its manifest. */
export async function verifyBackup(
  deps: VerifyDeps,
  { target, id }: Readonly<{ target: BackupTarget; id: string | undefined }>,
  follow: Follow,
): Promise<BackupVerdict> {
  const manifest = await readManifest(target, id, follow.signal);
  const run = new Verification(deps, { target, manifest }, follow);
  await mkdir(deps.scratch, { recursive: true, mode: 0o700 });
  try {
    return await run.make();
  } finally {
    await rm(deps.scratch, { recursive: true, force: true });
  }
}

class Verification {
  readonly #deps: VerifyDeps;
  readonly #target: BackupTarget;
  readonly #manifest: Manifest;
  readonly #follow: Follow;
  readonly #faults: { what: string; where: string }[] = [];
  #objectsCount = 0;
  #doneBytes = 0;

  constructor(deps: VerifyDeps, of: Readonly<{ target: BackupTarget; manifest: Manifest }>, follow: Follow) {
    this.#deps = deps;
    this.#target = of.target;
    this.#manifest = of.manifest;
    this.#follow = follow;
  }

  async make(): Promise<BackupVerdict> {
    const { id, createdAt, mailboxes, receipts, directory } = this.#manifest;
    for (const receipt of receipts) await this.#object(fileName(receipt), receipt);
    for (const mailbox of mailboxes) await this.#mailbox(mailbox);
    const organizations = await this.#directory(directory);
    return {
      ...{ id, createdAt, mailboxesCount: mailboxes.length, objectsCount: this.#objectsCount },
      ...{ bytesCount: this.#doneBytes, faults: this.#faults, organizations },
    };
  }

  async #mailbox(entry: BackedUpMailbox): Promise<void> {
    const { mailbox, database, index } = entry;
    const where = `mailbox ${mailbox}`;
    const rows = await this.#database(database, where, [{ sql: BLOBS }]);
    const blobs = await readObject(this.#target, { name: indexName(index), expected: index }, this.#follow.signal)
      .then(parseIndex)
      .catch((error: unknown) => this.#damage(error, where));
    if (!rows || !blobs) return;
    this.#count(index);
    const named = (rows[0] as Readonly<{ count: number }>[])[0]?.count;
    if (named !== blobs.length) this.#fault('the index does not name all blobs of its mailbox', where);
    for (const { body, sha256, sizeBytes } of blobs) {
      const name = blobName(mailbox, body);
      if (sha256 === null) this.#fault('the body of a message was missing when the backup was made', name);
      else await this.#object(name, { sha256, sizeBytes });
    }
  }

  async #directory(directory: HashedObject): Promise<readonly OrganizationVerdict[]> {
    const rows = await this.#database(directory, 'directory', [{ sql: STORED_KEYS }]);
    const byOrganization = new Map<string, StoredKey[]>();
    for (const key of (rows?.[0] ?? []) as readonly StoredKey[])
      byOrganization.set(key.organization, [...(byOrganization.get(key.organization) ?? []), key]);
    const verdicts: OrganizationVerdict[] = [];
    for (const [organization, keys] of byOrganization) verdicts.push(await this.#keys(organization, keys));
    return verdicts;
  }

  async #keys(organization: string, keys: readonly StoredKey[]): Promise<OrganizationVerdict> {
    const mailboxesCount = new Set(
      keys.map(({ owner }) => owner).filter((owner) => owner !== 'directory' && owner !== 'transit'),
    ).size;
    const counts = { organization, mailboxesCount, keysCount: keys.length };
    let openedCount = 0;
    for (const key of keys) {
      this.#follow.signal.throwIfAborted();
      const where = `key of ${key.owner}, epoch ${String(key.epoch)}, organization ${organization}`;
      try {
        using _key = await this.#deps.keys.changes.unwrapStored(toRow(key), { use: USE, signal: this.#follow.signal });
        openedCount += 1;
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        if (!['key-mismatch', 'key-lost'].includes(error.code))
          return { ...counts, openedCount, unanswered: error.clientText }; // BV2
        this.#fault('a wrapped key does not open', where);
      }
    }
    return { ...counts, openedCount, unanswered: null };
  }

  /** The rows that a sound database answers; null, with its faults noted, for another one. */
  async #database(
    database: HashedObject,
    where: string,
    queries: readonly Readonly<{ sql: string }>[],
  ): Promise<readonly (readonly unknown[])[] | null> {
    const file = join(this.#deps.scratch, 'database.db');
    const { signal } = this.#follow;
    try {
      await fetchObject(this.#target, { name: databaseName(database), file, expected: database }, signal);
      const { faults } = await checkDatabase(this.#deps.reader, file, []);
      for (const fault of faults) this.#fault(fault.what, where);
      this.#count(database);
      return faults.length > 0 ? null : await this.#deps.reader.read(file, queries);
    } catch (error) {
      return this.#damage(error, where);
    } finally {
      await rm(file, { force: true });
    }
  }

  async #object(name: string, expected: HashedObject): Promise<void> {
    try {
      const found = await hashObject(this.#target, name, this.#follow.signal);
      if (!isSame(found, expected)) this.#fault('an object is not what it was', name);
      this.#count(expected);
    } catch (error) {
      this.#damage(error, name);
    }
  }

  /** Notes what is missing or damaged. Throws every other error. */
  #damage(error: unknown, where: string): null {
    if (!(error instanceof ServerError) || !['not-found', 'content-damaged'].includes(error.code)) throw error;
    this.#fault(error.clientText, where);
    return null;
  }

  #fault(what: string, where: string): void {
    if (this.#faults.length < FAULTS_MAX_COUNT) this.#faults.push({ what, where });
  }

  #count({ sizeBytes }: HashedObject): void {
    this.#follow.signal.throwIfAborted();
    this.#objectsCount += 1;
    this.#doneBytes += sizeBytes;
    const { directory, mailboxes } = this.#manifest;
    const ofMailbox = (it: BackedUpMailbox): number => it.database.sizeBytes + it.index.sizeBytes + it.blobBytes;
    const totalCount = directory.sizeBytes + mailboxes.reduce((sum, it) => sum + ofMailbox(it), 0);
    this.#follow.onProgress({ doneCount: Math.min(this.#doneBytes, totalCount), totalCount });
  }
}
