/**
 * What imports took into one mailbox, by keyed digests. Called by mailbox/, which holds the key.
 *
 * I1  A message and the note that it was imported are committed together: after a kill either both are there or neither.
 * I2  The digests are under the import key, which is kept only sealed under the mailbox's epoch (epoch.ts).
 */
import { folderId, uid, type Epoch, type FolderId, type Uid } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import { requireEpoch } from './epoch.ts';

export type SealedImportKey = Readonly<{ epoch: Epoch; sealedKey: Uint8Array }>;
/** What is noted of a message that an import takes in; `source` is null where it is known by its content alone. */
export type ImportNote = Readonly<{ content: Uint8Array; source: Uint8Array | null; sizeBytes: number }>;
/** A message that was imported, with the place it was put at. */
type ImportedRow = Readonly<{ id: number; content: Buffer; folder: FolderId; uid: Uid; sizeBytes: number }>;

type ImportedRecord = Readonly<{ id: number; content: Buffer; folder: number; uid: number; size_bytes: number }>;

export class ImportStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  key(): SealedImportKey | null {
    return importKey(this.#database);
  }

  /** Keeps the import key unless there is one; the one that counts comes back. Throws EpochMoved. */
  async keepKey(sealed: SealedImportKey): Promise<SealedImportKey> {
    const kept = this.#database.transaction(() => {
      requireEpoch(this.#database, sealed);
      const known = importKey(this.#database);
      if (known) return known;
      this.#database
        .prepare('INSERT INTO import_key (id, epoch, sealed_key) VALUES (1, ?, ?)')
        .run(sealed.epoch, sealed.sealedKey);
      return sealed;
    });
    await this.#database.durable();
    return kept;
  }

  /** Ids of what was imported with this content, in order. */
  byContent(content: Uint8Array): readonly number[] {
    return this.#database
      .prepare<{ id: number }>('SELECT id FROM imported_messages WHERE content = ? ORDER BY id')
      .all(content)
      .map(({ id }) => id);
  }

  bySource(source: Uint8Array): number | null {
    const row = this.#database
      .prepare<{ imported: number }>('SELECT imported FROM import_sources WHERE source = ?')
      .get(source);
    return row?.imported ?? null;
  }

  row(id: number): ImportedRow | null {
    const record = this.#database
      .prepare<ImportedRecord>('SELECT id, content, folder, uid, size_bytes FROM imported_messages WHERE id = ?')
      .get(id);
    if (!record) return null;
    const { content, size_bytes: sizeBytes } = record;
    return { id, content, folder: folderId(record.folder), uid: uid(record.uid), sizeBytes };
  }

  /** Notes messages at the places they get; inside the transaction that inserts them (I1). Gives their ids. */
  note(folder: FolderId, notes: readonly ImportNote[], uids: readonly Uid[]): readonly number[] {
    return notes.map(({ content, source, sizeBytes }, at) => {
      const { lastInsertRowid: id } = this.#database
        .prepare('INSERT INTO imported_messages (content, folder, uid, size_bytes) VALUES (?, ?, ?, ?)')
        .run(content, folder, uids[at] ?? 0, sizeBytes);
      if (source) this.#noteSource(source, id);
      return id;
    });
  }

  /** Notes that these sources hold what was imported before. On disk when it resolves. */
  async link(links: readonly Readonly<{ source: Uint8Array; id: number }>[]): Promise<void> {
    if (links.length === 0) return;
    this.#database.transaction(() => {
      for (const { source, id } of links) this.#noteSource(source, id);
    });
    await this.#database.durable();
  }

  /** Forgets all imports; gives the number of messages they had taken in. On disk when it resolves. */
  async forget(): Promise<number> {
    const count = this.#database.transaction(() => {
      this.#database.prepare('DELETE FROM import_sources').run();
      this.#database.prepare('DELETE FROM import_key').run();
      return this.#database.prepare('DELETE FROM imported_messages').run().changes;
    });
    await this.#database.durable();
    this.#database.truncateLogSoon();
    return count;
  }

  #noteSource(source: Uint8Array, id: number): void {
    this.#database.prepare('INSERT OR REPLACE INTO import_sources (source, imported) VALUES (?, ?)').run(source, id);
  }
}

function importKey(database: Database): SealedImportKey | null {
  const row = database
    .prepare<{ epoch: number; sealed_key: Buffer }>('SELECT epoch, sealed_key FROM import_key WHERE id = 1')
    .get();
  return row ? { epoch: row.epoch as Epoch, sealedKey: row.sealed_key } : null;
}

/** Inside the transaction that puts a mailbox under another epoch. */
export function resealImportKey(database: Database, reseal: (sealed: SealedImportKey) => SealedImportKey): void {
  const sealed = importKey(database);
  if (!sealed) return;
  const next = reseal(sealed);
  database.prepare('UPDATE import_key SET epoch = ?, sealed_key = ? WHERE id = 1').run(next.epoch, next.sealedKey);
}
