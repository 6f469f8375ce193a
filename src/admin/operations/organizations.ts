/** Operations on organizations. */
import { z } from 'zod';
import { invalid, notFound, refused } from '../../accounts/directory.ts';
import type { MailboxAccount } from '../../accounts/mailboxes.ts';
import type { Organization } from '../../accounts/organizations.ts';
import type { OrganizationId } from '../../base/ids.ts';
import { operation, organizationOf, type AdminContext } from './context.ts';
import { certifiedDeletion } from './deletions.ts';

const PAGE_COUNT = 200;
const RETENTION_MAX_DAYS = 3650;
const named = z.strictObject({ organization: z.string() });

const create = operation(
  z.strictObject({
    name: z.string(),
    provider: z.enum(['local-keyring', 'aws-kms', 'vault-transit']).optional(),
    rootKey: z.string().min(1).max(512).optional(),
  }),
  async (input, context, signal) => {
    const { defaultKey, accounts } = context;
    const provider = input.provider ?? defaultKey.provider;
    if (input.rootKey === undefined && provider !== defaultKey.provider) {
      throw invalid(`Name the root key too (--key): the default key is one of ${defaultKey.provider}.`);
    }
    const rootKey = input.rootKey ?? defaultKey.rootKey;
    const id = await accounts.organizations.create({ name: input.name, provider, rootKey }, signal);
    const made = await accounts.organizations.find(id, signal);
    if (!made) throw notFound('The organization was deleted at once.');
    const grant = context.keys.grants.current({ organization: id, provider: made.provider, rootKey: made.rootKey });
    return { ...made, grant };
  },
);

const list = operation(z.strictObject({}), (_input, context, signal) => context.accounts.organizations.list(signal));

const suspend = operation(named, async (input, context, signal) => {
  const { id } = await organizationOf(input.organization, context, signal);
  await context.accounts.organizations.setState(id, 'suspended');
  context.endSessions({ organization: id }, 'The organization is suspended');
  return { id };
});

const resume = operation(named, async (input, context, signal) => {
  const { id } = await organizationOf(input.organization, context, signal);
  await context.accounts.organizations.setState(id, 'active');
  return { id };
});

/** Shows for how many days expunged messages are kept; with `days`, sets that first. */
const retention = operation(
  z.strictObject({ organization: z.string(), days: z.int().min(0).max(RETENTION_MAX_DAYS).optional() }),
  async (input, context, signal) => {
    const { organizations } = context.accounts;
    const { id } = await organizationOf(input.organization, context, signal);
    if (input.days !== undefined) await organizations.setRetentionDays(id, input.days);
    return { id, days: organizations.retentionDays(id) };
  },
);

/** What a deletion would lose. */
const contents = operation(named, async (input, context, signal) => {
  const organization = await organizationOf(input.organization, context, signal);
  return { organization, ...(await contentsOf(organization, context, signal)) };
});

/** Deletes an organization with exactly the domains and mailboxes that are named: what was added meanwhile stops it. */
const remove = operation(
  z.strictObject({ organization: z.string(), domains: z.array(z.string()), mailboxes: z.array(z.string()) }),
  async (input, context, signal) => {
    const { accounts } = context;
    const organization = await organizationOf(input.organization, context, signal);
    const content = await contentsOf(organization, context, signal);
    const unnamed = [
      ...content.domains.filter((name) => !input.domains.includes(name)),
      ...content.mailboxes.map((mailbox) => mailbox.address).filter((address) => !input.mailboxes.includes(address)),
    ];
    if (unnamed.length > 0) {
      throw refused(`The organization still has ${shortList(unnamed)}. Delete those first, or name all of them.`);
    }
    const unfinished = accounts.mailboxes.unfinishedDeletions().filter((ref) => ref.organization === organization.id);
    const deletion = certifiedDeletion(context);
    for (const ref of unfinished) await accounts.mailboxes.delete(ref, deletion);
    for (const mailbox of content.mailboxes) await accounts.mailboxes.delete(mailbox.ref, deletion);
    for (const name of content.domains) await accounts.domains.delete(name);
    await accounts.organizations.delete(organization.id, deletion);
    await context.queue.removeOrganization(organization.id); // its key is gone
    return { id: organization.id, receipts: deletion.written };
  },
);

type Contents = Readonly<{ domains: readonly string[]; mailboxes: readonly MailboxAccount[]; queuedCount: number }>;

async function contentsOf(organization: Organization, context: AdminContext, signal: AbortSignal): Promise<Contents> {
  const { domains } = context.accounts;
  const names = domains.list(organization.id).map((domain) => domain.name);
  const queuedCount = context.queue.countOf(organization.id);
  return { domains: names, mailboxes: await allMailboxes(organization.id, context, signal), queuedCount };
}

async function allMailboxes(id: OrganizationId, context: AdminContext, signal: AbortSignal): Promise<MailboxAccount[]> {
  const all: MailboxAccount[] = [];
  for (;;) {
    const after = all.at(-1)?.ref.mailbox;
    const page = await context.accounts.mailboxes.list(id, { after, limitCount: PAGE_COUNT }, signal);
    all.push(...page);
    if (page.length < PAGE_COUNT) return all;
  }
}

function shortList(names: readonly string[]): string {
  const shown = names.slice(0, 10).join(', ');
  return names.length > 10 ? `${shown} and ${String(names.length - 10)} more` : shown;
}

export const organizationOperations = {
  'org.create': create,
  'org.list': list,
  'org.suspend': suspend,
  'org.resume': resume,
  'org.retention': retention,
  'org.contents': contents,
  'org.delete': remove,
} as const;
