/**
 * STARTTLS, LOGIN, AUTHENTICATE by a mechanism of sasl/. RFC 9051 §6.2; RFC 4959. Called by dispatch.ts.
 *
 * I1  Unknown users and wrong passwords get one answer; a key that cannot be had gets another, so that clients do not
 *     throw good passwords away.
 */
import type { LoggedIn } from '../../accounts/login-account.ts';
import { bad, no, ok, type Answer } from '../answer.ts';
import { decodeSaslLine, type LoginCommand } from '../proto/commands/login.ts';
import * as print from '../proto/responses.ts';
import type { Session } from '../session.ts';

const MAX_FAILED_LOGINS_COUNT = 5;
/** No mechanism takes more. */
const MAX_STEPS_COUNT = 8;

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
  const isOff = session.off.has(`AUTH=${command.mechanism}`) || session.off.has('AUTH=');
  const exchange = isOff ? null : session.deps.sasl.begin(command.mechanism, session.saslChannel);
  if (!exchange) return no('The mechanism is not supported', 'CANNOT');
  let response = command.initialResponse;
  for (let steps = 0; steps < MAX_STEPS_COUNT; steps += 1) {
    const step = await exchange.respond(response, session.signal);
    switch (step.kind) {
      case 'ok':
        return begin(session, step.login);
      case 'refused':
        return refused(session);
      case 'not-authorized':
        return no('Nobody may act for somebody else', 'AUTHORIZATIONFAILED');
      case 'malformed':
        return bad(step.text);
      case 'challenge': {
        session.out.write(print.continuationLine(step.bytes.toString('base64')));
        const line = await session.wire.readLine();
        response = line === null ? null : decodeSaslLine(line);
        if (response === null) return bad('Authentication cancelled');
      }
    }
  }
  return bad('The authentication does not end');
}

function loginDisabled(session: Session): Answer | null {
  return session.mayLogin ? null : no('Start TLS before you log in', 'PRIVACYREQUIRED');
}

async function logIn(session: Session, user: string, password: string): Promise<Answer> {
  const { deps, wire, signal } = session;
  const peer = { address: wire.peerAddress, protocol: 'imap' };
  const result = await deps.login.login(user, password, peer, signal);
  return result.kind === 'ok' ? begin(session, result) : refused(session);
}

function refused(session: Session): Answer {
  session.failedLoginsCount += 1;
  session.logger.info('login refused', { peer: session.wire.peerAddress });
  if (session.failedLoginsCount >= MAX_FAILED_LOGINS_COUNT) session.bye('Too many failed logins');
  return no('The user name or password is wrong', 'AUTHENTICATIONFAILED');
}

/** The session of a login that was verified. */
async function begin(session: Session, result: LoggedIn): Promise<Answer> {
  const { deps, wire, logger, signal } = session;
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
