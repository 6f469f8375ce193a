/**
 * The queue on disk: `<directory>/queue.db` and `<directory>/blobs/`. Nothing here can open anything.
 *
 * QS1  A message is there, with all its recipients, or not at all: one transaction.
 * QS2  A message goes, with its key and body, in the transaction that settles its last recipient and owes no report.
 * QS3  A blob without a row is removed at the start: a kill came before its row, or after the row was gone.
 */
import { mkdir, readdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bodyId, epoch, messageId, organizationId } from '../base/ids.ts';
import type { BodyId, Epoch, MessageId, OrganizationId } from '../base/ids.ts';
import type { Checkpointer } from '../db/checkpointer.ts';
import { Database } from '../db/database.ts';
import { syncFolder } from '../db/sync-folder.ts';
import { BodyStore, keepInline, type StagedBody } from '../store/bodies.ts';

type QueueStoreOptions = Readonly<{
  directory: string;
  inlineBodyMaxBytes: number;
  checkpointer: Checkpointer;
  onFailure(error: Error): void;
}>;

export type ItemRow = Readonly<{
  row: number;
  message: MessageId;
  organization: OrganizationId;
  body: BodyId;
  sizeBytes: number;
  commitment: Buffer;
  epoch: Epoch;
  sealedKey: Buffer;
  sealedEnvelope: Buffer;
  acceptedAtMs: number;
  expiresAtMs: number;
  isHeld: boolean;
}>;
export type NewItem = Omit<ItemRow, 'row' | 'isHeld' | 'body'> &
  Readonly<{ staged: StagedBody; nextAtMs: number; sealedRecipients: readonly Buffer[] }>;

type RecipientState = 'waiting' | 'delivered' | 'failed';
/** What the sender is still to be told: that it takes longer, or what became of it. */
export type OwedReport = 'none' | 'delay' | 'final';
export type RecipientRow = Readonly<{
  recipient: number;
  state: RecipientState;
  nextAtMs: number;
  attemptsCount: number;
  lastAttemptAtMs: number | null;
  report: OwedReport;
  delayReportedAtMs: number | null;
  sealedRecipient: Buffer;
  sealedOutcome: Buffer | null;
}>;
/** A change to one recipient. `attempt` is null for one that was not tried. */
export type RecipientChange = Readonly<{
  recipient: number;
  state: RecipientState;
  nextAtMs: number;
  report: OwedReport | null;
  attempt: Readonly<{ atMs: number; sealedOutcome: Buffer }> | null;
}>;

type StoredItem = Readonly<{
  row: number;
  message: Buffer;
  organization: string;
  body: Buffer;
  sizeBytes: number;
  commitment: Buffer;
  epoch: number;
  sealedKey: Buffer;
  sealedEnvelope: Buffer;
  acceptedAtMs: number;
  expiresAtMs: number;
  isHeld: number;
}>;
export type QueueCounts = Readonly<{
  messagesCount: number;
  heldCount: number;
  recipientsCount: number;
  sizeBytes: number;
  oldestAcceptedAtMs: number | null;
}>;

const MIGRATIONS = join(import.meta.dirname, '../../migrations/queue');
const BODY_FILE = /^[0-9a-f]{32}$/;
const SHARD = /^[0-9a-f]{2}$/;
const ITEM = `SELECT id AS row, message, organization, body, size_bytes AS sizeBytes, commitment, epoch,
  sealed_key AS sealedKey, sealed_envelope AS sealedEnvelope, accepted_at_ms AS acceptedAtMs,
  expires_at_ms AS expiresAtMs, is_held AS isHeld FROM items`;
const RECIPIENT = `SELECT recipient, state, next_at_ms AS nextAtMs, attempts_count AS attemptsCount,
  last_attempt_at_ms AS lastAttemptAtMs, report, delay_reported_at_ms AS delayReportedAtMs,
  sealed_recipient AS sealedRecipient, sealed_outcome AS sealedOutcome FROM recipients`;

export class QueueStore {
  readonly bodies: BodyStore;
  readonly #database: Database;
  #messagesCount: number; // counting them takes as long as there are many

  constructor(database: Database, bodies: BodyStore) {
    this.#database = database;
    this.bodies = bodies;
    this.#messagesCount = this.counts().messagesCount;
  }

  get messagesCount(): number {
    return this.#messagesCount;
  }

  /** Opens the queue in `directory`, making it when it is new, and sweeps it (QS3). Throws ServerError 'storage-failed'. */
  static async open(options: QueueStoreOptions): Promise<QueueStore> {
    const { directory, inlineBodyMaxBytes: inlineMaxBytes, checkpointer } = options;
    const made = await mkdir(directory, { recursive: true, mode: 0o700 });
    if (made !== undefined) await syncFolder(dirname(directory));
    const onFailure = (error: Error): void => {
      options.onFailure(error);
    };
    const file = join(directory, 'queue.db');
    const database = await Database.open({ file, migrations: MIGRATIONS, checkpointer, onFailure });
    const folder = join(directory, 'blobs');
    const bodies = new BodyStore(database, { folder, inlineMaxBytes, onFailure });
    await bodies.prepare();
    const store = new QueueStore(database, bodies);
    await store.#sweep(folder);
    return store;
  }

  /** Adds a message (QS1), and notes reports of another as made, in one transaction; durable when it resolves. */
  async insert(item: NewItem, reported: Reported | null): Promise<void> {
    const removed = this.#database.transaction(() => {
      const { lastInsertRowid: row } = this.#database
        .prepare(
          `INSERT INTO items (message, organization, body, size_bytes, commitment, epoch, sealed_key, sealed_envelope,
             accepted_at_ms, expires_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(
          Buffer.from(item.message, 'hex'),
          item.organization,
          Buffer.from(item.staged.body, 'hex'),
          item.sizeBytes,
          item.commitment,
          item.epoch,
          item.sealedKey,
          item.sealedEnvelope,
          item.acceptedAtMs,
          item.expiresAtMs,
        );
      keepInline(this.#database, row, item.staged);
      const insert = 'INSERT INTO recipients (item, recipient, next_at_ms, sealed_recipient) VALUES (?, ?, ?, ?)';
      for (const [recipient, sealed] of item.sealedRecipients.entries()) {
        this.#database.prepare(insert).run(row, recipient, item.nextAtMs, sealed);
      }
      return reported ? this.#report(reported) : null;
    });
    this.#messagesCount += 1;
    await this.#database.durable();
    if (removed) await this.#removed([removed]);
  }

  /** Changes recipients that wait, and removes the message when nothing is left to do (QS2); durable when it resolves. */
  async settle({ row }: Pick<ItemRow, 'row'>, changes: readonly RecipientChange[]): Promise<void> {
    const removed = this.#database.transaction(() => {
      for (const { recipient, state, nextAtMs, report, attempt } of changes) {
        this.#database
          .prepare(
            `UPDATE recipients SET state = ?, next_at_ms = ?, report = ifnull(?, report),
               attempts_count = attempts_count + ?, last_attempt_at_ms = ifnull(?, last_attempt_at_ms),
               sealed_outcome = ifnull(?, sealed_outcome)
             WHERE item = ? AND recipient = ? AND state = 'waiting'`,
          )
          .run(
            state,
            nextAtMs,
            report,
            attempt ? 1 : 0,
            attempt?.atMs ?? null,
            attempt?.sealedOutcome ?? null,
            row,
            recipient,
          );
      }
      return this.#removeIfDone(row);
    });
    await this.#database.durable();
    if (removed) await this.#removed([removed]);
  }

  /** Notes that the sender was told what `recipients` owed; durable when it resolves (QS2). */
  async reported(reported: Reported): Promise<void> {
    const removed = this.#database.transaction(() => this.#report(reported));
    await this.#database.durable();
    if (removed) await this.#removed([removed]);
  }

  find(message: MessageId): ItemRow | null {
    const stored = this.#database.prepare<StoredItem>(`${ITEM} WHERE message = ?`).get(Buffer.from(message, 'hex'));
    return stored ? itemOf(stored) : null;
  }

  /** In the order in which they were accepted, from after `row`. */
  list({ after, limit }: Readonly<{ after: number; limit: number }>): readonly ItemRow[] {
    return this.#database.prepare<StoredItem>(`${ITEM} WHERE id > ? ORDER BY id LIMIT ?`).all(after, limit).map(itemOf);
  }

  recipients({ row }: Pick<ItemRow, 'row'>): readonly RecipientRow[] {
    return this.#database.prepare<RecipientRow>(`${RECIPIENT} WHERE item = ? ORDER BY recipient`).all(row);
  }

  /** Messages with something to do at `nowMs`, the longest due first; none that is held or of an organization in `without`. */
  due(
    nowMs: number,
    { limit, without }: Readonly<{ limit: number; without: readonly OrganizationId[] }>,
  ): readonly Readonly<{ message: MessageId; organization: OrganizationId }>[] {
    const sql = `SELECT i.message, i.organization FROM (
        SELECT item, next_at_ms AS due_ms FROM recipients WHERE state = 'waiting' AND next_at_ms <= ?
        UNION ALL SELECT item, 0 FROM recipients WHERE report <> 'none') d JOIN items i ON i.id = d.item
      WHERE i.is_held = 0 AND i.organization NOT IN (SELECT value FROM json_each(?))
      GROUP BY i.id ORDER BY min(d.due_ms), i.id LIMIT ?`;
    return this.#database
      .prepare<Readonly<{ message: Buffer; organization: string }>>(sql)
      .all(nowMs, JSON.stringify(without), limit)
      .map((row) => ({
        message: messageId(row.message.toString('hex')),
        organization: organizationId(row.organization),
      }));
  }

  /** When, after `afterMs`, the next recipient is due; null when none is. */
  nextDueMs(afterMs: number): number | null {
    const sql = `SELECT r.next_at_ms AS at FROM recipients r JOIN items i ON i.id = r.item
      WHERE r.state = 'waiting' AND r.next_at_ms > ? AND i.is_held = 0 ORDER BY r.next_at_ms LIMIT 1`;
    return this.#database.prepare<{ at: number }>(sql).get(afterMs)?.at ?? null;
  }

  /** Holds or releases a message; durable when it resolves. False where there is none. */
  async setHeld(message: MessageId, isHeld: boolean): Promise<boolean> {
    const sql = 'UPDATE items SET is_held = ? WHERE message = ?';
    const { changes } = this.#database.prepare(sql).run(isHeld ? 1 : 0, Buffer.from(message, 'hex'));
    await this.#database.durable();
    return changes > 0;
  }

  /** Has the recipients that wait be tried at `atMs`; with `isLast`, for the last time. False where there is no such message. */
  async reschedule(
    message: MessageId,
    { atMs, isLast }: Readonly<{ atMs: number; isLast: boolean }>,
  ): Promise<boolean> {
    const id = Buffer.from(message, 'hex');
    const found = this.#database.transaction(() => {
      const sql = `UPDATE recipients SET next_at_ms = ? WHERE state = 'waiting'
        AND item = (SELECT id FROM items WHERE message = ?)`;
      this.#database.prepare(sql).run(atMs, id);
      const expire = 'UPDATE items SET expires_at_ms = iif(?, ?, expires_at_ms), is_held = 0 WHERE message = ?';
      return this.#database.prepare(expire).run(isLast ? 1 : 0, atMs, id).changes > 0;
    });
    await this.#database.durable();
    return found;
  }

  /** Removes a message whatever its recipients' states; durable when it resolves. False where there is none. */
  async remove(message: MessageId): Promise<boolean> {
    const sql = 'DELETE FROM items WHERE message = ? RETURNING body';
    return (await this.#removeWhere(sql, Buffer.from(message, 'hex'))) > 0;
  }

  /** Removes all messages of an organization; durable when it resolves. Gives how many there were. */
  removeOrganization(organization: OrganizationId): Promise<number> {
    return this.#removeWhere('DELETE FROM items WHERE organization = ? RETURNING body', organization);
  }

  organizations(): readonly OrganizationId[] {
    const sql = 'SELECT DISTINCT organization AS id FROM items';
    return this.#database
      .prepare<{ id: string }>(sql)
      .all()
      .map(({ id }) => organizationId(id));
  }

  countOf(organization: OrganizationId): number {
    const sql = 'SELECT count(*) AS count FROM items WHERE organization = ?';
    return this.#database.prepare<{ count: number }>(sql).get(organization)?.count ?? 0;
  }

  counts(): QueueCounts {
    const items = `SELECT count(*) AS messagesCount, ifnull(sum(is_held), 0) AS heldCount,
      ifnull(sum(size_bytes), 0) AS sizeBytes, min(accepted_at_ms) AS oldestAcceptedAtMs,
      (SELECT count(*) FROM recipients WHERE state = 'waiting') AS recipientsCount FROM items`;
    const none = { messagesCount: 0, heldCount: 0, recipientsCount: 0, sizeBytes: 0, oldestAcceptedAtMs: null };
    return this.#database.prepare<QueueCounts>(items).get() ?? none;
  }

  async close(): Promise<void> {
    await this.#database.close();
  }

  /** The body that lost its row, if any. */
  #report({ row, recipients, atMs }: Reported): BodyId | null {
    for (const recipient of recipients) {
      const sql = `UPDATE recipients SET delay_reported_at_ms = iif(report = 'delay', ?, delay_reported_at_ms),
        report = 'none' WHERE item = ? AND recipient = ?`;
      this.#database.prepare(sql).run(atMs, row, recipient);
    }
    return this.#removeIfDone(row);
  }

  #removeIfDone(row: number): BodyId | null {
    const sql = `DELETE FROM items WHERE id = ? AND NOT EXISTS (
      SELECT 1 FROM recipients WHERE item = items.id AND (state = 'waiting' OR report <> 'none')) RETURNING body`;
    const gone = this.#database.prepare<{ body: Buffer }>(sql).get(row);
    return gone ? bodyId(gone.body.toString('hex')) : null;
  }

  async #removeWhere(sql: string, value: string | Buffer): Promise<number> {
    const gone = this.#database.prepare<{ body: Buffer }>(sql).all(value);
    await this.#database.durable();
    await this.#removed(gone.map(({ body }) => bodyId(body.toString('hex'))));
    return gone.length;
  }

  async #removed(bodies: readonly BodyId[]): Promise<void> {
    if (bodies.length === 0) return;
    this.#messagesCount -= bodies.length;
    this.#database.truncateLogSoon(); // the sealed keys leave the log
    await this.bodies.remove(bodies);
  }

  async #sweep(folder: string): Promise<void> {
    const known = this.#database.prepare('SELECT 1 FROM items WHERE body = ?');
    for (const shard of await readdir(folder)) {
      if (!SHARD.test(shard)) continue;
      for (const file of await readdir(join(folder, shard))) {
        if (BODY_FILE.test(file) && !known.get(Buffer.from(file, 'hex'))) await unlink(join(folder, shard, file));
      }
    }
  }
}

/** Reports that were made, of the recipients of one item. */
export type Reported = Readonly<{ row: number; recipients: readonly number[]; atMs: number }>;

function itemOf(stored: StoredItem): ItemRow {
  return {
    ...stored,
    message: messageId(stored.message.toString('hex')),
    organization: organizationId(stored.organization),
    body: bodyId(stored.body.toString('hex')),
    epoch: epoch(stored.epoch),
    isHeld: stored.isHeld === 1,
  };
}
