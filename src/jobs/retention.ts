/**
 * Shreds expunged messages whose days are over, where an organization keeps them for some.
 *
 * RJ1  A message goes within a round of the end of its days; what the operator shortens counts at once.
 * RJ2  Needs no key: what is sealed is destroyed unread.
 *
 * Made by app.ts.
 */
import type { Organizations } from '../accounts/organizations.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import type { Logger } from '../observe/logger.ts';
import { Rounds } from './rounds.ts';

type RetentionDeps = Readonly<{
  organizations: Pick<Organizations, 'retaining'>;
  mailboxes: Pick<Mailboxes, 'openWithoutKey' | 'has'>;
  logger: Logger;
  nowMs(): number;
  everyMs: number;
}>;

const PRINCIPAL = { protocol: 'job', name: 'retention' };

export class Retention implements AsyncDisposable {
  readonly #deps: RetentionDeps;
  readonly #rounds: Rounds;

  constructor(deps: RetentionDeps) {
    this.#deps = deps;
    this.#rounds = new Rounds({
      everyMs: deps.everyMs,
      round: (signal) => this.#shredDue(signal),
      onFailure: (error) => {
        deps.logger.error('shredding expunged mail failed', { error });
      },
    });
  }

  /** Shreds what is due. Does not throw. */
  run(): Promise<void> {
    return this.#rounds.run();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#rounds[Symbol.asyncDispose]();
  }

  async #shredDue(signal: AbortSignal): Promise<void> {
    for (const { ref, retentionMs } of this.#deps.organizations.retaining()) {
      signal.throwIfAborted();
      if (await this.#deps.mailboxes.has(ref.mailbox)) await this.#shred(ref, retentionMs);
    }
  }

  async #shred(ref: MailboxRef, retentionMs: number): Promise<void> {
    const { mailboxes, logger, nowMs } = this.#deps;
    try {
      using mailbox = await mailboxes.openWithoutKey(ref, PRINCIPAL);
      const count = await mailbox.shredRetained(nowMs() - retentionMs);
      if (count > 0) logger.info('expunged messages were shredded', { mailbox: ref.mailbox, count });
    } catch (error) {
      logger.error('expunged messages could not be shredded', { mailbox: ref.mailbox, error });
    }
  }
}
