/** Changing keys that exist. A change runs in the server; `key.change` tells how far it is. */
import { z } from 'zod';
import { invalid, notFound } from '../../accounts/directory.ts';
import { operation, organizationOf } from './context.ts';

export const keyChangeOperations = {
  /** Moves an organization to another root key; to the newest version of its own, when that is named or none is. */
  'key.move': operation(
    z.strictObject({
      organization: z.string().optional(),
      provider: z.enum(['local-keyring', 'aws-kms', 'vault-transit']).optional(),
      rootKey: z.string().min(1).max(512).optional(),
    }),
    async (input, context, signal) => {
      const organization = await organizationOf(input.organization, context, signal);
      const provider = input.provider ?? organization.provider;
      if (input.rootKey === undefined && provider !== organization.provider) {
        throw invalid(`Name the root key too (--key): the present one is of ${organization.provider}.`);
      }
      return context.keyJobs.move(organization.id, { provider, rootKey: input.rootKey ?? organization.rootKey });
    },
  ),
  /** Rotates the key of the mailbox with this address, or of all mailboxes of an organization. */
  'key.rotate': operation(
    z.strictObject({ address: z.string().optional(), organization: z.string().optional() }),
    async ({ address, organization: named }, context, signal) => {
      if ((address === undefined) === (named === undefined)) {
        throw invalid('Name either a mailbox or, with --org, an organization.');
      }
      if (address !== undefined)
        return context.keyJobs.rotate((await context.accounts.mailboxes.require(address, signal)).ref);
      const { id } = await organizationOf(named, context, signal);
      return context.keyJobs.rotate({ organization: id, mailbox: null });
    },
  ),
  /** Has a second root key wrap all keys of an organization too. */
  'key.second.set': operation(
    z.strictObject({
      organization: z.string().optional(),
      provider: z.enum(['local-keyring', 'aws-kms', 'vault-transit']),
      rootKey: z.string().min(1).max(512),
    }),
    async ({ organization: named, provider, rootKey }, context, signal) => {
      const { id } = await organizationOf(named, context, signal);
      return context.keyJobs.addSecond(id, { provider, rootKey });
    },
  ),
  /** Removes the second root key of an organization, what it wraps, and its grant. */
  'key.second.remove': operation(
    z.strictObject({ organization: z.string().optional() }),
    async ({ organization: named }, context, signal) => {
      const { id } = await organizationOf(named, context, signal);
      const { changes, grants } = context.keys;
      const second = changes.secondRootKey(id);
      if (!second) throw notFound('The organization has no second root key.');
      const keysCount = await changes.removeSecondRootKey(id);
      const grant = grants.current({ organization: id, ...second });
      const use = { purpose: 'second-root-key', protocol: 'admin', principal: 'admin' };
      if (grant) await grants.revoke(grant.id, use, signal);
      return { ...second, keysCount };
    },
  ),
  /** Opens every wrapped key of an organization, under each of its root keys. */
  'key.verify': operation(
    z.strictObject({ organization: z.string().optional() }),
    async ({ organization: named }, context, signal) => {
      const { id } = await organizationOf(named, context, signal);
      return context.keyJobs.verify(id);
    },
  ),
  'key.change': operation(z.strictObject({ id: z.string() }), ({ id }, context) => {
    const state = context.keyJobs.find(id);
    if (state) return state;
    throw notFound('The server does not know of this change. Run the command again: it goes on from where it was.');
  }),
} as const;
