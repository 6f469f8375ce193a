/** What the operations of this folder work with, and how one is written. */
import type { z } from 'zod';
import type { Accounts } from '../../accounts/accounts.ts';
import { notFound, refused } from '../../accounts/directory.ts';
import type { EraseFiles } from '../../accounts/mailboxes.ts';
import type { Organization } from '../../accounts/organizations.ts';
import type { RestoreRequest } from '../../backup/service.ts';
import type { MailboxId, OrganizationId } from '../../base/ids.ts';
import type { Resolver } from '../../dns/resolver.ts';
import type { TaskState } from '../../base/task.ts';
import type { AuditLog } from '../../keys/audit-log.ts';
import type { MailboxRef } from '../../keys/mailbox-keys.ts';
import type { KeyChangeState, RootKeyName } from '../../keys/key-changes.ts';
import type { KeyService } from '../../keys/key-service.ts';
import type { ProviderKind } from '../../keys/provider.ts';
import type { KeyringLock } from '../../keys/providers/keyring-lock.ts';
import type { ImportRuns } from '../../mailbox/imports.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import type { Undeletion } from '../../mailbox/undelete.ts';
import type { Queue } from '../../queue/queue.ts';
import type { Health } from '../../observe/health.ts';
import type { Receipts } from '../receipts.ts';

/** What a running server says about itself; `ports` by listener name. */
export type ServerState = Readonly<{
  version: string;
  pid: number;
  uptimeMs: number;
  ports: Readonly<Record<string, number>>;
  openMailboxesCount: number;
  health: ReturnType<Health['report']>;
}>;
/** Changes of keys in the background. Each throws ServerError 'not-allowed' while another one of the organization runs. */
type KeyJobs = Readonly<{
  move(organization: OrganizationId, target: RootKeyName): KeyChangeState;
  /** Of one mailbox, or with null of all. */
  rotate(of: Readonly<{ organization: OrganizationId; mailbox: MailboxId | null }>): KeyChangeState;
  addSecond(organization: OrganizationId, target: RootKeyName): KeyChangeState;
  verify(organization: OrganizationId): KeyChangeState;
  find(id: string): KeyChangeState | null;
}>;
/** Of a gateway whose mail is collected; times in ms of the wall clock. */
type GatewayState = Readonly<{
  address: string;
  reachedAtMs: number | null;
  failure: string | null;
  takenInCount: number;
}>;
type DoctorRequest = Readonly<{ mailbox: MailboxRef | null; isRepair: boolean; isDeep: boolean }>;
/** Each begins a task. Throws ServerError 'invalid-argument', and 'not-allowed' while another task runs. */
type BackupTasks = Readonly<{
  create(request: Readonly<{ target: string; keepCount: number | null }>): TaskState;
  verify(request: Readonly<{ target: string; backup?: string | undefined }>): TaskState;
  restoreMailbox(request: RestoreRequest): TaskState;
}>;
export type AdminContext = Readonly<{
  accounts: Accounts;
  keys: KeyService;
  audit: AuditLog;
  eraseFiles: EraseFiles;
  /** Ends the sessions of these mailboxes at once; `text` is what their users are told. */
  endSessions(of: Readonly<{ organization: OrganizationId; mailbox?: MailboxId }>, text: string): void;
  /** Closes the mailbox databases that nobody uses; gives their number. */
  closeIdleMailboxes(): Promise<number>;
  /** What a mailbox holds. */
  usageOf(ref: MailboxRef): Promise<Readonly<{ sizeBytes: number; messagesCount: number }>>;
  /** Names that a mailbox may have switched off. */
  capabilityNames: readonly string[];
  /** Opens a mailbox for an operator's command; dispose it when done. */
  openMailbox(ref: MailboxRef, signal: AbortSignal): Promise<Mailbox>;
  imports: ImportRuns;
  /** Brings back what was expunged at `sinceMs` or later and is still kept. */
  undelete(ref: MailboxRef, sinceMs: number, signal: AbortSignal): Promise<Undeletion>;
  queue: Queue;
  receipts: Receipts;
  keyJobs: KeyJobs;
  resolver: Pick<Resolver, 'resolve'>;
  /** Of this server, as other servers know it. */
  hostname: string;
  /** How it stands with each gateway. */
  gateways(): readonly GatewayState[];
  /** Begins an examination, of all without a mailbox. Throws ServerError 'not-allowed' while another task runs. */
  startDoctor(request: DoctorRequest): TaskState;
  backups: BackupTasks;
  findTask(id: string): TaskState | null;
  /** How far the background has come with opening all mail; null where it does not. */
  scrubState(): ReturnType<Accounts['scrubs']['state']> | null;
  keyringFile: string;
  keyringLock: KeyringLock;
  state(): ServerState;
  /** Reads the certificate files anew for connections from now on. Throws ServerError; then the old one stays. */
  reloadTls(): void;
  /** For organizations that are created without naming a key. */
  defaultKey: Readonly<{ provider: ProviderKind; rootKey: string }>;
}>;

/** One request that an operator can make: its checked input, and what it does. The answer is plain JSON. */
export type Operation<Schema extends z.ZodType, Answer> = Readonly<{
  input: Schema;
  run(input: z.output<Schema>, context: AdminContext, signal: AbortSignal): Answer | Promise<Answer>;
}>;

export function operation<Schema extends z.ZodType, Answer>(
  input: Schema,
  run: Operation<Schema, Answer>['run'],
): Operation<Schema, Answer> {
  return { input, run };
}

/** The organization meant by an id or name; the only one when none is named. Throws ServerError 'not-found', 'not-allowed'. */
export async function organizationOf(
  named: string | undefined,
  context: AdminContext,
  signal: AbortSignal,
): Promise<Organization> {
  const { organizations } = context.accounts;
  if (named !== undefined) {
    const found = await organizations.find(named, signal);
    if (!found) throw notFound(`There is no organization ${named}. See: sealpost org list${await sealedHint(context)}`);
    return found;
  }
  const all = await organizations.list(signal);
  const [only] = all;
  if (!only) throw notFound('There is no organization yet. Create one first: sealpost org create NAME');
  if (all.length > 1) throw refused('There are several organizations: name one with --org. See: sealpost org list');
  return only;
}

/** A name that cannot be opened cannot be found either. */
async function sealedHint({ accounts }: AdminContext): Promise<string> {
  const isSealed = (await accounts.organizations.list()).some(({ name }) => name === null);
  return isSealed ? ' (while its key cannot be used, an organization is known by its id only)' : '';
}
