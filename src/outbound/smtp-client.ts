/**
 * A session with a remote server, as its client: greeting, EHLO, STARTTLS, AUTH, and messages one after the other.
 *
 * SC1  Every wait for the remote has a limit of its own (RFC 5321 §4.5.3.2), in which it must get somewhere. After any
 *      failure of the session the socket is destroyed, not ended: a message that breaks off in the middle must not look
 *      whole.
 * SC2  What came before a TLS handshake counts for nothing after it. RFC 3207 §4.2.
 * SC3  Each recipient has a result of its own. One that was not answered may have been delivered, and is tried again:
 *      RFC 5321 §6.1 prefers two copies to none.
 * SC4  A recipient is `accepted` only by a reply of 2xx to the end of the data.
 *
 * Called by transmit.ts.
 */
import type { Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, TLSSocket } from 'node:tls';
import { DataEncoder } from './message-data.ts';
import { ReplyFault, ReplyReader, type Reply } from './reply.ts';
import { ANY_STAGE, earlyRefusal, SessionError, strayReply, type SessionFault } from './session-error.ts';

export type ClientTimeouts = Readonly<{
  /** For the greeting, and for replies to commands. */
  replyMs: number;
  /** For the next bytes of a message to be taken. */
  dataBlockMs: number;
  /** For the reply to the end of a message. */
  dataEndMs: number;
}>;

/** A message on its way: the parameters as they are sent, checked by the caller against `extensions`. */
export type Transaction = Readonly<{
  /** Reverse-path without brackets. */
  sender: string;
  mailParameters: readonly string[];
  recipients: readonly Readonly<{ address: string; parameters: readonly string[] }>[];
  /** Called at most once, when the remote asks for the data. */
  body(): AsyncIterable<Uint8Array>;
}>;

/** Of one recipient. `refused`: with a reply that was no 2xx. `lost`: the session ended before its answer came. */
export type Delivered = Readonly<
  { kind: 'accepted' | 'refused'; reply: Reply } | { kind: 'lost'; fault: SessionFault; stage: string }
>;

type Waiting = Readonly<{ resolve(reply: Reply): void; reject(failure: Error): void }>;

export class SmtpClient {
  #socket: Socket | TLSSocket;
  #reader = new ReplyReader();
  readonly #timeouts: ClientTimeouts;
  readonly #waiting: Waiting[] = [];
  readonly #early: Reply[] = []; // came before anything was asked
  #detach: () => void;
  #failure: SessionError | null = null;
  #extensions: ReadonlyMap<string, string> = new Map();

  /** Takes over a connected socket. */
  constructor(socket: Socket | TLSSocket, timeouts: ClientTimeouts) {
    this.#socket = socket;
    this.#timeouts = timeouts;
    this.#detach = this.#listen(socket);
  }

  /** By keyword in capitals, with their parameters. Empty after HELO. */
  get extensions(): ReadonlyMap<string, string> {
    return this.#extensions;
  }

  get isUsable(): boolean {
    return this.#failure === null;
  }

  /** The socket, once it is encrypted. */
  get tls(): TLSSocket | null {
    return this.#socket instanceof TLSSocket ? this.#socket : null;
  }

  /** Greeting and EHLO, or HELO where EHLO is not known. Throws SessionError. */
  async greet(name: string): Promise<void> {
    const early = this.#early.shift();
    const greeting = early ?? (await this.#within(this.#expect(), this.#timeouts.replyMs, 'greeting'));
    if (greeting.code !== 220) throw this.#fail(new SessionError('refused', 'greeting', greeting));
    await this.hello(name);
  }

  async hello(name: string): Promise<void> {
    const ehlo = await this.#command(`EHLO ${name}`, 'EHLO');
    if (ehlo.code === 250) {
      this.#extensions = new Map(ehlo.lines.slice(1).map(extensionOf));
      return;
    }
    this.#extensions = new Map();
    if (ehlo.code < 500 || ehlo.code === 521 || ehlo.code === 554) {
      throw this.#fail(new SessionError('refused', 'EHLO', ehlo));
    }
    const helo = await this.#command(`HELO ${name}`, 'HELO');
    if (helo.code !== 250) throw this.#fail(new SessionError('refused', 'HELO', helo));
  }

  /**
   * STARTTLS and EHLO under it. Throws SessionError, fault 'tls' when the handshake fails or `isTrusted` says no: then
   * nothing was said under it.
   */
  async startTls(name: string, options: ConnectionOptions, isTrusted: (socket: TLSSocket) => boolean): Promise<void> {
    const ready = await this.#command('STARTTLS', 'STARTTLS');
    if (ready.code !== 220) throw this.#fail(new SessionError('refused', 'STARTTLS', ready));
    if (this.#early.length > 0) throw this.#fail(new SessionError('not-smtp', 'STARTTLS')); // SC2
    const plain = this.#socket;
    this.#detach();
    this.#reader = new ReplyReader();
    this.#extensions = new Map();
    const secured = Promise.withResolvers<undefined>();
    const socket = connectTls({ ...options, socket: plain }, () => {
      secured.resolve(undefined);
    });
    this.#socket = socket;
    const onFailure = (): void => {
      secured.reject(this.#fail(new SessionError('tls', 'TLS')));
    };
    for (const event of ['error', 'close'] as const) {
      plain.on(event, onFailure);
      socket.on(event, onFailure);
    }
    await this.#within(secured.promise, this.#timeouts.replyMs, 'TLS');
    this.#detach = this.#listen(socket);
    for (const event of ['error', 'close'] as const) socket.off(event, onFailure);
    if (!isTrusted(socket)) throw this.#fail(new SessionError('tls', 'TLS'));
    await this.hello(name);
  }

  /** Logs in by PLAIN or LOGIN, under TLS. RFC 4954 §4. Throws SessionError. */
  async authenticate(user: string, password: string): Promise<void> {
    if (!this.tls) throw this.#fail(new SessionError('local', 'AUTH'));
    const mechanisms = (this.#extensions.get('AUTH') ?? '').toUpperCase().split(' ');
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    let reply: Reply;
    if (mechanisms.includes('PLAIN')) {
      reply = await this.#command(`AUTH PLAIN ${base64(`\0${user}\0${password}`)}`, 'AUTH');
    } else {
      reply = await this.#command('AUTH LOGIN', 'AUTH');
      if (reply.code === 334) reply = await this.#command(base64(user), 'AUTH');
      if (reply.code === 334) reply = await this.#command(base64(password), 'AUTH');
    }
    if (reply.code !== 235) throw this.#fail(new SessionError('refused', 'AUTH', reply));
  }

  /**
   * Sends a message. Gives one result for each recipient, in their order, whatever the remote does. Rethrows what `body`
   * throws: then the session is over, and nobody has got the message.
   */
  async send(transaction: Transaction): Promise<readonly Delivered[]> {
    const { recipients } = transaction;
    const results = recipients.map((): Delivered | null => null);
    try {
      await this.#transact(transaction, results);
    } catch (error) {
      if (!(error instanceof SessionError)) throw error;
      const { fault, stage, reply } = error;
      // A 421 that ended the session is an answer to all who have none.
      const lost: Delivered = reply ? { kind: 'refused', reply } : { kind: 'lost', fault, stage };
      return results.map((result) => result ?? lost);
    }
    return results.map((result) => result ?? { kind: 'lost', fault: 'not-smtp', stage: 'DATA' });
  }

  /** Whether the remote is still there and ready for a message. */
  async reset(): Promise<boolean> {
    try {
      return (await this.#command('RSET', 'RSET')).code === 250;
    } catch {
      return false;
    }
  }

  /** Says goodbye and closes; does not wait for the remote longer than a moment, and does not throw. */
  async quit(): Promise<void> {
    if (!this.#failure) {
      await this.#within(this.#command('QUIT', 'QUIT'), QUIT_MS, 'QUIT').catch(() => undefined);
    }
    this.destroy();
  }

  /** Cuts the connection. */
  destroy(): void {
    this.#fail(new SessionError('local', 'closing'));
  }

  async #transact(transaction: Transaction, results: (Delivered | null)[]): Promise<void> {
    const { sender, mailParameters, recipients } = transaction;
    const mail = [`MAIL FROM:<${sender}>`, ...mailParameters].join(' ');
    const rcpts = recipients.map(({ address, parameters }) => [`RCPT TO:<${address}>`, ...parameters].join(' '));
    const commands = [mail, ...rcpts, 'DATA'];
    const replies = this.#extensions.has('PIPELINING') ? this.#together(commands) : this.#inTurn(commands);
    let isMailAccepted = false;
    for await (const [at, reply] of replies) {
      if (reply.code < 400 && reply.code >= 300 && at <= recipients.length) {
        throw this.#fail(new SessionError('not-smtp', stageOf(commands[at]))); // an answer to something else
      }
      if (at === 0) {
        isMailAccepted = isPositive(reply);
        if (!isMailAccepted) results.fill({ kind: 'refused', reply });
      } else if (at <= recipients.length) {
        if (!isPositive(reply)) results[at - 1] ??= { kind: 'refused', reply };
      } else if (reply.code !== 354) {
        for (const [of, result] of results.entries()) results[of] = result ?? { kind: 'refused', reply };
      } else if (!results.includes(null)) {
        // It wants a message for nobody. RFC 2920 §3.1 would send an empty one; leaving is safer.
        throw this.#fail(new SessionError('not-smtp', 'DATA'));
      }
    }
    if (!results.includes(null)) return;
    const end = await this.#sendBody(transaction.body());
    const kind = isPositive(end) ? 'accepted' : 'refused'; // SC4
    for (const [at, result] of results.entries()) results[at] = result ?? { kind, reply: end };
  }

  /** All commands in one go, the replies as they come. RFC 2920 §3.1. */
  async *#together(commands: readonly string[]): AsyncGenerator<readonly [number, Reply]> {
    const waits = commands.map(() => this.#expect());
    this.#write(`${commands.join('\r\n')}\r\n`);
    for (const [at, wait] of waits.entries()) {
      yield [at, this.#orClosing(await this.#within(wait, this.#timeouts.replyMs, stageOf(commands[at])))];
    }
  }

  /** One after the other, and no further than there is a chance. */
  async *#inTurn(commands: readonly string[]): AsyncGenerator<readonly [number, Reply]> {
    let acceptedCount = 0;
    for (const [at, command] of commands.entries()) {
      const isLast = at === commands.length - 1;
      if (isLast && acceptedCount < 2) {
        await this.#command('RSET', 'RSET'); // nobody is left: MAIL alone was accepted
        return;
      }
      const reply = await this.#command(command, stageOf(command));
      yield [at, reply];
      if (isPositive(reply)) acceptedCount += 1;
      else if (at === 0) return;
    }
  }

  /** The reply to the end of the message. */
  async #sendBody(body: AsyncIterable<Uint8Array>): Promise<Reply> {
    const encoder = new DataEncoder();
    try {
      for await (const piece of body) {
        await this.#writeData(encoder.push(piece));
      }
    } catch (error) {
      if (!(error instanceof SessionError)) this.#fail(new SessionError('local', 'the message')); // SC1
      throw error;
    }
    const wait = this.#expect();
    if (!this.#failure) this.#socket.write(encoder.end());
    return this.#orClosing(await this.#within(wait, this.#timeouts.dataEndMs, 'the end of the message'));
  }

  /** Resolves when the socket has room again. */
  async #writeData(bytes: Buffer): Promise<void> {
    if (this.#failure) throw this.#failure;
    const [early] = this.#early;
    if (early) throw this.#fail(earlyRefusal(early));
    if (this.#socket.write(bytes)) return;
    const room = Promise.withResolvers<undefined>();
    const onDrain = (): void => {
      room.resolve(undefined);
    };
    const socket = this.#socket;
    socket.once('drain', onDrain);
    const ended = this.#expectNothing();
    try {
      await this.#within(Promise.race([room.promise, ended.promise]), this.#timeouts.dataBlockMs, 'the message');
    } finally {
      socket.off('drain', onDrain);
      ended[Symbol.dispose]();
    }
  }

  async #command(line: string, stage: string): Promise<Reply> {
    const wait = this.#expect();
    this.#write(`${line}\r\n`);
    return this.#orClosing(await this.#within(wait, this.#timeouts.replyMs, stage));
  }

  /** 421: the remote is closing, whatever was asked. RFC 5321 §3.8. */
  #orClosing(reply: Reply): Reply {
    if (reply.code === 421) throw this.#fail(new SessionError('refused', 'session', reply));
    return reply;
  }

  #write(text: string): void {
    if (!this.#failure) this.#socket.write(text);
  }

  /** The next reply. Whoever waits for it sees the failure; nobody needs to. */
  #expect(): Promise<Reply> {
    const waiting = Promise.withResolvers<Reply>();
    waiting.promise.catch(() => undefined);
    const [early] = this.#early;
    if (this.#failure) waiting.reject(this.#failure);
    else if (early) waiting.reject(this.#fail(strayReply(early)));
    else this.#waiting.push(waiting);
    return waiting.promise;
  }

  /** While data is sent the remote has nothing to say: what it says all the same, and its end, ends the wait. */
  #expectNothing(): { promise: Promise<never> } & Disposable {
    const waiting = Promise.withResolvers<never>();
    waiting.promise.catch(() => undefined);
    const entry: Waiting = {
      reject: waiting.reject,
      // at once: of what it may have said more than once the first counts
      resolve: (reply) => {
        waiting.reject(this.#fail(earlyRefusal(reply)));
      },
    };
    this.#waiting.push(entry);
    return {
      promise: waiting.promise,
      [Symbol.dispose]: () => {
        const at = this.#waiting.indexOf(entry);
        if (at >= 0) this.#waiting.splice(at, 1);
      },
    };
  }

  async #within<T>(promise: Promise<T>, timeoutMs: number, stage: string): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(this.#fail(new SessionError('timeout', stage)));
    }, timeoutMs);
    try {
      return await Promise.race([promise, late.promise]);
    } catch (error) {
      // the failure that ended the session does not know what was waited for here
      if (error instanceof SessionError && error.stage === ANY_STAGE) throw new SessionError(error.fault, stage);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Reads from `socket` from now on; what it returns ends that. */
  #listen(socket: Socket | TLSSocket): () => void {
    const onData = (bytes: Buffer): void => {
      try {
        for (const reply of this.#reader.push(bytes)) this.#take(reply);
      } catch (error) {
        if (!(error instanceof ReplyFault)) throw error;
        this.#fail(new SessionError('not-smtp', ANY_STAGE));
      }
    };
    const onError = (error: Error): void => {
      const isOfTls = 'code' in error && String(error.code).startsWith('ERR_SSL');
      this.#fail(new SessionError(isOfTls ? 'tls' : 'closed', ANY_STAGE));
    };
    const onClose = (): void => {
      this.#fail(new SessionError('closed', ANY_STAGE));
    };
    socket.on('data', onData).on('error', onError).on('close', onClose).on('end', onClose);
    socket.setNoDelay(true);
    socket.resume();
    return () => socket.off('data', onData).off('error', onError).off('close', onClose).off('end', onClose);
  }

  #take(reply: Reply): void {
    const waiting = this.#waiting.shift();
    if (waiting) {
      waiting.resolve(reply);
      return;
    }
    this.#early.push(reply);
    if (this.#early.length > EARLY_MAX_COUNT) this.#fail(new SessionError('not-smtp', ANY_STAGE));
  }

  /** Ends the session; the first failure is the one that is told. */
  #fail(failure: SessionError): SessionError {
    if (this.#failure) return this.#failure;
    this.#failure = failure;
    this.#socket.on('error', () => undefined);
    this.#socket.destroy();
    for (const waiting of this.#waiting.splice(0)) waiting.reject(failure);
    return failure;
  }
}

const QUIT_MS = 2000;
const EARLY_MAX_COUNT = 4;

function isPositive(reply: Reply): boolean {
  return reply.code >= 200 && reply.code < 300;
}

function extensionOf(line: string): [string, string] {
  const [keyword = '', ...rest] = line.trim().split(/[ =]/); // some write AUTH=PLAIN
  return [keyword.toUpperCase(), rest.join(' ')];
}

/** The verb only: the rest of a command is the customer's. */
function stageOf(command: string | undefined): string {
  return (command ?? '').split(' ', 1)[0] ?? '';
}
