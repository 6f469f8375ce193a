/**
 * Mail that waits for the mailbox key: whole and durable, but not yet in a folder. Called by mailbox/waiting.ts, which
 * seals and opens the keys, and by mailbox/handover.ts; nothing here can open anything.
 *
 * WS1  A message is kept only under the mailbox's epoch (epoch.ts), so that a rotation finds all of them before it
 *      removes the key that opens them.
 * WS2  It goes into a folder, and ceases to wait, in one transaction: once, whenever the process is killed.
 * WS3  It goes in the order of arrival.
 * WS4  What a gateway held is taken in once: its id is kept until the gateway is known to have dropped it. It may be under
 *      an older epoch than the mailbox's, whose key the caller knows to be there until it is adopted.
 */
import { bodyId, messageId, type BodyId, type Epoch, type MessageId } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import { insertBody, type BodyStore, type NewBody } from './bodies.ts';
import { currentEpoch, goOverTo, requireEpoch } from './epoch.ts';
import { requireRoom, sizeOf, type Quota } from './quota.ts';

type NewWaitingMessage = NewBody &
  Readonly<{ message: MessageId; epoch: Epoch; sealedKey: Uint8Array; isJunk: boolean }>;
/** As it is handed from a gateway to the main server. */
export type HandedMessage = Readonly<{
  message: MessageId;
  epoch: Epoch;
  sealedKey: Uint8Array;
  body: BodyId;
  sizeBytes: number;
  commitment: Uint8Array;
  sealedSummary: Uint8Array;
  savedAtMs: number;
  isJunk: boolean;
}>;
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
  /** Goes into the Junk folder instead of the INBOX. */
  isJunk: boolean;
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
  is_junk: number;
}>;

const BATCH_COUNT = 100;
const SELECT = `SELECT w.id, w.message, w.epoch, w.sealed_key, b.body, b.id AS body_row, b.commitment, b.size_bytes,
  w.saved_at_ms, w.is_junk FROM waiting_messages w JOIN bodies b ON b.id = w.body`;

export class WaitingStore {
  readonly #database: Database;
  readonly #bodies: BodyStore;

  constructor(database: Database, bodies: BodyStore) {
    this.#database = database;
    this.#bodies = bodies;
  }

  /** Keeps a message; on disk when it resolves. Throws EpochMoved, ServerError 'over-quota'. */
  async insert(row: NewWaitingMessage, quota: Quota | null): Promise<void> {
    this.#database.transaction(() => {
      requireEpoch(this.#database, row);
      requireRoom(this.#database, quota, sizeOf([row]));
      this.#insert(row, Date.now());
    });
    await this.#database.durable();
  }

  /** The summary of a waiting message; null when it is not there. */
  sealedSummary({ bodyRow }: Pick<WaitingMessage, 'bodyRow'>): Buffer | null {
    const select = 'SELECT sealed_summary AS sealed FROM bodies WHERE id = ?';
    return this.#database.prepare<{ sealed: Buffer }>(select).get(bodyRow)?.sealed ?? null;
  }

  /** Destroys a waiting message; durable when it resolves. */
  async drop({ id, body, bodyRow }: Pick<WaitingMessage, 'id' | 'body' | 'bodyRow'>): Promise<void> {
    this.#database.transaction(() => {
      this.#database.prepare('DELETE FROM waiting_messages WHERE id = ?').run(id);
      this.#database.prepare('DELETE FROM bodies WHERE id = ?').run(bodyRow);
    });
    await this.#database.durable();
    await this.#bodies.remove([body]);
    this.#database.truncateLogSoon();
  }

  /** Keeps a message that a gateway held (WS4); on disk when it resolves. It was acknowledged there: no quota is asked. */
  async takeIn(staged: NewBody['staged'], row: HandedMessage): Promise<void> {
    this.#database.transaction(() => {
      this.#insert({ ...row, staged }, row.savedAtMs);
      this.#database.prepare('INSERT INTO taken_in (message) VALUES (?)').run(Buffer.from(row.message, 'hex'));
    });
    await this.#database.durable();
  }

  /** Whether the message was taken in, or another one has its body: then it is not to be written. */
  isTakenIn({ message, body }: Pick<HandedMessage, 'message' | 'body'>): 'taken-in' | 'body-in-use' | 'new' {
    const taken = this.#database.prepare('SELECT 1 FROM taken_in WHERE message = ?').get(Buffer.from(message, 'hex'));
    if (taken) return 'taken-in';
    const inUse = this.#database.prepare('SELECT 1 FROM bodies WHERE body = ?').get(Buffer.from(body, 'hex'));
    return inUse ? 'body-in-use' : 'new';
  }

  /** The gateway has dropped the message. Need not be durable: at worst its id is kept. */
  forgetTakenIn(message: MessageId): void {
    this.#database.prepare('DELETE FROM taken_in WHERE message = ?').run(Buffer.from(message, 'hex'));
  }

  /** Has a store without folders keep from now on under `next`; durable when it resolves. Throws TypeError where names are. */
  async followEpoch(next: Epoch): Promise<void> {
    if (currentEpoch(this.#database) === next) return;
    this.#database.transaction(() => {
      const named = this.#database.prepare('SELECT 1 FROM folders LIMIT 1').get();
      if (named) throw new TypeError('names are under the epoch of this mailbox');
      goOverTo(this.#database, next);
    });
    await this.#database.durable();
  }

  #insert(row: NewWaitingMessage, savedAtMs: number): void {
    const bodyRow = insertBody(this.#database, row);
    const columns = 'body, saved_at_ms, message, epoch, sealed_key, is_junk';
    this.#database
      .prepare(`INSERT INTO waiting_messages (${columns}) VALUES (?, ?, ?, ?, ?, ?)`)
      .run(bodyRow, savedAtMs, Buffer.from(row.message, 'hex'), row.epoch, row.sealedKey, Number(row.isJunk));
  }

  count(): number {
    return (
      this.#database.prepare<{ count: number }>('SELECT count(*) AS count FROM waiting_messages').get()?.count ?? 0
    );
  }

  isEmpty(): boolean {
    return this.#database.prepare('SELECT 1 FROM waiting_messages LIMIT 1').get() === undefined;
  }

  /** The next messages in the order of arrival. */
  after(id: number, maxCount = BATCH_COUNT): readonly WaitingMessage[] {
    return this.#database
      .prepare<WaitingRecord>(`${SELECT} WHERE w.id > ? ORDER BY w.id LIMIT ?`)
      .all(id, maxCount)
      .map(messageOf);
  }

  find(message: MessageId): WaitingMessage | null {
    const sql = `${SELECT} WHERE w.message = ?`;
    const record = this.#database.prepare<WaitingRecord>(sql).get(Buffer.from(message, 'hex'));
    return record ? messageOf(record) : null;
  }
}

function messageOf(record: WaitingRecord): WaitingMessage {
  return {
    id: record.id,
    message: messageId(record.message.toString('hex')),
    epoch: record.epoch as Epoch,
    sealedKey: record.sealed_key,
    body: bodyId(record.body.toString('hex')),
    bodyRow: record.body_row,
    commitment: record.commitment,
    sizeBytes: record.size_bytes,
    savedAtMs: record.saved_at_ms,
    isJunk: record.is_junk !== 0,
  };
}
