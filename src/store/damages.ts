/** Which messages did not open when all of a mailbox were opened last. Written by mailbox/scrub.ts, for the operator. */
import { folderId, type FolderId, type Uid } from '../base/ids.ts';
import type { Database } from '../db/database.ts';

export type Damage = Readonly<{ folder: FolderId; uid: Uid; what: string }>;

export class DamageList {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Those that are still there. */
  list(): readonly Damage[] {
    const sql = `SELECT d.folder, d.uid, d.what FROM damages d
      JOIN messages m ON m.folder = d.folder AND m.uid = d.uid ORDER BY d.folder, d.uid`;
    return this.#database
      .prepare<{ folder: number; uid: number; what: string }>(sql)
      .all()
      .map((row) => ({ folder: folderId(row.folder), uid: row.uid as Uid, what: row.what }));
  }

  /** Puts what was found in the place of what was known; durable when it resolves. */
  async replace(found: readonly Damage[], nowMs: number): Promise<void> {
    this.#database.transaction(() => {
      this.#database.prepare('DELETE FROM damages').run();
      const insert = this.#database.prepare(
        'INSERT OR IGNORE INTO damages (folder, uid, what, found_at_ms) VALUES (?, ?, ?, ?)',
      );
      for (const { folder, uid, what } of found) insert.run(folder, uid, what, nowMs);
    });
    await this.#database.durable();
  }
}
