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
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #told = new Set<MailboxId>();
  /** By mailbox: one after the other. */
  readonly #soon = new Map<MailboxId, Promise<boolean>>();
  #round: Promise<void> = Promise.resolve();
  #isRunning = false;

  constructor(deps: AdoptionDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => {
      if (!this.#isRunning) this.#round = this.run();
    }, deps.everyMs).unref();
  }

  /** Adopts what waits in one mailbox, without being waited for: it was kept though its key may be at hand. */
  adoptSoon(ref: MailboxRef): void {
    if (this.#closing.signal.aborted) return;
    const before = this.#soon.get(ref.mailbox) ?? Promise.resolve(true);
    const adopted = before.then(() => this.#adopt(ref));
    this.#soon.set(ref.mailbox, adopted);
    void adopted.finally(() => {
      if (this.#soon.get(ref.mailbox) === adopted) this.#soon.delete(ref.mailbox);
    });
  }

  /** One round over all mailboxes that have waiting mail. Does not throw. */
  async run(): Promise<void> {
    this.#isRunning = true;
    const away = new Set<OrganizationId>();
    try {
      for (const { ref } of this.#deps.waitingMailboxes.list()) {
        if (this.#closing.signal.aborted) return;
        if (!away.has(ref.organization) && !(await this.#adopt(ref))) away.add(ref.organization);
      }
    } catch (error) {
      this.#deps.logger.error('adoption failed', { error });
    } finally {
      this.#isRunning = false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort(new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true }));
    await this.#round;
    await Promise.all(this.#soon.values());
  }

  /** False while the keys of its organization cannot be had. */
  async #adopt(ref: MailboxRef): Promise<boolean> {
    const { mailboxes, waitingMailboxes, logger } = this.#deps;
    const { organization, mailbox: id } = ref;
    try {
      using mailbox = await mailboxes.open(ref, PRINCIPAL, this.#closing.signal);
      const { adoptedCount, leftCount } = await mailbox.adoptWaiting(this.#closing.signal);
      if (!mailbox.hasWaiting) waitingMailboxes.strike(ref);
      if (adoptedCount > 0) logger.info('mail that waited for its key was adopted', { mailbox: id, adoptedCount });
      if (leftCount > 0 && !this.#told.has(id)) {
        this.#told.add(id);
        logger.error('mail that waited for its key does not open', { organization, mailbox: id, leftCount });
      }
      return true;
    } catch (error) {
      if (this.#closing.signal.aborted) return false;
      const isKey = error instanceof ServerError && error.code.startsWith('key-');
      if (!isKey) logger.warn('mail that waits for its key could not be adopted', { mailbox: id, error });
      return !isKey;
    }
  }
}
