/**
 * What a SASL mechanism is to a protocol: a client's responses in, steps out. RFC 4422 §3.
 *
 * Called by the mechanisms of this folder; imap/ and smtp/ carry the steps.
 */
import type { LoggedIn, LoginResult, Peer } from '../accounts/login-account.ts';
import type { ScramAttempt } from '../accounts/scram-login.ts';
import type { ScramHash } from '../crypto/scram.ts';

export type BindingType = 'tls-exporter' | 'tls-server-end-point';
/** The connection, as far as a mechanism needs it. */
export type SaslChannel = Readonly<{
  peer: Peer;
  /** What binds an exchange to this TLS connection; null where there is none of that type. */
  binding(type: BindingType): Buffer | null;
  /** Addresses in the client's certificate, which an authority of ours signed; null without one. */
  certificateAddresses(): readonly string[] | null;
}>;
/** `challenge` is to be answered by another response; the others end the exchange. */
export type SaslStep =
  | Readonly<{ kind: 'challenge'; bytes: Buffer }>
  | Readonly<{ kind: 'ok'; login: LoggedIn }>
  | Readonly<{ kind: 'refused' }>
  /** The client may not act for whom it named. RFC 4422 §3.4.1. */
  | Readonly<{ kind: 'not-authorized' }>
  | Readonly<{ kind: 'malformed'; text: string }>;
/** One exchange. `response` null: the client sent no initial response. Throws what the logins throw. */
export type SaslExchange = Readonly<{ respond(response: Buffer | null, signal?: AbortSignal): Promise<SaslStep> }>;

/** The logins of accounts/, as the mechanisms use them. */
export type SaslLogins = Readonly<{
  logins: Readonly<{
    login(username: string, password: string, peer: Peer, signal?: AbortSignal): Promise<LoginResult>;
  }>;
  /** Absent: SCRAM is not offered. */
  scramLogins?: Readonly<{
    readonly hasSha1: boolean;
    begin(username: string, algorithm: ScramHash, peer: Peer, signal?: AbortSignal): Promise<ScramAttempt>;
  }>;
  /** Absent: neither tokens nor certificates log in. */
  verifiedLogins?: Readonly<{
    readonly discoveryUrl: string | null;
    byToken(token: string, wanted: string | null, peer: Peer, signal?: AbortSignal): Promise<LoginResult>;
    byCertificate(
      addresses: readonly string[],
      wanted: string | null,
      peer: Peer,
      signal?: AbortSignal,
    ): Promise<LoginResult>;
  }>;
}>;

export const challenge = (text: string): SaslStep => ({ kind: 'challenge', bytes: Buffer.from(text, 'utf8') });
export const malformed = (text: string): SaslStep => ({ kind: 'malformed', text });
export const REFUSED: SaslStep = { kind: 'refused' };
const NOT_AUTHORIZED: SaslStep = { kind: 'not-authorized' };

/** Nobody acts for somebody else: an identity to act as is none, or the user's own name. RFC 4422 §3.4.1. */
export function refusalToActAs(authzid: string, username: string): SaslStep | null {
  return authzid === '' || authzid === username ? null : NOT_AUTHORIZED;
}

export function stepOf(result: LoginResult): SaslStep {
  return result.kind === 'ok' ? { kind: 'ok', login: result } : REFUSED;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Null for bytes that are not UTF-8. */
export function textOf(bytes: Buffer): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}
