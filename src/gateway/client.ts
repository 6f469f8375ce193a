/**
 * The main server's way to one gateway: HTTPS to the address of its ticket, and to no other certificate than the ticket's.
 * The other end is collection-server.ts, which says what is asked.
 *
 * CL1  Every call ends within a time, or is cut; what is answered is bounded, but for bodies, which stream.
 *
 * Called by collection.ts.
 */
import { Agent, request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ServerError } from '../base/errors.ts';
import { mailboxId, type MailboxId, type MessageId } from '../base/ids.ts';
import type { GatewayKeys } from '../crypto/gateway-secret.ts';
import { heldMessage, LineReader, lineOf, malformed, type HeldMessage, type RosterLine } from './lines.ts';
import type { Ticket } from './ticket.ts';

/** A message on its way in; the caller reads `body` to its end, or ends the call by disposing it. */
type Offered = Disposable & Readonly<{ message: HeldMessage; body: AsyncIterable<Uint8Array> }>;

/** Without a byte in either direction. */
const SILENCE_MAX_MS = 30_000;
const JSON_MAX_BYTES = 1 << 20;
const CONNECTIONS_MAX_COUNT = 2;

export class GatewayClient implements Disposable {
  readonly address: string;
  readonly #agent: Agent;
  readonly #ticket: Ticket;
  readonly #authorization: string;

  constructor(ticket: Ticket & Readonly<{ keys: GatewayKeys }>) {
    this.address = ticket.address;
    this.#ticket = ticket;
    this.#authorization = `Bearer ${ticket.keys.bearerText()}`;
    this.#agent = new Agent({
      ca: ticket.certificatePem, // it signs itself, and nothing else is trusted
      checkServerIdentity: () => undefined, // the certificate is the identity, whatever the address
      minVersion: 'TLSv1.3',
      keepAlive: true,
      maxSockets: CONNECTIONS_MAX_COUNT,
    });
  }

  /** The version of the roster in force there; null before the first. */
  async rosterVersion(signal: AbortSignal): Promise<string | null> {
    const { version } = await this.#json('/v1/roster', signal);
    if (version !== null && typeof version !== 'string') throw malformed('version');
    return version;
  }

  /** Puts a roster in force there. */
  async putRoster(version: string, lines: AsyncIterable<RosterLine>, signal: AbortSignal): Promise<void> {
    const path = `/v1/roster/${encodeURIComponent(version)}`;
    drain(await this.#call({ method: 'PUT', path, expected: [204], signal, body: written(lines) }));
  }

  /** The mailboxes that mail waits for, the longest waiting first. */
  async heldMailboxes(signal: AbortSignal): Promise<readonly MailboxId[]> {
    const { mailboxes } = await this.#json('/v1/held', signal);
    if (!Array.isArray(mailboxes)) throw malformed('mailboxes');
    return mailboxes.map((id: unknown) => mailboxId(String(id)));
  }

  /** The next message of a mailbox after the one of number `after`; null when there is none. */
  async next(mailbox: MailboxId, after: number, signal: AbortSignal): Promise<Offered | null> {
    const path = `/v1/held/${mailbox}?after=${String(after)}`;
    const response = await this.#call({ method: 'GET', path, expected: [200, 204], signal });
    if (response.statusCode === 204) {
      drain(response);
      return null;
    }
    const reader = new LineReader(response);
    const cut = (): void => {
      if (!response.readableEnded) response.destroy();
    };
    try {
      const line = await reader.line();
      if (line === null) throw malformed('no message');
      return { message: heldMessage(line), body: this.#bodyOf(reader), [Symbol.dispose]: cut };
    } catch (error) {
      cut();
      throw error;
    }
  }

  /** Has the gateway drop a message that is on disk here. */
  async drop(mailbox: MailboxId, message: MessageId, signal: AbortSignal): Promise<void> {
    drain(await this.#call({ method: 'DELETE', path: `/v1/held/${mailbox}/${message}`, expected: [204], signal }));
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async *#bodyOf(reader: LineReader): AsyncGenerator<Uint8Array> {
    try {
      yield* reader.bytes();
    } catch (cause) {
      throw notReached(this.address, cause);
    }
  }

  async #json(path: string, signal: AbortSignal): Promise<Record<string, unknown>> {
    const response = await this.#call({ method: 'GET', path, expected: [200], signal });
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      if (sizeBytes > JSON_MAX_BYTES) throw malformed('an answer is too long');
      chunks.push(chunk);
    }
    try {
      const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
      return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
    } catch {
      throw malformed('an answer is not JSON');
    }
  }

  async #call(
    call: Readonly<{
      method: 'GET' | 'PUT' | 'DELETE';
      path: string;
      expected: readonly number[];
      signal: AbortSignal;
      body?: Readable;
    }>,
  ): Promise<IncomingMessage> {
    const { host, port } = this.#ticket;
    const { method, path, expected, signal, body } = call;
    const answered = Promise.withResolvers<IncomingMessage>();
    const headers = { authorization: this.#authorization, ...(method === 'DELETE' ? { 'content-length': 0 } : {}) };
    const request = httpsRequest({ host, port, method, path, headers, signal, agent: this.#agent }, answered.resolve);
    request.on('error', answered.reject);
    request.setTimeout(SILENCE_MAX_MS, () => request.destroy(new Error('no answer within the time')));
    try {
      if (body) await Promise.all([pipeline(body, request), answered.promise]);
      else request.end();
      const response = await answered.promise;
      if (expected.includes(response.statusCode ?? 0)) return response;
      response.destroy();
      throw new Error(`status ${String(response.statusCode)}`);
    } catch (cause) {
      signal.throwIfAborted();
      throw notReached(this.address, cause);
    }
  }
}

function notReached(address: string, cause: unknown): ServerError {
  const why = cause instanceof Error ? ('code' in cause ? String(cause.code) : cause.message) : 'unknown';
  return new ServerError('key-unavailable', {
    clientText: `The gateway ${address} does not answer as it should (${why}).`,
    retryable: true,
    cause,
  });
}

function written(lines: AsyncIterable<RosterLine>): Readable {
  return Readable.from(texts(lines), { objectMode: false });
}

async function* texts(lines: AsyncIterable<RosterLine>): AsyncGenerator<string> {
  for await (const line of lines) yield lineOf(line);
}

function drain(response: IncomingMessage): void {
  response.resume();
}
