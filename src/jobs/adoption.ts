/**
 * Adoption in the background: mail that waited for the key of its mailbox goes into the INBOX when the key is back.
 *
 * AD1  One mailbox at a time, the longest waiting first; an organization whose keys cannot be had is asked again in the
 *      next round, and the key service is spared by its own circuit breaker (keys/provider-calls.ts).
 * AD2  A message that does not open is told to the log once in a process, and stays.
 *
 * Made by app.ts.
 */
import type { WaitingMailboxes } from '../accounts/waiting-mailboxes.ts';
import { ServerError } from '../base/errors.ts';
import type { MailboxId, OrganizationId } from '../base/ids.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import type { Principal } from '../mailbox/model.ts';
import type { Logger } from '../observe/logger.ts';
import { Rounds } from './rounds.ts';

type AdoptionDeps = Readonly<{
  waitingMailboxes: Pick<WaitingMailboxes, 'list' | 'strike'>;
  mailboxes: Pick<Mailboxes, 'open'>;
  logger: Logger;
  /** Between two rounds. */
  everyMs: number;
}>;

const PRINCIPAL: Principal = { protocol: 'job', name: 'adoption' };

export class Adoption implements AsyncDisposable {
  readonly #deps: AdoptionDeps;
  readonly #rounds: Rounds;
  readonly #told = new Set<MailboxId>();
  /** By mailbox: one after the other. */
  readonly #soon = new Map<MailboxId, Promise<boolean>>();

  constructor(deps: AdoptionDeps) {
    this.#deps = deps;
    this.#rounds = new Rounds({
      everyMs: deps.everyMs,
      round: (signal) => this.#adoptAll(signal),
      onFailure: (error) => {
        deps.logger.error('adoption failed', { error });
      },
    });
  }

  /** Adopts what waits in one mailbox, without being waited for: it was kept though its key may be at hand. */
  adoptSoon(ref: MailboxRef): void {
    if (this.#rounds.signal.aborted) return;
    const before = this.#soon.get(ref.mailbox) ?? Promise.resolve(true);
    const adopted = before.then(() => this.#adopt(ref, this.#rounds.signal));
    this.#soon.set(ref.mailbox, adopted);
    void adopted.finally(() => {
      if (this.#soon.get(ref.mailbox) === adopted) this.#soon.delete(ref.mailbox);
    });
  }

  /** One round over all mailboxes that have waiting mail. Does not throw. */
  run(): Promise<void> {
    return this.#rounds.run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rounds[Symbol.asyncDispose]();
    await Promise.all(this.#soon.values());
  }

  async #adoptAll(signal: AbortSignal): Promise<void> {
    const away = new Set<OrganizationId>();
    for (const { ref } of this.#deps.waitingMailboxes.list()) {
      if (signal.aborted) return;
      if (!away.has(ref.organization) && !(await this.#adopt(ref, signal))) away.add(ref.organization);
    }
  }

  /** False while the keys of its organization cannot be had. */
  async #adopt(ref: MailboxRef, signal: AbortSignal): Promise<boolean> {
    const { mailboxes, waitingMailboxes, logger } = this.#deps;
    const { organization, mailbox: id } = ref;
    try {
      using mailbox = await mailboxes.open(ref, PRINCIPAL, signal);
      const { adoptedCount, leftCount } = await mailbox.adoptWaiting(signal);
      if (!mailbox.hasWaiting) waitingMailboxes.strike(ref);
      if (adoptedCount > 0) logger.info('mail that waited for its key was adopted', { mailbox: id, adoptedCount });
      if (leftCount > 0 && !this.#told.has(id)) {
        this.#told.add(id);
        logger.error('mail that waited for its key does not open', { organization, mailbox: id, leftCount });
      }
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const isKey = error instanceof ServerError && error.code.startsWith('key-');
      if (!isKey) logger.warn('mail that waits for its key could not be adopted', { mailbox: id, error });
      return !isKey;
    }
  }
}
