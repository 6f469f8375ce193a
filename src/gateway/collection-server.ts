/**
 * Where the main server collects the mail that this gateway took in, and brings its roster: HTTPS, on a listener of its own.
 *
 * CS1  Nothing is answered but to who shows the bearer text of the ticket; the certificate is the ticket's.
 * CS2  A message is dropped only when it is asked for by its id, by who has it on disk.
 * CS3  When a roster with a new epoch of a mailbox was answered, no mail is kept under an older one any more.
 *
 *   GET    /v1/roster                       {"version": text or null}
 *   PUT    /v1/roster/VERSION               lines.ts, RosterLine by line
 *   GET    /v1/held                         {"mailboxes": [id, ..]}: those with mail, the longest waiting first
 *   GET    /v1/held/MAILBOX?after=ID        the next message: a line, then its sealed body; 204 when there is none
 *   DELETE /v1/held/MAILBOX/MESSAGE         drops it
 *
 * Made by gateway-app.ts.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WaitingMailboxes } from '../accounts/waiting-mailboxes.ts';
import { ServerError } from '../base/errors.ts';
import { mailboxId, messageId, organizationId, type MailboxId, type MessageId } from '../base/ids.ts';
import type { GatewayKeys } from '../crypto/gateway-secret.ts';
import type { Mailbox } from '../mailbox/mailbox.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import type { Principal } from '../mailbox/model.ts';
import type { Logger } from '../observe/logger.ts';
import { LineReader, lineOf, rosterLine, type RosterLine } from './lines.ts';
import type { Roster } from './roster.ts';

type CollectionServerDeps = Readonly<{
  tls: Readonly<{ cert: string; key: string }>;
  keys: GatewayKeys;
  roster: Roster;
  mailboxes: Pick<Mailboxes, 'openWithoutKey' | 'has'>;
  waiting: Pick<WaitingMailboxes, 'mailboxes' | 'strike'>;
  logger: Logger;
}>;
type Answer = (response: ServerResponse) => Promise<void>;

const PRINCIPAL: Principal = { protocol: 'gateway', name: 'collection' };
const CONNECTIONS_MAX_COUNT = 16;
const REQUEST_TIMEOUT_MS = 10 * 60_000;
const MAILBOXES_MAX_COUNT = 10_000;
const CLOSE_GRACE_MS = 2000;
/** Of a mailbox that left the roster: what waits there is passed on as it is, and its organization is not asked for. */
const NO_LONGER_KNOWN = organizationId('0'.repeat(32));

export class CollectionServer {
  readonly #deps: CollectionServerDeps;
  readonly #https: Server;

  constructor(deps: CollectionServerDeps) {
    this.#deps = deps;
    this.#https = createServer(
      { ...deps.tls, minVersion: 'TLSv1.3', requestTimeout: REQUEST_TIMEOUT_MS },
      (...pair) => {
        void this.#serve(...pair);
      },
    );
    this.#https.maxConnections = CONNECTIONS_MAX_COUNT;
  }

  /** Gives the port. Throws the error of an address that cannot be listened on. */
  async listen({ host, port }: Readonly<{ host: string | undefined; port: number }>): Promise<number> {
    const listening = Promise.withResolvers<void>();
    this.#https.once('error', listening.reject);
    this.#https.listen({ port, ...(host === undefined ? {} : { host }) }, listening.resolve);
    await listening.promise;
    return (this.#https.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    if (!this.#https.listening) return;
    const closed = Promise.withResolvers<void>();
    this.#https.close(() => {
      closed.resolve();
    });
    this.#https.closeIdleConnections();
    await Promise.race([closed.promise, sleep(CLOSE_GRACE_MS, undefined, { ref: false })]);
    this.#https.closeAllConnections();
    await closed.promise;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    try {
      const isKnown = this.#deps.keys.isBearer(/^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '');
      const answer = isKnown ? await this.#answer(method, url, request) : status(401);
      await answer(response);
    } catch (error) {
      const isTheirs = error instanceof ServerError && error.code === 'invalid-argument';
      if (!isTheirs) this.#deps.logger.error('collecting from this gateway failed', { error });
      if (response.headersSent)
        response.destroy(); // a body that breaks off
      else await status(isTheirs ? 400 : 500)(response);
    }
  }

  async #answer(method: string, url: string, request: IncomingMessage): Promise<Answer> {
    const { pathname, searchParams } = new URL(url, 'https://gateway');
    const [, version, what, ...rest] = pathname.split('/');
    const [first, second] = rest;
    if (version !== 'v1' || rest.length > 2) return status(404);
    const { roster, waiting } = this.#deps;
    switch (`${method} ${what ?? ''} ${String(rest.length)}`) {
      case 'GET roster 0':
        return json({ version: roster.state()?.version ?? null });
      case 'PUT roster 1':
        await this.#takeRoster(decodeURIComponent(first ?? ''), request);
        return status(204);
      case 'GET held 0':
        return json({ mailboxes: waiting.mailboxes(MAILBOXES_MAX_COUNT) });
      case 'GET held 1':
        return this.#next(checkedMailbox(first), Number(searchParams.get('after') ?? 0));
      case 'DELETE held 2':
        await this.#drop(checkedMailbox(first), checkedMessage(second));
        return status(204);
      default:
        return status(404);
    }
  }

  async #takeRoster(version: string, request: IncomingMessage): Promise<void> {
    const { roster, mailboxes, logger } = this.#deps;
    const moved = await roster.replace(version, rosterLines(request));
    for (const { ref, epoch } of moved) {
      if (!(await mailboxes.has(ref.mailbox))) continue;
      using mailbox = await mailboxes.openWithoutKey(ref, PRINCIPAL);
      await mailbox.handover.followEpoch(epoch); // CS3
    }
    logger.info('a new roster is in force', { version, movedCount: moved.length });
  }

  /** The mailbox stays open until the answer is sent. */
  async #next(id: MailboxId, after: number): Promise<Answer> {
    const mailbox = await this.#open(id);
    const waiting = mailbox?.handover.next(after) ?? null;
    const handed = waiting && mailbox?.handover.handed(waiting);
    if (!mailbox || !waiting || !handed) {
      if (mailbox && !mailbox.hasWaiting) this.#deps.waiting.strike(mailbox.ref);
      mailbox?.[Symbol.dispose]();
      return status(204);
    }
    const { message, epoch, body, sizeBytes, savedAtMs, isJunk, sealedKey, commitment, sealedSummary } = handed;
    const about = { id: waiting.id, message, epoch, body, sizeBytes, savedAtMs, isJunk };
    const row = { ...about, sealedKey, commitment, sealedSummary };
    return async (response) => {
      using open = mailbox;
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      response.write(lineOf(row));
      await pipeline(open.handover.sealedBody(waiting), response);
    };
  }

  async #drop(id: MailboxId, message: MessageId): Promise<void> {
    using mailbox = await this.#open(id);
    const waiting = mailbox?.handover.find(message);
    if (!mailbox || !waiting) return; // it is gone already
    await mailbox.handover.drop(waiting);
    if (!mailbox.hasWaiting) this.#deps.waiting.strike(mailbox.ref);
  }

  /** Null where nothing was ever kept. */
  async #open(mailbox: MailboxId): Promise<Mailbox | null> {
    const { roster, mailboxes } = this.#deps;
    if (!(await mailboxes.has(mailbox))) return null;
    const ref = roster.mailbox(mailbox)?.ref ?? { organization: NO_LONGER_KNOWN, mailbox };
    return mailboxes.openWithoutKey(ref, PRINCIPAL);
  }
}

async function* rosterLines(request: IncomingMessage): AsyncGenerator<RosterLine> {
  const reader = new LineReader(request);
  for (let line = await reader.line(); line !== null; line = await reader.line()) yield rosterLine(line);
}

const checkedMailbox = (text = ''): MailboxId => checked(() => mailboxId(text));
const checkedMessage = (text = ''): MessageId => checked(() => messageId(text));

function checked<Id>(make: () => Id): Id {
  try {
    return make();
  } catch (cause) {
    throw new ServerError('invalid-argument', { clientText: 'Not an id', cause });
  }
}

function json(value: object): Answer {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    return Promise.resolve();
  };
}

function status(code: number): Answer {
  return (response) => {
    response.writeHead(code).end();
    return Promise.resolve();
  };
}
