/**
 * Login by SCRAM: the client proves that it knows a password, and the server that it knew one. RFC 5802, RFC 7677.
 *
 * P1  A user who is not there, or has no SCRAM secrets, gets a salt that is always the same, and a proof of theirs is
 *     computed with like any other: neither answers nor timing tell (RFC 5802 §9).
 * P2  The proof may be of the mailbox's password or of an app password that serves the protocol.
 *
 * Called by sasl/.
 */
import { randomBytes } from 'node:crypto';
import { decoySalt, isScramProof, scramSignature } from '../crypto/scram.ts';
import type { ScramHash, ScramParameters, ScramVerifier } from '../crypto/scram.ts';
import type { KeyUse } from '../keys/key-service.ts';
import { noteUse, servesProtocol, type OpenAppPassword } from './app-passwords.ts';
import { findAccount, loggedIn, loginAddress } from './login-account.ts';
import type { LoggedIn, LoginAccount, Peer } from './login-account.ts';
import type { LoginDeps } from './login.ts';

type ScramProof = Readonly<{ proof: Buffer; authMessage: string }>;
/** One attempt, from the salt that the client is told to its proof. */
export type ScramAttempt = Readonly<{
  parameters: ScramParameters;
  /** The login, and the server's own proof; null when the client's is wrong. To be called once. */
  prove(proof: ScramProof): Readonly<{ login: LoggedIn; signature: Buffer }> | null;
}>;
type Candidate = Readonly<{ verifier: ScramVerifier; appPassword: OpenAppPassword | null }>;

const KEY_BYTES: Readonly<Record<ScramHash, number>> = { sha256: 32, sha1: 20 };

export class ScramLogins {
  readonly #deps: LoginDeps;

  constructor(deps: LoginDeps) {
    this.#deps = deps;
  }

  /** Whether secrets for SCRAM-SHA-1 are kept. */
  get hasSha1(): boolean {
    return this.#deps.scram.hasSha1;
  }

  /** Begins an attempt. Throws ServerError key-*, 'limit-exceeded', or `signal.reason`. */
  async begin(username: string, algorithm: ScramHash, peer: Peer, signal?: AbortSignal): Promise<ScramAttempt> {
    const address = loginAddress(username, this.#deps.loginDomain);
    const turn = await this.#deps.turns.take(peer.address, address, signal);
    const use: KeyUse = { purpose: 'login', protocol: peer.protocol ?? 'imap', principal: 'login' };
    const found = address ? await findAccount(this.#deps, address, use, signal) : null;
    const account = found?.open ? found : null;
    const { parameters, candidates } = this.#candidates(account, algorithm, peer) ?? {
      parameters: this.#decoyParameters(address ? `${address.local}@${address.domain}` : username),
      candidates: [{ verifier: nobodysVerifier(algorithm), appPassword: null }],
    };
    return {
      parameters,
      prove: (proof) => {
        const match = candidates.find(({ verifier }) => isScramProof(algorithm, verifier, proof));
        if (!account || !match) {
          turn.failed();
          return null;
        }
        turn.succeeded();
        const { appPassword, verifier } = match;
        if (appPassword) noteUse(this.#deps, appPassword.id);
        const by = appPassword
          ? ({ kind: 'app-password', id: appPassword.id } as const)
          : ({ kind: 'scram', sealedScram: account.sealedScram } as const);
        return {
          login: loggedIn(this.#deps, account, by),
          signature: scramSignature(algorithm, verifier, proof.authMessage),
        };
      },
    };
  }

  /** Null when there is nothing that a proof could be compared with. */
  #candidates(
    account: LoginAccount | null,
    algorithm: ScramHash,
    peer: Peer,
  ): { parameters: ScramParameters; candidates: readonly Candidate[] } | null {
    const own = account?.scram;
    const usable = (account?.appPasswords ?? []).filter((one) => one.scram && servesProtocol(one, peer.protocol));
    const parameters = own?.parameters ?? usable[0]?.scram?.parameters;
    if (!parameters) return null;
    const candidates: Candidate[] = [];
    const verifier = own?.verifiers[algorithm];
    if (verifier) candidates.push({ verifier, appPassword: null });
    for (const appPassword of usable) {
      const kept = appPassword.scram?.verifiers[algorithm];
      if (kept && appPassword.scram.parameters.salt.equals(parameters.salt)) {
        candidates.push({ verifier: kept, appPassword });
      }
    }
    return candidates.length > 0 ? { parameters, candidates } : null;
  }

  #decoyParameters(username: string): ScramParameters {
    const row = this.#deps.directory.prepare<{ secret: Buffer }>('SELECT secret FROM decoys').get();
    const secret = row?.secret ?? randomBytes(KEY_BYTES.sha256);
    return { salt: decoySalt(secret, username), iterationsCount: this.#deps.scram.iterationsCount };
  }
}

function nobodysVerifier(algorithm: ScramHash): ScramVerifier {
  const size = KEY_BYTES[algorithm];
  return { storedKey: randomBytes(size), serverKey: randomBytes(size) };
}
