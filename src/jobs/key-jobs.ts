/**
 * Changes of keys in the background: an organization goes to another root key, mailbox keys are rotated.
 *
 * J1  One change at a time in an organization; asking for the one that runs joins it.
 * J2  What is left to do is in the wrapped keys, not here: after a restart the same request goes on with it.
 * J3  The organization's own root key is changed last, in a statement that finds every key under the new one. Only
 *     where keys are made as fast as they are moved it is changed before the last few: those follow at once.
 * J4  A key that does not come through (damage, a mailbox that is suspended) is left as it was and reported, and the
 *     others go on; a key service that refuses or does not answer ends the change.
 *
 * Made by app.ts; asked by admin/.
 */
import type { Organizations } from '../accounts/organizations.ts';
import { ServerError } from '../base/errors.ts';
import { randomHexId, type MailboxId, type OrganizationId } from '../base/ids.ts';
import type { KeyChangeState, RootKeyName, RootKeyTarget } from '../keys/key-changes.ts';
import type { KeyService } from '../keys/key-service.ts';
import type { WrappedKeyRow } from '../keys/mailbox-keys.ts';
import { explainedRefusal } from '../keys/root-key-refusals.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import type { RotationRequest } from '../mailbox/rotate.ts';
import type { Logger } from '../observe/logger.ts';

type KeyJobsDeps = Readonly<{
  organizations: Organizations;
  keys: KeyService;
  mailboxes: Mailboxes;
  /** Takes in what gateways hold for a mailbox under its older keys (mailbox/rotate.ts). */
  takeInRest?: RotationRequest['takeInRest'];
  logger: Logger;
}>;
type Progress = {
  state: KeyChangeState['state'];
  unit: KeyChangeState['unit'];
  doneCount: number;
  totalCount: number;
  messagesCount: number;
  isResumed: boolean;
  failure: string | null;
};
type Scope = Readonly<{ organization: OrganizationId; mailbox: MailboxId | null }>;
type Job = Scope &
  Readonly<{ id: string; kind: KeyChangeState['kind']; target: RootKeyName | null; startedMs: number }> & {
    readonly progress: Progress;
    /** Of `progress.doneCount` when work began. */
    doneBeforeCount: number;
    endedMs: number | null;
    ended: Promise<void>;
  };

const PROTOCOL = 'admin';
const REMEMBERED_MAX_COUNT = 100;
/** Keys moved at a time: each waits for the key service three times. */
const MOVES_AT_A_TIME_COUNT = 4;
/** Keys made meanwhile need another pass. After these passes so many of them are not waited for (J3). */
const PATIENT_PASSES_COUNT = 3;
const STRAGGLERS_MAX_COUNT = 100;
/** A service whose wrappings never count as new would need no end of passes. */
const PASSES_MAX_COUNT = 20;

const FAILED: Readonly<Record<KeyChangeState['kind'], string>> = {
  move: 'keys could not be moved and stay where they were',
  rotate: 'mailbox keys could not be rotated',
  second: 'keys could not be wrapped a second time',
  verify: 'wrapped keys do not open',
};

export class KeyJobs {
  readonly #deps: KeyJobsDeps;
  /** Oldest first. */
  readonly #jobs = new Map<string, Job>();
  readonly #closing = new AbortController();

  constructor(deps: KeyJobsDeps) {
    this.#deps = deps;
  }

  /**
   * Begins, or goes on, to move every key of an organization under another root key; under the newest version of its
   * own when `target` is that. Throws ServerError 'not-allowed' while another change of its keys runs, 'not-found'.
   */
  move(organization: OrganizationId, target: RootKeyName): KeyChangeState {
    this.#deps.organizations.rootKey(organization);
    const scope = { kind: 'move', organization, mailbox: null, target } as const;
    return this.#start(scope, 'keys', (job) => this.#move(job, target));
  }

  /** Begins, or goes on, to rotate the key of one mailbox, or of all. Throws as `move`. */
  rotate({ organization, mailbox }: Scope): KeyChangeState {
    this.#deps.organizations.rootKey(organization);
    const scope = { kind: 'rotate', organization, mailbox, target: null } as const;
    if (mailbox === null) return this.#start(scope, 'mailboxes', (job) => this.#rotateAll(job));
    return this.#start(scope, 'messages', async (job) => {
      job.progress.isResumed = this.#deps.keys.changes.rotating(organization).includes(mailbox);
      await this.#rotate(job, mailbox, ({ doneCount, totalCount }) =>
        Object.assign(job.progress, { doneCount, totalCount }),
      );
    });
  }

  /**
   * Begins, or goes on, to wrap every key of an organization under a second root key too; new keys are from the start.
   * Throws ServerError as `move`, and 'not-allowed' for the root key that is its first.
   */
  addSecond(organization: OrganizationId, target: RootKeyName): KeyChangeState {
    this.#deps.organizations.rootKey(organization);
    return this.#start({ kind: 'second', organization, mailbox: null, target }, 'keys', (job) =>
      this.#addSecond(job, target),
    );
  }

  /** Opens every wrapped key of an organization under each root key that wraps it, and compares. Throws as `move`. */
  verify(organization: OrganizationId): KeyChangeState {
    this.#deps.organizations.rootKey(organization);
    return this.#start({ kind: 'verify', organization, mailbox: null, target: null }, 'keys', (job) =>
      this.#verify(job),
    );
  }

  /** A change by its id; null when it was long ago, or in a process before this one. */
  find(id: string): KeyChangeState | null {
    const job = this.#jobs.get(id);
    return job ? stateOf(job) : null;
  }

  /** Has what runs stop at its next step, and waits for it. */
  async close(): Promise<void> {
    this.#closing.abort(new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true }));
    await Promise.all([...this.#jobs.values()].map((job) => job.ended));
  }

  #start(
    scope: Pick<Job, 'kind' | 'organization' | 'mailbox' | 'target'>,
    unit: KeyChangeState['unit'],
    work: (job: Job) => Promise<void>,
  ): KeyChangeState {
    this.#closing.signal.throwIfAborted();
    const running = [...this.#jobs.values()].find(
      (job) => job.progress.state === 'running' && job.organization === scope.organization,
    );
    if (running && isSame(running, scope)) return stateOf(running); // J1
    if (running) {
      throw new ServerError('not-allowed', {
        clientText: 'Another change of the keys of this organization is under way.',
      });
    }
    const progress: Progress = {
      state: 'running',
      unit,
      doneCount: 0,
      totalCount: 0,
      messagesCount: 0,
      isResumed: false,
      failure: null,
    };
    const timing = { startedMs: performance.now(), endedMs: null, doneBeforeCount: 0, ended: Promise.resolve() };
    const job: Job = { ...scope, id: randomHexId(), progress, ...timing };
    this.#jobs.set(job.id, job);
    const [oldest] = this.#jobs.values();
    if (oldest && oldest.progress.state !== 'running' && this.#jobs.size > REMEMBERED_MAX_COUNT)
      this.#jobs.delete(oldest.id);
    job.ended = this.#run(job, work);
    return stateOf(job);
  }

  async #run(job: Job, work: (job: Job) => Promise<void>): Promise<void> {
    const { logger } = this.#deps;
    const { id, kind, organization, mailbox, progress } = job;
    logger.info('change of keys', { id, kind, organization, mailbox });
    try {
      await work(job);
      progress.state = 'done';
    } catch (error) {
      const explained = explainedRefusal(error);
      progress.failure =
        explained instanceof ServerError ? explained.clientText : 'The server failed. Its log says why.';
      progress.state = 'failed';
      logger.error('change of keys failed', { id, kind, organization, mailbox, error });
    }
    job.endedMs = performance.now();
    const { state, doneCount, messagesCount } = progress;
    logger.info('change of keys ended', { id, kind, organization, mailbox, state, doneCount, messagesCount });
  }

  async #move(job: Job, named: RootKeyName): Promise<void> {
    const { organization, progress } = job;
    const { keys, organizations } = this.#deps;
    const { signal } = this.#closing;
    const use = { purpose: 'move-keys', protocol: PROTOCOL };
    const target = await keys.changes.target(named, { use, signal });
    const scope = { organization, provider: target.provider, rootKey: target.rootKey };
    const grant = keys.grants.current(scope);
    if (!grant || grant.providerGrant === 'pending') await keys.grants.create(scope, use, signal);
    for (let passes = 1; passes <= PASSES_MAX_COUNT; passes += 1) {
      const rows = keys.changes.unmoved(organization, target);
      progress.totalCount = keys.listKeys(organization).length;
      progress.doneCount = progress.totalCount - rows.length;
      if (passes === 1) job.doneBeforeCount = progress.doneCount;
      progress.isResumed ||= passes === 1 && progress.doneCount > 0 && rows.length > 0;
      const othersMaxCount = passes > PATIENT_PASSES_COUNT ? STRAGGLERS_MAX_COUNT : 0;
      const isChanged = await organizations.setRootKey(organization, { ...target, othersMaxCount }); // J3
      if (isChanged && rows.length === 0) return;
      await this.#moveRows(job, target, rows);
    }
    throw new ServerError('key-unavailable', {
      clientText: 'Keys were made faster than they could be moved. Run the command again.',
      retryable: true,
    });
  }

  async #addSecond(job: Job, named: RootKeyName): Promise<void> {
    const { organization, progress } = job;
    const { keys, organizations } = this.#deps;
    const { changes } = keys;
    const { signal } = this.#closing;
    const use = { purpose: 'second-root-key', protocol: PROTOCOL };
    const target = await changes.target(named, { use, signal });
    const { provider, rootKey } = target;
    const first = organizations.rootKey(organization);
    if (first.provider === provider && first.rootKey === rootKey) {
      throw new ServerError('not-allowed', { clientText: 'This is the first root key already. Name another one.' });
    }
    const grant = keys.grants.current({ organization, provider, rootKey });
    if (!grant || grant.providerGrant === 'pending') {
      await keys.grants.create({ organization, provider, rootKey }, use, signal);
    }
    await changes.setSecondRootKey(organization, { provider, rootKey });
    const rows = changes.lackingSecond(organization, { provider, rootKey });
    progress.totalCount = changes.rows(organization).length;
    progress.doneCount = progress.totalCount - rows.length;
    job.doneBeforeCount = progress.doneCount;
    progress.isResumed = progress.doneCount > 0 && rows.length > 0;
    await this.#eachRow(job, rows, (row) => changes.addSecond(row, { provider, rootKey }, { use, signal }));
  }

  async #verify(job: Job): Promise<void> {
    const { signal } = this.#closing;
    const { keys, organizations } = this.#deps;
    const rows = keys.changes.rows(job.organization);
    job.progress.totalCount = rows.length;
    const use = { purpose: 'verify-keys', protocol: PROTOCOL };
    let failedCount = 0;
    const verify = async (row: WrappedKeyRow): Promise<void> => {
      try {
        await keys.changes.verify(row, { use, signal });
      } catch (error) {
        failedCount += 1;
        throw error;
      }
    };
    try {
      await this.#eachRow(job, rows, verify);
    } finally {
      if (failedCount + job.progress.doneCount > 0) organizations.noteVerified(job.organization, failedCount);
    }
  }

  async #moveRows(job: Job, target: RootKeyTarget, rows: readonly WrappedKeyRow[]): Promise<void> {
    const { signal } = this.#closing;
    const use = { purpose: 'move-keys', protocol: PROTOCOL };
    await this.#eachRow(job, rows, (row) => this.#deps.keys.changes.move(row, target, { use, signal }));
  }

  /** `work` on each row, some at a time (J4). */
  async #eachRow(job: Job, rows: readonly WrappedKeyRow[], work: (row: WrappedKeyRow) => Promise<void>): Promise<void> {
    const { signal } = this.#closing;
    const failures: ServerError[] = [];
    const waiting = [...rows];
    const worker = async (): Promise<void> => {
      for (let row = waiting.shift(); row; row = waiting.shift()) {
        signal.throwIfAborted();
        try {
          await work(row);
          job.progress.doneCount += 1;
        } catch (error) {
          if (!isOfOneKey(error)) {
            waiting.length = 0; // for the other workers too
            throw error;
          }
          failures.push(error);
        }
      }
    };
    const ended = await Promise.allSettled(Array.from({ length: MOVES_AT_A_TIME_COUNT }, worker));
    const broken = ended.find((each) => each.status === 'rejected');
    if (broken) throw broken.reason;
    throwIfAny(failures, FAILED[job.kind]);
  }

  async #rotateAll(job: Job): Promise<void> {
    const { organization, progress } = job;
    const { changes } = this.#deps.keys;
    progress.isResumed = changes.rotating(organization).length > 0;
    if (!progress.isResumed) await changes.retireMailboxKeys(organization);
    const mailboxes = changes.rotating(organization);
    progress.totalCount = mailboxes.length;
    const isLeft = (mailbox: MailboxId): boolean => changes.rotating(organization).includes(mailbox); // not deleted
    const failures: ServerError[] = [];
    for (const mailbox of mailboxes) {
      try {
        if (isLeft(mailbox)) await this.#rotate(job, mailbox);
        progress.doneCount += 1;
      } catch (error) {
        if (!isLeft(mailbox)) progress.doneCount += 1;
        else if (isOfOneKey(error)) failures.push(error);
        else throw error;
      }
    }
    throwIfAny(failures, FAILED[job.kind]);
  }

  async #rotate(
    job: Job,
    id: MailboxId,
    onProgress: (progress: Readonly<{ doneCount: number; totalCount: number }>) => void = () => undefined,
  ): Promise<void> {
    const { signal } = this.#closing;
    const { organization } = job;
    const { mailboxes, organizations, takeInRest } = this.#deps;
    using mailbox = await mailboxes.open({ organization, mailbox: id }, { protocol: PROTOCOL }, signal);
    const rootKey = organizations.rootKey(organization);
    const { messagesCount } = await mailbox.rotateKey({ rootKey, onProgress, takeInRest }, signal);
    job.progress.messagesCount += messagesCount;
  }
}

function isSame(job: Job, scope: Pick<Job, 'kind' | 'mailbox' | 'target'>): boolean {
  const isSameTarget = job.target?.provider === scope.target?.provider && job.target?.rootKey === scope.target?.rootKey;
  return job.kind === scope.kind && job.mailbox === scope.mailbox && isSameTarget;
}

/** J4. */
function isOfOneKey(error: unknown): error is ServerError {
  return error instanceof ServerError && ['key-mismatch', 'content-damaged', 'suspended'].includes(error.code);
}

function throwIfAny(failures: readonly ServerError[], what: string): void {
  const [first] = failures;
  if (!first) return;
  throw new ServerError(first.code, {
    clientText: `${String(failures.length)} ${what}, all others did. The first: ${first.clientText}`,
    cause: first,
  });
}

function stateOf(job: Job): KeyChangeState {
  const { id, kind, organization, mailbox, progress } = job;
  const elapsedMs = Math.round((job.endedMs ?? performance.now()) - job.startedMs);
  const ratePerSecond = ((progress.doneCount - job.doneBeforeCount) / Math.max(1, elapsedMs)) * 1000;
  const leftCount = progress.totalCount - progress.doneCount;
  const remainingMs = ratePerSecond > 0 ? Math.round((leftCount / ratePerSecond) * 1000) : null;
  return {
    id,
    kind,
    organization,
    mailbox,
    ...progress,
    elapsedMs,
    ratePerSecond: Math.round(ratePerSecond),
    remainingMs: progress.state === 'running' ? remainingMs : 0,
  };
}
