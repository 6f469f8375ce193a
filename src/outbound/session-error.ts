/** Why a session with a remote server ended before its work was done. */
import type { Reply } from './reply.ts';

/** `local`: we ended it. */
export type SessionFault = 'timeout' | 'closed' | 'not-smtp' | 'tls' | 'refused' | 'local';

/** `stage` names what was being done; never what the customer or the remote wrote. */
export class SessionError extends Error {
  readonly fault: SessionFault;
  readonly stage: string;
  /** What the remote said, when it refused. */
  readonly reply: Reply | null;

  constructor(fault: SessionFault, stage: string, reply: Reply | null = null) {
    super(`${fault} at ${stage}`);
    this.fault = fault;
    this.stage = stage;
    this.reply = reply;
  }
}

/** The stage of a failure that met whatever was being done. */
export const ANY_STAGE = '';

/** A reply while the message is being sent: the remote does not want the rest of it. */
export function earlyRefusal(reply: Reply): SessionError {
  return reply.code >= 400
    ? new SessionError('refused', 'the message', reply)
    : new SessionError('not-smtp', 'the message');
}

/** A reply that nothing asked for. 421 says that the session is over; any other could be taken for an answer to the next. */
export function strayReply(reply: Reply): SessionError {
  return reply.code === 421 ? new SessionError('refused', 'session', reply) : new SessionError('not-smtp', 'session');
}
