/**
 * First-run set-up of an organization, a domain and mailboxes, on an open directory without a running server.
 *
 * U1  Running it again changes nothing that is there: what exists is kept, and so are its passwords.
 * U2  A password that was made here is told once, in the answer.
 *
 * Called by app.ts for `sealpost init`.
 */
import { randomBytes } from 'node:crypto';
import type { Accounts } from '../accounts/accounts.ts';
import { refused } from '../accounts/directory.ts';
import { ServerError } from '../base/errors.ts';
import type { OrganizationId } from '../base/ids.ts';
import type { ProviderKind } from '../keys/provider.ts';

/** Mailboxes `u1` .. `uN`, all with one password: for tests and load tools. */
type UsersRequest = Readonly<{ organization: string; domain: string; count: number; password: string }>;
type DemoRequest = Readonly<{ organization: string; domain: string; local: string }>;
/** `password` is null when the mailbox was there before. */
export type DemoResult = Readonly<{ address: string; password: string | null }>;
export type UsersResult = Readonly<{ createdCount: number; existingCount: number }>;
type SetUpDeps = Readonly<{
  accounts: Accounts;
  defaultKey: Readonly<{ provider: ProviderKind; rootKey: string }>;
}>;

const PASSWORD_BYTES = 12;
/** Mailboxes made side by side: they share syncs of the disk and hide the latency of a remote key service. */
const PARALLEL_COUNT = 16;

/**
 * One mailbox with a random password, which is the domain's postmaster too (RFC 5321 §4.5.1).
 * Throws ServerError key-*, 'not-allowed', 'invalid-argument'.
 */
export async function setUpDemo(deps: SetUpDeps, request: DemoRequest): Promise<DemoResult> {
  await ensureDomain(deps, request);
  const address = `${request.local}@${request.domain}`;
  const password = randomBytes(PASSWORD_BYTES).toString('base64url');
  const isNew = await ensureMailbox(deps, { address, displayName: 'Demo', password });
  await ensureAlias(deps, { alias: `postmaster@${request.domain}`, address });
  return { address, password: isNew ? password : null };
}

/** Many mailboxes with one hash for all of their passwords. Throws as `setUpDemo`. */
export async function setUpUsers(deps: SetUpDeps, request: UsersRequest): Promise<UsersResult> {
  await ensureDomain(deps, request);
  const credential = await deps.accounts.passwords.hash(request.password);
  let [next, createdCount] = [1, 0];
  const work = async (): Promise<void> => {
    while (next <= request.count) {
      const number = next++;
      const address = `u${String(number)}@${request.domain}`;
      const isNew = await ensureMailbox(deps, { address, displayName: `User ${String(number)}`, credential });
      if (isNew) createdCount += 1;
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_COUNT }, work));
  return { createdCount, existingCount: request.count - createdCount };
}

async function ensureDomain(deps: SetUpDeps, names: Readonly<{ organization: string; domain: string }>): Promise<void> {
  const { domains, dkimKeys } = deps.accounts;
  const organization = await ensureOrganization(deps, names.organization);
  const owned = domains.list().find((domain) => domain.name === names.domain);
  if (owned && owned.organization !== organization) throw refused(`${names.domain} belongs to another organization.`);
  if (!owned) await dkimKeys.createDomain(names.domain, organization);
}

async function ensureOrganization(deps: SetUpDeps, name: string): Promise<OrganizationId> {
  const { organizations } = deps.accounts;
  const found = await organizations.find(name);
  return found?.id ?? organizations.create({ name, ...deps.defaultKey });
}

async function ensureAlias(deps: SetUpDeps, names: Readonly<{ alias: string; address: string }>): Promise<void> {
  const { addresses, mailboxes } = deps.accounts;
  if (!(await mailboxes.find(names.alias))) await addresses.createAlias(names.alias, names.address);
}

async function ensureMailbox(
  deps: SetUpDeps,
  wanted: Readonly<{ address: string; displayName: string; password?: string; credential?: string }>,
): Promise<boolean> {
  const { mailboxes } = deps.accounts;
  if (await mailboxes.find(wanted.address)) return false;
  try {
    await mailboxes.create(wanted);
    return true;
  } catch (error) {
    if (error instanceof ServerError && error.code === 'already-exists') return false;
    throw error;
  }
}
