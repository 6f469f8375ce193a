/**
 * The quota of a mailbox: how much it may hold. Checked in the transaction that adds to it, so that nothing slips past
 * together with another, and nothing is left half-written.
 *
 * Q1  What a mailbox holds is what its folders count (messages.ts, R3), and what waits in it for its key. A copy counts
 *     like any message, though it shares the body.
 * Q2  A message that would take the mailbox past its quota is refused; one that finds it just full is, too. Moving,
 *     removing and changing flags are always possible.
 *
 * Called by the stores of this folder and by mailbox/.
 */
import { ServerError } from '../base/errors.ts';
import type { Database } from '../db/database.ts';

/** Null: without a limit. */
export type Quota = Readonly<{ maxBytes: number | null; maxMessagesCount: number | null }>;
export type Usage = Readonly<{ sizeBytes: number; messagesCount: number }>;

/** What the mailbox holds (Q1). */
export function usageOf(database: Database): Usage {
  const sql = `SELECT coalesce(sum(size_bytes), 0) AS sizeBytes, coalesce(sum(count), 0) AS messagesCount FROM (
    SELECT size_bytes, message_count AS count FROM folders
    UNION ALL SELECT b.size_bytes, 1 FROM waiting_messages w JOIN bodies b ON b.id = w.body)`;
  return database.prepare<Usage>(sql).get() ?? { sizeBytes: 0, messagesCount: 0 };
}

/** Inside the transaction that adds, or before the first byte of it was taken. Throws ServerError 'over-quota'. */
export function requireRoom(database: Database, quota: Quota | null, added: Usage): void {
  if (!quota || (quota.maxBytes === null && quota.maxMessagesCount === null)) return;
  const { sizeBytes, messagesCount } = usageOf(database);
  const isOver =
    sizeBytes + added.sizeBytes > (quota.maxBytes ?? Number.POSITIVE_INFINITY) ||
    messagesCount + added.messagesCount > (quota.maxMessagesCount ?? Number.POSITIVE_INFINITY);
  if (!isOver) return;
  throw new ServerError('over-quota', { clientText: 'The mailbox is full.', detail: 'quota reached', retryable: true });
}

export function sizeOf(rows: readonly Readonly<{ sizeBytes: number }>[]): Usage {
  return { sizeBytes: rows.reduce((sum, row) => sum + row.sizeBytes, 0), messagesCount: rows.length };
}
