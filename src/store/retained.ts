/**
 * Expunged messages that are kept for a while: sealed as they were, in no folder, counted in no quota. Called by mailbox/.
 *
 * RT1  A message is in a folder or retained, never both and never neither, until it is shredded (messages.ts keeps it).
 * RT2  Shredding removes row, wrapped key and, when no other row shares it, the body; it is gone from disk as after an
 *      expunge.
 * RT3  Rows of older epochs only get fewer: a rotation wraps their keys anew (mailbox/rotate.ts).
 */
import { yieldTurn } from '../base/abort.ts';
import { bodyId, messageId, type BodyId, type Epoch, type MessageId } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import type { BodyStore } from './bodies.ts';
import { requireEpoch } from './epoch.ts';

export type RetainedRow = Readonly<{
  id: number;
  sizeBytes: number;
  message: MessageId;
  epoch: Epoch;
  wrappedKey: Buffer;
  body: BodyId;
  commitment: Buffer;
}>;
type RetainedRecord = Readonly<{
  id: number;
  size_bytes: number;
  message: Buffer;
  epoch: number;
  wrapped_key: Buffer;
  body: Buffer;
  commitment: Buffer;
}>;

const BATCH_COUNT = 500;

export class RetainedStore {
  readonly #database: Database;
  readonly #bodies: BodyStore;

  constructor(database: Database, bodies: BodyStore) {
    this.#database = database;
    this.#bodies = bodies;
  }

  /** The next rows, at most 500, that were expunged at `sinceMs` or later. */
  after(id: number, sinceMs = 0): readonly RetainedRow[] {
    return this.#database
      .prepare<RetainedRecord>(
        `SELECT r.id, r.size_bytes, r.message, r.epoch, r.wrapped_key, b.body, b.commitment
         FROM retained r JOIN bodies b ON b.id = r.body
         WHERE r.id > ? AND r.expunged_at_ms >= ? ORDER BY r.id LIMIT ${String(BATCH_COUNT)}`,
      )
      .all(id, sinceMs)
      .map((record) => ({
        id: record.id,
        sizeBytes: record.size_bytes,
        message: messageId(record.message.toString('hex')),
        epoch: record.epoch as Epoch,
        wrappedKey: record.wrapped_key,
        body: bodyId(record.body.toString('hex')),
        commitment: record.commitment,
      }));
  }

  /** Puts keys that were wrapped under `next` in the place of the old ones; on disk when it resolves. Throws EpochMoved. */
  async replace(next: Epoch, keys: readonly Readonly<{ row: RetainedRow; wrappedKey: Uint8Array }>[]): Promise<void> {
    this.#database.transaction(() => {
      requireEpoch(this.#database, { epoch: next });
      const update = this.#database.prepare(
        'UPDATE retained SET epoch = ?, wrapped_key = ? WHERE id = ? AND wrapped_key = ?',
      );
      for (const { row, wrappedKey } of keys) update.run(next, wrappedKey, row.id, row.wrappedKey);
    });
    await this.#database.durable();
  }

  areAllUnder(only: Epoch): boolean {
    return this.#database.prepare('SELECT 1 FROM retained WHERE epoch <> ? LIMIT 1').get(only) === undefined;
  }

  /** Shreds what was expunged before `beforeMs` (RT2); on disk when it resolves. Gives how many that were. */
  async shred(beforeMs: number): Promise<number> {
    let count = 0;
    for (;;) {
      const { removed, orphans } = this.#database.transaction(() => this.#remove(beforeMs));
      if (removed === 0) break;
      count += removed;
      await this.#database.durable();
      await this.#bodies.remove(orphans);
      await yieldTurn();
    }
    if (count > 0) this.#database.truncateLogSoon();
    return count;
  }

  #remove(beforeMs: number): { removed: number; orphans: BodyId[] } {
    const rows = this.#database
      .prepare<{ id: number; body: number }>(
        `SELECT id, body FROM retained WHERE expunged_at_ms < ? LIMIT ${String(BATCH_COUNT)}`,
      )
      .all(beforeMs);
    const orphans: BodyId[] = [];
    for (const { id, body } of rows) {
      this.#database.prepare('DELETE FROM retained WHERE id = ?').run(id);
      this.#database.prepare('UPDATE bodies SET row_count = row_count - 1 WHERE id = ?').run(body);
      const gone = this.#database
        .prepare<{ body: Buffer }>('DELETE FROM bodies WHERE id = ? AND row_count = 0 RETURNING body')
        .all(body);
      orphans.push(...gone.map((each) => bodyId(each.body.toString('hex'))));
    }
    return { removed: rows.length, orphans };
  }
}
