/**
 * STARTTLS, LOGIN, AUTHENTICATE PLAIN. RFC 9051 §6.2; RFC 4616; RFC 4959. Called by dispatch.ts.
 *
 * I1  Unknown users and wrong passwords get one answer; a key that cannot be had gets another, so that clients do not
 *     throw good passwords away.
 */
import { bad, no, ok, type Answer } from '../answer.ts';
import { SyntaxFault } from '../proto/codes.ts';
import { decodeSaslLine, type LoginCommand } from '../proto/commands/login.ts';
import * as print from '../proto/responses.ts';
import type { Session } from '../session.ts';

const MAX_FAILED_LOGINS_COUNT = 5;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The handshake follows the tagged line. RFC 9051 §6.2.1. */
export function startTls(session: Session): Answer {
  if (session.wire.isSecure()) return bad('TLS is on already');
  session.wantsTls = true;
  return ok('Begin TLS now');
}

/** RFC 9051 §6.2.3. */
export async function login(session: Session, command: Extract<LoginCommand, { kind: 'login' }>): Promise<Answer> {
  return loginDisabled(session) ?? logIn(session, command.user, command.password);
}

/** RFC 9051 §6.2.2. */
export async function authenticate(
  session: Session,
  command: Extract<LoginCommand, { kind: 'authenticate' }>,
): Promise<Answer> {
  const disabled = loginDisabled(session);
  if (disabled) return disabled;
  if (command.mechanism !== 'PLAIN') return no('The mechanism is not supported', 'CANNOT');
  let response = command.initialResponse;
  if (response === null) {
    session.out.write(print.continuationLine(''));
    const line = await session.wire.readLine();
    response = line === null ? null : decodeSaslLine(line);
    if (response === null) return bad('Authentication cancelled');
  }
  const { user, password } = plainCredentials(response);
  return logIn(session, user, password);
}

function loginDisabled(session: Session): Answer | null {
  return session.mayLogin ? null : no('Start TLS before you log in', 'PRIVACYREQUIRED');
}

/** authzid NUL authcid NUL password. RFC 4616 §2. Throws SyntaxFault. */
function plainCredentials(response: Buffer): { user: string; password: string } {
  let parts: string[];
  try {
    parts = utf8.decode(response).split('\0');
  } catch {
    throw new SyntaxFault('The authentication response is not UTF-8');
  }
  const [onBehalfOf, user, password] = parts;
  if (parts.length !== 3 || !user || !password) throw new SyntaxFault('The authentication response is malformed');
  if (onBehalfOf !== '' && onBehalfOf !== user) {
    throw new SyntaxFault('Nobody may act for somebody else', { status: 'NO', code: 'AUTHORIZATIONFAILED' });
  }
  return { user, password };
}

async function logIn(session: Session, user: string, password: string): Promise<Answer> {
  const { deps, wire, logger, signal } = session;
  const peer = { address: wire.peerAddress, protocol: 'imap' };
  const result = await deps.login.login(user, password, peer, signal);
  if (result.kind === 'refused') {
    session.failedLoginsCount += 1;
    logger.info('login refused', { peer: wire.peerAddress });
    if (session.failedLoginsCount >= MAX_FAILED_LOGINS_COUNT) session.bye('Too many failed logins');
    return no('The user name or password is wrong', 'AUTHENTICATIONFAILED');
  }
  const principal = { protocol: 'imap', name: result.ref.mailbox, session: wire.id };
  const mailbox = await deps.mailboxes.open(result.ref, principal, signal);
  if (signal.aborted || session.state.kind !== 'not-authenticated') {
    mailbox[Symbol.dispose](); // the client left, or was too slow, while we worked
    return bad('The connection is closing');
  }
  if (!result.isCurrent()) {
    mailbox[Symbol.dispose](); // suspended, or the password changed, while we worked: nobody ends this session later
    return no('The account was changed meanwhile, log in again', 'UNAVAILABLE');
  }
  session.authenticate(mailbox);
  logger.info('logged in', { peer: wire.peerAddress, mailbox: result.ref.mailbox, secure: wire.isSecure() });
  return ok('Logged in', { kind: 'CAPABILITY', names: session.capabilities });
}
