/**
 * Grant service: makes and revokes the grants of organizations (W9), here and with the provider.
 *
 * GS1  A grant is recorded, durably, before the provider is asked for its own; what a crash or a silent provider
 *      leaves is finished by the next `create` (grants.ts, G2).
 * GS2  A revocation holds here before the provider is asked: `onRevoked` purges what is cached, and from then on no
 *      call is made, even if the provider cannot be reached.
 *
 * Made by key-service.ts, which its callers reach it through.
 */
import { ServerError } from '../base/errors.ts';
import { randomHexId, type OrganizationId } from '../base/ids.ts';
import { organizationContext } from '../crypto/context.ts';
import type { Database } from '../db/database.ts';
import type { KeyUse } from './audit-log.ts';
import { GRANT_OPERATIONS, type Grant, type Grants, type GrantScope } from './grants.ts';
import type { ProviderCall, ProviderCalls } from './provider-calls.ts';

type GrantServiceDeps = Readonly<{
  db: Database;
  grants: Grants;
  calls: ProviderCalls;
  onRevoked(organization: OrganizationId): void;
  wallClockMs(): number;
}>;
/** `providerFailure`: the provider may still have its own grant, and why, in the operator's words. */
type Revocation = Readonly<{ grant: Grant; providerFailure: string | null }>;

export class GrantService {
  readonly #deps: GrantServiceDeps;

  constructor(deps: GrantServiceDeps) {
    this.#deps = deps;
  }

  /**
   * Makes the grant without which a root key does not serve an organization; durable when it resolves.
   * Throws ServerError 'already-exists', key-*.
   */
  async create(scope: GrantScope, use: KeyUse, signal?: AbortSignal): Promise<Grant> {
    const { db, grants, calls, wallClockMs } = this.#deps;
    const before = grants.unrevoked(scope);
    if (before && before.providerGrant !== 'pending') {
      throw new ServerError('already-exists', { clientText: `The grant ${before.id} is in force already.` });
    }
    const pending = before ?? pendingGrant(scope, wallClockMs());
    if (!before) grants.insertPending(pending);
    await db.durable();
    const { id: grant, operations, constraint } = pending;
    const { organization, provider, rootKey } = scope;
    const call: ProviderCall = { operation: 'CreateGrant', organization, provider, rootKey, grant, use };
    try {
      const request = { name: providerName(grant), operations, constraint };
      const made = await calls.run(
        call,
        (port, { signal: tried }) => port.createGrant(rootKey, { ...request, signal: tried }),
        signal,
      );
      grants.settle(grant, made, wallClockMs());
    } catch (error) {
      // A provider that said no made none; after silence it may have, and the record stays (GS1).
      if (!before && error instanceof ServerError && !error.retryable) grants.removePending(grant);
      throw error;
    }
    await db.durable();
    calls.resume(scope);
    return grants.find(grant) ?? pending;
  }

  /** Revokes a grant; durable when it resolves. To be repeated while the provider fails. Throws ServerError 'not-found'. */
  async revoke(id: string, use: KeyUse, signal?: AbortSignal): Promise<Revocation> {
    const { db, grants, wallClockMs, onRevoked } = this.#deps;
    const { organization } = this.require(id);
    grants.revoke(id, wallClockMs());
    onRevoked(organization);
    await db.durable();
    const providerFailure = await this.#revokeWithProvider(this.require(id), use, signal);
    await db.durable();
    return { grant: this.require(id), providerFailure };
  }

  /** The grant that is in force, or waits for its provider; null when there is none. */
  current(scope: GrantScope): Grant | null {
    return this.#deps.grants.unrevoked(scope);
  }

  /** Throws ServerError 'not-found'. */
  require(id: string): Grant {
    const found = this.#deps.grants.find(id);
    if (found) return found;
    throw new ServerError('not-found', { clientText: 'There is no such grant. See: sealpost grant list' });
  }

  /** Of an organization or of all, oldest first, revoked ones and those of deleted organizations included. */
  list(organization?: OrganizationId): readonly Grant[] {
    return this.#deps.grants.list(organization);
  }

  /** Revokes the grants of an organization here, without its providers: a creation was cut short. */
  revokeAllHere(organization: OrganizationId): void {
    const { grants, wallClockMs } = this.#deps;
    for (const { id } of grants.list(organization)) grants.revoke(id, wallClockMs());
  }

  /** Gives the provider's failure in the operator's words; null when nothing is left to do. */
  async #revokeWithProvider(grant: Grant, use: KeyUse, signal?: AbortSignal): Promise<string | null> {
    const { grants, calls, wallClockMs } = this.#deps;
    const { id, organization, provider, rootKey, providerGrant, providerGrantId, providerRevokedAtMs } = grant;
    if (providerRevokedAtMs !== null) return null;
    if (providerGrant === 'pending') {
      return `The key service never said whether it made its own grant. Look there for one named ${providerName(id)}.`;
    }
    const call: ProviderCall = { operation: 'RevokeGrant', organization, provider, rootKey, grant: id, use };
    const nothingToDo = { requestId: null };
    try {
      await calls.run(
        call,
        (port, tried) =>
          providerGrantId === null
            ? Promise.resolve(nothingToDo)
            : port.revokeGrant(rootKey, providerGrantId, tried.signal),
        signal,
      );
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (error.code !== 'key-lost') return error.clientText; // else the grant is gone already, or its key is
    }
    grants.revokedByProvider(id, wallClockMs());
    return null;
  }
}

function pendingGrant(scope: GrantScope, createdAtMs: number): Grant {
  const { organization, provider, rootKey } = scope;
  return {
    id: randomHexId(),
    organization,
    provider,
    rootKey,
    providerGrant: 'pending',
    providerGrantId: null,
    operations: GRANT_OPERATIONS,
    constraint: organizationContext(organization),
    createdAtMs,
    revokedAtMs: null,
    providerRevokedAtMs: null,
  };
}

/** How the provider's own grant is called (P5). */
function providerName(grant: string): string {
  return `sealpost-${grant}`;
}
