/**
 * Opens every wrapped key on a schedule, so that one that does not open any more is known while there is a remedy.
 *
 * KV1  Each key, and its second wrapping, is opened once in every interval, one after the other with a pause between: the
 *      key service notices little of it, and the mail nothing.
 * KV2  An organization whose key service cannot be reached, or refuses, is left for the next round: that is told by others.
 *
 * Made by app.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Organizations } from '../accounts/organizations.ts';
import { ServerError } from '../base/errors.ts';
import type { OrganizationId } from '../base/ids.ts';
import type { KeyService } from '../keys/key-service.ts';
import type { Logger } from '../observe/logger.ts';

type KeyVerificationDeps = Readonly<{
  organizations: Pick<Organizations, 'verifications' | 'noteVerified'>;
  keys: Pick<KeyService, 'changes'>;
  logger: Logger;
  nowMs(): number;
  /** Between two verifications of an organization. 0: never. */
  intervalMs: number;
  /** Between two looks for what is due. */
  everyMs: number;
  /** Between two keys. */
  pauseMs: number;
}>;

const USE = { purpose: 'verify-keys', protocol: 'job', principal: 'verification' };

export class KeyVerification implements AsyncDisposable {
  readonly #deps: KeyVerificationDeps;
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #round: Promise<void> = Promise.resolve();
  #isRunning = false;

  constructor(deps: KeyVerificationDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => {
      if (!this.#isRunning) this.#round = this.run();
    }, deps.everyMs).unref();
  }

  /** Verifies what is due. Does not throw. */
  async run(): Promise<void> {
    const { organizations, intervalMs, nowMs, logger } = this.#deps;
    if (intervalMs === 0) return;
    this.#isRunning = true;
    try {
      for (const { id, atMs } of organizations.verifications()) {
        if (atMs === null || nowMs() - atMs >= intervalMs) await this.#verify(id);
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) logger.error('the verification of keys failed', { error });
    } finally {
      this.#isRunning = false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort(new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true }));
    await this.#round;
  }

  async #verify(organization: OrganizationId): Promise<void> {
    const { keys, organizations, logger, pauseMs } = this.#deps;
    const { signal } = this.#closing;
    let failedCount = 0;
    for (const row of keys.changes.rows(organization)) {
      try {
        await keys.changes.verify(row, { use: USE, signal });
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        if (!['key-mismatch', 'key-lost'].includes(error.code)) return; // KV2
        failedCount += 1;
        logger.error('a wrapped key does not open', { organization, owner: row.owner, epoch: row.epoch, error });
      }
      await sleep(pauseMs, undefined, { signal });
    }
    organizations.noteVerified(organization, failedCount);
  }
}
