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
import { Rounds } from './rounds.ts';

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
  readonly #rounds: Rounds;

  constructor(deps: KeyVerificationDeps) {
    this.#deps = deps;
    this.#rounds = new Rounds({
      everyMs: deps.everyMs,
      round: (signal) => this.#verifyDue(signal),
      onFailure: (error) => {
        deps.logger.error('the verification of keys failed', { error });
      },
    });
  }

  /** Verifies what is due. Does not throw. */
  run(): Promise<void> {
    return this.#rounds.run();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#rounds[Symbol.asyncDispose]();
  }

  async #verifyDue(signal: AbortSignal): Promise<void> {
    const { organizations, intervalMs, nowMs } = this.#deps;
    if (intervalMs === 0) return;
    for (const { id, atMs } of organizations.verifications()) {
      if (atMs === null || nowMs() - atMs >= intervalMs) await this.#verify(id, signal);
    }
  }

  async #verify(organization: OrganizationId, signal: AbortSignal): Promise<void> {
    const { keys, organizations, logger, pauseMs } = this.#deps;
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
