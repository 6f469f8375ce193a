/**
 * Login of users whom somebody else vouches for: an identity provider by a token (oidc.ts), or a certificate authority
 * by a client certificate.
 *
 * VL1  Who is vouched for is an address; it must be one of an active mailbox, as in login.ts (G1).
 * VL2  A client that says whom it wants to be must be vouched for with an address of the same mailbox.
 * VL3  Refused tokens count as failed logins; no hash is computed: there is no secret of ours to find.
 *
 * Called by sasl/.
 */
import type { KeyUse } from '../keys/key-service.ts';
import { findAccount, loggedIn, loginAddress, REFUSED } from './login-account.ts';
import type { LoginResult, Peer } from './login-account.ts';
import type { LoginDeps } from './login.ts';
import type { OidcTokens } from './oidc.ts';

type VerifiedLoginDeps = LoginDeps & Readonly<{ tokens: OidcTokens | null }>;

export class VerifiedLogins {
  readonly #deps: VerifiedLoginDeps;

  constructor(deps: VerifiedLoginDeps) {
    this.#deps = deps;
  }

  /** The identity provider's description of itself; null when none is configured. */
  get discoveryUrl(): string | null {
    return this.#deps.tokens?.discoveryUrl ?? null;
  }

  /** `wanted` null: whom the token names. Throws ServerError key-* (the identity provider's too), 'limit-exceeded'. */
  async byToken(token: string, wanted: string | null, peer: Peer, signal?: AbortSignal): Promise<LoginResult> {
    const address = wanted === null ? null : loginAddress(wanted, this.#deps.loginDomain);
    const turn = await this.#deps.turns.take(peer.address, address, signal);
    const vouched = await this.#deps.tokens?.addressOf(token, signal);
    const result = vouched ? await this.#logIn([vouched], wanted, peer, signal) : REFUSED;
    if (result.kind === 'ok') turn.succeeded();
    else turn.failed();
    return result;
  }

  /** `addresses` are those of a certificate that was verified. Throws ServerError key-*, 'limit-exceeded'. */
  async byCertificate(
    addresses: readonly string[],
    wanted: string | null,
    peer: Peer,
    signal?: AbortSignal,
  ): Promise<LoginResult> {
    return this.#logIn(addresses, wanted, peer, signal);
  }

  async #logIn(
    addresses: readonly string[],
    wanted: string | null,
    peer: Peer,
    signal?: AbortSignal,
  ): Promise<LoginResult> {
    const use: KeyUse = { purpose: 'login', protocol: peer.protocol ?? 'imap', principal: 'login' };
    const open = async (username: string) => {
      const address = loginAddress(username, this.#deps.loginDomain);
      const account = address ? await findAccount(this.#deps, address, use, signal) : null;
      return account?.open ? account : null;
    };
    const asked = wanted === null ? null : await open(wanted);
    if (wanted !== null && !asked) return REFUSED;
    for (const vouched of addresses) {
      const account = vouched.includes('@') ? await open(vouched) : null;
      if (account && (!asked || asked.ref.mailbox === account.ref.mailbox)) {
        return loggedIn(this.#deps, account, { kind: 'elsewhere' });
      }
    }
    return REFUSED;
  }
}
