/**
 * Collecting in the background: the main server brings each gateway its roster, and takes over the mail that waits there.
 *
 * CO1  A message is on disk here before its gateway drops it, and is taken in once, whichever of the two is killed when.
 * CO2  It is taken in as it is, sealed: no key is asked for. Then it is adopted like all mail that waits for its key.
 * CO3  What cannot be taken in (it is damaged, or its key is gone) stays at the gateway, is told to the log once, and holds
 *      up no other. So does mail for a mailbox that is not here: it was deleted, or the gateway is another server's.
 * CO4  `takeInRest` resolves when every gateway keeps mail of the mailbox under its newest key only, and none is left there
 *      under older ones: then a rotation may end.
 * CO5  One thing at a time is done with each gateway, and one that does not answer holds up no other; nor does a mailbox
 *      that gets mail without end hold up the other mailboxes of its gateway.
 *
 * Made by app.ts; asked by jobs/ through it.
 */
import type { Recipients } from '../accounts/recipients.ts';
import type { WaitingMailboxes } from '../accounts/waiting-mailboxes.ts';
import { raceAbort } from '../base/abort.ts';
import { ServerError } from '../base/errors.ts';
import { randomHexId, type Epoch, type MailboxId } from '../base/ids.ts';
import { blindIndex } from '../crypto/blind-index.ts';
import type { GatewayKeys } from '../crypto/gateway-secret.ts';
import type { KeyService } from '../keys/key-service.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Mailbox } from '../mailbox/mailbox.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import type { Principal } from '../mailbox/model.ts';
import type { Logger } from '../observe/logger.ts';
import { GatewayClient } from './client.ts';
import type { HeldMessage, RosterLine } from './lines.ts';
import { readTicket } from './ticket.ts';

type CollectionDeps = Readonly<{
  /** Files of the gateways' tickets. */
  tickets: readonly string[];
  recipients: Recipients;
  waitingMailboxes: Pick<WaitingMailboxes, 'note'>;
  mailboxes: Pick<Mailboxes, 'openWithoutKey'>;
  keys: Pick<KeyService, 'hasKey'>;
  /** Has what was taken in adopted soon. */
  adoptSoon(ref: MailboxRef): void;
  logger: Logger;
  /** Between two rounds. */
  everyMs: number;
}>;
/** How it stands with one gateway. Times in ms of the wall clock. */
type GatewayState = Readonly<{
  address: string;
  reachedAtMs: number | null;
  failure: string | null;
  takenInCount: number;
}>;
type Gateway = {
  readonly client: GatewayClient;
  readonly keys: GatewayKeys;
  /** CO5. */
  turn: Promise<unknown>;
  reachedAtMs: number | null;
  failure: string | null;
  takenInCount: number;
};

/** Messages of one mailbox that are taken in before the next one's. */
const TURN_MAX_COUNT = 500;
const PRINCIPAL: Principal = { protocol: 'gateway', name: 'collection' };

export class Collection implements AsyncDisposable {
  readonly #deps: CollectionDeps;
  readonly #gateways: readonly Gateway[];
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  /** In each version of a roster: after a restore the directory may count from an earlier number. */
  readonly #runId = randomHexId();
  /** Messages and mailboxes of what stays at a gateway. */
  readonly #told = new Set<string>();

  /** Throws ServerError for a ticket that cannot be read. */
  constructor(deps: CollectionDeps) {
    this.#deps = deps;
    this.#gateways = deps.tickets.map((file) => {
      const ticket = readTicket(file);
      const unknown = { reachedAtMs: null, failure: null, takenInCount: 0 };
      return { client: new GatewayClient(ticket), keys: ticket.keys, turn: Promise.resolve(), ...unknown };
    });
    this.#timer = setInterval(() => {
      void this.run();
    }, deps.everyMs).unref();
  }

  states(): readonly GatewayState[] {
    return this.#gateways.map(({ client, reachedAtMs, failure, takenInCount }) => {
      return { address: client.address, reachedAtMs, failure, takenInCount };
    });
  }

  /** One round with every gateway. Does not throw. */
  async run(): Promise<void> {
    await Promise.all(this.#gateways.map((gateway) => this.#inTurn(gateway, () => this.#round(gateway))));
  }

  /** CO4. Throws ServerError 'key-unavailable' while a gateway cannot be reached, or keeps what cannot be taken in. */
  takeInRest = async (newest: MailboxRef & Readonly<{ epoch: Epoch }>, signal?: AbortSignal): Promise<void> => {
    for (const gateway of this.#gateways) {
      const done = this.#inTurn(gateway, async () => {
        await this.#bringRoster(gateway); // from here on, what comes is under the newest key
        const { leftCount } = await this.#takeInSome(gateway, newest.mailbox, ({ epoch }) => epoch < newest.epoch);
        if (leftCount > 0) throw leftAt(gateway);
      });
      await raceAbort(done, signal);
    }
  };

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort(new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true }));
    await Promise.allSettled(this.#gateways.map(({ turn }) => turn));
    for (const { client, keys } of this.#gateways) {
      client[Symbol.dispose]();
      keys[Symbol.dispose]();
    }
  }

  #inTurn(gateway: Gateway, work: () => Promise<void>): Promise<void> {
    const done = gateway.turn.then(work);
    gateway.turn = done.catch(() => undefined);
    return done;
  }

  async #round(gateway: Gateway): Promise<void> {
    const { signal } = this.#closing;
    if (signal.aborted) return;
    const { logger } = this.#deps;
    const { address } = gateway.client;
    const before = gateway.failure;
    try {
      await this.#bringRoster(gateway);
      for (const mailbox of await gateway.client.heldMailboxes(signal)) {
        let count = 0;
        await this.#takeInSome(gateway, mailbox, () => (count += 1) <= TURN_MAX_COUNT);
      }
      if (before !== null) logger.info('collecting from a gateway goes on', { address });
      gateway.reachedAtMs = Date.now();
      gateway.failure = null;
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      gateway.failure = error instanceof ServerError ? error.clientText : 'The server failed. Its log says why.';
      if (gateway.failure !== before) logger.warn('collecting from a gateway failed', { address, error });
    }
  }

  async #bringRoster({ client, keys }: Gateway): Promise<void> {
    const { signal } = this.#closing;
    const version = `${this.#runId}.${String(this.#deps.recipients.version())}`;
    if ((await client.rosterVersion(signal)) === version) return;
    await client.putRoster(version, this.#roster(keys), signal);
  }

  async *#roster({ blindIndex: key }: GatewayKeys): AsyncGenerator<RosterLine> {
    let linesCount = 0;
    for await (const entry of this.#deps.recipients.all(this.#closing.signal)) {
      linesCount += 1;
      switch (entry.kind) {
        case 'domain':
          yield entry;
          break;
        case 'mailbox':
          yield { kind: 'mailbox', ...entry.ref, epoch: entry.epoch, publicKey: entry.publicKey };
          break;
        case 'recipient': {
          const { domain, foldedLocal, mailbox, isSuspended } = entry;
          const index = blindIndex(key, { kind: 'gateway-recipient', domain }, foldedLocal);
          yield { kind: 'recipient', domain, index, mailbox, isSuspended };
        }
      }
    }
    yield { kind: 'end', linesCount };
  }

  /** Takes in what a gateway holds of one mailbox, in order, while it `isWanted`; gives how many messages had to stay there. */
  async #takeInSome(
    gateway: Gateway,
    id: MailboxId,
    isWanted: (message: HeldMessage) => boolean,
  ): Promise<Readonly<{ leftCount: number }>> {
    const { client } = gateway;
    const ref = this.#deps.recipients.refOf(id);
    if (!ref) {
      const clientText = 'There is no such mailbox here.';
      this.#tell(client.address, { mailbox: id }, new ServerError('not-found', { clientText }));
      return { leftCount: 1 };
    }
    using mailbox = await this.#deps.mailboxes.openWithoutKey(ref, PRINCIPAL);
    let [after, leftCount, takenInCount] = [0, 0, 0];
    let dropped: Promise<void> = Promise.resolve(); // of the one before: while the next one comes
    try {
      for (;;) {
        using offered = await client.next(id, after, this.#closing.signal);
        if (!offered || !isWanted(offered.message)) break;
        const { message } = offered;
        after = message.id;
        const isTakenIn = await this.#takeIn(gateway, mailbox, offered);
        await dropped;
        if (isTakenIn) dropped = this.#drop(gateway, mailbox, message);
        dropped.catch(() => undefined); // it is told when it is waited for
        if (isTakenIn) takenInCount += 1;
        else leftCount += 1;
      }
    } finally {
      await dropped;
      gateway.takenInCount += takenInCount;
      if (takenInCount > 0) this.#deps.adoptSoon(ref);
    }
    return { leftCount };
  }

  /** False where it stays at the gateway (CO3). */
  async #takeIn(
    { client }: Gateway,
    { ref, handover }: Mailbox,
    { message, body }: Readonly<{ message: HeldMessage; body: AsyncIterable<Uint8Array> }>,
  ): Promise<boolean> {
    const { waitingMailboxes, keys } = this.#deps;
    try {
      if (!keys.hasKey({ ...ref, epoch: message.epoch })) throw keyGone(message.epoch);
      await waitingMailboxes.note(ref, () => handover.takeIn(message, body));
      return true;
    } catch (error) {
      const isOfMessage = error instanceof ServerError && ['content-damaged', 'key-lost'].includes(error.code);
      if (!isOfMessage) throw error;
      this.#tell(client.address, { mailbox: ref.mailbox, message: message.message }, error);
      return false;
    }
  }

  /** CO1. */
  async #drop({ client }: Gateway, { ref, handover }: Mailbox, { message }: HeldMessage): Promise<void> {
    await client.drop(ref.mailbox, message, this.#closing.signal);
    handover.forgetTakenIn(message);
  }

  #tell(address: string, of: Readonly<{ mailbox: MailboxId; message?: string }>, error: ServerError): void {
    const id = of.message ?? of.mailbox;
    if (this.#told.has(id)) return;
    this.#told.add(id);
    this.#deps.logger.error('mail cannot be taken in and stays at its gateway', { address, ...of, error });
  }
}

function keyGone(epoch: number): ServerError {
  const clientText = 'The key that the message is sealed to is gone.';
  return new ServerError('key-lost', { clientText, detail: `epoch ${String(epoch)} is gone` });
}

function leftAt({ client }: Gateway): ServerError {
  return new ServerError('key-unavailable', {
    clientText: `The gateway ${client.address} holds mail under the old key that cannot be taken in. See the log.`,
    retryable: true,
  });
}
