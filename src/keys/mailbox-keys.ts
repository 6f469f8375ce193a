/**
 * The rows of wrapped keys: mailbox keys by epoch, and each organization's directory key and transit key.
 *
 * MK1  A key is stored only wrapped.
 * MK2  A key is never overwritten: a second insert of one organization, owner and epoch throws, and only the wrapping
 *      of a row is ever replaced.
 *
 * Called by key-service.ts. The types are also for its callers.
 */
import { ServerError } from '../base/errors.ts';
import { epoch, mailboxId, organizationId, type Epoch, type MailboxId, type OrganizationId } from '../base/ids.ts';
import { keyOwner, type KeyOwner } from '../crypto/context.ts';
import type { MailboxKeys } from '../crypto/derive.ts';
import type { Database } from '../db/database.ts';
import type { ProviderKind } from './provider.ts';
import { SecondWrappings, type SecondWrapping } from './second-wrappings.ts';

export type MailboxRef = Readonly<{ organization: OrganizationId; mailbox: MailboxId }>;
/**
 * The subkeys of one epoch; valid until disposed: bind it with `using`. While `isCurrent()`, disposed or not, what was
 * unwrapped with them may be kept.
 */
export type MailboxKeyLease = Disposable & Readonly<{ keys: MailboxKeys; epoch: Epoch; isCurrent(): boolean }>;

export type WrappedKeyRow = Readonly<{
  organization: OrganizationId;
  owner: KeyOwner;
  epoch: Epoch;
  provider: ProviderKind;
  /** The provider's full name of the root key. */
  rootKey: string;
  wrapped: Uint8Array;
  /** The public half of the key's pair, a record under the directory key; null where there is none. */
  sealedPublic: Uint8Array | null;
  state: 'active' | 'retiring';
  createdAtMs: number;
}>;
/** A key that was made and is not stored yet. */
export type NewWrappedKey = WrappedKeyRow & Readonly<{ second: SecondWrapping | null }>;

/** A key that is gone for good, for receipts. */
export type DestroyedKey = Pick<WrappedKeyRow, 'owner' | 'epoch' | 'provider' | 'rootKey'>;

type StoredRow = Readonly<{
  organization: string;
  owner: string;
  epoch: number;
  provider: ProviderKind;
  root_key: string;
  wrapped: Buffer;
  sealed_public: Buffer | null;
  state: 'active' | 'retiring';
  created_at_ms: number;
}>;

const ACTIVE_EPOCHS_MAX_COUNT = 10_000;
const OF_MAILBOX = `owner NOT IN ('directory', 'transit')`;
const COLUMNS = 'organization, owner, epoch, provider, root_key, wrapped, sealed_public, state, created_at_ms';

export class WrappedKeys {
  readonly second: SecondWrappings;
  readonly #db: Database;
  /** Active epochs by organization and owner: every lease asks. Emptied when a key is stored or `forgetEpochs` says so. */
  readonly #activeEpochs = new Map<string, Epoch>();

  constructor(db: Database) {
    this.#db = db;
    this.second = new SecondWrappings(db);
  }

  /** Inside the caller's transaction. */
  insert(row: NewWrappedKey): void {
    this.#activeEpochs.clear();
    this.#db
      .prepare(`INSERT INTO wrapped_keys (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
      .run(
        row.organization,
        row.owner,
        row.epoch,
        row.provider,
        row.rootKey,
        row.wrapped,
        row.sealedPublic,
        row.state,
        row.createdAtMs,
      );
    if (row.second) this.second.put(row, row.second);
  }

  /** The key of one epoch, or null. */
  find(organization: OrganizationId, owner: KeyOwner, wanted: Epoch): WrappedKeyRow | null {
    const sql = `SELECT ${COLUMNS} FROM wrapped_keys WHERE organization = ? AND owner = ? AND epoch = ?`;
    return rowOf(this.#db.prepare<StoredRow>(sql).get(organization, owner, wanted));
  }

  /** The epoch that new records are sealed under, or null where there is no key. */
  activeEpoch(organization: OrganizationId, owner: KeyOwner): Epoch | null {
    const id = `${organization}/${owner}`;
    const known = this.#activeEpochs.get(id);
    if (known !== undefined) return known;
    const sql = `SELECT max(epoch) AS epoch FROM wrapped_keys WHERE organization = ? AND owner = ? AND state = 'active'`;
    const found = this.#db.prepare<{ epoch: number | null }>(sql).get(organization, owner)?.epoch;
    if (!found) return null;
    if (this.#activeEpochs.size >= ACTIVE_EPOCHS_MAX_COUNT) this.#activeEpochs.clear();
    this.#activeEpochs.set(id, epoch(found));
    return epoch(found);
  }

  /** True while an operator has suspended the mailbox or its organization. */
  isSuspended({ organization, mailbox }: MailboxRef): boolean {
    const sql = `SELECT 1 FROM organizations WHERE id = ? AND state = 'suspended'
      UNION ALL SELECT 1 FROM mailboxes WHERE id = ? AND state = 'suspended'`;
    return this.#db.prepare(sql).get(organization, mailbox) !== undefined;
  }

  isOrganizationSuspended(organization: OrganizationId): boolean {
    const sql = `SELECT 1 FROM organizations WHERE id = ? AND state = 'suspended'`;
    return this.#db.prepare(sql).get(organization) !== undefined;
  }

  /**
   * Removes the keys of one owner, all epochs, or of a whole organization; inside the caller's transaction. Gives what
   * was removed.
   */
  remove(organization: OrganizationId, owner?: KeyOwner): readonly DestroyedKey[] {
    this.#activeEpochs.clear();
    const sql = `DELETE FROM wrapped_keys WHERE organization = ? AND owner = ifnull(?, owner)
      RETURNING owner, epoch, provider, root_key AS rootKey`;
    return this.#db.prepare<DestroyedKey>(sql).all(organization, owner ?? null);
  }

  /** A mailbox's keys, oldest first. */
  epochs({ organization, mailbox }: MailboxRef): readonly WrappedKeyRow[] {
    const sql = `SELECT ${COLUMNS} FROM wrapped_keys WHERE organization = ? AND owner = ? ORDER BY epoch`;
    const rows = this.#db.prepare<StoredRow>(sql).all(organization, mailbox);
    return rows.map(rowOf).filter((row) => row !== null);
  }

  /** Puts another wrapping of the same key in the place of `old`, unless it is gone or replaced; durable. */
  async replace(old: WrappedKeyRow, by: WrappedKeyRow): Promise<void> {
    this.#db
      .prepare(
        `UPDATE wrapped_keys SET provider = ?, root_key = ?, wrapped = ?
         WHERE organization = ? AND owner = ? AND epoch = ? AND wrapped = ?`,
      )
      .run(by.provider, by.rootKey, by.wrapped, old.organization, old.owner, old.epoch, old.wrapped);
    await this.#db.durable();
    this.#db.truncateLogSoon(); // the old wrapping leaves the log
  }

  /** Stores a second wrapping of a key, unless the key is gone; durable. */
  async storeSecond(row: WrappedKeyRow, second: SecondWrapping): Promise<void> {
    this.second.put(row, second);
    await this.#db.durable();
  }

  /** Stores the key of a new epoch and has the older ones retire; durable. Throws ServerError 'not-found' without any. */
  async advance(row: NewWrappedKey): Promise<void> {
    this.#db.transaction(() => {
      const retire = `UPDATE wrapped_keys SET state = 'retiring' WHERE organization = ? AND owner = ? AND epoch < ?`;
      const { changes } = this.#db.prepare(retire).run(row.organization, row.owner, row.epoch);
      if (changes === 0) throw new ServerError('not-found', { clientText: 'There is no such mailbox' });
      this.insert(row);
    });
    await this.#db.durable();
  }

  /** Removes a mailbox's keys of epochs before `newest`; durable. */
  async removeOlder({ organization, mailbox }: MailboxRef, newest: Epoch): Promise<void> {
    this.#activeEpochs.clear();
    const sql = `DELETE FROM wrapped_keys WHERE organization = ? AND owner = ? AND epoch < ? AND state = 'retiring'`;
    this.#db.prepare(sql).run(organization, mailbox, newest);
    await this.#db.durable();
    this.#db.truncateLogSoon();
  }

  /** Has all mailbox keys of an organization retire; durable. */
  async retireMailboxKeys(organization: OrganizationId): Promise<void> {
    this.#activeEpochs.clear();
    const sql = `UPDATE wrapped_keys SET state = 'retiring' WHERE organization = ? AND ${OF_MAILBOX}`;
    this.#db.prepare(sql).run(organization);
    await this.#db.durable();
  }

  /** The mailboxes of an organization that have a retiring key. */
  rotating(organization: OrganizationId): readonly MailboxId[] {
    const sql = `SELECT DISTINCT owner FROM wrapped_keys
      WHERE organization = ? AND ${OF_MAILBOX} AND state = 'retiring' ORDER BY owner`;
    return this.#db
      .prepare<{ owner: string }>(sql)
      .all(organization)
      .map((row) => mailboxId(row.owner));
  }

  /** After rows were changed or removed by others. */
  forgetEpochs(): void {
    this.#activeEpochs.clear();
  }

  /** All keys, or one organization's, ordered by organization, owner and epoch. */
  list(organization?: OrganizationId): WrappedKeyRow[] {
    const where = organization ? 'WHERE organization = ?' : '';
    const sql = `SELECT ${COLUMNS} FROM wrapped_keys ${where} ORDER BY organization, owner, epoch`;
    const rows = this.#db.prepare<StoredRow>(sql).all(...(organization ? [organization] : []));
    return rows.map(rowOf).filter((row) => row !== null);
  }
}

function rowOf(stored: StoredRow | undefined): WrappedKeyRow | null {
  if (!stored) return null;
  const {
    organization,
    owner,
    root_key: rootKey,
    sealed_public: sealedPublic,
    created_at_ms: createdAtMs,
    ...rest
  } = stored;
  return {
    ...rest,
    organization: organizationId(organization),
    owner: keyOwner(owner),
    epoch: epoch(stored.epoch),
    rootKey,
    sealedPublic,
    createdAtMs,
  };
}
