/**
 * Folders, subscriptions and keyword names of one mailbox, as sealed rows. Called by mailbox/, which
 * seals and opens the names.
 *
 * F1  A folder id and a UIDVALIDITY are never given twice in a mailbox (RFC 9051 §2.3.1.1), not even after a
 *     folder was deleted and made again under the same name.
 * F2  Each method is one transaction and, where it changes something, resolves only when that is on disk.
 * F3  A name's index and record count only under the mailbox's epoch (epoch.ts): the methods that take one throw
 *     EpochMoved, and do nothing, when the mailbox is under another.
 */
import { folderId, modSeq, type Epoch, type FolderId, type ModSeq } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import { resealAnnotations, type AnnotationRow } from './annotations.ts';
import { currentEpoch, goOverTo, requireEpoch } from './epoch.ts';
import { resealImportKey, type SealedImportKey } from './imports.ts';

/** A name as it lies on disk: its blind index and its sealed record. */
export type SealedName = Readonly<{ nameIndex: Uint8Array; sealedName: Uint8Array; epoch: Epoch }>;
export type FolderRow = SealedName &
  Readonly<{
    id: FolderId;
    specialUse: string | null;
    uidValidity: number;
    uidNext: number;
    highestModSeq: ModSeq;
    messageCount: number;
    unseenCount: number;
    deletedCount: number;
    deletedBytes: number;
    sizeBytes: number;
  }>;
export type NewFolder = Readonly<{
  epoch: Epoch;
  nameIndex: Uint8Array;
  specialUse: string | null;
  /** Seals the name for the id that the folder gets. */
  seal(id: FolderId): Uint8Array;
}>;
export type KeywordRow = SealedName & Readonly<{ bit: number }>;
/** A name to look up: the epoch is that of the key that made the index. */
type NameLookup = Pick<SealedName, 'nameIndex' | 'epoch'>;
/** Each name, and the import key, as it is under another epoch. */
type Resealing = Readonly<{
  folder(row: FolderRow): SealedName;
  subscription(row: SealedName): SealedName;
  keyword(row: KeywordRow): SealedName;
  importKey(sealed: SealedImportKey): SealedImportKey;
  annotation(row: AnnotationRow): Pick<AnnotationRow, 'nameIndex' | 'sealed'>;
}>;

type FolderRecord = Readonly<{
  id: number;
  epoch: number;
  name_index: Buffer;
  sealed_name: Buffer;
  special_use: string | null;
  uid_validity: number;
  uid_next: number;
  highest_mod_seq: number;
  message_count: number;
  unseen_count: number;
  deleted_count: number;
  deleted_bytes: number;
  size_bytes: number;
}>;

const toRow = (record: FolderRecord): FolderRow => ({
  id: folderId(record.id),
  epoch: record.epoch as Epoch,
  nameIndex: record.name_index,
  sealedName: record.sealed_name,
  specialUse: record.special_use,
  uidValidity: record.uid_validity,
  uidNext: record.uid_next,
  highestModSeq: modSeq(record.highest_mod_seq),
  messageCount: record.message_count,
  unseenCount: record.unseen_count,
  deletedCount: record.deleted_count,
  deletedBytes: record.deleted_bytes,
  sizeBytes: record.size_bytes,
});

/** Gives the mailbox's next modification sequence; inside a transaction. RFC 7162 §3.1. */
export function nextModSeq(database: Database): ModSeq {
  const row = database
    .prepare<{ value: number }>(`UPDATE counters SET value = value + 1 WHERE name = 'mod_seq' RETURNING value`)
    .get();
  return modSeq(row?.value ?? 0);
}

export class FolderStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  list(): Promise<readonly FolderRow[]> {
    return Promise.resolve(this.#folders());
  }

  /** The epoch whose key seals and finds names, and wraps the keys of new messages. */
  epoch(): Epoch {
    return currentEpoch(this.#database);
  }

  /** Throws EpochMoved. */
  byIndex({ nameIndex, epoch }: NameLookup): Promise<FolderRow | null> {
    requireEpoch(this.#database, { epoch });
    const record = this.#database.prepare<FolderRecord>('SELECT * FROM folders WHERE name_index = ?').get(nameIndex);
    return Promise.resolve(record ? toRow(record) : null);
  }

  byId(id: FolderId): Promise<FolderRow | null> {
    const record = this.#database.prepare<FolderRecord>('SELECT * FROM folders WHERE id = ?').get(id);
    return Promise.resolve(record ? toRow(record) : null);
  }

  /** Makes folders, all or none; null when one of the names exists. Throws EpochMoved. */
  async create(folders: readonly NewFolder[]): Promise<readonly FolderRow[] | null> {
    const made = this.#database.transaction(() => this.#insert(folders));
    if (made) await this.#database.durable();
    return made;
  }

  /** Gives folders other names, all or none; false when one of the names is taken. Throws EpochMoved. */
  async rename(names: readonly (SealedName & { id: FolderId })[]): Promise<boolean> {
    const done = this.#database.transaction(() => {
      requireEpoch(this.#database, ...names);
      const ids = new Set<number>(names.map((name) => name.id));
      for (const { nameIndex } of names) {
        const taken = this.#database
          .prepare<{ id: number }>('SELECT id FROM folders WHERE name_index = ?')
          .get(nameIndex);
        if (taken && !ids.has(taken.id)) return false;
      }
      for (const { id, epoch, nameIndex, sealedName } of names) {
        this.#database
          .prepare('UPDATE folders SET epoch = ?, name_index = ?, sealed_name = ? WHERE id = ?')
          .run(epoch, nameIndex, sealedName, id);
      }
      return true;
    });
    if (done) await this.#database.durable();
    return done;
  }

  /** Removes an empty folder with its vanished log; false while it holds messages. */
  async remove(id: FolderId): Promise<boolean> {
    const done = this.#database.transaction(() => {
      const used = this.#database.prepare('SELECT 1 FROM messages WHERE folder = ? LIMIT 1').get(id);
      if (used) return false;
      this.#database.prepare('DELETE FROM annotations WHERE folder = ?').run(id);
      this.#database.prepare('DELETE FROM folders WHERE id = ?').run(id);
      return true;
    });
    if (!done) return false;
    await this.#database.durable();
    this.#database.truncateLogSoon(); // its sealed name leaves the log
    return true;
  }

  subscriptions(): Promise<readonly SealedName[]> {
    return Promise.resolve(this.#subscriptions());
  }

  /** Throws EpochMoved. */
  async subscribe(names: readonly SealedName[]): Promise<void> {
    this.#database.transaction(() => {
      requireEpoch(this.#database, ...names);
      for (const { nameIndex, epoch, sealedName } of names) {
        this.#database
          .prepare('INSERT OR REPLACE INTO subscriptions (name_index, epoch, sealed_name) VALUES (?, ?, ?)')
          .run(nameIndex, epoch, sealedName);
      }
    });
    await this.#database.durable();
  }

  /** Throws EpochMoved. */
  async unsubscribe({ nameIndex, epoch }: NameLookup): Promise<void> {
    this.#database.transaction(() => {
      requireEpoch(this.#database, { epoch });
      this.#database.prepare('DELETE FROM subscriptions WHERE name_index = ?').run(nameIndex);
    });
    await this.#database.durable();
  }

  keywords(): Promise<readonly KeywordRow[]> {
    return Promise.resolve(this.#keywords());
  }

  /**
   * The bit of a keyword, given now when it is new; null when `maxCount` keywords exist already.
   * Not waited for to be durable: the flag change that needs it is. Throws EpochMoved.
   */
  keywordBit(
    keyword: Readonly<{ nameIndex: Uint8Array; epoch: Epoch; seal(bit: number): Uint8Array }>,
    maxCount: number,
  ): number | null {
    return this.#database.transaction(() => {
      requireEpoch(this.#database, keyword);
      const known = this.#database
        .prepare<{ bit: number }>('SELECT bit FROM keywords WHERE name_index = ?')
        .get(keyword.nameIndex);
      if (known) return known.bit;
      const bit =
        this.#database.prepare<{ bit: number }>('SELECT coalesce(max(bit) + 1, 0) AS bit FROM keywords').get()?.bit ??
        0;
      if (bit >= maxCount) return null;
      this.#database
        .prepare('INSERT INTO keywords (bit, epoch, name_index, sealed_name) VALUES (?, ?, ?, ?)')
        .run(bit, keyword.epoch, keyword.nameIndex, keyword.seal(bit));
      return bit;
    });
  }

  /**
   * Has the mailbox go over to the key of `next`: all names are sealed and indexed anew in one transaction with the
   * change of epoch, so that at every moment each is found exactly once. UIDVALIDITY and MODSEQ stay.
   */
  async goOver(next: Epoch, resealing: Resealing): Promise<void> {
    this.#database.transaction(() => {
      for (const row of this.#folders()) {
        const { nameIndex, sealedName } = resealing.folder(row);
        this.#database
          .prepare('UPDATE folders SET epoch = ?, name_index = ?, sealed_name = ? WHERE id = ?')
          .run(next, nameIndex, sealedName, row.id);
      }
      for (const row of this.#subscriptions()) {
        const { nameIndex, sealedName } = resealing.subscription(row);
        this.#database
          .prepare('UPDATE subscriptions SET epoch = ?, name_index = ?, sealed_name = ? WHERE name_index = ?')
          .run(next, nameIndex, sealedName, row.nameIndex);
      }
      for (const row of this.#keywords()) {
        const { nameIndex, sealedName } = resealing.keyword(row);
        this.#database
          .prepare('UPDATE keywords SET epoch = ?, name_index = ?, sealed_name = ? WHERE bit = ?')
          .run(next, nameIndex, sealedName, row.bit);
      }
      resealImportKey(this.#database, (sealed) => resealing.importKey(sealed));
      resealAnnotations(this.#database, next, (row) => resealing.annotation(row));
      goOverTo(this.#database, next);
    });
    await this.#database.durable();
  }

  #folders(): FolderRow[] {
    return this.#database.prepare<FolderRecord>('SELECT * FROM folders ORDER BY id').all().map(toRow);
  }

  #subscriptions(): SealedName[] {
    return this.#database
      .prepare<{ name_index: Buffer; epoch: number; sealed_name: Buffer }>('SELECT * FROM subscriptions')
      .all()
      .map((record) => ({
        nameIndex: record.name_index,
        sealedName: record.sealed_name,
        epoch: record.epoch as Epoch,
      }));
  }

  #keywords(): KeywordRow[] {
    return this.#database
      .prepare<{ bit: number; epoch: number; name_index: Buffer; sealed_name: Buffer }>('SELECT * FROM keywords')
      .all()
      .map((record) => ({
        bit: record.bit,
        nameIndex: record.name_index,
        sealedName: record.sealed_name,
        epoch: record.epoch as Epoch,
      }));
  }

  #insert(folders: readonly NewFolder[]): readonly FolderRow[] | null {
    requireEpoch(this.#database, ...folders);
    for (const { nameIndex } of folders) {
      if (this.#database.prepare('SELECT 1 FROM folders WHERE name_index = ?').get(nameIndex)) return null;
    }
    return folders.map((folder) => {
      // The clock keeps a restored or remade mailbox ahead of what a client saw; the counter keeps it unique (F1).
      const validity = this.#database
        .prepare<{ value: number }>(
          `UPDATE counters SET value = max(value + 1, ?) WHERE name = 'uid_validity' RETURNING value`,
        )
        .get(Math.floor(Date.now() / 1000));
      const highestModSeq = nextModSeq(this.#database);
      const { lastInsertRowid } = this.#database
        .prepare(
          `INSERT INTO folders (epoch, name_index, sealed_name, special_use, uid_validity, uid_next, highest_mod_seq)
           VALUES (?, ?, x'', ?, ?, 1, ?)`,
        )
        .run(folder.epoch, folder.nameIndex, folder.specialUse, validity?.value ?? 0, highestModSeq);
      const id = folderId(lastInsertRowid);
      this.#database.prepare('UPDATE folders SET sealed_name = ? WHERE id = ?').run(folder.seal(id), id);
      const record = this.#database.prepare<FolderRecord>('SELECT * FROM folders WHERE id = ?').get(id);
      if (!record) throw new TypeError('a folder vanished inside its own transaction');
      return toRow(record);
    });
  }
}
