/**
 * Grants: the right of this server to use an organization's root key, as the organization's own record (W9).
 *
 * G1  A grant is of one organization, one root key and some operations, and holds only for encryption contexts with
 *     the organization's pair. At most one of an organization and root key is not revoked.
 * G2  It is recorded before a provider is asked to make one of its own, and counts only once that was answered: what
 *     a crash leaves is 'pending', and is asked for again under the same name.
 * G3  A revoked grant never counts again, whatever the provider did about its own. Rows are never removed, but for
 *     one whose making was refused: also a deleted organization's grants can be looked up.
 * G4  Ids only: no name, no address.
 *
 * Called by provider-calls.ts before each call that needs a grant, and by key-service.ts.
 */
import { organizationId, type OrganizationId } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import type { EncryptionContext, GrantAbsence, GrantOperation, ProviderGrant, ProviderKind } from './provider.ts';

export type GrantScope = Readonly<{ organization: OrganizationId; provider: ProviderKind; rootKey: string }>;
export type Grant = GrantScope &
  Readonly<{
    id: string;
    /** 'made': the provider enforces it too. Otherwise this server alone does, for the reason given; or nobody yet. */
    providerGrant: 'pending' | 'made' | GrantAbsence;
    providerGrantId: string | null;
    operations: readonly GrantOperation[];
    constraint: EncryptionContext;
    createdAtMs: number;
    revokedAtMs: number | null;
    /** When the provider confirmed that its own grant is gone; null where it has none, or has not. */
    providerRevokedAtMs: number | null;
  }>;

type StoredGrant = Readonly<{
  id: string;
  organization: string;
  provider: ProviderKind;
  rootKey: string;
  providerGrant: Grant['providerGrant'];
  providerGrantId: string | null;
  operations: string;
  constraint: string;
  createdAtMs: number;
  revokedAtMs: number | null;
  providerRevokedAtMs: number | null;
}>;

export const GRANT_OPERATIONS: readonly GrantOperation[] = [
  'Encrypt',
  'Decrypt',
  'ReEncryptFrom',
  'ReEncryptTo',
  'DescribeKey',
];
/** A provider knows a new grant everywhere within this time; until then calls carry the token. */
const SPREAD_MS = 5 * 60_000;
const LIST_MAX_COUNT = 10_000;
const COLUMNS = `id, organization, provider, root_key AS rootKey, provider_grant AS providerGrant,
  provider_grant_id AS providerGrantId, operations, "constraint", created_at_ms AS createdAtMs,
  revoked_at_ms AS revokedAtMs, provider_revoked_at_ms AS providerRevokedAtMs`;
const OF_SCOPE = 'organization = ? AND provider = ? AND root_key = ? AND revoked_at_ms IS NULL';

export class Grants {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  find(id: string): Grant | null {
    const row = this.#db.prepare<StoredGrant>(`SELECT ${COLUMNS} FROM grants WHERE id = ?`).get(id);
    return row ? grantOf(row) : null;
  }

  /** All grants, or one organization's, oldest first, revoked ones included; at most 10,000. */
  list(organization?: OrganizationId): Grant[] {
    const where = organization ? 'WHERE organization = ?' : '';
    const sql = `SELECT ${COLUMNS} FROM grants ${where} ORDER BY rowid LIMIT ${String(LIST_MAX_COUNT)}`;
    return this.#db
      .prepare<StoredGrant>(sql)
      .all(...(organization ? [organization] : []))
      .map(grantOf);
  }

  /** The grant that is not revoked, whether it counts already or is 'pending'; null when there is none. */
  unrevoked({ organization, provider, rootKey }: GrantScope): Grant | null {
    const sql = `SELECT ${COLUMNS} FROM grants WHERE ${OF_SCOPE}`;
    const row = this.#db.prepare<StoredGrant>(sql).get(organization, provider, rootKey);
    return row ? grantOf(row) : null;
  }

  /**
   * Whether `operation` with `context` is granted, and the token that the call has to carry while the grant spreads;
   * null when it is not granted.
   */
  permission(
    scope: GrantScope,
    call: Readonly<{ operation: GrantOperation; context: EncryptionContext; atMs: number }>,
  ): Readonly<{ token: string | undefined }> | null {
    const grant = this.unrevoked(scope);
    if (!grant || grant.providerGrant === 'pending' || !grant.operations.includes(call.operation)) return null;
    const isBound = Object.entries(grant.constraint).every(([name, value]) => call.context[name] === value);
    if (!isBound) return null;
    return { token: call.atMs - grant.createdAtMs < SPREAD_MS ? this.#token(grant.id) : undefined };
  }

  /** Records a grant before it is made (G2). */
  insertPending(grant: Grant): void {
    const { id, organization, provider, rootKey, operations, constraint, createdAtMs } = grant;
    this.#db
      .prepare(
        `INSERT INTO grants (id, organization, provider, root_key, provider_grant, operations, "constraint", created_at_ms)
         VALUES (?, ?, ?, ?, 'pending', ?, ?, ?)`,
      )
      .run(id, organization, provider, rootKey, JSON.stringify(operations), JSON.stringify(constraint), createdAtMs);
  }

  /** Makes a pending grant count, as the provider answered at `atMs`; one that was revoked meanwhile stays revoked. */
  settle(id: string, made: ProviderGrant, atMs: number): void {
    const [state, grantId, token] =
      made.kind === 'made' ? ([made.kind, made.grantId, made.token] as const) : ([made.why, null, null] as const);
    this.#db
      .prepare(
        `UPDATE grants SET provider_grant = ?, provider_grant_id = ?, provider_grant_token = ?, created_at_ms = ?
         WHERE id = ? AND provider_grant = 'pending'`,
      )
      .run(state, grantId, token, atMs, id);
  }

  /** Forgets a pending grant that the provider refused to make. */
  removePending(id: string): void {
    this.#db.prepare("DELETE FROM grants WHERE id = ? AND provider_grant = 'pending'").run(id);
  }

  /** Ends the grant for this server (G3). */
  revoke(id: string, atMs: number): void {
    this.#db.prepare('UPDATE grants SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL').run(atMs, id);
  }

  /** Notes that the provider's own grant is gone. */
  revokedByProvider(id: string, atMs: number): void {
    const where = 'id = ? AND provider_revoked_at_ms IS NULL';
    this.#db.prepare(`UPDATE grants SET provider_revoked_at_ms = ? WHERE ${where}`).run(atMs, id);
  }

  #token(id: string): string | undefined {
    const sql = 'SELECT provider_grant_token AS token FROM grants WHERE id = ?';
    return this.#db.prepare<{ token: string | null }>(sql).get(id)?.token ?? undefined;
  }
}

function grantOf(row: StoredGrant): Grant {
  return {
    ...row,
    organization: organizationId(row.organization),
    operations: JSON.parse(row.operations) as GrantOperation[],
    constraint: JSON.parse(row.constraint) as EncryptionContext,
  };
}
