/**
 * When all mail of each mailbox was last opened (mailbox/scrub.ts), so that each comes round in time. Called by jobs/ and
 * shown by admin/.
 */
import { mailboxId, organizationId } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';

type ScrubState = Readonly<{
  mailboxesCount: number;
  /** Never opened, or before the last period. */
  dueCount: number;
  /** Null while one was never opened. */
  oldestAtMs: number | null;
  /** Found in all mailboxes when each was opened last. */
  faultsCount: number;
}>;

/** Suspended ones are left out: their keys may not be used. */
const MAILBOXES = `FROM mailboxes m JOIN organizations o ON o.id = m.organization LEFT JOIN scrubs s ON s.mailbox = m.id
  WHERE m.state = 'active' AND o.state = 'active'`;

export class Scrubs {
  readonly #directory: Database;

  constructor({ directory }: Readonly<{ directory: Database }>) {
    this.#directory = directory;
  }

  /** Mailboxes that were not opened since `beforeMs`, the longest ago first, at most 100. */
  due(beforeMs: number): readonly MailboxRef[] {
    const sql = `SELECT m.organization, m.id ${MAILBOXES} AND ifnull(s.done_at_ms, 0) <= ?
      ORDER BY ifnull(s.done_at_ms, 0), m.id LIMIT 100`;
    return this.#directory
      .prepare<{ organization: string; id: string }>(sql)
      .all(beforeMs)
      .map((row) => ({ organization: organizationId(row.organization), mailbox: mailboxId(row.id) }));
  }

  /** Nobody waits for it: at worst a mailbox is opened once more. */
  note({ mailbox }: MailboxRef, done: Readonly<{ atMs: number; faultsCount: number }>): void {
    this.#directory
      .prepare(
        `INSERT INTO scrubs (mailbox, done_at_ms, faults_count) SELECT id, ?, ? FROM mailboxes WHERE id = ?
         ON CONFLICT (mailbox) DO UPDATE SET done_at_ms = excluded.done_at_ms, faults_count = excluded.faults_count`,
      )
      .run(done.atMs, done.faultsCount, mailbox);
  }

  /** Whether the mailbox was ever opened in full: then it has files. */
  wasDone({ mailbox }: MailboxRef): boolean {
    return this.#directory.prepare('SELECT 1 FROM scrubs WHERE mailbox = ?').get(mailbox) !== undefined;
  }

  state(beforeMs: number): ScrubState {
    const sql = `SELECT count(*) AS mailboxesCount, ifnull(sum(ifnull(s.done_at_ms, 0) <= ?), 0) AS dueCount,
      min(ifnull(s.done_at_ms, 0)) AS oldestAtMs, ifnull(sum(s.faults_count), 0) AS faultsCount ${MAILBOXES}`;
    const found = this.#directory.prepare<ScrubState>(sql).get(beforeMs);
    if (!found) throw new TypeError('an aggregate without a row');
    return { ...found, oldestAtMs: found.oldestAtMs === 0 ? null : found.oldestAtMs };
  }
}
