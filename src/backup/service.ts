/**
 * Backups as an operator asks for them: by a target's name, of the newest or a named backup, by a mailbox's address.
 * Made by app.ts; each method is the work of one task.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Accounts } from '../accounts/accounts.ts';
import { adminUse, openRecords, notFound, type DirectoryDeps } from '../accounts/directory.ts';
import { checkedAddress, requireOwner } from '../accounts/addresses.ts';
import { foldLocal } from '../accounts/address-text.ts';
import { mailboxId, organizationId } from '../base/ids.ts';
import type { OnProgress } from '../base/task.ts';
import type { DatabaseReader } from '../db/reader.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import { createBackup, type BackupSummary } from './create.ts';
import { pruneBackups, readManifest } from './list.ts';
import { databaseName, type Manifest } from './manifest.ts';
import { fetchObject } from './objects.ts';
import { openTarget } from './open-target.ts';
import { restoreMailbox, type MailboxRestoreSummary } from './restore-mailbox.ts';
import type { S3Options } from './s3-target.ts';
import { STORED_KEYS, type StoredKey } from './stored-keys.ts';
import type { BackupTarget } from './target.ts';
import { verifyBackup, type BackupVerdict } from './verify.ts';

type ServiceDeps = DirectoryDeps &
  Readonly<{
    /** The data directory. */
    data: string;
    accounts: Accounts;
    mailboxes: Mailboxes;
    reader: DatabaseReader;
    s3: S3Options;
    /** Of the program. */
    version: string;
  }>;
type Follow = Readonly<{ onProgress: OnProgress; signal: AbortSignal }>;
export type RestoreRequest = Readonly<{
  target: string;
  /** Absent: the newest. */
  backup?: string | undefined;
  /** Of the mailbox in the backup. */
  address: string;
  folder?: string | undefined;
  /** Takes it in. */
  into: MailboxRef;
}>;

const SOURCE = `SELECT m.organization, m.id FROM addresses a JOIN mailboxes m ON m.id = a.mailbox
  WHERE a.domain = ? AND a.local_index = ?`;

export class Backups {
  readonly #deps: ServiceDeps;

  constructor(deps: ServiceDeps) {
    this.#deps = deps;
  }

  /** Throws ServerError 'invalid-argument' for a target that is none. */
  check(target: string): void {
    openTarget(target, this.#deps.s3);
  }

  /** Makes a backup; with `keepCount`, the oldest beyond so many go. Throws ServerError. */
  async create(
    { target: named, keepCount }: Readonly<{ target: string; keepCount: number | null }>,
    follow: Follow,
  ): Promise<BackupSummary & Readonly<{ removed: readonly string[] }>> {
    const target = openTarget(named, this.#deps.s3);
    const summary = await createBackup(this.#deps, target, follow);
    const nowMs = this.#deps.nowMs();
    const removed = keepCount === null ? [] : await pruneBackups(target, { keepCount, nowMs }, follow.signal);
    return { ...summary, removed };
  }

  async verify(
    { target, backup }: Readonly<{ target: string; backup?: string | undefined }>,
    follow: Follow,
  ): Promise<BackupVerdict> {
    const { keys, reader, data, s3 } = this.#deps;
    const scratch = join(data, 'verify-scratch');
    return verifyBackup({ keys, reader, scratch }, { target: openTarget(target, s3), id: backup }, follow);
  }

  async restoreMailbox(request: RestoreRequest, follow: Follow): Promise<MailboxRestoreSummary> {
    const { keys, mailboxes, data, s3 } = this.#deps;
    const target = openTarget(request.target, s3);
    const manifest = await readManifest(target, request.backup, follow.signal);
    const found = await this.#find(request.address, { target, manifest }, follow.signal);
    const { folder = null, into } = request;
    const scratch = join(data, 'restore-scratch');
    return restoreMailbox({ keys, mailboxes, scratch }, { target, manifest, ...found, folder, into }, follow);
  }

  /** The mailbox of an address as the backup knew it: it may be gone by now. */
  async #find(
    address: string,
    { target, manifest }: Readonly<{ target: BackupTarget; manifest: Manifest }>,
    signal: AbortSignal,
  ): Promise<Readonly<{ source: MailboxRef; storedKeys: readonly StoredKey[] }>> {
    const { accounts, reader, data } = this.#deps;
    const { domain, local } = checkedAddress(address);
    const organization = requireOwner(accounts.domains, domain);
    using records = await openRecords(this.#deps, organization, adminUse('restore'), signal);
    const index = records.addressIndex(domain, foldLocal(local));
    const scratch = join(data, 'find-scratch');
    await mkdir(scratch, { recursive: true, mode: 0o700 });
    try {
      const file = join(scratch, 'directory.db');
      await fetchObject(target, { name: databaseName(manifest.directory), file, expected: manifest.directory }, signal);
      const queries = [{ sql: SOURCE, values: [domain, index] }, { sql: STORED_KEYS }];
      const [sources = [], storedKeys = []] = await reader.read(file, queries);
      const [source] = sources as readonly Readonly<{ organization: string; id: string }>[];
      if (!source) throw notFound(`The backup has no mailbox ${address}.`);
      return {
        source: { organization: organizationId(source.organization), mailbox: mailboxId(source.id) },
        storedKeys: storedKeys as readonly StoredKey[],
      };
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }
}
