/** Operations on grants: the right of this server to use an organization's root key. */
import { z } from 'zod';
import { adminUse } from '../../accounts/directory.ts';
import type { Grant } from '../../keys/grants.ts';
import { explainedRefusal } from '../../keys/root-key-refusals.ts';
import { operation, organizationOf, type AdminContext } from './context.ts';

const NAMED = z.strictObject({ grant: z.string().max(64) });

export const grantOperations = {
  'grant.list': operation(z.strictObject({ organization: z.string().optional() }), async (input, context, signal) => {
    if (input.organization === undefined) return context.keys.grants.list();
    const { id } = await organizationOf(input.organization, context, signal);
    return context.keys.grants.list(id);
  }),
  'grant.show': operation(NAMED, (input, context, signal) =>
    described(context.keys.grants.require(input.grant), context, signal),
  ),
  'grant.create': operation(z.strictObject({ organization: z.string().optional() }), async (input, context, signal) => {
    const { id, provider, rootKey } = await organizationOf(input.organization, context, signal);
    const scope = { organization: id, provider, rootKey };
    try {
      return await context.keys.grants.create(scope, adminUse('create-grant'), signal);
    } catch (error) {
      throw explainedRefusal(error);
    }
  }),
  /** Repeated, it asks a provider again that could not be told. */
  'grant.revoke': operation(NAMED, (input, context, signal) =>
    context.keys.grants.revoke(input.grant, adminUse('revoke-grant'), signal),
  ),
} as const;

type DescribedGrant = Readonly<{
  grant: Grant;
  /** Null when it was deleted. */
  organization: Readonly<{ name: string | null; domainsCount: number; mailboxesCount: number }> | null;
}>;

/** With what depends on it. */
async function described(grant: Grant, { accounts }: AdminContext, signal: AbortSignal): Promise<DescribedGrant> {
  const found = await accounts.organizations.find(grant.organization, signal);
  if (!found) return { grant, organization: null };
  const { name, domainsCount, mailboxesCount } = found;
  return { grant, organization: { name, domainsCount, mailboxesCount } };
}
