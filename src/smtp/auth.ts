/**
 * AUTH: who a client is, by a mechanism of sasl/. RFC 4954.
 *
 * AU1  Nothing is asked for, and no attempt is counted, before TLS: RFC 4954 §4, RFC 8314 §3.3.
 * AU2  Unknown users and wrong passwords get one answer; a key that cannot be had gets another, so that clients do not
 *      throw good passwords away (accounts/login.ts does the rest: equal time, back-off).
 * AU3  What a client sent is never repeated, logged or kept.
 *
 * Called by listener-connection.ts.
 */
import type { LoggedIn } from '../accounts/login-account.ts';
import { ServerError } from '../base/errors.ts';
import type { Logger } from '../observe/logger.ts';
import type { SaslChannel } from '../sasl/exchange.ts';
import type { Sasl } from '../sasl/mechanisms.ts';
import { REPLIES, type Reply } from './replies.ts';

type ClientExchange = Readonly<{
  channel: SaslChannel;
  isSecure: boolean;
  /** Sends `334` with this text and gives the next line. */
  askLine(text: string): Promise<string>;
}>;
type AuthResult = Readonly<{ replies: readonly Reply[]; login: LoggedIn | null }>;

const MAX_FAILED_COUNT = 5;
/** No mechanism takes more. */
const MAX_STEPS_COUNT = 8;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

class Refusal extends Error {
  readonly reply: Reply;

  constructor(reply: Reply) {
    super(reply.text);
    this.reply = reply;
  }
}

/** The attempts of one connection to log in. */
export class Authenticator {
  readonly #sasl: Sasl | null;
  readonly #logger: Logger;
  #failedCount = 0;

  /** `sasl` is null where AUTH is not announced. */
  constructor(sasl: Sasl | null, logger: Logger) {
    this.#sasl = sasl;
    this.#logger = logger;
  }

  /** As EHLO lists them; none where AUTH is not announced. */
  names(channel: SaslChannel): readonly string[] {
    return this.#sasl?.names(channel) ?? [];
  }

  /** Carries out `AUTH mechanism [initial-response]`. Throws nothing for what the client or the key service does. */
  async attempt(line: string, exchange: ClientExchange): Promise<AuthResult> {
    const { isSecure: secure } = exchange;
    const peer = exchange.channel.peer.address;
    try {
      const login = await this.#login(line, exchange);
      this.#logger.info('logged in', { peer, mailbox: login.ref.mailbox, secure });
      return { replies: [REPLIES.authenticated], login };
    } catch (error) {
      const reply = error instanceof Refusal ? error.reply : REPLIES.authUnavailable;
      if (!(error instanceof Refusal || error instanceof ServerError)) throw error;
      if (reply !== REPLIES.authRefused) return { replies: [reply], login: null };
      this.#failedCount += 1;
      this.#logger.info('login refused', { peer });
      const isLast = this.#failedCount >= MAX_FAILED_COUNT;
      return { replies: isLast ? [reply, REPLIES.tooManyFailedLogins] : [reply], login: null };
    }
  }

  /** Throws Refusal, ServerError. */
  async #login(line: string, { channel, askLine }: ClientExchange): Promise<LoggedIn> {
    const [, name = '', initial, ...more] = line.trim().split(/ +/);
    if (more.length > 0 || name === '') throw new Refusal(REPLIES.badSyntax);
    const exchange = this.#sasl?.begin(name.toUpperCase(), channel);
    if (!exchange) throw new Refusal(REPLIES.unknownMechanism);
    // "=" is an initial response of no bytes: RFC 4954 §4
    let response = initial === undefined ? null : initial === '=' ? Buffer.alloc(0) : decoded(initial);
    for (let steps = 0; steps < MAX_STEPS_COUNT; steps += 1) {
      const step = await exchange.respond(response);
      switch (step.kind) {
        case 'ok':
          if (!step.login.isCurrent()) throw new Refusal(REPLIES.authUnavailable);
          return step.login;
        case 'refused':
        case 'not-authorized':
          throw new Refusal(REPLIES.authRefused);
        case 'malformed':
          throw new Refusal(REPLIES.badAuthResponse);
        case 'challenge': {
          const answer = await askLine(step.bytes.toString('base64'));
          if (answer === '*') throw new Refusal(REPLIES.authCancelled); // RFC 4954 §4
          response = decoded(answer);
        }
      }
    }
    throw new Refusal(REPLIES.badAuthResponse);
  }
}

function decoded(text: string): Buffer {
  if (!BASE64.test(text)) throw new Refusal(REPLIES.badAuthResponse);
  return Buffer.from(text, 'base64');
}
