/**
 * Annotations of one mailbox, as sealed rows. Called by mailbox/annotations.ts, and by folders.ts where names go over to
 * another epoch.
 *
 * N1  Rows count only under the mailbox's epoch, as names do (folders.ts, F3); they go with their folder.
 */
import type { Epoch } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import { requireEpoch } from './epoch.ts';

/** `folder` 0: of the mailbox itself. */
export type AnnotationRow = Readonly<{ folder: number; nameIndex: Uint8Array; epoch: Epoch; sealed: Uint8Array }>;
/** `sealed` null: removed. */
type AnnotationChange = Omit<AnnotationRow, 'sealed'> & Readonly<{ sealed: Uint8Array | null }>;
type AnnotationLimits = Readonly<{ count: number; totalBytes: number }>;
type AnnotationRecord = Readonly<{ folder: number; name_index: Buffer; epoch: number; sealed: Buffer }>;

/** Undoes the transaction that threw it. */
class TooMany extends Error {}

const toRow = ({ folder, name_index, epoch, sealed }: AnnotationRecord): AnnotationRow => ({
  folder,
  nameIndex: name_index,
  epoch: epoch as Epoch,
  sealed,
});

export class AnnotationStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Those of one folder. */
  of(folder: number): readonly AnnotationRow[] {
    return this.#database
      .prepare<AnnotationRecord>('SELECT * FROM annotations WHERE folder = ?')
      .all(folder)
      .map(toRow);
  }

  all(): readonly AnnotationRow[] {
    return this.#database.prepare<AnnotationRecord>('SELECT * FROM annotations').all().map(toRow);
  }

  /** Makes all changes or none; false when the mailbox would have too many. On disk when it resolves. Throws EpochMoved. */
  async change(changes: readonly AnnotationChange[], limits: AnnotationLimits): Promise<boolean> {
    try {
      this.#database.transaction(() => {
        requireEpoch(this.#database, ...changes);
        const before = this.#size();
        for (const change of changes) this.#put(change);
        const after = this.#size();
        const isOver = (name: 'count' | 'totalBytes'): boolean =>
          after[name] > limits[name] && after[name] > before[name];
        if (isOver('count') || isOver('totalBytes')) throw new TooMany();
      });
    } catch (error) {
      if (error instanceof TooMany) return false;
      throw error;
    }
    await this.#database.durable();
    this.#database.truncateLogSoon(); // what was replaced or removed leaves the log
    return true;
  }

  #put({ folder, nameIndex, epoch, sealed }: AnnotationChange): void {
    if (sealed === null) {
      this.#database.prepare('DELETE FROM annotations WHERE folder = ? AND name_index = ?').run(folder, nameIndex);
      return;
    }
    this.#database
      .prepare('INSERT OR REPLACE INTO annotations (folder, name_index, epoch, sealed) VALUES (?, ?, ?, ?)')
      .run(folder, nameIndex, epoch, sealed);
  }

  #size(): { count: number; totalBytes: number } {
    const select = 'SELECT count(*) AS count, coalesce(sum(length(sealed)), 0) AS totalBytes FROM annotations';
    return this.#database.prepare<{ count: number; totalBytes: number }>(select).get() ?? { count: 0, totalBytes: 0 };
  }
}

/** Inside the transaction in which the mailbox goes over to `next`. */
export function resealAnnotations(
  database: Database,
  next: Epoch,
  reseal: (row: AnnotationRow) => Pick<AnnotationRow, 'nameIndex' | 'sealed'>,
): void {
  for (const row of database.prepare<AnnotationRecord>('SELECT * FROM annotations').all().map(toRow)) {
    const { nameIndex, sealed } = reseal(row);
    database
      .prepare('UPDATE annotations SET epoch = ?, name_index = ?, sealed = ? WHERE folder = ? AND name_index = ?')
      .run(next, nameIndex, sealed, row.folder, row.nameIndex);
  }
}
