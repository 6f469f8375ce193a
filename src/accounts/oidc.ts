/**
 * Access tokens of an OpenID provider: signed JWTs, checked here against the provider's published keys. RFC 9068, OpenID
 * Connect Discovery 1.0.
 *
 * OT1  A token counts only if it is signed by a key of the configured issuer with a public-key algorithm, was issued by
 *      it for the configured audience, and has not expired. Whatever else it says, it names one address: the configured
 *      claim. An `email` that the provider did not verify is none.
 * OT2  Only the configured issuer and the key set that it names are ever asked: https (or this machine), no redirect, a
 *      bounded answer, a time limit. What a token says about where keys are is not looked at.
 * OT3  A provider that cannot be reached is an error, not a refusal: clients forget refused tokens.
 *
 * Called by verified-login.ts.
 */
import { createRemoteJWKSet, customFetch, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { ServerError } from '../base/errors.ts';

/** `issuer` exactly as the provider calls itself. */
export type OidcOptions = Readonly<{ issuer: string; audience: string; addressClaim: string; timeoutMs: number }>;
type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const CLOCK_TOLERANCE_SECONDS = 60;
const KEYS_MAX_AGE_MS = 10 * 60_000;
const KEYS_COOLDOWN_MS = 30_000;
const ANSWER_MAX_BYTES = 256 * 1024;
const TOKEN_MAX_LENGTH = 16 * 1024;
const REFUSALS = /^ERR_(JWT|JWS|JOSE_ALG|JOSE_NOT_SUPPORTED|JWKS_NO_MATCHING|JWKS_MULTIPLE)/;

export class OidcTokens {
  readonly #options: OidcOptions;
  readonly #fetch: Fetch;
  #keys: Promise<JWTVerifyGetKey> | null = null;

  constructor(options: OidcOptions, fetch_: Fetch = fetch) {
    this.#options = options;
    this.#fetch = fetch_;
  }

  get discoveryUrl(): string {
    return `${this.#options.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  }

  /** The address that the token vouches for; null for a token that does not count (OT1). Throws ServerError (OT3). */
  async addressOf(token: string, signal?: AbortSignal): Promise<string | null> {
    if (token.length > TOKEN_MAX_LENGTH) return null;
    signal?.throwIfAborted();
    const { issuer, audience, addressClaim } = this.#options;
    try {
      const { payload } = await jwtVerify(token, await this.#keySet(), {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['exp'],
      });
      return addressIn(payload, addressClaim);
    } catch (error) {
      if (error instanceof errors.JOSEError && REFUSALS.test(error.code)) return null;
      throw unavailable(error);
    }
  }

  /** Discovered once, and again after a failure. */
  #keySet(): Promise<JWTVerifyGetKey> {
    const keys = this.#keys ?? this.#discover();
    this.#keys = keys;
    keys.catch(() => {
      if (this.#keys === keys) this.#keys = null;
    });
    return keys;
  }

  async #discover(): Promise<JWTVerifyGetKey> {
    const { issuer, timeoutMs } = this.#options;
    const answer = await this.#get(this.discoveryUrl, { signal: AbortSignal.timeout(timeoutMs) });
    const found = (await answer.json()) as { issuer?: unknown; jwks_uri?: unknown };
    if (found.issuer !== issuer) throw new Error('the provider calls itself by another name');
    const url = typeof found.jwks_uri === 'string' ? URL.parse(found.jwks_uri) : null;
    if (!url || !isPrivateOnTheWay(url)) throw new Error('the provider names no key set under https:');
    return createRemoteJWKSet(url, {
      timeoutDuration: timeoutMs,
      cacheMaxAge: KEYS_MAX_AGE_MS,
      cooldownDuration: KEYS_COOLDOWN_MS,
      [customFetch]: (address, init) => this.#get(address, init),
    });
  }

  /** Without redirects, and not without end (OT2). */
  async #get(url: string, init: RequestInit): Promise<Response> {
    const answer = await this.#fetch(url, { ...init, redirect: 'manual' });
    const pieces: Uint8Array[] = [];
    let sizeBytes = 0;
    for await (const piece of (answer.body ?? []) as AsyncIterable<Uint8Array>) {
      sizeBytes += piece.length;
      if (sizeBytes > ANSWER_MAX_BYTES) throw new Error('the answer is too large');
      pieces.push(piece);
    }
    if (answer.status !== 200) throw new Error(`it answered ${String(answer.status)}`);
    return new Response(Buffer.concat(pieces));
  }
}

/** An `email` that nobody has verified is whatever the user typed in at the provider: it opens no mailbox. */
function addressIn(payload: JWTPayload, claim: string): string | null {
  const value = payload[claim];
  if (typeof value !== 'string') return null;
  return claim === 'email' && payload['email_verified'] !== true ? null : value;
}

function isPrivateOnTheWay({ protocol, hostname }: URL): boolean {
  if (protocol === 'https:') return true;
  return protocol === 'http:' && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}

function unavailable(cause: unknown): ServerError {
  return new ServerError('key-unavailable', {
    clientText: 'The identity provider cannot be reached, try again later.',
    detail: `identity provider: ${cause instanceof Error ? cause.message : 'failed'}`,
    retryable: true,
    cause,
  });
}
