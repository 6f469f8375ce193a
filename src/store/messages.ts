/**
 * Changing the message rows of one mailbox: flags, sealed summaries, wrapped keys, and the log of what vanished.
 * Called by mailbox/, which holds the keys; nothing here can open anything. message-rows.ts reads them.
 *
 * R1  A UID is given once, ascending, in the transaction that inserts the row (RFC 9051 §2.3.1.1).
 * R2  Every change gives the touched rows and their folder a higher modification sequence (RFC 7162 §3.1).
 * R3  The folder's counters change in the same transaction as the rows they count.
 * R4  Inserts, moves and expunges resolve when they are on disk; flag changes when they are committed, and
 *     are on disk soon after.
 * R5  Long work is cut into transactions of at most `BATCH_COUNT` rows with a turn of the event loop between.
 * R6  A key is wrapped for a new row only under the mailbox's epoch (epoch.ts); so the rows of older epochs only
 *     get fewer (message-keys.ts).
 */
import { yieldTurn } from '../base/abort.ts';
import { uid, type BodyId, type Epoch, type FolderId, type MessageId, type ModSeq, type Uid } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import { insertBody, type BodyStore, type NewBody } from './bodies.ts';
import { EpochMoved, requireEpoch } from './epoch.ts';
import { nextModSeq } from './folders.ts';
import {
  BATCH_COUNT,
  FLAG_BITS,
  FLAG_COLUMNS,
  MessageRows,
  toFlagRow,
  type FlagRecord,
  type FlagRow,
  type FolderState,
  type SealedRow,
  type UidRange,
} from './message-rows.ts';
import { requireRoom, sizeOf, type Quota } from './quota.ts';
import type { WaitingMessage } from './waiting.ts';

/** The wrapped key of one new row. */
export type WrappedRow = Readonly<{ message: MessageId; epoch: Epoch; wrappedKey: Uint8Array }>;
export type NewMessageRow = WrappedRow & NewBody & Readonly<{ flags: number; keywords: Uint8Array | null }>;
/** A message that waited, with its key wrapped for a row. */
export type AdoptedRow = WrappedRow & Pick<WaitingMessage, 'id' | 'bodyRow' | 'sizeBytes' | 'savedAtMs'>;
type FlagChange = Readonly<{
  mode: 'add' | 'remove' | 'replace';
  flags: number;
  keywords: Uint8Array | null;
  unchangedSince: ModSeq | null;
}>;

/** The row as it is, kept out of every folder. */
const RETAIN = `INSERT INTO retained (expunged_at_ms, flags, keywords, body, size_bytes, saved_at_ms, message, epoch, wrapped_key)
  SELECT ?, flags, keywords, body, size_bytes, saved_at_ms, message, epoch, wrapped_key FROM messages
  WHERE folder = ? AND uid = ?`;

type AppendedRows = FolderState & { uids: Uid[] };
type CopyPlaces = Readonly<{ source: FolderId; target: FolderId; removeSource: boolean; quota: Quota | null }>;

export class MessageStore extends MessageRows {
  readonly #database: Database;
  readonly #bodies: BodyStore;

  constructor(database: Database, bodies: BodyStore) {
    super(database);
    this.#database = database;
    this.#bodies = bodies;
  }

  /**
   * Inserts messages in one transaction, and runs `note` in it. Null when the folder is gone.
   * Throws EpochMoved, ServerError 'over-quota'.
   */
  async append(
    folder: FolderId,
    rows: readonly NewMessageRow[],
    quota: Quota | null,
    note?: (uids: readonly Uid[]) => void,
  ): Promise<AppendedRows | null> {
    const done = this.#database.transaction(() => {
      requireEpoch(this.#database, ...rows);
      const appended = this.#appendRows(folder, rows, quota);
      if (appended) note?.(appended.uids);
      return appended;
    });
    if (done) await this.#database.durable();
    return done;
  }

  /**
   * Inserts messages and removes another, both or neither, so that the quota counts what comes of both (RFC 8508 §3.4).
   * Null when the folder, or the message to be removed, is gone. Throws EpochMoved, ServerError 'over-quota'.
   */
  async replace(
    folder: FolderId,
    rows: readonly NewMessageRow[],
    quota: Quota | null,
    removed: Readonly<{ folder: FolderId; uid: Uid; isRetained: boolean }>,
  ): Promise<AppendedRows | null> {
    const orphans: BodyId[] = [];
    const done = this.#database.transaction(() => {
      requireEpoch(this.#database, ...rows);
      if (!this.state(folder)) return null;
      const how = { requiredFlags: 0, isRetained: removed.isRetained };
      const gone = this.#removeRows(removed.folder, [removed.uid], how);
      if (gone.uids.length === 0) return null;
      orphans.push(...gone.orphans);
      return this.#appendRows(folder, rows, quota);
    });
    if (!done) return null;
    await this.#database.durable();
    this.#database.truncateLogSoon();
    await this.#bodies.remove(orphans);
    return done;
  }

  /**
   * Has messages that waited become rows of a folder, in their order; those that wait no more are left out. On disk when
   * it resolves. Null when the folder is gone. Throws EpochMoved.
   */
  async adopt(folder: FolderId, waiting: readonly AdoptedRow[]): Promise<FolderState | null> {
    const done = this.#database.transaction(() => {
      requireEpoch(this.#database, ...waiting);
      const state = this.state(folder);
      if (!state) return null;
      const seq = nextModSeq(this.#database);
      const remove = this.#database.prepare('DELETE FROM waiting_messages WHERE id = ?');
      const rows = waiting.filter(({ id }) => remove.run(id).changes === 1).map((row) => ({ ...row, flags: 0 }));
      for (const [index, row] of rows.entries()) {
        this.#insertRow({ ...row, folder, uid: uid(state.uidNext + index), modSeq: seq, keywords: null });
      }
      this.#count(folder, { rows, sign: 1 });
      this.#advance(folder, { modSeq: seq, uidNext: state.uidNext + rows.length });
      return { ...state, uidNext: state.uidNext + rows.length, highestModSeq: seq };
    });
    if (done) await this.#database.durable();
    return done;
  }

  /** Changes flags; `modified` are the rows that `unchangedSince` protected (RFC 7162 §3.1.3). */
  async setFlags(
    folder: FolderId,
    ranges: readonly UidRange[],
    change: FlagChange,
  ): Promise<{ changed: FlagRow[]; modified: Uid[] }> {
    const changed: FlagRow[] = [];
    const modified: Uid[] = [];
    for await (const batch of this.flagRows(folder, ranges)) {
      this.#database.transaction(() => {
        this.#changeFlags(folder, batch, { change, changed, modified });
      });
    }
    void this.#database.durable().catch(() => undefined); // R4: a failure stops the process by onFailure
    return { changed, modified };
  }

  /**
   * Gives rows of `target` to existing bodies. `rows` pair a source UID with the key wrapped for its new row.
   * A source that vanished meanwhile is left out. A copy that fails takes back what it did; a move stays half done,
   * with each message in one of the folders. Null when the target is gone. Throws ServerError 'over-quota' for a copy, and
   * EpochMoved; but a move that has begun then says that it `isComplete` not: the rest needs to be wrapped anew.
   */
  async copy(
    rows: readonly (WrappedRow & { from: Uid })[],
    places: CopyPlaces,
  ): Promise<(FolderState & { pairs: { from: Uid; to: Uid }[]; isComplete: boolean }) | null> {
    const pairs: { from: Uid; to: Uid }[] = [];
    let isComplete = true;
    try {
      for (let start = 0; start < rows.length; start += BATCH_COUNT) {
        if (start > 0) await yieldTurn();
        const batch = rows.slice(start, start + BATCH_COUNT);
        const copied = this.#database.transaction(() => this.#copyBatch(batch, places));
        if (!copied) return null;
        pairs.push(...copied);
      }
    } catch (error) {
      if (!places.removeSource)
        await this.expunge(
          places.target,
          pairs.map((pair) => pair.to),
          0,
        );
      if (!places.removeSource || pairs.length === 0 || !(error instanceof EpochMoved)) throw error;
      isComplete = false;
    }
    const state = this.state(places.target);
    await this.#database.durable();
    return state && { ...state, pairs, isComplete };
  }

  /**
   * Removes messages for good: row, wrapped key, summary, and the body when no other row shares it. A message that
   * lacks one of `requiredFlags` by then stays: another client may have taken \\Deleted away again. With `isRetained` all is
   * kept in no folder (retained.ts).
   */
  async expunge(folder: FolderId, uids: readonly Uid[], requiredFlags: number, isRetained = false): Promise<Uid[]> {
    const gone: Uid[] = [];
    const orphans: BodyId[] = [];
    for (let start = 0; start < uids.length; start += BATCH_COUNT) {
      if (start > 0) await yieldTurn();
      const batch = uids.slice(start, start + BATCH_COUNT);
      const removed = this.#database.transaction(() => this.#removeRows(folder, batch, { requiredFlags, isRetained }));
      gone.push(...removed.uids);
      orphans.push(...removed.orphans);
    }
    if (gone.length === 0) return gone;
    await this.#database.durable();
    this.#database.truncateLogSoon();
    await this.#bodies.remove(orphans);
    return gone;
  }

  /**
   * Has retained messages become rows of a folder again; those that were shredded meanwhile are left out. On disk when it
   * resolves. Null when the folder is gone. Throws EpochMoved, ServerError 'over-quota'.
   */
  async undelete(
    folder: FolderId,
    rows: readonly (WrappedRow & { id: number })[],
    quota: Quota | null,
  ): Promise<(FolderState & { count: number }) | null> {
    const done = this.#database.transaction(() => {
      requireEpoch(this.#database, ...rows);
      const state = this.state(folder);
      if (!state) return null;
      const seq = nextModSeq(this.#database);
      const take = this.#database.prepare<FlagRecord & { body: number }>(
        'DELETE FROM retained WHERE id = ? RETURNING 0 AS uid, 0 AS mod_seq, flags, keywords, size_bytes, saved_at_ms, body',
      );
      const taken = rows.flatMap((row) => {
        const record = take.get(row.id);
        const flags = (record?.flags ?? 0) & ~FLAG_BITS.deleted; // or the next expunge would take it again
        return record ? [{ ...toFlagRow(record), ...row, flags, bodyRow: record.body }] : [];
      });
      requireRoom(this.#database, quota, sizeOf(taken));
      for (const [index, row] of taken.entries())
        this.#insertRow({ ...row, folder, uid: uid(state.uidNext + index), modSeq: seq });
      this.#count(folder, { rows: taken, sign: 1 });
      this.#advance(folder, { modSeq: seq, uidNext: state.uidNext + taken.length });
      return { ...state, uidNext: state.uidNext + taken.length, highestModSeq: seq, count: taken.length };
    });
    if (done) await this.#database.durable();
    return done;
  }

  /** Keeps a sealed search text; it can be made again, so nobody waits for the disk. */
  keepSearchText(bodyRow: number, sealed: Uint8Array | null): void {
    this.#database.prepare('UPDATE bodies SET sealed_search_text = ? WHERE id = ?').run(sealed, bodyRow);
  }

  /** Inside a transaction. Null when the folder is gone. Throws ServerError 'over-quota'. */
  #appendRows(folder: FolderId, rows: readonly NewMessageRow[], quota: Quota | null): AppendedRows | null {
    const state = this.state(folder);
    if (!state) return null;
    requireRoom(this.#database, quota, sizeOf(rows));
    const seq = nextModSeq(this.#database);
    const savedAtMs = Date.now();
    const uids = rows.map((row, index) => {
      const bodyRow = insertBody(this.#database, row);
      const given = uid(state.uidNext + index);
      this.#insertRow({ ...row, folder, uid: given, modSeq: seq, bodyRow, savedAtMs });
      return given;
    });
    this.#count(folder, { rows, sign: 1 });
    this.#advance(folder, { modSeq: seq, uidNext: state.uidNext + rows.length });
    return { uidValidity: state.uidValidity, uidNext: state.uidNext + rows.length, highestModSeq: seq, uids };
  }

  #copyBatch(rows: readonly (WrappedRow & { from: Uid })[], places: CopyPlaces): { from: Uid; to: Uid }[] | null {
    const { source, target, removeSource, quota } = places;
    requireEpoch(this.#database, ...rows);
    const state = this.state(target);
    if (!state) return null;
    const seq = nextModSeq(this.#database);
    const savedAtMs = Date.now();
    const pairs: { from: Uid; to: Uid }[] = [];
    const inserted: SealedRow[] = [];
    for (const row of rows) {
      const old = this.sealedRow(source, row.from);
      if (!old) continue;
      const to = uid(state.uidNext + inserted.length);
      this.#database.prepare('UPDATE bodies SET row_count = row_count + 1 WHERE id = ?').run(old.bodyRow);
      this.#insertRow({ ...old, ...row, folder: target, uid: to, modSeq: seq, savedAtMs });
      inserted.push(old);
      pairs.push({ from: row.from, to });
    }
    if (!removeSource) requireRoom(this.#database, quota, sizeOf(inserted)); // before they are counted
    this.#count(target, { rows: inserted, sign: 1 });
    this.#advance(target, { modSeq: seq, uidNext: state.uidNext + inserted.length });
    if (removeSource)
      this.#removeRows(
        source,
        pairs.map((pair) => pair.from),
        { requiredFlags: 0, isRetained: false },
      );
    return pairs;
  }

  #insertRow(
    row: Readonly<{
      folder: FolderId;
      uid: Uid;
      modSeq: ModSeq;
      flags: number;
      keywords: Uint8Array | null;
      bodyRow: number;
      sizeBytes: number;
      savedAtMs: number;
      message: MessageId;
      epoch: Epoch;
      wrappedKey: Uint8Array;
    }>,
  ): void {
    this.#database
      .prepare(
        `INSERT INTO messages
         (folder, uid, mod_seq, flags, keywords, body, size_bytes, saved_at_ms, message, epoch, wrapped_key)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        row.folder,
        row.uid,
        row.modSeq,
        row.flags,
        row.keywords,
        row.bodyRow,
        row.sizeBytes,
        row.savedAtMs,
        Buffer.from(row.message, 'hex'),
        row.epoch,
        row.wrappedKey,
      );
  }

  #changeFlags(
    folder: FolderId,
    batch: readonly FlagRow[],
    work: Readonly<{ change: FlagChange; changed: FlagRow[]; modified: Uid[] }>,
  ): void {
    const { change, changed, modified } = work;
    const before: FlagRow[] = [];
    const after: FlagRow[] = [];
    const seq = nextModSeq(this.#database);
    const read = this.#database.prepare<FlagRecord>(
      `SELECT ${FLAG_COLUMNS} FROM messages m WHERE m.folder = ? AND m.uid = ?`,
    );
    const write = this.#database.prepare(
      'UPDATE messages SET flags = ?, keywords = ?, mod_seq = ? WHERE folder = ? AND uid = ?',
    );
    for (const { uid: of } of batch) {
      const record = read.get(folder, of);
      if (!record) continue; // expunged since the batch was read
      const row = toFlagRow(record);
      if (change.unchangedSince !== null && row.modSeq > change.unchangedSince) {
        modified.push(of);
        continue;
      }
      const flags = combine(row.flags, change);
      const keywords = combineKeywords(row.keywords, change);
      if (flags === row.flags && sameBits(keywords, row.keywords)) {
        changed.push(row);
        continue;
      }
      write.run(flags, keywords, seq, folder, of);
      before.push(row);
      after.push({ ...row, flags, keywords, modSeq: seq });
    }
    changed.push(...after);
    if (after.length === 0) return;
    this.#count(folder, { rows: before, sign: -1 });
    this.#count(folder, { rows: after, sign: 1 });
    this.#advance(folder, { modSeq: seq, uidNext: 0 });
  }

  #removeRows(
    folder: FolderId,
    uids: Iterable<Uid>,
    { requiredFlags, isRetained }: Readonly<{ requiredFlags: number; isRetained: boolean }>,
  ): { uids: Uid[]; orphans: BodyId[] } {
    const seq = nextModSeq(this.#database);
    const rows: FlagRow[] = [];
    const orphans: BodyId[] = [];
    for (const of of uids) {
      const row = this.sealedRow(folder, of);
      if (!row || (row.flags & requiredFlags) !== requiredFlags) continue;
      rows.push(row);
      if (isRetained) this.#database.prepare(RETAIN).run(Date.now(), folder, of);
      this.#database.prepare('DELETE FROM messages WHERE folder = ? AND uid = ?').run(folder, of);
      this.#database.prepare('INSERT INTO vanished (folder, mod_seq, uid) VALUES (?, ?, ?)').run(folder, seq, of);
      if (isRetained) continue; // it shares the body as before
      this.#database.prepare('UPDATE bodies SET row_count = row_count - 1 WHERE id = ?').run(row.bodyRow);
      const { changes } = this.#database.prepare('DELETE FROM bodies WHERE id = ? AND row_count = 0').run(row.bodyRow);
      if (changes > 0) orphans.push(row.body);
    }
    if (rows.length > 0) {
      this.#count(folder, { rows, sign: -1 });
      this.#advance(folder, { modSeq: seq, uidNext: 0 });
    }
    return { uids: rows.map((row) => row.uid), orphans };
  }

  #count(
    folder: FolderId,
    counted: Readonly<{ rows: readonly Readonly<{ flags: number; sizeBytes: number }>[]; sign: 1 | -1 }>,
  ): void {
    let [unseen, deleted, deletedBytes, sizeBytes] = [0, 0, 0, 0];
    for (const row of counted.rows) {
      if ((row.flags & FLAG_BITS.seen) === 0) unseen += 1;
      if ((row.flags & FLAG_BITS.deleted) !== 0) {
        deleted += 1;
        deletedBytes += row.sizeBytes;
      }
      sizeBytes += row.sizeBytes;
    }
    const { sign } = counted;
    this.#database
      .prepare(
        `UPDATE folders SET message_count = message_count + ?, unseen_count = unseen_count + ?,
         deleted_count = deleted_count + ?, deleted_bytes = deleted_bytes + ?, size_bytes = size_bytes + ? WHERE id = ?`,
      )
      .run(sign * counted.rows.length, sign * unseen, sign * deleted, sign * deletedBytes, sign * sizeBytes, folder);
  }

  #advance(folder: FolderId, to: Readonly<{ modSeq: ModSeq; uidNext: number }>): void {
    this.#database
      .prepare('UPDATE folders SET highest_mod_seq = ?, uid_next = max(uid_next, ?) WHERE id = ?')
      .run(to.modSeq, to.uidNext, folder);
  }
}

function combine(flags: number, { mode, flags: given }: FlagChange): number {
  if (mode === 'replace') return given;
  return mode === 'add' ? flags | given : flags & ~given;
}

function combineKeywords(keywords: Buffer | null, change: FlagChange): Buffer | null {
  const given = change.keywords ?? new Uint8Array();
  const old = change.mode === 'replace' ? new Uint8Array() : (keywords ?? new Uint8Array());
  const bits = Buffer.alloc(Math.max(old.length, given.length));
  bits.set(old);
  for (const [index, byte] of given.entries()) {
    bits[index] = change.mode === 'remove' ? (bits[index] ?? 0) & ~byte : (bits[index] ?? 0) | byte;
  }
  return bits.some((byte) => byte !== 0) ? bits : null;
}

function sameBits(a: Uint8Array | null, b: Uint8Array | null): boolean {
  const [x, y] = [a ?? new Uint8Array(), b ?? new Uint8Array()];
  for (let index = 0; index < Math.max(x.length, y.length); index += 1)
    if ((x[index] ?? 0) !== (y[index] ?? 0)) return false;
  return true;
}
