/**
 * Mail that waits for the mailbox key: whole and durable, but not yet in a folder. Called by mailbox/waiting.ts, which
 * seals and opens the keys; nothing here can open anything.
 *
 * WS1  A message is kept only under the mailbox's epoch (epoch.ts), so that a rotation finds all of them before it
 *      removes the key that opens them.
 * WS2  It goes into a folder, and ceases to wait, in one transaction: once, whenever the process is killed.
 * WS3  It goes in the order of arrival.
 */
import { bodyId, messageId, type BodyId, type Epoch, type MessageId } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import { insertBody, type NewBody } from './bodies.ts';
import { requireEpoch } from './epoch.ts';
import { requireRoom, sizeOf, type Quota } from './quota.ts';

type NewWaitingMessage = NewBody & Readonly<{ message: MessageId; epoch: Epoch; sealedKey: Uint8Array }>;
export type WaitingMessage = Readonly<{
  id: number;
  message: MessageId;
  epoch: Epoch;
  sealedKey: Buffer;
  body: BodyId;
  bodyRow: number;
  commitment: Buffer;
  sizeBytes: number;
  savedAtMs: number;
}>;

type WaitingRecord = Readonly<{
  id: number;
  message: Buffer;
  epoch: number;
  sealed_key: Buffer;
  body: Buffer;
  body_row: number;
  commitment: Buffer;
  size_bytes: number;
  saved_at_ms: number;
}>;

const BATCH_COUNT = 100;

export class WaitingStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Keeps a message; on disk when it resolves. Throws EpochMoved, ServerError 'over-quota'. */
  async insert(row: NewWaitingMessage, quota: Quota | null): Promise<void> {
    this.#database.transaction(() => {
      requireEpoch(this.#database, row);
      requireRoom(this.#database, quota, sizeOf([row]));
      const bodyRow = insertBody(this.#database, row);
      const columns = 'body, saved_at_ms, message, epoch, sealed_key';
      this.#database
        .prepare(`INSERT INTO waiting_messages (${columns}) VALUES (?, ?, ?, ?, ?)`)
        .run(bodyRow, Date.now(), Buffer.from(row.message, 'hex'), row.epoch, row.sealedKey);
    });
    await this.#database.durable();
  }

  count(): number {
    return (
      this.#database.prepare<{ count: number }>('SELECT count(*) AS count FROM waiting_messages').get()?.count ?? 0
    );
  }

  isEmpty(): boolean {
    return this.#database.prepare('SELECT 1 FROM waiting_messages LIMIT 1').get() === undefined;
  }

  /** The next messages in the order of arrival, at most 100. */
  after(id: number): readonly WaitingMessage[] {
    return this.#database
      .prepare<WaitingRecord>(
        `SELECT w.id, w.message, w.epoch, w.sealed_key, b.body, b.id AS body_row, b.commitment, b.size_bytes, w.saved_at_ms
         FROM waiting_messages w JOIN bodies b ON b.id = w.body WHERE w.id > ? ORDER BY w.id LIMIT ${String(BATCH_COUNT)}`,
      )
      .all(id)
      .map((record) => ({
        id: record.id,
        message: messageId(record.message.toString('hex')),
        epoch: record.epoch as Epoch,
        sealedKey: record.sealed_key,
        body: bodyId(record.body.toString('hex')),
        bodyRow: record.body_row,
        commitment: record.commitment,
        sizeBytes: record.size_bytes,
        savedAtMs: record.saved_at_ms,
      }));
  }
}
