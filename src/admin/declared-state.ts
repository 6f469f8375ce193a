/**
 * An installation as a file says it: organizations, domains, mailboxes, aliases, quotas.
 *
 * DS1  `planOf` is pure: what is there and what is wanted go in, steps come out. Applying twice plans nothing the second time.
 * DS2  Nothing that holds mail is ever deleted, and no root key changed: what the file does not have, or has otherwise, is
 *      told, and stays. Only aliases of mailboxes in the file are removed when the file lacks them.
 * DS3  The file holds no password and no key. A mailbox that is made has no password yet.
 *
 * Called by cli/apply.ts.
 */
import { z } from 'zod';
import type { OperationInput, OperationName } from './operations.ts';

const state = z.enum(['active', 'suspended']).default('active');
const limit = z.int().min(0).nullable().default(null);
const address = z.string().min(3).max(320);
const mailbox = z.strictObject({
  address,
  displayName: z.string().max(1000).nullable().default(null),
  state,
  keyKind: z.enum(['symmetric', 'pair']).default('symmetric'),
  maxBytes: limit,
  maxMessagesCount: limit,
  aliases: z.array(address).max(10_000).default([]),
});
const organization = z.strictObject({
  name: z.string().min(1).max(1000),
  provider: z.enum(['local-keyring', 'aws-kms', 'vault-transit']),
  rootKey: z.string().min(1).max(512),
  state,
  domains: z
    .array(z.strictObject({ name: z.string(), state }))
    .max(10_000)
    .default([]),
  mailboxes: z.array(mailbox).max(100_000).default([]),
});
const declared = z.strictObject({ organizations: z.array(organization).max(10_000) });

export type DeclaredState = z.output<typeof declared>;
type DeclaredOrganization = DeclaredState['organizations'][number];
type DeclaredMailbox = DeclaredOrganization['mailboxes'][number];
/** One request that brings the installation nearer, with its text for the operator. */
export type Step = {
  [Name in OperationName]: Readonly<{ text: string; name: Name; input: OperationInput<Name> }>;
}[OperationName];
export type Plan = Readonly<{ steps: readonly Step[]; /** What stays different. */ notes: readonly string[] }>;

/** Reads the text of a file. Throws SyntaxError that names the member at fault. */
export function parseState(text: string): DeclaredState {
  const checked = declared.safeParse(JSON.parse(text));
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw new SyntaxError(`${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'not understood'}`);
}

/** What has to be done, in an order in which it can be. */
export function planOf(there: DeclaredState, wanted: DeclaredState): Plan {
  const steps: Step[] = [];
  const notes: string[] = [];
  for (const each of wanted.organizations) {
    planOrganization(there.organizations.find(({ name }) => name === each.name) ?? null, each, { steps, notes });
  }
  const extra = there.organizations.filter(({ name }) => !wanted.organizations.some((each) => each.name === name));
  notes.push(...extra.map(({ name }) => `organization ${name} is not in the file and stays`));
  return { steps, notes };
}

type Draft = Readonly<{ steps: Step[]; notes: string[] }>;

function planOrganization(there: DeclaredOrganization | null, wanted: DeclaredOrganization, draft: Draft): void {
  const { steps, notes } = draft;
  const { name, provider, rootKey } = wanted;
  if (!there) {
    steps.push({
      text: `create organization ${name} with root key ${rootKey} (${provider})`,
      name: 'org.create',
      input: { name, provider, rootKey },
    });
  } else if (there.provider !== provider || there.rootKey !== rootKey) {
    notes.push(
      `organization ${name} has root key ${there.rootKey} (${there.provider}); to change it: sealpost key move`,
    );
  }
  for (const domain of wanted.domains) {
    const known = there?.domains.find((each) => each.name === domain.name);
    if (!known)
      steps.push({
        text: `create domain ${domain.name}`,
        name: 'domain.create',
        input: { domain: domain.name, organization: name },
      });
    const operation = stateChange(known?.state, domain.state);
    if (operation)
      steps.push({
        text: `${operation} domain ${domain.name}`,
        name: `domain.${operation}`,
        input: { domain: domain.name },
      });
  }
  notes.push(
    ...missing(there?.domains, wanted.domains, 'name').map((it) => `domain ${it} is not in the file and stays`),
  );
  for (const each of wanted.mailboxes)
    planMailbox(there?.mailboxes.find((it) => it.address === each.address) ?? null, each, draft);
  notes.push(
    ...missing(there?.mailboxes, wanted.mailboxes, 'address').map((it) => `mailbox ${it} is not in the file and stays`),
  );
  const operation = stateChange(there?.state, wanted.state);
  if (operation)
    steps.push({ text: `${operation} organization ${name}`, name: `org.${operation}`, input: { organization: name } });
}

function planMailbox(there: DeclaredMailbox | null, wanted: DeclaredMailbox, { steps, notes }: Draft): void {
  const { address: of, displayName, keyKind, maxBytes, maxMessagesCount } = wanted;
  if (!there) {
    const input = { address: of, keyKind, ...(displayName === null ? {} : { displayName }) };
    steps.push({ text: `create mailbox ${of}, without a password`, name: 'mailbox.create', input });
  } else {
    if (there.displayName !== displayName) notes.push(`mailbox ${of} has another display name, which stays`);
    if (there.keyKind !== keyKind) notes.push(`mailbox ${of} has a key of kind ${there.keyKind}, which stays`);
  }
  if ((there?.maxBytes ?? null) !== maxBytes || (there?.maxMessagesCount ?? null) !== maxMessagesCount) {
    const told = `${String(maxBytes ?? 'any number of')} bytes, ${String(maxMessagesCount ?? 'any number of')} messages`;
    steps.push({
      text: `let mailbox ${of} hold ${told}`,
      name: 'mailbox.quota',
      input: { address: of, maxBytes, maxMessagesCount },
    });
  }
  for (const alias of wanted.aliases) {
    if (there?.aliases.includes(alias) === true) continue;
    steps.push({ text: `create alias ${alias} of ${of}`, name: 'alias.create', input: { alias, target: of } });
  }
  for (const alias of there?.aliases ?? []) {
    if (wanted.aliases.includes(alias)) continue;
    steps.push({ text: `delete alias ${alias} of ${of}`, name: 'alias.delete', input: { alias } });
  }
  const operation = stateChange(there?.state, wanted.state);
  if (operation)
    steps.push({ text: `${operation} mailbox ${of}`, name: `mailbox.${operation}`, input: { address: of } });
}

/** What is new is active. */
function stateChange(
  there: 'active' | 'suspended' | undefined,
  wanted: 'active' | 'suspended',
): 'suspend' | 'resume' | null {
  if ((there ?? 'active') === wanted) return null;
  return wanted === 'suspended' ? 'suspend' : 'resume';
}

function missing<Key extends string>(
  there: readonly Readonly<Record<Key, unknown>>[] | undefined,
  wanted: readonly Readonly<Record<Key, unknown>>[],
  key: Key,
): string[] {
  return (there ?? []).map((each) => String(each[key])).filter((each) => !wanted.some((it) => it[key] === each));
}
