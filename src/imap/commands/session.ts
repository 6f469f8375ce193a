/** LOGOUT, ID, ENABLE, COMPRESS, UNAUTHENTICATE. RFC 9051 §6.1, §6.3.1; RFC 2971, RFC 4978, RFC 8437. Called by dispatch.ts. */
import { bad, no, ok, type Answer } from '../answer.ts';
import { enableExtensions } from '../extensions.ts';
import type { SessionCommand } from '../proto/commands/session.ts';
import * as print from '../proto/responses.ts';
import type { Session } from '../session.ts';

/** Says BYE; the connection closes after the tagged line. RFC 9051 §6.1.3. */
export function logout(session: Session): Answer {
  session.bye('Goodbye');
  return ok('Logged out');
}

/** Clients that the log may name: whatever else a client calls itself is content. */
const KNOWN_CLIENTS: readonly (readonly [RegExp, string])[] = [
  [/thunderbird/i, 'Thunderbird'],
  [/^(iphone|ipad|ios) mail$/i, 'iOS Mail'],
  [/^mac os x mail$/i, 'macOS Mail'],
  [/outlook/i, 'Outlook'],
  [/k-9/i, 'K-9 Mail'],
  [/fairemail/i, 'FairEmail'],
  [/imapflow/i, 'ImapFlow'],
  [/em client/i, 'eM Client'],
  [/evolution/i, 'Evolution'],
  [/mailspring/i, 'Mailspring'],
  [/roundcube/i, 'Roundcube'],
];
/** Those that stop in the middle of compressed responses. */
const STALLING: ReadonlySet<string> = new Set(['iOS Mail']);

/** Gives a name and nothing that tells how to attack it. What the client says is not kept, but for a name that is known. */
export function identify(session: Session, command: Extract<SessionCommand, { kind: 'id' }>): Answer {
  const said = command.fields?.find(([name]) => name.toLowerCase() === 'name')?.[1] ?? '';
  const client = KNOWN_CLIENTS.find(([pattern]) => pattern.test(said))?.[1];
  session.logger.info('client', { name: client ?? 'other' });
  session.stallsCompressed = client !== undefined && STALLING.has(client);
  session.out.write(print.idLine([['name', 'Sealpost']]));
  return ok('Done');
}

/** RFC 9051 §6.3.1. */
export function enable(session: Session, command: Extract<SessionCommand, { kind: 'enable' }>): Answer {
  const hadCondStore = session.enabled.condStore;
  const names = enableExtensions(session.enabled, command.extensions, session.off);
  session.out.write(print.enabledLine(names));
  const { state } = session;
  if (state.kind === 'selected') state.view.isUidOnly = session.enabled.uidOnly;
  if (!hadCondStore && session.enabled.condStore && state.kind === 'selected') {
    const code = { kind: 'HIGHESTMODSEQ', modSeq: state.view.modSeq } as const;
    session.out.write(print.untaggedLine('OK', code, 'CONDSTORE is on'));
  }
  return ok('Done');
}

/** The streams change after the tagged line. RFC 4978 §3. */
export function compress(session: Session, { algorithm }: Extract<SessionCommand, { kind: 'compress' }>): Answer {
  if (session.off.has('COMPRESS=DEFLATE')) return bad('Unknown command');
  if (algorithm !== 'DEFLATE') return no('The algorithm is not supported', 'CANNOT');
  if (session.wire.isCompressed()) return no('Compression is on already', 'COMPRESSIONACTIVE');
  if (session.stallsCompressed) return no('This client is known to stall under compression', 'CANNOT');
  session.wants = 'compression';
  return ok('Compression begins');
}

/** Everything but TLS is as before the login; compression ends after the tagged line. RFC 8437 §2. */
export function unauthenticate(session: Session): Answer {
  if (session.off.has('UNAUTHENTICATE')) return bad('Unknown command');
  session.unauthenticate();
  return ok('Logged out, you may log in again', { kind: 'CAPABILITY', names: session.capabilities });
}
