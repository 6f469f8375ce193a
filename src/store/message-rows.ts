/**
 * Reading the message rows of one mailbox: what is in a folder, and what has changed there. Called by mailbox/, which holds
 * the keys; nothing here can open anything.
 *
 * MR1  Rows come in the order of UIDs, in batches with a turn of the event loop between; the rows of a batch are of one
 *      moment, two batches need not be.
 *
 * messages.ts changes them.
 */
import { yieldTurn } from '../base/abort.ts';
import {
  bodyId,
  folderId,
  messageId,
  modSeq,
  type BodyId,
  type Epoch,
  type FolderId,
  type MessageId,
  type ModSeq,
  type Uid,
} from '../base/ids.ts';
import type { Database } from '../db/database.ts';

export type UidRange = Readonly<{ first: number; last: number }>;
/** System flags as bits of `flags`. */
export const FLAG_BITS = { seen: 1, answered: 2, flagged: 4, deleted: 8, draft: 16 } as const;

export type FlagRow = Readonly<{
  uid: Uid;
  modSeq: ModSeq;
  flags: number;
  /** Bit set of keyword bits; null for none. */
  keywords: Buffer | null;
  sizeBytes: number;
  savedAtMs: number;
}>;
/** A row with all that is needed to open its message. */
export type SealedRow = FlagRow &
  Readonly<{
    folder: FolderId;
    message: MessageId;
    epoch: Epoch;
    wrappedKey: Buffer;
    body: BodyId;
    bodyRow: number;
    commitment: Buffer;
    sealedSummary: Buffer;
  }>;
export type FolderState = Readonly<{ uidValidity: number; uidNext: number; highestModSeq: ModSeq }>;

/** Rows in one transaction, or read at a time. */
export const BATCH_COUNT = 500;

export const FLAG_COLUMNS = 'm.uid, m.mod_seq, m.flags, m.keywords, m.size_bytes, m.saved_at_ms';
const SEALED_COLUMNS = `${FLAG_COLUMNS}, m.folder, m.message, m.epoch, m.wrapped_key, b.id AS body_row, b.body, b.commitment,
  b.sealed_summary`;

export type FlagRecord = Readonly<{
  uid: number;
  mod_seq: number;
  flags: number;
  keywords: Buffer | null;
  size_bytes: number;
  saved_at_ms: number;
}>;
type SealedRecord = FlagRecord &
  Readonly<{
    folder: number;
    message: Buffer;
    epoch: number;
    wrapped_key: Buffer;
    body_row: number;
    body: Buffer;
    commitment: Buffer;
    sealed_summary: Buffer;
  }>;

export const toFlagRow = (record: FlagRecord): FlagRow => ({
  uid: record.uid as Uid,
  modSeq: record.mod_seq as ModSeq,
  flags: record.flags,
  keywords: record.keywords,
  sizeBytes: record.size_bytes,
  savedAtMs: record.saved_at_ms,
});
const toSealedRow = (record: SealedRecord): SealedRow => ({
  ...toFlagRow(record),
  folder: folderId(record.folder),
  message: messageId(record.message.toString('hex')),
  epoch: record.epoch as Epoch,
  wrappedKey: record.wrapped_key,
  body: bodyId(record.body.toString('hex')),
  bodyRow: record.body_row,
  commitment: record.commitment,
  sealedSummary: record.sealed_summary,
});

export class MessageRows {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The folder's UIDs in order, and its state read before them: catch up from there. Null when it is gone. */
  async snapshot(folder: FolderId): Promise<(FolderState & { uids: Uint32Array }) | null> {
    const state = this.state(folder);
    if (!state) return null;
    const parts: number[] = [];
    const batch = this.#database.prepare<{ uid: number }>(
      'SELECT uid FROM messages WHERE folder = ? AND uid > ? ORDER BY uid LIMIT 4000',
    );
    for (let last = 0; ;) {
      const records = batch.all(folder, last);
      for (const record of records) parts.push(record.uid);
      last = records.at(-1)?.uid ?? 0;
      if (records.length < 4000) break;
      await yieldTurn();
    }
    return { ...state, uids: Uint32Array.from(parts) };
  }

  state(folder: FolderId): FolderState | null {
    const record = this.#database
      .prepare<{ uid_validity: number; uid_next: number; highest_mod_seq: number }>(
        'SELECT uid_validity, uid_next, highest_mod_seq FROM folders WHERE id = ?',
      )
      .get(folder);
    if (!record) return null;
    return {
      uidValidity: record.uid_validity,
      uidNext: record.uid_next,
      highestModSeq: modSeq(record.highest_mod_seq),
    };
  }

  /** Rows in `ranges`, ascending, in batches. */
  async *flagRows(folder: FolderId, ranges: readonly UidRange[]): AsyncGenerator<readonly FlagRow[]> {
    const sql = `SELECT ${FLAG_COLUMNS} FROM messages m
      WHERE m.folder = ? AND m.uid BETWEEN ? AND ? ORDER BY m.uid LIMIT ${String(BATCH_COUNT)}`;
    for await (const records of this.#batches<FlagRecord>(sql, folder, ranges)) yield records.map(toFlagRow);
  }

  /** Rows in `ranges` with their sealed summaries and wrapped keys, ascending, in batches. */
  async *sealedRows(folder: FolderId, ranges: readonly UidRange[]): AsyncGenerator<readonly SealedRow[]> {
    const sql = `SELECT ${SEALED_COLUMNS} FROM messages m JOIN bodies b ON b.id = m.body
      WHERE m.folder = ? AND m.uid BETWEEN ? AND ? ORDER BY m.uid LIMIT 100`;
    for await (const records of this.#batches<SealedRecord>(sql, folder, ranges)) yield records.map(toSealedRow);
  }

  sealedRow(folder: FolderId, of: Uid): SealedRow | null {
    const record = this.#database
      .prepare<SealedRecord>(
        `SELECT ${SEALED_COLUMNS} FROM messages m JOIN bodies b ON b.id = m.body WHERE m.folder = ? AND m.uid = ?`,
      )
      .get(folder, of);
    return record ? toSealedRow(record) : null;
  }

  /** Rows changed (or new) since `since`, by UID. */
  async *changedRows(folder: FolderId, since: ModSeq): AsyncGenerator<readonly FlagRow[]> {
    const batch = this.#database.prepare<FlagRecord>(
      `SELECT ${FLAG_COLUMNS} FROM messages m INDEXED BY messages_by_mod_seq
       WHERE m.folder = ? AND (m.mod_seq, m.uid) > (?, ?) ORDER BY m.mod_seq, m.uid LIMIT ${String(BATCH_COUNT)}`,
    );
    for (let [lastModSeq, lastUid] = [since as number, 0xffff_ffff]; ;) {
      const records = batch.all(folder, lastModSeq, lastUid);
      if (records.length > 0) yield records.map(toFlagRow);
      const last = records.at(-1);
      if (!last || records.length < BATCH_COUNT) return;
      [lastModSeq, lastUid] = [last.mod_seq, last.uid];
      await yieldTurn();
    }
  }

  /** UIDs that vanished since `since`, ascending, each once. */
  vanished(folder: FolderId, since: ModSeq): readonly Uid[] {
    return this.#database
      .prepare<{ uid: number }>('SELECT DISTINCT uid FROM vanished WHERE folder = ? AND mod_seq > ? ORDER BY uid')
      .all(folder, since)
      .map((record) => record.uid as Uid);
  }

  searchText(bodyRow: number): Buffer | null {
    return (
      this.#database
        .prepare<{ text: Buffer | null }>('SELECT sealed_search_text AS text FROM bodies WHERE id = ?')
        .get(bodyRow)?.text ?? null
    );
  }

  async *#batches<Row extends Readonly<{ uid: number }>>(
    sql: string,
    folder: FolderId,
    ranges: readonly UidRange[],
  ): AsyncGenerator<Row[]> {
    const batch = this.#database.prepare<Row>(sql);
    let held: Row[] = [];
    for (const range of ranges) {
      for (let first = range.first; first <= range.last;) {
        const records = batch.all(folder, first, range.last);
        const last = records.at(-1);
        if (!last) break;
        first = last.uid + 1;
        held = held.length === 0 ? records : [...held, ...records];
        if (held.length < 100) continue; // many short ranges share a batch
        yield held;
        held = [];
        await yieldTurn();
      }
    }
    if (held.length > 0) yield held;
  }
}
