/**
 * One connection: the library's life cycle, command dispatch and STARTTLS, with our rules in front of its commands
 * and our handlers behind them.
 *
 * N1  Nothing is accepted before the greeting, nor between DATA and its go-ahead; STARTTLS forgets all that came before.
 * N2  A command holds no control character, and is none of HTTP.
 * N3  Commands without a message, permanent errors, idle time, the TLS handshake and the pace of a message are bounded.
 * N4  Idle time counts only while we wait for the peer.
 *
 * Made by listener.ts.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { SMTPServer } from 'smtp-server';
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';
import { randomHexId } from '../base/ids.ts';
import type { Config } from '../config/schema.ts';
import type { Delivery } from '../delivery/deliver.ts';
import type { Logger } from '../observe/logger.ts';
import type { SaslChannel } from '../sasl/exchange.ts';
import { tlsChannel } from '../sasl/tls-channel.ts';
import { Authenticator } from './auth.ts';
import { MailParser } from './listener-parser.ts';
import { TransferPace } from './pace.ts';
import { type ListenerPolicy, MAX_IDLE_COMMANDS_COUNT } from './policy.ts';
import { REPLIES, type Reply, replyToFailure } from './replies.ts';
import { MailSession } from './session.ts';

const HTTP_METHOD = /^(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) /;

const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;
const STARTTLS_GO_AHEAD = 220;
const MAX_HANDSHAKE_MS = 60_000;
const NO_TLS: Pick<SaslChannel, 'binding' | 'certificateAddresses'> = {
  binding: () => null,
  certificateAddresses: () => null,
};

export type ConnectionContext = Readonly<{
  config: Config['smtp'];
  policy: ListenerPolicy;
  delivery: Delivery;
  logger: Logger;
  /** Whether SU1's exception holds for this peer. */
  allowsCleartext(address: string): boolean;
  isStopping(): boolean;
}>;

type Done = () => void;

/** One connection: the library's, with our rules in front of its commands and our handlers behind them. */
export class MailConnection extends SMTPConnection {
  readonly #context: ConnectionContext;
  readonly #mail: MailSession;
  readonly #authenticator: Authenticator;
  #enhanced: string | null | undefined; // undefined: the library's own choice
  #errorsCount = 0;
  #idleCommandsCount = 0;
  #isAtWork = false; // the peer waits for us
  #pace: TransferPace | null = null;
  #handshake: Readonly<{ socket: Socket; startMs: number }> | null = null;
  #onClosed: () => void = () => undefined;

  constructor(server: SMTPServer, socket: Socket | TLSSocket, context: ConnectionContext) {
    super(server, socket);
    const { config, delivery, logger } = context;
    this.#context = context;
    this.#authenticator = new Authenticator(context.policy.submission?.sasl ?? null, logger);
    this.#mail = new MailSession({
      connection: randomHexId(),
      policy: context.policy,
      delivery,
      logger,
      limits: config,
      describePeer: () => ({
        address: this.remoteAddress,
        helo: this.hostNameAppearsAs || '',
        tlsCipher: this._socket instanceof TLSSocket ? this._socket.getCipher().standardName : null,
        isTls: this.secure,
        isExtended: this.openingCommand !== 'HELO',
      }),
      allowsCleartext: () => context.allowsCleartext(this.remoteAddress),
    });
  }

  /** Runs once, when the socket is gone. */
  onceClosed(listener: () => void): void {
    this.#onClosed = listener;
  }

  stopIfIdle(): void {
    if (!this.#isAtWork && !this.#pace && !this._upgrading) this.#reply(REPLIES.closing);
  }

  cut(): void {
    this.#reply(REPLIES.closing);
    this.#destroy();
  }

  /** Gives up a message or a TLS handshake that comes too slowly. Called every few seconds. */
  checkPace(nowMs: number): void {
    const limitMs = Math.min(MAX_HANDSHAKE_MS, this.#context.config.dataTimeoutMs);
    if (this._upgrading && this.#handshake && nowMs - this.#handshake.startMs > limitMs) this.#destroy();
    if (!this.#pace) return;
    if (this.#isAtWork) this.#pace.excuse(nowMs);
    if (this.#pace.isTooSlow(nowMs)) this.#reply(REPLIES.tooSlow);
  }

  // What the library calls.

  /** Without its reverse lookup and its 100 ms; who talks at once is seen in a shorter time. */
  override init(): void {
    this._setListeners(() => {
      const { earlyTalkerWaitMs } = this.#context.policy;
      const greet = (): void => {
        if (this._closing || this._closed) return;
        this._setClientHostname('');
        this._resetSession();
        this._ready = true;
        this._sendGreeting();
      };
      // the immediate lets what has already arrived be read first, however late the timer is
      if (earlyTalkerWaitMs > 0) setTimeout(() => setImmediate(greet), earlyTalkerWaitMs);
      else greet();
    });
  }

  /** Runs inside the library's constructor: nothing of this class exists yet. */
  override _createParser(): MailParser {
    const parser = new MailParser({
      maxCommandBytes: () => this.#context.policy.maxCommandBytes,
      isReady: () => this._ready,
      onViolation: (reply) => {
        if (!this._upgrading) this.#refuse(reply);
      },
      onCommand: (command, done) => {
        this._onCommand(command, done);
      },
    });
    parser.on('error', (error) => {
      this.#context.logger.error('connection handler failed', { error });
      this.#refuse(REPLIES.temporaryFailure);
    });
    return parser;
  }

  override _getEnhancedStatusCode(code: number, context?: string | false): string {
    if (this.#enhanced !== undefined) return this.#enhanced ?? '';
    // a context may be the command as the peer wrote it, and is then no key of the library's tables
    return super._getEnhancedStatusCode(code, context === false ? false : undefined);
  }

  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    if (code === STARTTLS_GO_AHEAD) this.#flush();
    else this.#hold();
    super.send(code, data, context);
    if (code < 500 || this._closing) return;
    this.#errorsCount += 1;
    if (this.#errorsCount >= this.#context.policy.maxErrorsCount) this.#reply(REPLIES.tooManyErrors);
  }

  override _onCommand(command: Buffer, callback?: Done): void {
    const line = command.toString('latin1');
    const done = callback ?? ((): void => undefined);
    if (this._upgrading) {
      super._onCommand(command, done); // which drops it
    } else if (this.#context.isStopping()) {
      this.#reply(REPLIES.closing);
    } else if (HTTP_METHOD.test(line)) {
      this.#reply(REPLIES.notHttp);
    } else if (CONTROL.test(line)) {
      this.#answer(REPLIES.badCharacter, done);
    } else if (this.#isOneTooMany(line)) {
      this.#reply(REPLIES.tooManyCommands);
    } else {
      super._onCommand(command, done);
    }
  }

  override _resetSession(): void {
    super._resetSession();
    this.#mail.reset();
    if (!this.session.user) this.#mail.setLogin(null); // the library forgets it at STARTTLS: RFC 3207 §4.2
  }

  /** Gets the TLS socket when a handshake begins, and nothing else tells us of it. */
  override _armTimeout(socket?: Socket | TLSSocket): void {
    if (socket) this.#handshake = { socket, startMs: performance.now() };
    super._armTimeout(socket);
  }

  override _onTimeout(): void {
    if (this._closing || !this.#isAtWork) super._onTimeout();
    else this._armTimeout();
  }

  override _onClose(): void {
    this.#pace = null;
    this.#mail.reset();
    this.#onClosed();
    this.#onClosed = () => undefined;
    super._onClose();
  }

  // Commands.

  override handler_NOOP(_command: Buffer, done: Done): void {
    this.#answer(REPLIES.ok, done);
  }

  override handler_RSET(_command: Buffer, done: Done): void {
    this._resetSession();
    this.#answer(REPLIES.ok, done);
  }

  override handler_HELP(_command: Buffer, done: Done): void {
    this.#answer(REPLIES.help, done);
  }

  override handler_VRFY(_command: Buffer, done: Done): void {
    this.#answer(REPLIES.cannotVerify, done);
  }

  handler_EXPN(_command: Buffer, done: Done): void {
    this.#answer(REPLIES.notImplemented, done);
  }

  override handler_MAIL(command: Buffer, done: Done): void {
    this.#work(async () => this.#reply(await this.#mail.mail(command.toString())), done);
  }

  override handler_RCPT(command: Buffer, done: Done): void {
    this.#work(async () => this.#reply(await this.#mail.recipient(command.toString())), done);
  }

  /** AUTH is announced only where it may be used: submission SU1. */
  override handler_EHLO(command: Buffer, done: Done): void {
    // the library takes the list from its server; nothing else runs meanwhile
    this._server.options.authMethods = this.#mayLogIn ? [...this.#authenticator.names(this.#saslChannel)] : [];
    super.handler_EHLO(command, done);
  }

  override handler_AUTH(command: Buffer, done: Done): void {
    const refusal = this.#authRefusal();
    if (refusal) {
      this.#answer(refusal, done);
      return;
    }
    let release = done;
    const askLine = (text: string): Promise<string> =>
      new Promise((resolve) => {
        this._nextHandler = (line, next) => {
          this.#isAtWork = true;
          release = next;
          resolve(line.toString('latin1'));
        };
        this.#reply({ code: 334, enhanced: null, text });
        this.#isAtWork = false; // the peer's turn
        release();
      });
    void this.#guard(async () => {
      const exchange = { channel: this.#saslChannel, isSecure: this.secure, askLine };
      const { replies, login } = await this.#authenticator.attempt(command.toString('latin1'), exchange);
      if (login) {
        this.#mail.setLogin(login);
        this.session.user = login.ref.mailbox; // AUTH is not announced again
      }
      for (const reply of replies) this.#reply(reply);
    }).then(() => {
      release();
    });
  }

  get #saslChannel(): SaslChannel {
    const peer = { address: this.remoteAddress, protocol: 'submission' };
    return { peer, ...(this._socket instanceof TLSSocket ? tlsChannel(this._socket, []) : NO_TLS) };
  }

  get #mayLogIn(): boolean {
    return this.secure || this.#context.allowsCleartext(this.remoteAddress);
  }

  #authRefusal(): Reply | null {
    if (!this.#mayLogIn) return REPLIES.authNeedsTls;
    if (this.session.user) return REPLIES.alreadyAuthenticated;
    return this.#mail.isInTransaction ? REPLIES.authInTransaction : null; // RFC 4954 §4
  }

  override handler_DATA(command: Buffer, done: Done): void {
    const parser = this._parser;
    const reply = command.toString('latin1').trimEnd().length > 'DATA'.length ? REPLIES.badSyntax : this.#mail.data();
    if (reply !== REPLIES.sendData || !(parser instanceof MailParser)) {
      this.#answer(reply, done);
    } else if (parser.hasUnread) {
      this.#refuse(REPLIES.earlyData); // N1: it must not be read as commands either
    } else {
      const pace = new TransferPace(this.#context.config, performance.now());
      this.#pace = pace;
      parser.startMessage({
        write: (content) => this.#takeContent(content, pace),
        end: (hasBareNewlines) => this.#endMessage(hasBareNewlines),
      });
      this.#answer(reply, done);
    }
  }

  async #takeContent(content: Uint8Array, pace: TransferPace): Promise<boolean> {
    pace.add(content.length);
    this.#isAtWork = true;
    const verdict = await this.#mail.write(content);
    this.#isAtWork = false;
    if (verdict === 'ok') return true;
    for (const reply of this.#mail.tooLarge()) this.#reply(reply);
    this.close();
    return false;
  }

  async #endMessage(hasBareNewlines: boolean): Promise<void> {
    this.#pace = null;
    await this.#guard(async () => {
      const replies = await this.#mail.end({ hasBareNewlines });
      for (const reply of replies) this.#reply(reply);
      if (replies.some((reply) => reply.code < 300)) this.#errorsCount = 0;
    });
    this.#idleCommandsCount = 0;
    this._transactionCounter += 1;
    this._unrecognizedCommands = 0;
    this._resetSession();
    if (this.#context.isStopping()) this.#reply(REPLIES.closing);
  }

  /** Runs a handler that waits, then lets the next command in. */
  #work(handler: () => Promise<void>, done: Done): void {
    void this.#guard(handler).then(done);
  }

  async #guard(handler: () => Promise<void>): Promise<void> {
    this.#isAtWork = true;
    try {
      await handler();
    } catch (error) {
      this.#context.logger.error('command failed', { error });
      this.#reply(replyToFailure(error));
    }
    this.#isAtWork = false;
  }

  /** Replies to commands that came together go out together: in one segment, or one TLS record. */
  #hold(): void {
    const socket = this._socket;
    if (socket.writableCorked > 0 || socket.destroyed) return;
    socket.cork();
    process.nextTick(() => {
      socket.uncork();
    });
  }

  /** Lets go of held replies: what comes next must follow them on the wire, under TLS. */
  #flush(): void {
    while (this._socket.writableCorked > 0) this._socket.uncork();
  }

  /** From the top: a TLS socket does not survive the loss of the one below it in every state. */
  #destroy(): void {
    if (this._upgrading) this.#handshake?.socket.destroy();
    else this._socket.destroy();
  }

  #answer(reply: Reply, done: Done): void {
    this.#reply(reply);
    done();
  }

  /** A 421 also closes. */
  #reply(reply: Reply): void {
    this.#enhanced = reply.enhanced;
    try {
      this.send(reply.code, reply.text);
    } finally {
      this.#enhanced = undefined;
    }
  }

  /** Answers and closes: what follows from this peer cannot be trusted to mean what it says. */
  #refuse(reply: Reply): void {
    this.#reply(reply);
    this.close();
  }

  /** N3: commands that bring no message. RCPT is counted by its transaction. */
  #isOneTooMany(line: string): boolean {
    if (/^(?:RCPT|DATA)\b/i.test(line)) return false;
    this.#idleCommandsCount += 1;
    return this.#idleCommandsCount > MAX_IDLE_COMMANDS_COUNT;
  }
}
