/**
 * The doctor: looks through directory and mailboxes for everything that is wrong, says so, and mends what can be mended.
 *
 * DR1  Nothing is thrown away: what does not open is kept and named (store/mend.ts, MD1).
 * DR2  A mailbox whose key cannot be had is said to be unexamined, not to be well.
 * DR3  What a mending has mended is looked at once more before it is said so.
 *
 * Made by app.ts; asked by admin/, or by the command line while no server runs.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DirectoryExamination } from '../accounts/examine.ts';
import type { Scrubs } from '../accounts/scrubs.ts';
import type { WaitingMailboxes } from '../accounts/waiting-mailboxes.ts';
import { Slice } from '../base/abort.ts';
import { ServerError } from '../base/errors.ts';
import { FAULTS_MAX_COUNT, type DoctorReport, type Fault } from '../base/fault.ts';
import type { OrganizationId } from '../base/ids.ts';
import type { OnProgress } from '../base/task.ts';
import type { AuditLog } from '../keys/audit-log.ts';
import type { KeyService } from '../keys/key-service.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Mailbox } from '../mailbox/mailbox.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';

type DoctorDeps = Readonly<{
  directory: DirectoryExamination;
  mailboxes: Mailboxes;
  /** Holds one folder for each mailbox. */
  mailboxesFolder: string;
  scrubs: Scrubs;
  waitingMailboxes: WaitingMailboxes;
  keys: KeyService;
  audit: AuditLog;
  nowMs(): number;
}>;
type DoctorRequest = Readonly<{
  /** Null: everything. */
  mailbox: MailboxRef | null;
  isRepair: boolean;
  /** Opens every message. */
  isDeep: boolean;
}>;
type FoundFault = DoctorReport['faults'][number];

const USE = { purpose: 'examine', protocol: 'admin', principal: 'doctor' };
const PRINCIPAL = { protocol: 'admin', name: 'doctor' };
const TOLD: readonly string[] = ['suspended', 'content-damaged'];
const MAILBOX_FOLDER = /^[0-9a-f]{32}$/;

/** One examination. Throws ServerError 'storage-*'. */
export async function examine(
  deps: DoctorDeps,
  request: DoctorRequest,
  follow: Readonly<{ onProgress: OnProgress; signal: AbortSignal }>,
): Promise<DoctorReport> {
  const report = new Report();
  const refs = request.mailbox ? [request.mailbox] : deps.directory.mailboxes();
  follow.onProgress({ doneCount: 0, totalCount: refs.length });
  if (!request.mailbox) await examineDirectory(deps, report, follow.signal);
  for (const [index, ref] of refs.entries()) {
    follow.signal.throwIfAborted();
    await examineMailbox(deps, { request, ref, report }, follow.signal);
    follow.onProgress({ doneCount: index + 1, totalCount: refs.length });
  }
  return report.result(refs.length);
}

class Report {
  messagesCount = 0;
  readonly #faults: FoundFault[] = [];
  readonly #unexamined: { subject: string; reason: string }[] = [];
  #count = 0;

  add(subject: string, faults: readonly Fault[]): void {
    this.#count += faults.length;
    const room = FAULTS_MAX_COUNT - this.#faults.length;
    for (const fault of faults.slice(0, Math.max(0, room))) this.#faults.push({ subject, ...fault });
  }

  /** Takes a key that cannot be had, and damage that leaves nothing to examine. Throws every other error (DR2). */
  unexamined(subject: string, error: unknown): void {
    const isTold = error instanceof ServerError && (error.code.startsWith('key-') || TOLD.includes(error.code));
    if (!isTold) throw error;
    this.#unexamined.push({ subject, reason: error.clientText });
  }

  result(mailboxesCount: number): DoctorReport {
    return {
      mailboxesCount,
      messagesCount: this.messagesCount,
      faults: this.#faults,
      unnamedCount: this.#count - this.#faults.length,
      unexamined: this.#unexamined,
    };
  }
}

async function examineDirectory(deps: DoctorDeps, report: Report, signal: AbortSignal): Promise<void> {
  report.add('directory', await deps.directory.faults());
  const verdict = await deps.audit.verify(null, signal);
  if (verdict.kind === 'broken') {
    const where = `entry ${String(verdict.rowId)}`;
    report.add('directory', [{ what: `the key audit is broken: ${verdict.reason}`, where, remedy: 'by-hand' }]);
  }
  report.add('directory', await folderFaults(deps));
  for (const organization of deps.directory.organizations()) {
    const subject = `organization ${organization}`;
    try {
      report.add('directory', await deps.directory.recordFaults(organization, signal));
    } catch (error) {
      report.unexamined(subject, error);
    }
    report.add('directory', await keyFaults(deps, organization, { report, signal }));
  }
}

/** Mailboxes without files that once had some, and files without a mailbox. */
async function folderFaults(deps: DoctorDeps): Promise<readonly Fault[]> {
  const refs = deps.directory.mailboxes();
  const known = new Set<string>(refs.map(({ mailbox }) => mailbox));
  const names = existsSync(deps.mailboxesFolder) ? await readdir(deps.mailboxesFolder) : [];
  const strays = names.filter((name) => !MAILBOX_FOLDER.test(name) || !known.has(name));
  const lost = refs.filter((ref) => !names.includes(ref.mailbox) && deps.scrubs.wasDone(ref));
  return [
    ...strays.map((where) => ({ what: 'a folder belongs to no mailbox', where, remedy: 'by-hand' }) as const),
    ...lost.map(
      ({ mailbox: where }) => ({ what: 'the files of a mailbox are gone', where, remedy: 'by-hand' }) as const,
    ),
  ];
}

async function keyFaults(
  { keys }: DoctorDeps,
  organization: OrganizationId,
  { report, signal }: Readonly<{ report: Report; signal: AbortSignal }>,
): Promise<readonly Fault[]> {
  const faults: Fault[] = [];
  for (const { owner, epoch } of keys.changes.rows(organization)) {
    const where = `key of ${owner}, epoch ${String(epoch)}`;
    try {
      await keys.changes.verify({ organization, owner, epoch }, { use: USE, signal });
    } catch (error) {
      const isDamage = error instanceof ServerError && ['key-mismatch', 'key-lost'].includes(error.code);
      if (isDamage) faults.push({ what: 'a wrapped key does not open', where, remedy: 'by-hand' });
      else report.unexamined(where, error);
      if (!isDamage) return faults; // the next one would not fare better
    }
  }
  return faults;
}

async function examineMailbox(
  deps: DoctorDeps,
  { request, ref, report }: Readonly<{ request: DoctorRequest; ref: MailboxRef; report: Report }>,
  signal: AbortSignal,
): Promise<void> {
  const subject = `mailbox ${ref.mailbox}`;
  if (!existsSync(join(deps.mailboxesFolder, ref.mailbox))) return; // nobody has used it yet, or see folderFaults
  let mailbox: Mailbox;
  try {
    mailbox = await deps.mailboxes.openWithoutKey(ref, PRINCIPAL);
  } catch (error) {
    if (!(error instanceof ServerError) || !['storage-failed', 'content-damaged'].includes(error.code)) throw error;
    report.add(subject, [{ what: 'the database cannot be opened', where: error.detail, remedy: 'by-hand' }]);
    return;
  }
  using opened = mailbox;
  report.add(subject, await structureFaults(opened, request, signal));
  try {
    report.add(subject, await waitingFaults(deps, opened, request));
    if (!request.isDeep) report.add(subject, opened.knownDamages());
    report.add(subject, await opened.nameFaults(signal));
    if (request.isDeep) await openAll(deps, { mailbox: opened, request, report }, signal);
  } catch (error) {
    report.unexamined(subject, error);
  }
}

async function structureFaults(mailbox: Mailbox, request: DoctorRequest, signal: AbortSignal): Promise<Fault[]> {
  const before = await mailbox.examine(signal);
  if (!request.isRepair || !before.some(({ remedy }) => remedy === 'mendable')) return [...before];
  await mailbox.mend(signal);
  const after = await mailbox.examine(signal);
  const isLeft = (fault: Fault): boolean =>
    after.some(({ what, where }) => what === fault.what && where === fault.where);
  const mended = before.filter((fault) => fault.remedy === 'mendable' && !isLeft(fault)); // DR3
  return [...mended.map((fault) => ({ ...fault, remedy: 'mended' as const })), ...after];
}

/** Mail that waits in a mailbox that is not noted would never be adopted. */
async function waitingFaults(
  { waitingMailboxes }: DoctorDeps,
  mailbox: Mailbox,
  { isRepair }: DoctorRequest,
): Promise<readonly Fault[]> {
  if (!mailbox.hasWaiting || waitingMailboxes.isNoted(mailbox.ref)) return [];
  if (isRepair) await waitingMailboxes.note(mailbox.ref, () => Promise.resolve());
  const remedy = isRepair ? 'mended' : 'mendable';
  return [{ what: 'mail waits for its key, and the directory does not know', where: 'mailbox', remedy }];
}

async function openAll(
  deps: DoctorDeps,
  { mailbox, request, report }: Readonly<{ mailbox: Mailbox; request: DoctorRequest; report: Report }>,
  signal: AbortSignal,
): Promise<void> {
  const slice = new Slice();
  const { isRepair } = request;
  const scrub = { pace: () => slice.pause(), isRepair, nowMs: deps.nowMs };
  const { faults, messagesCount } = await mailbox.openEverything(scrub, signal);
  report.messagesCount += messagesCount;
  report.add(`mailbox ${mailbox.ref.mailbox}`, faults);
  deps.scrubs.note(mailbox.ref, { atMs: deps.nowMs(), faultsCount: faults.length });
}
