/**
 * What deletions destroyed, kept until its receipt is written: a deletion that a crash cut short still gets one.
 *
 * X1  It is written in the transaction that destroys the keys, and removed in the one that ends the deletion.
 * X2  It holds ids, counts and times only: it outlives the key that could have sealed more.
 *
 * Called by mailboxes.ts and organizations.ts.
 */
import { randomHexId, type MailboxId, type OrganizationId } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import type { DestroyedKey } from '../keys/mailbox-keys.ts';

export type Destruction = Readonly<{
  /** Of the receipt. */
  id: string;
  organization: OrganizationId;
  /** Null: the organization itself. */
  mailbox: MailboxId | null;
  keys: readonly DestroyedKey[];
  addressesCount: number;
  keysDestroyedAtMs: number;
  /** Who asked for it: a protocol, never a name. */
  by: string;
}>;
/** Makes the receipt; called again, with the same id, when it was cut short. */
export type Certify = (destruction: Destruction) => Promise<void>;

export class Destructions {
  readonly #directory: Database;

  constructor(directory: Database) {
    this.#directory = directory;
  }

  /** Inside the transaction that destroys the keys (X1); gives what was begun before, if it was. */
  begin(subject: MailboxId | OrganizationId, made: Omit<Destruction, 'id'>): Destruction {
    const known = this.#directory
      .prepare<{ statement: string }>('SELECT statement FROM destructions WHERE subject = ?')
      .get(subject);
    if (known) return JSON.parse(known.statement) as Destruction;
    const destruction = { id: randomHexId(), ...made };
    this.#directory
      .prepare('INSERT INTO destructions (subject, statement) VALUES (?, ?)')
      .run(subject, JSON.stringify(destruction));
    return destruction;
  }

  /** The receipt is written. */
  end(subject: MailboxId | OrganizationId): void {
    this.#directory.prepare('DELETE FROM destructions WHERE subject = ?').run(subject);
  }

  /** Organizations that are gone and have no receipt yet. */
  ofOrganizations(): readonly Destruction[] {
    return this.#directory
      .prepare<{ statement: string }>('SELECT statement FROM destructions')
      .all()
      .map(({ statement }) => JSON.parse(statement) as Destruction)
      .filter(({ mailbox }) => mailbox === null);
  }
}
