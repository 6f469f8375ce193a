/** What came of sending to a recipient, in the words of the queue. Pure. */
import type { Attempt } from '../queue/envelope.ts';
import { replyText } from './reply.ts';
import type { SessionError, SessionFault } from './session-error.ts';
import type { Delivered } from './smtp-client.ts';

/** `isToldByRemote`: the remote tells the sender what it asked to be told. RFC 3461 §5.2. */
export type Outcome = Readonly<{
  kind: 'delivered' | 'failed' | 'deferred';
  attempt: Attempt;
  isToldByRemote: boolean;
}>;

const TEXTS: Readonly<Record<SessionFault, string>> = {
  timeout: 'The remote host did not answer in time',
  closed: 'The connection was closed',
  'not-smtp': 'The remote host does not keep to the protocol',
  tls: 'No secure connection could be made',
  refused: 'The remote host refused the session',
  local: 'The session was ended',
};
/** RFC 3463 §3.5, §3.8. */
const STATUSES: Readonly<Record<SessionFault, string>> = {
  timeout: '4.4.1',
  closed: '4.4.2',
  'not-smtp': '4.5.0',
  tls: '4.7.5',
  refused: '4.4.0',
  local: '4.3.0',
};

/** What `result` means: RFC 5321 §4.2.1 for the classes of replies. */
export function outcomeOf(result: Delivered, remoteHost: string, isToldByRemote: boolean): Outcome {
  if (result.kind === 'lost') {
    return { kind: 'deferred', attempt: faultAttempt(result, remoteHost), isToldByRemote: false };
  }
  const { reply } = result;
  const status = reply.enhanced ?? `${String(reply.code)[0] ?? '4'}.0.0`;
  const attempt = { status, code: reply.code, text: replyText(reply), remoteHost };
  if (result.kind === 'accepted') return { kind: 'delivered', attempt, isToldByRemote };
  return { kind: reply.code >= 500 ? 'failed' : 'deferred', attempt, isToldByRemote: false };
}

/** A session that could not be had is temporary, whatever the remote said: another host, or another day, may do better. */
export function sessionAttempt(error: SessionError, remoteHost: string): Attempt {
  const { reply } = error;
  if (!reply) return faultAttempt(error, remoteHost);
  return { status: STATUSES[error.fault], code: reply.code, text: replyText(reply), remoteHost };
}

function faultAttempt({ fault, stage }: Readonly<{ fault: SessionFault; stage: string }>, remoteHost: string): Attempt {
  return { status: STATUSES[fault], code: null, text: `${TEXTS[fault]} (${stage})`, remoteHost };
}

/** An attempt that reached no host. */
export function localAttempt(status: string, text: string, remoteHost: string | null = null): Attempt {
  return { status, code: null, text, remoteHost };
}

/** The same for each of `count` recipients; the class of the status decides. */
export function allAlike(count: number, attempt: Attempt): Outcome[] {
  const kind = attempt.status.startsWith('5') ? 'failed' : 'deferred';
  return Array.from({ length: count }, () => ({ kind, attempt, isToldByRemote: false }));
}
