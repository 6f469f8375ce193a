/** LOGOUT, ID, ENABLE. RFC 9051 §6.1, §6.3.1; RFC 2971. Called by dispatch.ts. */
import { ok, type Answer } from '../answer.ts';
import { enableExtensions } from '../extensions.ts';
import type { SessionCommand } from '../proto/commands/session.ts';
import * as print from '../proto/responses.ts';
import type { Session } from '../session.ts';

/** Says BYE; the connection closes after the tagged line. RFC 9051 §6.1.3. */
export function logout(session: Session): Answer {
  session.bye('Goodbye');
  return ok('Logged out');
}

/** Gives a name and nothing that tells how to attack it. What the client says is not kept. */
export function identify(session: Session): Answer {
  session.out.write(print.idLine([['name', 'Sealpost']]));
  return ok('Done');
}

/** RFC 9051 §6.3.1. */
export function enable(session: Session, command: Extract<SessionCommand, { kind: 'enable' }>): Answer {
  const hadCondStore = session.enabled.condStore;
  const names = enableExtensions(session.enabled, command.extensions, session.off);
  session.out.write(print.enabledLine(names));
  const { state } = session;
  if (!hadCondStore && session.enabled.condStore && state.kind === 'selected') {
    const code = { kind: 'HIGHESTMODSEQ', modSeq: state.view.modSeq } as const;
    session.out.write(print.untaggedLine('OK', code, 'CONDSTORE is on'));
  }
  return ok('Done');
}
