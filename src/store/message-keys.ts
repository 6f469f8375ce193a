/**
 * The wrapped message keys of one mailbox, walked through and replaced while its key is rotated. Called by
 * mailbox/rotate.ts, which holds the keys.
 *
 * Q1  Replacing a key changes the epoch and the wrapped key of a row, and nothing else: no UID, no modification
 *     sequence, no body. A row that is gone, or was replaced by another, is left alone.
 * Q2  A walk in the order of rows meets every row of an older epoch: none is added behind it (epoch.ts).
 */
import { yieldTurn } from '../base/abort.ts';
import {
  bodyId,
  folderId,
  messageId,
  uid,
  type BodyId,
  type Epoch,
  type FolderId,
  type MessageId,
  type Uid,
} from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import { requireEpoch } from './epoch.ts';

/** A row's wrapped key, with what it is bound to. */
type KeyRow = Readonly<{
  folder: FolderId;
  uid: Uid;
  sizeBytes: number;
  message: MessageId;
  epoch: Epoch;
  wrappedKey: Buffer;
  body: BodyId;
  commitment: Buffer;
}>;
/** Where a walk over all rows has come to. */
export type RowPlace = Readonly<{ folder: number; uid: number }>;

type KeyRecord = Readonly<{
  folder: number;
  uid: number;
  size_bytes: number;
  message: Buffer;
  epoch: number;
  wrapped_key: Buffer;
  body: Buffer;
  commitment: Buffer;
}>;
type EpochRecord = RowPlace & Readonly<{ epoch: number }>;

const BATCH_COUNT = 500;
const LOOK_BATCH_COUNT = 4000;

export class MessageKeyStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Message keys in the mailbox. */
  count(): number {
    const sql = 'SELECT coalesce(sum(message_count), 0) AS count FROM folders';
    return this.#database.prepare<{ count: number }>(sql).get()?.count ?? 0;
  }

  /** The next rows in the order of folders and UIDs, of any epoch, at most 500. */
  rowsAfter(place: RowPlace): readonly KeyRow[] {
    return this.#database
      .prepare<KeyRecord>(
        `SELECT m.folder, m.uid, m.size_bytes, m.message, m.epoch, m.wrapped_key, b.body, b.commitment
         FROM messages m JOIN bodies b ON b.id = m.body
         WHERE (m.folder, m.uid) > (?, ?) ORDER BY m.folder, m.uid LIMIT ${String(BATCH_COUNT)}`,
      )
      .all(place.folder, place.uid)
      .map((record) => ({
        folder: folderId(record.folder),
        uid: uid(record.uid),
        sizeBytes: record.size_bytes,
        message: messageId(record.message.toString('hex')),
        epoch: record.epoch as Epoch,
        wrappedKey: record.wrapped_key,
        body: bodyId(record.body.toString('hex')),
        commitment: record.commitment,
      }));
  }

  /** Puts keys that were wrapped under `next` in the place of the old ones; on disk when it resolves. Throws EpochMoved. */
  async replace(next: Epoch, keys: readonly Readonly<{ row: KeyRow; wrappedKey: Uint8Array }>[]): Promise<void> {
    this.#database.transaction(() => {
      requireEpoch(this.#database, { epoch: next });
      const update = this.#database.prepare(
        'UPDATE messages SET epoch = ?, wrapped_key = ? WHERE folder = ? AND uid = ? AND wrapped_key = ?',
      );
      for (const { row, wrappedKey } of keys) update.run(next, wrappedKey, row.folder, row.uid, row.wrappedKey);
    });
    await this.#database.durable();
  }

  /** Whether every message key is wrapped under `only`. */
  async areAllUnder(only: Epoch): Promise<boolean> {
    const next = this.#database.prepare<EpochRecord>(
      `SELECT folder, uid, epoch FROM messages
       WHERE (folder, uid) > (?, ?) ORDER BY folder, uid LIMIT ${String(LOOK_BATCH_COUNT)}`,
    );
    for (let last: RowPlace | undefined = { folder: 0, uid: 0 }; last;) {
      const records: EpochRecord[] = next.all(last.folder, last.uid);
      if (records.some((record) => record.epoch !== only)) return false;
      last = records.at(-1);
      await yieldTurn();
    }
    return true;
  }

  /** Has what was replaced leave the log. */
  truncateLogSoon(): void {
    this.#database.truncateLogSoon();
  }
}
