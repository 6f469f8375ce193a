/**
 * Domains: which names this server takes mail for, and whose they are.
 *
 * D1  A name is stored once, normalised (domain-name.ts); it belongs to one organization.
 * D2  A domain that still has addresses is not deleted.
 *
 * Called by admin/, and by addresses.ts for every lookup.
 */
import { organizationId, type OrganizationId } from '../base/ids.ts';
import { exists, invalid, notFound, refused } from './directory.ts';
import type { AccountState, DirectoryDeps } from './directory.ts';
import { normalizeDomain } from './domain-name.ts';

type Domain = Readonly<{
  name: string;
  organization: OrganizationId;
  state: AccountState;
  addressesCount: number;
  createdAtMs: number;
}>;
/** `state` counts the organization's too: what a lookup must obey. */
type DomainOwner = Readonly<{ organization: OrganizationId; state: AccountState }>;

export class Domains {
  readonly #deps: DirectoryDeps;

  constructor(deps: DirectoryDeps) {
    this.#deps = deps;
  }

  /**
   * Adds a domain; durable when it resolves. Returns the stored name.
   * `alongside` runs in the same transaction.
   * Throws ServerError 'invalid-argument', 'not-found' (organization), 'already-exists'.
   */
  async create(name: string, organization: OrganizationId, alongside?: () => void): Promise<string> {
    const { directory, nowMs } = this.#deps;
    const normalized = checkedDomain(name);
    directory.transaction(() => {
      if (!directory.prepare('SELECT 1 FROM organizations WHERE id = ?').get(organization)) {
        throw notFound('There is no such organization.');
      }
      if (directory.prepare('SELECT 1 FROM domains WHERE name = ?').get(normalized)) {
        throw exists(`The domain ${normalized} is already there.`);
      }
      directory
        .prepare('INSERT INTO domains (name, organization, state, created_at_ms) VALUES (?,?,?,?)')
        .run(normalized, organization, 'active', nowMs());
      alongside?.();
    });
    await directory.durable();
    return normalized;
  }

  /** The domains of one organization, or of all, by name. */
  list(organization?: OrganizationId): readonly Domain[] {
    const select = `SELECT name, organization, state, created_at_ms AS createdAtMs,
      (SELECT count(*) FROM addresses a WHERE a.domain = d.name) AS addressesCount
      FROM domains d WHERE organization = ifnull(?, organization) ORDER BY name`;
    return this.#deps.directory.prepare<Domain>(select).all(organization ?? null);
  }

  /** Names of the domains that are in use, oldest first. */
  active(maxCount: number): readonly string[] {
    const select = `SELECT d.name FROM domains d JOIN organizations o ON o.id = d.organization
      WHERE d.state = 'active' AND o.state = 'active' ORDER BY d.created_at_ms, d.name LIMIT ?`;
    return this.#deps.directory
      .prepare<{ name: string }>(select)
      .all(maxCount)
      .map(({ name }) => name);
  }

  /** Who owns a normalised name; null when it is not ours. */
  owner(normalized: string): DomainOwner | null {
    const select = `SELECT d.organization AS organization, d.state AS state, o.state AS ownerState
      FROM domains d JOIN organizations o ON o.id = d.organization WHERE d.name = ?`;
    const row = this.#deps.directory
      .prepare<{ organization: string; state: AccountState; ownerState: AccountState }>(select)
      .get(normalized);
    if (!row) return null;
    const state = row.ownerState === 'active' ? row.state : row.ownerState;
    return { organization: organizationId(row.organization), state };
  }

  /** True when this server is the final destination of `domain`, in any spelling. */
  isLocal(domain: string): boolean {
    const normalized = normalizeDomain(domain);
    return normalized !== null && this.owner(normalized) !== null;
  }

  /** Suspends or resumes; durable when it resolves. Throws ServerError 'not-found', 'invalid-argument'. */
  async setState(name: string, state: AccountState): Promise<void> {
    const { directory } = this.#deps;
    const { changes } = directory
      .prepare('UPDATE domains SET state = ? WHERE name = ?')
      .run(state, checkedDomain(name));
    if (changes === 0) throw notFound(`There is no domain ${name}.`);
    await directory.durable();
  }

  /** Deletes a domain without addresses. Throws ServerError 'not-found', 'not-allowed', 'invalid-argument'. */
  async delete(name: string): Promise<void> {
    const { directory } = this.#deps;
    const normalized = checkedDomain(name);
    directory.transaction(() => {
      const row = directory
        .prepare<{ inUse: number }>('SELECT count(*) AS inUse FROM addresses WHERE domain = ?')
        .get(normalized);
      if (row && row.inUse > 0) {
        throw refused(
          `${normalized} still has ${String(row.inUse)} addresses. Delete its mailboxes and aliases first.`,
        );
      }
      const { changes } = directory.prepare('DELETE FROM domains WHERE name = ?').run(normalized);
      if (changes === 0) throw notFound(`There is no domain ${normalized}.`);
    });
    await directory.durable();
  }
}

function checkedDomain(name: string): string {
  const normalized = normalizeDomain(name);
  if (normalized === null) throw invalid(`${JSON.stringify(name)} is not a domain name.`);
  return normalized;
}
