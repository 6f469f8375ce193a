/** Operations on mailboxes, their aliases and passwords. */
import { z } from 'zod';
import { mailboxId } from '../../base/ids.ts';
import { operation, organizationOf } from './context.ts';
import { certifiedDeletion } from './deletions.ts';

const PAGE_MAX_COUNT = 200;
const named = z.strictObject({ address: z.string() });

const create = operation(
  z.strictObject({
    address: z.string(),
    displayName: z.string().optional(),
    password: z.string().optional(),
    keyKind: z.enum(['symmetric', 'pair']).optional(),
  }),
  async (input, context, signal) => {
    await context.accounts.mailboxes.create(input, signal);
    return context.accounts.mailboxes.require(input.address, signal);
  },
);

/** One page; `after` is the last mailbox id of the page before. */
const list = operation(
  z.strictObject({
    organization: z.string().optional(),
    after: z
      .string()
      .regex(/^[0-9a-f]{32}$/)
      .optional(),
    limitCount: z.int().min(1).max(PAGE_MAX_COUNT).default(PAGE_MAX_COUNT),
  }),
  async (input, context, signal) => {
    const { id } = await organizationOf(input.organization, context, signal);
    const after = input.after === undefined ? undefined : mailboxId(input.after);
    return context.accounts.mailboxes.list(id, { after, limitCount: input.limitCount }, signal);
  },
);

const show = operation(named, (input, context, signal) => context.accounts.mailboxes.require(input.address, signal));

const suspend = operation(named, async (input, context, signal) => {
  const { ref } = await context.accounts.mailboxes.require(input.address, signal);
  await context.accounts.mailboxes.setState(ref, 'suspended');
  context.endSessions(ref, 'The mailbox is suspended');
  return { ref };
});

const resume = operation(named, async (input, context, signal) => {
  const { ref } = await context.accounts.mailboxes.require(input.address, signal);
  await context.accounts.mailboxes.setState(ref, 'active');
  return { ref };
});

const remove = operation(named, async (input, context, signal) => {
  const { ref } = await context.accounts.mailboxes.require(input.address, signal);
  const deletion = certifiedDeletion(context);
  await context.accounts.mailboxes.delete(ref, deletion);
  return { ref, receipts: deletion.written };
});

const LIMIT = z.int().min(0).max(Number.MAX_SAFE_INTEGER).nullable().optional();

/** Shows what a mailbox holds and may hold; with a limit, sets that one first. Null takes it away. */
const quota = operation(
  z.strictObject({ address: z.string(), maxBytes: LIMIT, maxMessagesCount: LIMIT }),
  async (input, context, signal) => {
    const { mailboxes } = context.accounts;
    const { ref, address } = await mailboxes.require(input.address, signal);
    const { maxBytes, maxMessagesCount } = input;
    if (maxBytes !== undefined || maxMessagesCount !== undefined) {
      const before = mailboxes.quota(ref);
      await mailboxes.setQuota(ref, {
        maxBytes: maxBytes === undefined ? before.maxBytes : maxBytes,
        maxMessagesCount: maxMessagesCount === undefined ? before.maxMessagesCount : maxMessagesCount,
      });
    }
    return { address, ...mailboxes.quota(ref), ...(await context.usageOf(ref)) };
  },
);

/** Brings back expunged messages that are still kept. */
const undelete = operation(
  z.strictObject({ address: z.string(), sinceMs: z.int().min(0) }),
  async ({ address, sinceMs }, context, signal) => {
    const { ref } = await context.accounts.mailboxes.require(address, signal);
    return context.undelete(ref, sinceMs, signal);
  },
);

const setPassword = operation(
  z.strictObject({ address: z.string(), password: z.string() }),
  async (input, context, signal) => {
    const { ref } = await context.accounts.mailboxes.require(input.address, signal);
    await context.accounts.mailboxes.setPassword(ref, input.password, signal);
    context.endSessions(ref, 'The password was changed'); // whoever knew only the old one is out
    return { ref };
  },
);

const createAlias = operation(
  z.strictObject({ alias: z.string(), target: z.string() }),
  async (input, context, signal) => {
    await context.accounts.addresses.createAlias(input.alias, input.target, signal);
    return input;
  },
);

const listAliases = operation(
  z.strictObject({ organization: z.string().optional(), address: z.string().optional() }),
  async (input, context, signal) => {
    const { addresses, mailboxes } = context.accounts;
    if (input.address !== undefined) {
      const { ref } = await mailboxes.require(input.address, signal);
      return addresses.list(ref.organization, ref.mailbox, signal);
    }
    const { id } = await organizationOf(input.organization, context, signal);
    return addresses.list(id, null, signal);
  },
);

const deleteAlias = operation(z.strictObject({ alias: z.string() }), async (input, context, signal) => {
  await context.accounts.addresses.deleteAlias(input.alias, signal);
  return input;
});

export const mailboxOperations = {
  'mailbox.create': create,
  'mailbox.list': list,
  'mailbox.show': show,
  'mailbox.suspend': suspend,
  'mailbox.resume': resume,
  'mailbox.delete': remove,
  'mailbox.quota': quota,
  'mailbox.undelete': undelete,
  'password.set': setPassword,
  'alias.create': createAlias,
  'alias.list': listAliases,
  'alias.delete': deleteAlias,
} as const;
