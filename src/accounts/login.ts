/**
 * Login by password.
 *
 * G1  A user name is any address of the mailbox, whole (no `+tag`); the answer names the mailbox.
 * G2  Unknown users, mailboxes without a password and suspended ones cost one hash and get one answer: refused.
 * G3  Failures slow down their own client address, and that address with that account; never an owner elsewhere
 *     (backoff.ts). The account plays its part whether or not it exists.
 * G4  When the directory key cannot be had the answer is an error, not a refusal: clients forget refused passwords.
 * G5  A hash made with other parameters than today's is replaced after it matched, unless the password was changed
 *     meanwhile; failing to do so does not fail the login.
 * G6  Whoever begins a session asks `isCurrent` in the same turn in which the session becomes known to those who end
 *     sessions: a change in between is not missed.
 * G7  What is remembered of failed logins holds no user name: pairs are digests under a key of this process.
 *
 * Called by imap/ and smtp/ (submission).
 */
import { hash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerError } from '../base/errors.ts';
import { mailboxId } from '../base/ids.ts';
import type { KeyUse } from '../keys/key-service.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import { foldLocal, parseAddress, type ParsedAddress } from './address-text.ts';
import { Backoff, clientKey, type BackoffLimits } from './backoff.ts';
import { openRecords } from './directory.ts';
import type { DirectoryDeps } from './directory.ts';
import type { Domains } from './domains.ts';
import type { Passwords } from './passwords.ts';
import type { DirectoryRecords } from './records.ts';

/** Where the attempt comes from; `protocol` is for the key audit. */
type Peer = Readonly<{ address: string; protocol?: string | undefined }>;
type LoginResult =
  | Readonly<{
      kind: 'ok';
      ref: MailboxRef;
      username: string;
      /** False once the account was suspended or deleted, or its password changed, since it was verified (G6). */
      isCurrent(): boolean;
    }>
  | Readonly<{ kind: 'refused' }>;
type LoginDeps = DirectoryDeps &
  Readonly<{
    domains: Domains;
    passwords: Passwords;
    /** The domain of a user name without one; undefined refuses such names. */
    loginDomain?: string | undefined;
    limits?: LoginLimits | undefined;
  }>;
export type LoginLimits = Readonly<{ client: BackoffLimits; clientAndAccount: BackoffLimits }>;

type Account = Readonly<{
  ref: MailboxRef;
  username: string;
  open: boolean;
  sealed: Buffer | null;
  phc: string | null;
}>;
type Row = Readonly<{ mailbox: string; state: string; sealed: Buffer | null }>;

const REFUSED = { kind: 'refused' } as const;
const SALT_BYTES = 32;
const MEMORY_MS = 15 * 60_000;
const ENTRIES_MAX_COUNT = 20_000;
/** One address may be a whole office: much is free, and then the guesses of all its accounts are spaced a little. */
const DEFAULT_LIMITS: LoginLimits = {
  client: {
    freeCount: 20,
    spaceMs: 100,
    spaceMaxMs: 2000,
    waitMaxMs: 10_000,
    memoryMs: MEMORY_MS,
    entriesMaxCount: ENTRIES_MAX_COUNT,
  },
  clientAndAccount: {
    freeCount: 3,
    spaceMs: 500,
    spaceMaxMs: 15_000,
    waitMaxMs: 10_000,
    memoryMs: MEMORY_MS,
    entriesMaxCount: ENTRIES_MAX_COUNT,
  },
};

export class Logins {
  readonly #deps: LoginDeps;
  readonly #salt = randomBytes(SALT_BYTES).toString('base64');
  readonly #byClient: Backoff;
  readonly #byClientAndAccount: Backoff;

  constructor(deps: LoginDeps) {
    this.#deps = deps;
    const limits = deps.limits ?? DEFAULT_LIMITS;
    this.#byClient = new Backoff(limits.client);
    this.#byClientAndAccount = new Backoff(limits.clientAndAccount);
  }

  /**
   * Checks a user name and password. Throws ServerError key-* (G4) or 'limit-exceeded' (retryable: too many failures
   * from this address, or too many hashes waiting), or `signal.reason`.
   */
  async login(username: string, password: string, peer: Peer, signal?: AbortSignal): Promise<LoginResult> {
    const { loginDomain } = this.#deps;
    const whole = username.includes('@') || loginDomain === undefined ? username : `${username}@${loginDomain}`;
    const parsed = parseAddress(whole);
    const folded = parsed && { local: foldLocal(parsed.local), domain: parsed.domain };
    const client = clientKey(peer.address);
    const pair = this.#digest(JSON.stringify([client, folded?.local ?? '', folded?.domain ?? '']));
    await this.#takeTurn(client, pair, signal);

    const use: KeyUse = { purpose: 'login', protocol: peer.protocol ?? 'imap', principal: 'login' };
    const account = folded ? await this.#account(folded, use, signal) : null;
    const verdict = await this.#deps.passwords.verify(password, account?.phc ?? null);
    const nowMs = this.#deps.nowMs();
    if (!account?.open || verdict.kind !== 'match') {
      this.#byClient.failed(client, nowMs);
      this.#byClientAndAccount.failed(pair, nowMs);
      return REFUSED;
    }
    this.#byClientAndAccount.succeeded(pair);
    const sealed = verdict.outdated ? await this.#rehash(account, password, use) : account.sealed;
    return {
      kind: 'ok',
      ref: account.ref,
      username: account.username,
      isCurrent: () => this.#isCurrent(account.ref, sealed),
    };
  }

  #digest(text: string): string {
    return hash('sha256', this.#salt + text, 'base64');
  }

  async #takeTurn(client: string, pair: string, signal?: AbortSignal): Promise<void> {
    const nowMs = this.#deps.nowMs();
    const pairWaitMs = this.#byClientAndAccount.takeTurn(pair, nowMs);
    const clientWaitMs = pairWaitMs === null ? null : this.#byClient.takeTurn(client, nowMs);
    if (pairWaitMs === null || clientWaitMs === null) {
      throw new ServerError('limit-exceeded', {
        clientText: 'Too many failed logins from this address. Try again later.',
        detail: 'login back-off',
        retryable: true,
      });
    }
    const waitMs = Math.max(pairWaitMs, clientWaitMs);
    if (waitMs > 0) await sleep(waitMs, undefined, signal ? { signal } : {});
  }

  async #account(address: ParsedAddress, use: KeyUse, signal?: AbortSignal): Promise<Account | null> {
    const owner = this.#deps.domains.owner(address.domain);
    if (owner?.state !== 'active') return null; // nobody logs in there, so no key is asked for
    const { organization } = owner;
    using records = await openRecords(this.#deps, organization, use, signal);
    const select = `SELECT m.id AS mailbox, m.state AS state, m.sealed_credential AS sealed
      FROM addresses a JOIN mailboxes m ON m.id = a.mailbox WHERE a.domain = ? AND a.local_index = ?`;
    const index = records.addressIndex(address.domain, address.local);
    const row = this.#deps.directory.prepare<Row>(select).get(address.domain, index);
    if (!row) return null;
    const mailbox = mailboxId(row.mailbox);
    return {
      ref: { organization, mailbox },
      username: `${address.local}@${address.domain}`,
      open: row.state === 'active',
      sealed: row.sealed,
      phc: row.sealed === null ? null : records.openCredential(mailbox, row.sealed),
    };
  }

  #isCurrent({ organization, mailbox }: MailboxRef, sealed: Buffer | null): boolean {
    const select = `SELECT 1 FROM mailboxes m JOIN organizations o ON o.id = m.organization
      WHERE m.id = ? AND o.id = ? AND m.state = 'active' AND o.state = 'active' AND m.sealed_credential = ?`;
    return this.#deps.directory.prepare(select).get(mailbox, organization, sealed) !== undefined;
  }

  /** G5. The credential that counts from now on. */
  async #rehash(account: Account, password: string, use: KeyUse): Promise<Buffer | null> {
    try {
      const phc = await this.#deps.passwords.hash(password);
      using records = await openRecords(this.#deps, account.ref.organization, use);
      return this.#replace(records, account, phc) ?? account.sealed;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      return account.sealed;
    }
  }

  /** The new record; null when the old one was not there any more. */
  #replace(records: DirectoryRecords, account: Account, phc: string): Buffer | null {
    const { mailbox } = account.ref;
    const sealed = records.sealCredential(mailbox, phc);
    const { changes } = this.#deps.directory
      .prepare('UPDATE mailboxes SET sealed_credential = ? WHERE id = ? AND sealed_credential = ?')
      .run(sealed, mailbox, account.sealed);
    return changes > 0 ? sealed : null;
  }
}
