/**
 * Login by password: the mailbox's own, or an app password.
 *
 * G1  A user name is any address of the mailbox, whole (no `+tag`); the answer names the mailbox.
 * G2  Unknown users, mailboxes without a password and suspended ones cost one hash and get one answer: refused. (An app
 *     password that matches costs none: whoever has it knows the account.)
 * G3  Each attempt takes its turn (login-turns.ts).
 * G4  When the directory key cannot be had the answer is an error, not a refusal: clients forget refused passwords.
 * G5  A hash made with other parameters than today's is replaced after it matched, and what SCRAM needs is made then
 *     where it is not there, unless the password was changed meanwhile; failing to do so does not fail the login.
 * G6  Whoever begins a session asks `isCurrent` in the same turn in which the session becomes known to those who end
 *     sessions: a change in between is not missed.
 *
 * Called by imap/ and smtp/ (submission), and by sasl/.
 */
import { ServerError } from '../base/errors.ts';
import type { KeyUse } from '../keys/key-service.ts';
import { matchingAppPassword, noteUse, servesProtocol } from './app-passwords.ts';
import { openRecords, type DirectoryDeps } from './directory.ts';
import type { Domains } from './domains.ts';
import { findAccount, loggedIn, loginAddress, REFUSED } from './login-account.ts';
import type { LoginAccount, LoginResult, Peer } from './login-account.ts';
import type { LoginTurns } from './login-turns.ts';
import type { Passwords } from './passwords.ts';
import { formatScramSecrets, scramSecretsOf, type ScramOptions } from './scram-secrets.ts';

export type LoginDeps = DirectoryDeps &
  Readonly<{
    domains: Domains;
    passwords: Passwords;
    scram: ScramOptions;
    turns: LoginTurns;
    /** The domain of a user name without one; undefined refuses such names. */
    loginDomain?: string | undefined;
  }>;

export class Logins {
  readonly #deps: LoginDeps;

  constructor(deps: LoginDeps) {
    this.#deps = deps;
  }

  /**
   * Checks a user name and password. Throws ServerError key-* (G4) or 'limit-exceeded' (retryable: too many failures
   * from this address, or too many hashes waiting), or `signal.reason`.
   */
  async login(username: string, password: string, peer: Peer, signal?: AbortSignal): Promise<LoginResult> {
    const address = loginAddress(username, this.#deps.loginDomain);
    const turn = await this.#deps.turns.take(peer.address, address, signal);
    const use: KeyUse = { purpose: 'login', protocol: peer.protocol ?? 'imap', principal: 'login' };
    const account = address ? await findAccount(this.#deps, address, use, signal) : null;

    const appPassword = account?.open ? matchingAppPassword(account.appPasswords, password) : null;
    if (account && appPassword && servesProtocol(appPassword, peer.protocol)) {
      turn.succeeded();
      noteUse(this.#deps, appPassword.id);
      return loggedIn(this.#deps, account, { kind: 'app-password', id: appPassword.id });
    }
    const verdict = await this.#deps.passwords.verify(password, account?.phc ?? null);
    if (!account?.open || verdict.kind !== 'match') {
      turn.failed();
      return REFUSED;
    }
    turn.succeeded();
    const sealedCredential = await this.#renew(account, password, { use, isOutdated: verdict.outdated });
    return loggedIn(this.#deps, account, { kind: 'password', sealedCredential });
  }

  /** G5. The credential that counts from now on. */
  async #renew(
    account: LoginAccount,
    password: string,
    { use, isOutdated }: Readonly<{ use: KeyUse; isOutdated: boolean }>,
  ): Promise<Buffer | null> {
    const needsScram = !account.scram?.verifiers.sha256 || (this.#deps.scram.hasSha1 && !account.scram.verifiers.sha1);
    if (!isOutdated && !needsScram) return account.sealedCredential;
    try {
      const phc = isOutdated ? await this.#deps.passwords.hash(password) : null;
      const known = account.scram?.parameters ?? account.appPasswords.find((one) => one.scram)?.scram?.parameters;
      const scram = needsScram ? await scramSecretsOf(password, this.#deps.scram, known) : null;
      if (phc === null && scram === null) return account.sealedCredential;
      using records = await openRecords(this.#deps, account.ref.organization, use);
      const { mailbox } = account.ref;
      const credential = phc === null ? account.sealedCredential : records.sealCredential(mailbox, phc);
      const sealed = scram ? records.sealScram(mailbox, formatScramSecrets(scram)) : account.sealedScram;
      const { changes } = this.#deps.directory
        .prepare('UPDATE mailboxes SET sealed_credential = ?, sealed_scram = ? WHERE id = ? AND sealed_credential = ?')
        .run(credential, sealed, mailbox, account.sealedCredential);
      return changes > 0 ? credential : account.sealedCredential;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      return account.sealedCredential;
    }
  }
}
