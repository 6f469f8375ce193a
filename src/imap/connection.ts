/**
 * One client's connection: bytes in, commands through the session one after the other, bytes out.
 *
 * C1  Commands are run strictly in order; the next is parsed when the one before was answered.
 * C2  What comes in while a command runs waits: at most `MAX_UNREAD_BYTES` and one packet.
 * C3  Before login there are a deadline, a number of commands and small limits; after it an idle timeout.
 * C4  What was received together with STARTTLS is forgotten before the handshake (RFC 9051 §11.1).
 * C5  When the client is gone, what runs for it is aborted, and everything it held is given back.
 * C6  A session whose right to the mailbox ended (suspended, password changed) is told BYE at once; only where bytes
 *     of ours are under way, which a BYE would corrupt, or are not taken in a moment, is it cut instead.
 * C7  When the keys of its organization are refused, a client that is slow to take what was opened before is cut after
 *     a grace.
 *
 * Made by server.ts.
 */
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { Slice } from '../base/abort.ts';
import { randomHexId } from '../base/ids.ts';
import { tlsChannel } from '../sasl/tls-channel.ts';
import { append } from './commands/append.ts';
import { Compression } from './compression.ts';
import { runCommand } from './dispatch.ts';
import { Output } from './output.ts';
import { isAppend } from './proto/commands/append.ts';
import { CommandReader } from './proto/command-reader.ts';
import { parseCommand, type Command } from './proto/grammar.ts';
import { LIMITS_AFTER_LOGIN, LIMITS_BEFORE_LOGIN, LIMITS_OF_LITERAL_MINUS } from './proto/reader-events.ts';
import type { ReaderEvent } from './proto/reader-events.ts';
import * as print from './proto/responses.ts';
import { Session, type SessionDeps, type SessionSelection, type Wire } from './session.ts';
import { handshake, type TlsOptions } from './tls-handshake.ts';

type ConnectionOptions = TlsOptions &
  Readonly<{
    /** TLS from the first byte. */
    isImplicitTls: boolean;
    isLoopback: boolean;
    hostname: string;
  }>;

const MAX_UNREAD_BYTES = 64 * 1024;
const MAX_COMMANDS_BEFORE_LOGIN = 20;
const MAX_FAULTS_IN_A_ROW = 50;
const OUTPUT_STALL_MS = 120_000;
const CLOSE_LINGER_MS = 1_000;
const KEEP_ALIVE_MS = 120_000;
const NO_TLS: ReturnType<Wire['tlsChannel']> = { binding: () => null, certificateAddresses: () => null };
const HTTP_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']);

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #deps: SessionDeps;
  readonly #raw: Socket;
  #socket: Socket;
  #compression: Compression | null = null;
  readonly #reader = new CommandReader(LIMITS_BEFORE_LOGIN);
  readonly #out: Output;
  readonly #session: Session;
  readonly #gone = new AbortController();
  #more: PromiseWithResolvers<void> | null = null;
  #hasEnded = false;
  #isSecure = false;
  #tlsChannel: ReturnType<Wire['tlsChannel']> = NO_TLS;
  #isPaused = false;
  /** The client's turn: nothing of ours is under way. */
  #isWaiting = false;
  #isMidCommand = false;
  #isLoggedIn = false;
  /** What is said when the command under way is over; null: nothing, it goes on. */
  #farewell: string | null = null;
  #commandsCount = 0;
  #faultsCount = 0;
  #timer: NodeJS.Timeout;

  constructor(socket: Socket, deps: SessionDeps, options: ConnectionOptions) {
    this.#raw = socket;
    this.#socket = socket;
    this.#deps = deps;
    this.#options = options;
    this.#out = new Output(socket, { maxBytes: deps.config.maxOutputBufferBytes, stallMs: OUTPUT_STALL_MS }, () => {
      this.#session.logger.info('client does not read');
      this.destroy();
    });
    this.#session = new Session(deps, this.#wire());
    this.#timer = this.#loginTimer();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('error', () => undefined); // 'close' follows
    socket.once('close', () => {
      this.#lose();
    });
  }

  /** Serves the client until one of the two says goodbye. Never throws. */
  async run(): Promise<void> {
    const { logger } = this.#session;
    try {
      if (this.#options.isImplicitTls) {
        if (!(await this.#startTls())) return;
      } else this.#listen(this.#raw);
      const code = { kind: 'CAPABILITY', names: this.#session.capabilities } as const;
      this.#out.write(print.untaggedLine('OK', code, `${this.#options.hostname} is ready`));
      await this.#serve();
    } catch (error) {
      if (!this.#gone.signal.aborted) {
        logger.error('session failed', { error });
        this.#session.bye('Internal error');
      }
    } finally {
      clearTimeout(this.#timer);
      this.#session[Symbol.dispose]();
      await this.#close();
    }
  }

  /** Says goodbye as soon as no command is under way. RFC 9051 §7.1.5. */
  stop(): void {
    if (this.#isWaiting && !this.#isMidCommand) this.#end('The server is shutting down');
    else this.#farewell = 'The server is shutting down';
  }

  /** Ends the session if it is of `selection`: with BYE, or cut where a command of ours is not over in a moment. */
  revoke(selection: SessionSelection, text: string): void {
    if (!this.#session.isOf(selection)) return;
    this.#session.logger.info('session ended', { why: text });
    if (this.#isWaiting) this.#end(text);
    else this.#farewell = text;
    this.#cutAfter(CLOSE_LINGER_MS);
  }

  /** Has the client take within `graceMs` what it was sent before now, if the session is of `selection` (C7). */
  expireOutput(selection: SessionSelection, graceMs: number): void {
    if (this.#out.heldBytes === 0 || !this.#session.isOf(selection)) return;
    const callOff = this.#cutAfter(graceMs);
    void this.#out.drained().then(callOff);
  }

  /** Cuts the connection, and drops what the kernel holds for it; gives what calls it off. */
  #cutAfter(ms: number): () => void {
    const cut = setTimeout(() => {
      this.#raw.resetAndDestroy();
      this.#lose();
    }, ms);
    const callOff = (): void => {
      clearTimeout(cut);
    };
    this.#gone.signal.addEventListener('abort', callOff);
    return callOff;
  }

  destroy(): void {
    this.#raw.destroy();
    this.#lose();
  }

  #wire(): Wire {
    const socket = this.#raw;
    return {
      id: randomHexId(),
      out: this.#out,
      peerAddress: socket.remoteAddress ?? '',
      isLoopback: this.#options.isLoopback,
      signal: this.#gone.signal,
      isSecure: () => this.#isSecure,
      tlsChannel: () => this.#tlsChannel,
      nextEvent: () => this.#nextEvent(),
      readLine: () => this.#readLine(),
      acceptLiteral: () => {
        this.#reader.acceptLiteral();
      },
      refuseLiteral: () => {
        this.#reader.refuseLiteral();
      },
      loggedIn: () => {
        this.#loggedIn();
      },
      loggedOut: () => {
        this.#loggedOut();
      },
      isCompressed: () => this.#compression !== null,
      destroy: () => {
        this.destroy();
      },
    };
  }

  async #serve(): Promise<void> {
    const slice = new Slice();
    while (this.#session.state.kind !== 'logout') {
      const event = await this.#nextEvent();
      if (event === null) return;
      this.#isMidCommand = true;
      await this.#handle(event);
      this.#isMidCommand = false;
      await this.#out.room();
      if (this.#session.wantsTls) {
        this.#session.wantsTls = false;
        if (!(await this.#startTls())) return;
      }
      await this.#changeCompression();
      if (this.#farewell !== null) this.#session.bye(this.#farewell);
      if (slice.due) await slice.pause();
    }
  }

  async #handle(event: ReaderEvent): Promise<void> {
    switch (event.kind) {
      case 'command':
        await this.#command(event);
        return;
      case 'literal-wanted':
        if (event.isMessage) {
          await append(this.#session, event);
          return;
        }
        this.#reader.acceptLiteral();
        if (event.synchronising) this.#out.write(print.continuationLine('go on'));
        return;
      case 'bad-line': {
        const answer = event.tag === null ? print.untaggedLine('BAD', null, event.text) : null;
        this.#out.write(answer ?? print.taggedLine(event.tag ?? '*', 'BAD', null, event.text));
        this.#countFault();
        this.#countCommand();
        return;
      }
      case 'fatal':
        this.#session.bye(event.text);
        return;
      default: // a literal or line that nobody waits for: the rest of what was refused
    }
  }

  async #command(event: Extract<ReaderEvent, { kind: 'command' }>): Promise<void> {
    const { tag, name, args } = event;
    if (!this.#isLoggedIn && HTTP_METHODS.has(tag) && (name.startsWith('/') || args.text.includes('HTTP/'))) {
      this.#session.bye('This is an IMAP server');
      return;
    }
    if (this.#isLoggedIn && isAppend(name, args)) {
      await append(this.#session, event);
      return;
    }
    let command: Command;
    try {
      command = parseCommand(name, args, this.#session.context);
    } catch (error) {
      const answer = this.#session.failure(error);
      this.#out.write(print.taggedLine(tag, answer.status, answer.code, answer.text));
      if (answer.status === 'BAD') this.#countFault();
      this.#countCommand();
      return;
    }
    if (command.kind === 'unknown') this.#countFault();
    else this.#faultsCount = 0;
    await runCommand(this.#session, tag, command);
    this.#countCommand();
  }

  /** Guesses and probes are bounded; a client that logs in is not held to it. */
  #countCommand(): void {
    this.#commandsCount += 1;
    if (!this.#isLoggedIn && this.#commandsCount >= MAX_COMMANDS_BEFORE_LOGIN) {
      this.#session.bye('Too many commands before login');
    }
  }

  #countFault(): void {
    this.#faultsCount += 1;
    if (this.#faultsCount >= MAX_FAULTS_IN_A_ROW) this.#session.bye('Too many bad commands');
  }

  async #nextEvent(): Promise<ReaderEvent | null> {
    for (;;) {
      const event = this.#reader.next();
      if (event) return event;
      if (this.#hasEnded) return null;
      this.#resume();
      this.#more ??= Promise.withResolvers();
      this.#isWaiting = true;
      await this.#more.promise;
      this.#isWaiting = false;
    }
  }

  async #readLine(): Promise<string | null> {
    this.#reader.expectLine();
    this.#isMidCommand = false;
    const event = await this.#nextEvent();
    this.#isMidCommand = true;
    return event?.kind === 'line' ? event.text : null;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#reader.push(chunk);
    if (this.#isLoggedIn) this.#timer.refresh();
    if (this.#reader.bufferedBytes > MAX_UNREAD_BYTES && !this.#isWaiting) {
      this.#isPaused = true;
      this.#input.pause();
    }
    this.#wake();
  };

  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    this.#wake();
  };

  #listen(socket: Readable): void {
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    this.#isPaused = false;
    socket.resume();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#input.resume();
  }

  /** Where the client's bytes come from. */
  get #input(): Readable {
    return this.#compression?.input ?? this.#socket;
  }

  #wake(): void {
    const more = this.#more;
    this.#more = null;
    more?.resolve();
  }

  /** Runs the handshake; false when it fails. */
  async #startTls(): Promise<boolean> {
    await this.#out.drained();
    const raw = this.#raw;
    raw.pause();
    raw.off('data', this.#onData);
    raw.off('end', this.#onEnd);
    this.#reader.reset(); // C4
    if (this.#gone.signal.aborted || this.#hasEnded) return false;
    const secure = await handshake(raw, this.#options, {
      signal: this.#gone.signal,
      onClose: () => {
        this.#lose();
      },
    });
    if (!secure) {
      this.destroy();
      return false;
    }
    this.#socket = secure;
    this.#isSecure = true;
    this.#tlsChannel = tlsChannel(secure, this.#options.clientAuthorities);
    this.#out.moveTo(secure);
    this.#listen(secure);
    return true;
  }

  /** Switches it on or off, if a command said so: from the byte after its tagged line. RFC 4978 §3, RFC 8437 §2. */
  async #changeCompression(): Promise<void> {
    const { wants } = this.#session;
    if (wants === null) return;
    this.#session.wants = null;
    await this.#out.drained();
    if (this.#gone.signal.aborted || this.#hasEnded) return;
    this.#input.off('data', this.#onData);
    this.#input.off('end', this.#onEnd);
    if (wants === 'compression') {
      this.#socket.pause();
      this.#compression = new Compression(this.#socket, this.#reader.takeReceived());
      this.#out.moveTo(this.#compression.output);
    } else {
      await this.#compression?.stop();
      this.#compression = null;
      this.#out.moveTo(this.#socket);
    }
    this.#listen(this.#input);
  }

  #loginTimer(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#end('Too slow to log in');
    }, this.#deps.config.loginTimeoutMs);
  }

  #loggedOut(): void {
    this.#isLoggedIn = false;
    this.#commandsCount = 0;
    this.#reader.setLimits(LIMITS_BEFORE_LOGIN);
    clearTimeout(this.#timer);
    this.#timer = this.#loginTimer();
  }

  #loggedIn(): void {
    this.#isLoggedIn = true;
    const isMinus = this.#session.off.has('LITERAL+');
    this.#reader.setLimits(isMinus ? LIMITS_OF_LITERAL_MINUS : LIMITS_AFTER_LOGIN);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#isWaiting) this.#end('Idle for too long');
      else this.#timer.refresh();
    }, this.#deps.config.idleTimeoutMs);
  }

  /** Says goodbye while the client's input is awaited, or in spite of what is under way. */
  #end(text: string): void {
    this.#session.bye(text);
    this.#hasEnded = true;
    this.#reader.reset();
    this.#wake();
    if (!this.#isWaiting) void this.#close();
  }

  /** The socket is gone. */
  #lose(): void {
    this.#hasEnded = true;
    this.#gone.abort(new Error('the client is gone'));
    this.#out.close();
    this.#wake();
  }

  /** Ends when the client took what was said (or stalls), and does not wait long for its own end. */
  async #close(): Promise<void> {
    await this.#out.drained();
    const linger = setTimeout(() => {
      this.destroy();
    }, CLOSE_LINGER_MS);
    (this.#compression?.output ?? this.#socket).end();
    this.#input.resume(); // what still comes is dropped, so that the end is seen
    if (this.#raw.destroyed) clearTimeout(linger);
    else
      this.#raw.once('close', () => {
        clearTimeout(linger);
      });
  }
}
