/**
 * The SASL mechanisms of this server, and when each is offered.
 *
 * M1  A mechanism is offered only where it can succeed on this connection: -PLUS where there is a channel binding,
 *     EXTERNAL where a client certificate counts, tokens where a provider is configured.
 * M2  There is none that needs the password itself to be kept, as CRAM-MD5 does.
 *
 * Whether logins are taken at all without TLS is for the protocols to decide. Called by imap/ and smtp/.
 */
import type { SaslChannel, SaslExchange, SaslLogins } from './exchange.ts';
import { external } from './external.ts';
import { oauthBearer, xoauth2 } from './oauth.ts';
import { login, plain } from './plain.ts';
import { scram } from './scram.ts';

type Mechanism = Readonly<{
  name: string;
  isOffered(logins: SaslLogins, channel: SaslChannel): boolean;
  begin(logins: SaslLogins, channel: SaslChannel): SaslExchange;
}>;

const always = (): boolean => true;
const canBind = (channel: SaslChannel): boolean =>
  channel.binding('tls-exporter') !== null || channel.binding('tls-server-end-point') !== null;
const hasTokens = ({ verifiedLogins }: SaslLogins): boolean => (verifiedLogins?.discoveryUrl ?? null) !== null;

const scramOf = (name: string, algorithm: 'sha256' | 'sha1', isBound: boolean): Mechanism => ({
  name,
  isOffered: ({ scramLogins }, channel) =>
    (algorithm === 'sha256' ? scramLogins !== undefined : scramLogins?.hasSha1 === true) &&
    (!isBound || canBind(channel)),
  begin: (logins, channel) => scram(logins, channel, { algorithm, isBound, canBind: canBind(channel) }),
});

/** The strongest first. */
const MECHANISMS: readonly Mechanism[] = [
  {
    name: 'EXTERNAL',
    isOffered: ({ verifiedLogins }, channel) =>
      verifiedLogins !== undefined && (channel.certificateAddresses()?.length ?? 0) > 0,
    begin: external,
  },
  scramOf('SCRAM-SHA-256-PLUS', 'sha256', true),
  scramOf('SCRAM-SHA-256', 'sha256', false),
  scramOf('SCRAM-SHA-1-PLUS', 'sha1', true),
  scramOf('SCRAM-SHA-1', 'sha1', false),
  { name: 'OAUTHBEARER', isOffered: hasTokens, begin: oauthBearer },
  { name: 'XOAUTH2', isOffered: hasTokens, begin: xoauth2 },
  { name: 'PLAIN', isOffered: always, begin: plain },
  { name: 'LOGIN', isOffered: always, begin: login },
];

export class Sasl {
  readonly #logins: SaslLogins;
  readonly #disabled: ReadonlySet<string>;

  /** `disabled` names are never offered, whatever the channel. */
  constructor(logins: SaslLogins, disabled: readonly string[] = []) {
    this.#logins = logins;
    this.#disabled = new Set(disabled.map((name) => name.toUpperCase()));
  }

  /** The names to offer on this connection. */
  names(channel: SaslChannel): readonly string[] {
    return MECHANISMS.filter((mechanism) => this.#isOffered(mechanism, channel)).map(({ name }) => name);
  }

  /** Begins an exchange; null for a name (upper case) that is not offered here. */
  begin(name: string, channel: SaslChannel): SaslExchange | null {
    const found = MECHANISMS.find((mechanism) => mechanism.name === name && this.#isOffered(mechanism, channel));
    return found?.begin(this.#logins, channel) ?? null;
  }

  #isOffered(mechanism: Mechanism, channel: SaslChannel): boolean {
    return !this.#disabled.has(mechanism.name) && mechanism.isOffered(this.#logins, channel);
  }
}
