/**
 * Which mailboxes have mail that waits in them for their key, so that nobody has to open all of them to know.
 *
 * WB1  A mailbox is noted, durably, before mail is kept in it, and is struck out only while none is being kept: none is
 *      forgotten, whenever the process is killed. One too many does no harm.
 *
 * Called by delivery/, jobs/ and gateway/, which has the same table in a database of its own.
 */
import { mailboxId, organizationId, type MailboxId } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';

type WaitingMailbox = Readonly<{ ref: MailboxRef; sinceMs: number }>;

export class WaitingMailboxes {
  readonly #directory: Database;
  readonly #nowMs: () => number;
  /** Messages that are being kept at this moment. */
  readonly #keeping = new Map<MailboxId, number>();

  constructor({ directory, nowMs }: Readonly<{ directory: Database; nowMs(): number }>) {
    this.#directory = directory;
    this.#nowMs = nowMs;
  }

  /** Notes the mailbox (WB1) while `keep` runs, and after it. */
  async note<T>({ mailbox }: MailboxRef, keep: () => Promise<T>): Promise<T> {
    this.#count(mailbox, 1);
    try {
      const insert = 'INSERT OR IGNORE INTO waiting_mailboxes (mailbox, since_ms) VALUES (?, ?)';
      this.#directory.prepare(insert).run(mailbox, this.#nowMs());
      await this.#directory.durable(); // another's note of it may still be on its way
      return await keep();
    } finally {
      this.#count(mailbox, -1);
    }
  }

  /** Those that are not suspended, the longest waiting first. */
  list(): readonly WaitingMailbox[] {
    const sql = `SELECT m.organization, w.mailbox, w.since_ms FROM waiting_mailboxes w
      JOIN mailboxes m ON m.id = w.mailbox JOIN organizations o ON o.id = m.organization
      WHERE m.state = 'active' AND o.state = 'active' ORDER BY w.since_ms`;
    return this.#directory
      .prepare<{ organization: string; mailbox: string; since_ms: number }>(sql)
      .all()
      .map((row) => ({
        ref: { organization: organizationId(row.organization), mailbox: mailboxId(row.mailbox) },
        sinceMs: row.since_ms,
      }));
  }

  /** The ids of all, the longest waiting first. */
  mailboxes(maxCount: number): readonly MailboxId[] {
    const sql = 'SELECT mailbox FROM waiting_mailboxes ORDER BY since_ms LIMIT ?';
    return this.#directory
      .prepare<{ mailbox: string }>(sql)
      .all(maxCount)
      .map((row) => mailboxId(row.mailbox));
  }

  isNoted({ mailbox }: MailboxRef): boolean {
    return this.#directory.prepare('SELECT 1 FROM waiting_mailboxes WHERE mailbox = ?').get(mailbox) !== undefined;
  }

  /** Strikes a mailbox out that was found to have none; in the turn in which it was found so. */
  strike({ mailbox }: MailboxRef): void {
    if (this.#keeping.has(mailbox)) return;
    this.#directory.prepare('DELETE FROM waiting_mailboxes WHERE mailbox = ?').run(mailbox);
  }

  #count(mailbox: MailboxId, change: 1 | -1): void {
    const count = (this.#keeping.get(mailbox) ?? 0) + change;
    if (count > 0) this.#keeping.set(mailbox, count);
    else this.#keeping.delete(mailbox);
  }
}
