/**
 * AUTH: who a client is. RFC 4954.
 *
 * AU1  Nothing is asked for, and no attempt is counted, before TLS: RFC 4954 §4, RFC 8314 §3.3.
 * AU2  Unknown users and wrong passwords get one answer; a key that cannot be had gets another, so that clients do not
 *      throw good passwords away (accounts/login.ts does the rest: equal time, back-off).
 * AU3  What a client sent is never repeated, logged or kept.
 *
 * A mechanism is one entry of `MECHANISMS`. Called by listener-connection.ts.
 */
import { ServerError } from '../base/errors.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Logger } from '../observe/logger.ts';
import { REPLIES, type Reply } from './replies.ts';

/** Who a connection belongs to. */
export type SmtpLogin = Readonly<{
  ref: MailboxRef;
  /** The address that was logged in with. */
  username: string;
  /** Still true: not suspended, nor the password changed, since. */
  isCurrent(): boolean;
}>;
/** What is needed from accounts/login.ts. */
export type LoginService = Readonly<{
  /** Throws ServerError 'key-*', 'limit-exceeded'. */
  login(
    username: string,
    password: string,
    peer: Readonly<{ address: string; protocol?: string }>,
    signal?: AbortSignal,
  ): Promise<(Readonly<{ kind: 'ok' }> & SmtpLogin) | Readonly<{ kind: 'refused' }>>;
}>;

/** `ask` sends a challenge and gives the answer. Throws Refusal when it is cancelled or no base64. */
type Exchange = Readonly<{ initial: Buffer | null; ask(challenge: string): Promise<Buffer> }>;
type Credentials = Readonly<{ user: string; password: string }>;
type Mechanism = (exchange: Exchange) => Promise<Credentials>;
type ClientExchange = Readonly<{
  peerAddress: string;
  isSecure: boolean;
  /** Sends `334` with this text and gives the next line. */
  askLine(text: string): Promise<string>;
}>;
type AuthResult = Readonly<{ replies: readonly Reply[]; login: SmtpLogin | null }>;

const MAX_FAILED_COUNT = 5;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class Refusal extends Error {
  readonly reply: Reply;

  constructor(reply: Reply) {
    super(reply.text);
    this.reply = reply;
  }
}

const MECHANISMS: Readonly<Record<string, Mechanism>> = {
  /** authzid NUL authcid NUL password. RFC 4616 §2. */
  PLAIN: async ({ initial, ask }) => {
    const parts = textOf(initial ?? (await ask(''))).split('\0');
    const [onBehalfOf, user, password] = parts;
    if (parts.length !== 3 || !user || !password) throw new Refusal(REPLIES.badAuthResponse);
    if (onBehalfOf !== '' && onBehalfOf !== user) throw new Refusal(REPLIES.authRefused); // nobody acts for others
    return { user, password };
  },
  /** As Microsoft's clients have it: two questions, or the first answer with the command. */
  LOGIN: async ({ initial, ask }) => {
    const user = textOf(initial ?? (await ask('Username:')));
    const password = textOf(await ask('Password:'));
    if (user === '' || password === '') throw new Refusal(REPLIES.badAuthResponse);
    return { user, password };
  },
};

/** As EHLO lists them. */
export const MECHANISM_NAMES: readonly string[] = Object.keys(MECHANISMS);

/** The attempts of one connection to log in. */
export class Authenticator {
  readonly #logins: LoginService | null;
  readonly #logger: Logger;
  #failedCount = 0;

  /** `logins` is null where AUTH is not announced. */
  constructor(logins: LoginService | null, logger: Logger) {
    this.#logins = logins;
    this.#logger = logger;
  }

  /** Carries out `AUTH mechanism [initial-response]`. Throws nothing for what the client or the key service does. */
  async attempt(line: string, exchange: ClientExchange): Promise<AuthResult> {
    const { peerAddress: peer, isSecure: secure } = exchange;
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
  async #login(line: string, { peerAddress, askLine }: ClientExchange): Promise<SmtpLogin> {
    const [, name = '', initial, ...more] = line.trim().split(/ +/);
    const mechanism = Object.hasOwn(MECHANISMS, name.toUpperCase()) ? MECHANISMS[name.toUpperCase()] : undefined;
    if (more.length > 0 || name === '') throw new Refusal(REPLIES.badSyntax);
    if (!mechanism || !this.#logins) throw new Refusal(REPLIES.unknownMechanism);
    const ask = async (challenge: string): Promise<Buffer> => {
      const answer = await askLine(Buffer.from(challenge).toString('base64'));
      if (answer === '*') throw new Refusal(REPLIES.authCancelled); // RFC 4954 §4
      return decoded(answer);
    };
    // "=" is an initial response of no bytes: RFC 4954 §4
    const first = initial === undefined ? null : initial === '=' ? Buffer.alloc(0) : decoded(initial);
    const { user, password } = await mechanism({ initial: first, ask });
    const result = await this.#logins.login(user, password, { address: peerAddress, protocol: 'submission' });
    if (result.kind === 'refused') throw new Refusal(REPLIES.authRefused);
    if (!result.isCurrent()) throw new Refusal(REPLIES.authUnavailable);
    return result;
  }
}

function decoded(text: string): Buffer {
  if (!BASE64.test(text)) throw new Refusal(REPLIES.badAuthResponse);
  return Buffer.from(text, 'base64');
}

function textOf(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Refusal(REPLIES.badAuthResponse);
  }
}
