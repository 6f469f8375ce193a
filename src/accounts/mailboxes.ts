/**
 * Mailboxes as accounts: a mailbox's key, profile, credential and addresses. What is in them is mailbox/'s business.
 *
 * M1  A mailbox appears whole or not at all: key, row and primary address are one transaction, durable before the
 *     caller hears of it (W3).
 * M2  Its profile and credential are sealed; a password is never stored and never returned.
 * M3  Deleting first removes keys, addresses, profile and credential, durably (from then on nothing can be opened),
 *     then the files; then the receipt is made, then the row goes. A deletion that was cut short is taken up at the
 *     next start.
 * M4  Suspending forgets the mailbox's cached keys at once; none is leased while it lasts (KS8).
 *
 * Called by admin/, login.ts and the first-run set-up.
 */
import { ServerError } from '../base/errors.ts';
import { mailboxId, organizationId, randomHexId, type MailboxId, type OrganizationId } from '../base/ids.ts';
import type { ScramParameters } from '../crypto/scram.ts';
import type { KeyUse } from '../keys/key-service.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { ProviderKind } from '../keys/provider.ts';
import { Destructions, type Certify } from './destructions.ts';
import { checkedAddress, checkedNewAddress, requireOwner, type Addresses, type KeyKind } from './addresses.ts';
import { appPasswordParameters } from './app-passwords.ts';
import { adminUse, checkedName, invalid, notFound, openRecords, refused } from './directory.ts';
import type { AccountState, DirectoryDeps } from './directory.ts';
import type { Domains } from './domains.ts';
import type { Passwords } from './passwords.ts';
import { parsePhc } from './phc.ts';
import { formatScramSecrets, scramSecretsOf, type ScramOptions } from './scram-secrets.ts';
import type { DirectoryRecords } from './records.ts';

export type MailboxAccount = Readonly<{
  ref: MailboxRef;
  state: AccountState;
  address: string;
  displayName: string | null;
  keyKind: KeyKind;
  aliases: readonly string[];
  hasPassword: boolean;
  createdAtMs: number;
}>;
/** Without `password` or `credential` (a PHC string) nobody can log in until one is set. */
type NewMailbox = Readonly<{
  address: string;
  displayName?: string | undefined;
  password?: string | undefined;
  credential?: string | undefined;
  /** `symmetric` unless told. */
  keyKind?: KeyKind | undefined;
}>;
/** Null: without a limit. */
type MailboxQuota = Readonly<{ maxBytes: number | null; maxMessagesCount: number | null }>;
/** `after` is the last id of the page before. */
type PageRequest = Readonly<{ after?: MailboxId | undefined; limitCount: number }>;
type MailboxAccountsDeps = DirectoryDeps &
  Readonly<{ domains: Domains; addresses: Addresses; passwords: Passwords; scram: ScramOptions }>;
/** Removes a mailbox's files; finding none is success. */
export type EraseFiles = (ref: MailboxRef) => Promise<void>;
/** `by`: who asked for it, a protocol. */
export type MailboxDeletion = Readonly<{ by: string; eraseFiles: EraseFiles; certify: Certify }>;

type Row = Readonly<{
  id: string;
  state: AccountState;
  keyKind: KeyKind;
  sealedProfile: Buffer;
  hasPassword: number;
  createdAtMs: number;
}>;
const SELECT = `SELECT id, state, key_kind AS keyKind, sealed_profile AS sealedProfile, sealed_credential IS NOT NULL AS hasPassword,
  created_at_ms AS createdAtMs FROM mailboxes WHERE state <> 'deleting'`;

export class MailboxAccounts {
  readonly #deps: MailboxAccountsDeps;
  readonly #destructions: Destructions;

  constructor(deps: MailboxAccountsDeps) {
    this.#deps = deps;
    this.#destructions = new Destructions(deps.directory);
  }

  /**
   * Creates a mailbox with its key (M1). Throws ServerError 'invalid-argument', 'not-found' (domain),
   * 'already-exists', 'suspended', key-*.
   */
  async create(request: NewMailbox, signal?: AbortSignal): Promise<MailboxRef> {
    const { directory, keys, domains, addresses, passwords, nowMs } = this.#deps;
    const { password } = request;
    const address = checkedNewAddress(request.address);
    const displayName = request.displayName === undefined ? null : checkedName(request.displayName);
    const organization = requireOwner(domains, address.domain);
    const credential = await this.#newCredential(request, passwords);
    const scram = password === undefined ? null : await scramSecretsOf(password, this.#deps.scram);
    const mailbox = mailboxId(randomHexId());
    const use = adminUse('create-mailbox');
    const scope = { organization, owner: mailbox, ...this.#rootKey(organization) } as const;
    const key = await keys.createKey(scope, use, signal);
    using records = await openRecords(this.#deps, organization, use, signal);
    const profile = { address: `${address.local}@${address.domain}`, displayName };
    const columns = 'id, organization, state, key_kind, sealed_profile, sealed_credential, sealed_scram, created_at_ms';
    directory.transaction(() => {
      if (this.#rootKey(organization).rootKey !== scope.rootKey) throw rootKeyMoved(); // no key stays behind
      const sealedCredential = credential === null ? null : records.sealCredential(mailbox, credential);
      directory
        .prepare(`INSERT INTO mailboxes (${columns}) VALUES (?,?,?,?,?,?,?,?)`)
        .run(
          mailbox,
          organization,
          'active',
          request.keyKind ?? 'symmetric',
          records.sealProfile(mailbox, profile),
          sealedCredential,
          scram && records.sealScram(mailbox, formatScramSecrets(scram)),
          nowMs(),
        );
      addresses.insert(records, address, { mailbox, kind: 'primary' });
      keys.insertKey(key);
    });
    await directory.durable();
    return { organization, mailbox };
  }

  /** One page of an organization's mailboxes, by id. Throws ServerError key-*. */
  async list(
    organization: OrganizationId,
    page: PageRequest,
    signal?: AbortSignal,
  ): Promise<readonly MailboxAccount[]> {
    const select = `${SELECT} AND organization = ? AND id > ? ORDER BY id LIMIT ?`;
    const rows = this.#deps.directory.prepare<Row>(select).all(organization, page.after ?? '', page.limitCount);
    using records = await openRecords(this.#deps, organization, adminUse('list-mailboxes'), signal);
    return rows.map((row) => this.#open(records, row));
  }

  /** The mailbox with this address or alias; null when there is none. Throws ServerError 'invalid-argument', key-*. */
  async find(address: string, signal?: AbortSignal): Promise<MailboxAccount | null> {
    const parsed = checkedAddress(address);
    const owner = this.#deps.domains.owner(parsed.domain);
    if (!owner) return null;
    using records = await openRecords(this.#deps, owner.organization, adminUse('find-mailbox'), signal);
    const mailbox = this.#deps.addresses.find(records, parsed);
    const row = mailbox === null ? undefined : this.#deps.directory.prepare<Row>(`${SELECT} AND id = ?`).get(mailbox);
    return row ? this.#open(records, row) : null;
  }

  /** As `find`. Throws ServerError 'not-found' instead of giving null. */
  async require(address: string, signal?: AbortSignal): Promise<MailboxAccount> {
    const account = await this.find(address, signal);
    if (!account) throw notFound(`There is no mailbox ${address}.`);
    return account;
  }

  /** Suspends or resumes; durable when it resolves. Throws ServerError 'not-found'. */
  async setState(ref: MailboxRef, state: AccountState): Promise<void> {
    const update = "UPDATE mailboxes SET state = ? WHERE id = ? AND organization = ? AND state <> 'deleting'";
    const { changes } = this.#deps.directory.prepare(update).run(state, ref.mailbox, ref.organization);
    if (changes === 0) throw notFound('There is no such mailbox.');
    if (state === 'suspended') this.#deps.keys.forgetMailbox(ref);
    await this.#deps.directory.durable();
  }

  /** What a mailbox may hold; null: without a limit. */
  quota({ mailbox }: Pick<MailboxRef, 'mailbox'>): MailboxQuota {
    const select = 'SELECT quota_bytes AS maxBytes, quota_messages AS maxMessagesCount FROM mailboxes WHERE id = ?';
    return (
      this.#deps.directory.prepare<MailboxQuota>(select).get(mailbox) ?? { maxBytes: null, maxMessagesCount: null }
    );
  }

  /** Sets what a mailbox may hold; it may hold more already. Durable when it resolves. Throws ServerError 'not-found'. */
  async setQuota({ mailbox, organization }: MailboxRef, { maxBytes, maxMessagesCount }: MailboxQuota): Promise<void> {
    const { directory } = this.#deps;
    const update = `UPDATE mailboxes SET quota_bytes = ?, quota_messages = ?
      WHERE id = ? AND organization = ? AND state <> 'deleting'`;
    const { changes } = directory.prepare(update).run(maxBytes, maxMessagesCount, mailbox, organization);
    if (changes === 0) throw notFound('There is no such mailbox.');
    await directory.durable();
  }

  /** Names of IMAP capabilities that are off for a mailbox, in upper case. */
  capabilitiesOff({ mailbox }: Pick<MailboxRef, 'mailbox'>): readonly string[] {
    const select = 'SELECT capabilities_off AS names FROM mailboxes WHERE id = ?';
    const { names } = this.#deps.directory.prepare<{ names: string | null }>(select).get(mailbox) ?? { names: null };
    return names === null ? [] : names.split(' ').filter((name) => name !== '');
  }

  /** Switches these off and no others; for sessions from now on. Durable when it resolves. Throws ServerError 'not-found'. */
  async setCapabilitiesOff({ mailbox, organization }: MailboxRef, names: readonly string[]): Promise<void> {
    const { directory } = this.#deps;
    const update = `UPDATE mailboxes SET capabilities_off = ? WHERE id = ? AND organization = ? AND state <> 'deleting'`;
    const written = names.length === 0 ? null : names.map((name) => `${name} `).join('');
    const { changes } = directory.prepare(update).run(written, mailbox, organization);
    if (changes === 0) throw notFound('There is no such mailbox.');
    await directory.durable();
  }

  /** Hashes and stores a new password. Throws ServerError 'invalid-argument', 'not-found', 'limit-exceeded', key-*. */
  async setPassword(ref: MailboxRef, password: string, signal?: AbortSignal): Promise<void> {
    const phc = await this.#deps.passwords.hash(password);
    const use = adminUse('set-password');
    const known = await this.#appPasswordParameters(ref, use, signal);
    const scram = await scramSecretsOf(password, this.#deps.scram, known);
    using records = await openRecords(this.#deps, ref.organization, use, signal);
    const sealed = scram && records.sealScram(ref.mailbox, formatScramSecrets(scram));
    await this.#storeCredential(ref, records.sealCredential(ref.mailbox, phc), sealed);
  }

  /** Stores a PHC string as the credential; durable when it resolves. Throws ServerError 'invalid-argument', 'not-found', key-*. */
  async setCredential(ref: MailboxRef, phc: string, signal?: AbortSignal): Promise<void> {
    if (!parsePhc(phc)) throw invalid('The credential is not a PHC string of Argon2id.');
    using records = await openRecords(this.#deps, ref.organization, adminUse('set-password'), signal);
    await this.#storeCredential(ref, records.sealCredential(ref.mailbox, phc), null);
  }

  /** What was kept of the old password goes with it, in one transaction. */
  async #storeCredential(
    { mailbox, organization }: MailboxRef,
    credential: Buffer,
    scram: Buffer | null,
  ): Promise<void> {
    const update = `UPDATE mailboxes SET sealed_credential = ?, sealed_scram = ?
      WHERE id = ? AND organization = ? AND state <> 'deleting'`;
    const { changes } = this.#deps.directory.prepare(update).run(credential, scram, mailbox, organization);
    if (changes === 0) throw notFound('There is no such mailbox.');
    await this.#deps.directory.durable();
    this.#deps.directory.truncateLogSoon(); // the old hash leaves the log
  }

  async #appPasswordParameters(
    ref: MailboxRef,
    use: KeyUse,
    signal?: AbortSignal,
  ): Promise<ScramParameters | undefined> {
    using records = await openRecords(this.#deps, ref.organization, use, signal);
    return appPasswordParameters(this.#deps, records, ref.mailbox);
  }

  /** Deletes a mailbox and, through `eraseFiles`, its mail, for good (M3). Throws ServerError 'not-found'. */
  async delete(ref: MailboxRef, { by, eraseFiles, certify }: MailboxDeletion): Promise<void> {
    const { directory, keys, nowMs } = this.#deps;
    const { organization, mailbox } = ref;
    const destruction = directory.transaction(() => {
      const shred = `UPDATE mailboxes SET state = 'deleting', sealed_credential = NULL, sealed_scram = NULL, sealed_profile = x''
        WHERE id = ? AND organization = ?`;
      if (directory.prepare(shred).run(mailbox, organization).changes === 0) {
        throw notFound('There is no such mailbox.');
      }
      directory.prepare('DELETE FROM app_passwords WHERE mailbox = ?').run(mailbox);
      const { changes } = directory.prepare('DELETE FROM addresses WHERE mailbox = ?').run(mailbox);
      const destroyed = { keys: keys.deleteMailboxKeys(ref), addressesCount: changes, keysDestroyedAtMs: nowMs() };
      return this.#destructions.begin(mailbox, { organization, mailbox, ...destroyed, by });
    });
    await directory.durable();
    directory.truncateLogSoon(); // the wrapped keys leave the log too
    await eraseFiles(ref);
    await certify(destruction);
    directory.transaction(() => {
      directory.prepare("DELETE FROM mailboxes WHERE id = ? AND state = 'deleting'").run(mailbox);
      this.#destructions.end(mailbox);
    });
    await directory.durable();
    directory.truncateLogSoon();
  }

  /** Deletions that were cut short: pass each to `delete` again. */
  unfinishedDeletions(): readonly MailboxRef[] {
    const select = "SELECT id, organization FROM mailboxes WHERE state = 'deleting'";
    return this.#deps.directory
      .prepare<{ id: string; organization: string }>(select)
      .all()
      .map((row) => ({ organization: organizationId(row.organization), mailbox: mailboxId(row.id) }));
  }

  async #newCredential(request: NewMailbox, passwords: Passwords): Promise<string | null> {
    if (request.password !== undefined) return passwords.hash(request.password);
    if (request.credential === undefined) return null;
    if (!parsePhc(request.credential)) throw invalid('The credential is not a PHC string of Argon2id.');
    return request.credential;
  }

  /** The root key that wraps this organization's keys. Throws ServerError 'not-allowed' while it is suspended. */
  #rootKey(organization: OrganizationId): { provider: ProviderKind; rootKey: string } {
    const select = 'SELECT provider, root_key AS rootKey, state FROM organizations WHERE id = ?';
    const row = this.#deps.directory
      .prepare<{ provider: ProviderKind; rootKey: string; state: AccountState }>(select)
      .get(organization);
    if (!row) throw notFound('There is no such organization.');
    if (row.state !== 'active') throw refused('The organization is suspended. Resume it first.');
    return { provider: row.provider, rootKey: row.rootKey };
  }

  #open(records: DirectoryRecords, row: Row): MailboxAccount {
    const mailbox = mailboxId(row.id);
    const aliases = this.#deps.addresses.listOpened(records, mailbox).filter((entry) => entry.kind === 'alias');
    return {
      ref: { organization: records.organization, mailbox },
      state: row.state,
      keyKind: row.keyKind,
      ...records.openProfile(mailbox, row.sealedProfile),
      aliases: aliases.map((entry) => entry.address),
      hasPassword: row.hasPassword === 1,
      createdAtMs: row.createdAtMs,
    };
  }
}

function rootKeyMoved(): ServerError {
  return new ServerError('key-unavailable', {
    clientText: 'The organization was just moved to another root key. Try again.',
    retryable: true,
  });
}
