/**
 * Organizations: the owners of domains, mailboxes and one root key (W1, W2).
 *
 * O1  An organization exists only with a root key that may serve, a grant for it (W9) and a directory key that was
 *     wrapped and unwrapped.
 * O2  Its name is stored sealed. While its key cannot be had, it is listed with a null name, never left out.
 * O3  Suspending forgets its cached keys at once; deleting needs it to be empty, and ends with a receipt. Its grants are
 *     revoked with it; a provider that could not be told is told by `grant revoke`.
 *
 * Called by admin/ and by the first-run set-up.
 */
import { ServerError } from '../base/errors.ts';
import { mailboxId, organizationId, randomHexId, type MailboxId, type OrganizationId } from '../base/ids.ts';
import type { RootKeyName } from '../keys/key-changes.ts';
import type { KeyUse } from '../keys/key-service.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { ProviderKind } from '../keys/provider.ts';
import { explainedRefusal } from '../keys/root-key-refusals.ts';
import { Destructions, type Certify, type Destruction } from './destructions.ts';
import { adminUse, checkedName, exists, notFound, openRecords, refused } from './directory.ts';
import type { AccountState, DirectoryDeps } from './directory.ts';

export type Organization = Readonly<{
  id: OrganizationId;
  /** Null while the key that opens it cannot be had. */
  name: string | null;
  state: AccountState;
  provider: ProviderKind;
  rootKey: string;
  domainsCount: number;
  mailboxesCount: number;
  createdAtMs: number;
}>;
type NewOrganization = Readonly<{ name: string; provider: ProviderKind; rootKey: string }>;

type Verification = Readonly<{ id: OrganizationId; atMs: number | null; failedCount: number | null }>;
type Row = Readonly<{
  id: string;
  state: AccountState;
  provider: ProviderKind;
  rootKey: string;
  sealedName: Buffer;
  createdAtMs: number;
  domainsCount: number;
  mailboxesCount: number;
}>;
const DAY_MS = 86_400_000;
const SELECT = `SELECT id, state, provider, root_key AS rootKey, sealed_name AS sealedName, created_at_ms AS createdAtMs,
  (SELECT count(*) FROM domains d WHERE d.organization = o.id) AS domainsCount,
  (SELECT count(*) FROM mailboxes m WHERE m.organization = o.id) AS mailboxesCount
  FROM organizations o WHERE length(sealed_name) > 0`;

export class Organizations {
  readonly #deps: DirectoryDeps;
  readonly #destructions: Destructions;

  constructor(deps: DirectoryDeps) {
    this.#deps = deps;
    this.#destructions = new Destructions(deps.directory);
  }

  /**
   * Checks the root key, makes its grant and the directory key, and stores them; durable when it resolves.
   * Throws ServerError 'already-exists', 'invalid-argument', key-* with the reason and the remedy for the operator.
   */
  async create(request: NewOrganization, signal?: AbortSignal): Promise<OrganizationId> {
    const { directory, keys, nowMs } = this.#deps;
    const name = checkedName(request.name);
    if (await this.find(name, signal)) throw exists(`There is already an organization named ${name}.`);
    const use = adminUse('create-organization');
    const { provider } = request;
    const rootKey = await keys.checkRootKey(provider, request.rootKey, use, signal).catch((error: unknown) => {
      throw explainedRefusal(error);
    });
    const id = organizationId(randomHexId());
    // Until its name is sealed the row is one that `recover` removes.
    directory
      .prepare(
        'INSERT INTO organizations (id, state, provider, root_key, sealed_name, created_at_ms) VALUES (?,?,?,?,?,?)',
      )
      .run(id, 'active', provider, rootKey, Buffer.alloc(0), nowMs());
    try {
      const scope = { organization: id, provider, rootKey };
      await keys.grants.create(scope, use, signal);
      keys.insertKey(await keys.createKey({ ...scope, owner: 'directory' }, use, signal));
      // Sealed with the key as the provider gives it back (O1).
      using records = await openRecords(this.#deps, id, use, signal);
      directory.prepare('UPDATE organizations SET sealed_name = ? WHERE id = ?').run(records.sealName(name), id);
    } catch (error) {
      await this.#revokeGrants(id, use);
      this.#remove(id);
      throw explainedRefusal(error);
    }
    await directory.durable();
    return id;
  }

  /** All organizations, oldest first. */
  async list(signal?: AbortSignal): Promise<readonly Organization[]> {
    const rows = this.#deps.directory.prepare<Row>(`${SELECT} ORDER BY created_at_ms, id`).all();
    return Promise.all(rows.map((row) => this.#open(row, signal)));
  }

  /** The organization with this id or name; null when there is none. */
  async find(idOrName: string, signal?: AbortSignal): Promise<Organization | null> {
    const row = this.#deps.directory.prepare<Row>(`${SELECT} AND id = ?`).get(idOrName);
    if (row) return this.#open(row, signal);
    const wanted = idOrName.normalize('NFC').trim().toLowerCase();
    return (await this.list(signal)).find((organization) => organization.name?.toLowerCase() === wanted) ?? null;
  }

  /** Suspends or resumes; durable when it resolves. Throws ServerError 'not-found'. */
  async setState(id: OrganizationId, state: AccountState): Promise<void> {
    const { directory, keys } = this.#deps;
    const { changes } = directory.prepare('UPDATE organizations SET state = ? WHERE id = ?').run(state, id);
    if (changes === 0) throw notFound('There is no such organization.');
    if (state === 'suspended') keys.forget(id);
    await directory.durable();
  }

  /** For how many days expunged messages are kept; 0: not at all. */
  retentionDays(id: OrganizationId): number {
    const sql = 'SELECT retention_days AS days FROM organizations WHERE id = ?';
    return this.#deps.directory.prepare<{ days: number | null }>(sql).get(id)?.days ?? 0;
  }

  /** As `retentionDays` of a mailbox's organization, in milliseconds. */
  retentionMsOf(mailbox: MailboxId): number {
    const sql = `SELECT o.retention_days AS days FROM mailboxes m JOIN organizations o ON o.id = m.organization WHERE m.id = ?`;
    return (this.#deps.directory.prepare<{ days: number | null }>(sql).get(mailbox)?.days ?? 0) * DAY_MS;
  }

  /** Durable when it resolves. Throws ServerError 'not-found'. */
  async setRetentionDays(id: OrganizationId, days: number): Promise<void> {
    const { directory } = this.#deps;
    const { changes } = directory.prepare('UPDATE organizations SET retention_days = ? WHERE id = ?').run(days, id);
    if (changes === 0) throw notFound('There is no such organization.');
    await directory.durable();
  }

  /** Mailboxes in which expunged messages may be kept, for how long. */
  retaining(): readonly Readonly<{ ref: MailboxRef; retentionMs: number }>[] {
    const sql = `SELECT m.organization, m.id, o.retention_days AS days FROM mailboxes m
      JOIN organizations o ON o.id = m.organization WHERE o.retention_days IS NOT NULL AND m.state <> 'deleting'`;
    return this.#deps.directory
      .prepare<{ organization: string; id: string; days: number }>(sql)
      .all()
      .map(({ organization, id, days }) => ({
        ref: { organization: organizationId(organization), mailbox: mailboxId(id) },
        retentionMs: days * DAY_MS,
      }));
  }

  /** Deletes an empty organization and its keys for good. Throws ServerError 'not-found', 'not-allowed'. */
  async delete(id: OrganizationId, { by, certify }: Readonly<{ by: string; certify: Certify }>): Promise<void> {
    const { directory, keys, nowMs } = this.#deps;
    const row = directory.prepare<Row>(`${SELECT} AND id = ?`).get(id);
    if (!row) throw notFound('There is no such organization.');
    if (row.domainsCount + row.mailboxesCount > 0) {
      const content = `${String(row.domainsCount)} domains and ${String(row.mailboxesCount)} mailboxes`;
      throw refused(`The organization still has ${content}. Delete those first, or name all of them.`);
    }
    const destruction = directory.transaction(() => {
      const destroyed = { keys: keys.deleteOrganizationKeys(id), addressesCount: 0, keysDestroyedAtMs: nowMs() };
      keys.grants.revokeAllHere(id);
      this.#removeRow(id);
      return this.#destructions.begin(id, { organization: id, mailbox: null, ...destroyed, by });
    });
    await directory.durable();
    directory.truncateLogSoon(); // the wrapped key leaves the log too
    await this.#revokeGrants(id, adminUse('delete-organization'));
    await this.#certified(destruction, certify);
  }

  /** Makes the receipts of deletions that were cut short. Run at start. */
  async certifyUnfinished(certify: Certify): Promise<void> {
    for (const destruction of this.#destructions.ofOrganizations()) await this.#certified(destruction, certify);
  }

  async #certified(destruction: Destruction, certify: Certify): Promise<void> {
    await certify(destruction);
    this.#destructions.end(destruction.organization);
    await this.#deps.directory.durable();
  }

  /** The root key that wraps new keys. Throws ServerError 'not-found'. */
  rootKey(id: OrganizationId): RootKeyName {
    const select = 'SELECT provider, root_key AS rootKey FROM organizations WHERE id = ?';
    const found = this.#deps.directory.prepare<RootKeyName>(select).get(id);
    if (!found) throw notFound('There is no such organization.');
    return found;
  }

  /**
   * Makes `to` the root key of an organization; durable when it resolves. False, and nothing is changed, while other
   * root keys wrap more than `othersMaxCount` keys. Throws ServerError 'not-found'.
   */
  async setRootKey(
    id: OrganizationId,
    { provider, rootKey, othersMaxCount }: RootKeyName & Readonly<{ othersMaxCount: number }>,
  ): Promise<boolean> {
    const { directory } = this.#deps;
    const update = `UPDATE organizations SET provider = ?, root_key = ? WHERE id = ? AND ? >= (
      SELECT count(*) FROM wrapped_keys w WHERE w.organization = organizations.id AND (w.provider <> ? OR w.root_key <> ?))`;
    const { changes } = directory.prepare(update).run(provider, rootKey, id, othersMaxCount, provider, rootKey);
    if (changes === 0) this.rootKey(id); // throws where there is no such organization
    await directory.durable();
    return changes > 0;
  }

  /** Notes that all keys were opened just now, and how many of them did not. */
  noteVerified(id: OrganizationId, failedCount: number): void {
    const update = 'UPDATE organizations SET keys_verified_at_ms = ?, keys_failed_count = ? WHERE id = ?';
    this.#deps.directory.prepare(update).run(this.#deps.nowMs(), failedCount, id);
  }

  /** When the keys of each active organization were last opened; null: not yet. */
  verifications(): readonly Verification[] {
    const sql = `SELECT id, keys_verified_at_ms AS atMs, keys_failed_count AS failedCount FROM organizations
      WHERE state = 'active' AND length(sealed_name) > 0 ORDER BY id`;
    return this.#deps.directory
      .prepare<Omit<Verification, 'id'> & Readonly<{ id: string }>>(sql)
      .all()
      .map((row) => ({ ...row, id: organizationId(row.id) }));
  }

  /** Removes what a creation left that was cut short. Run at start. */
  recover(): void {
    const cut = 'SELECT id FROM organizations WHERE length(sealed_name) = 0';
    for (const { id } of this.#deps.directory.prepare<{ id: string }>(cut).all()) this.#remove(organizationId(id));
  }

  #remove(id: OrganizationId): void {
    const { directory, keys } = this.#deps;
    directory.transaction(() => {
      keys.deleteOrganizationKeys(id);
      keys.grants.revokeAllHere(id);
      this.#removeRow(id);
    });
  }

  /** With their providers too; one that does not answer is left to the operator (O3). */
  async #revokeGrants(id: OrganizationId, use: KeyUse): Promise<void> {
    const { grants } = this.#deps.keys;
    for (const grant of grants.list(id)) await grants.revoke(grant.id, use);
  }

  #removeRow(id: OrganizationId): void {
    this.#deps.directory.prepare('DELETE FROM organizations WHERE id = ?').run(id);
  }

  async #open(row: Row, signal?: AbortSignal): Promise<Organization> {
    const { sealedName, ...rest } = row;
    const id = organizationId(row.id);
    return { ...rest, id, name: await this.#name(id, sealedName, signal) };
  }

  async #name(id: OrganizationId, sealed: Buffer, signal?: AbortSignal): Promise<string | null> {
    try {
      using records = await openRecords(this.#deps, id, adminUse('list-organizations'), signal);
      return records.openName(sealed);
    } catch (error) {
      if (error instanceof ServerError && error.code.startsWith('key-')) return null; // O2
      throw error;
    }
  }
}
