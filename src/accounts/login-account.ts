/**
 * The account behind a user name, with all that it may log in by. Called by the logins of this folder.
 */
import { mailboxId } from '../base/ids.ts';
import type { KeyUse } from '../keys/key-service.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import { foldLocal, parseAddress, type ParsedAddress } from './address-text.ts';
import { openAppPasswords, type OpenAppPassword } from './app-passwords.ts';
import { openRecords, type DirectoryDeps } from './directory.ts';
import type { Domains } from './domains.ts';
import { parseScramSecrets, type ScramSecrets } from './scram-secrets.ts';

/** Where the attempt comes from; `protocol` is for the key audit, and for passwords that serve one protocol only. */
export type Peer = Readonly<{ address: string; protocol?: string | undefined }>;
export type LoggedIn = Readonly<{
  kind: 'ok';
  ref: MailboxRef;
  username: string;
  /** False once the account was suspended or deleted, or what it logged in by was taken away, since it was verified. */
  isCurrent(): boolean;
}>;
export type LoginResult = LoggedIn | Readonly<{ kind: 'refused' }>;
export const REFUSED = { kind: 'refused' } as const;

export type LoginAccount = Readonly<{
  ref: MailboxRef;
  username: string;
  /** Neither suspended nor being deleted. */
  open: boolean;
  sealedCredential: Buffer | null;
  phc: string | null;
  sealedScram: Buffer | null;
  scram: ScramSecrets | null;
  appPasswords: readonly OpenAppPassword[];
}>;
type AccountDeps = DirectoryDeps & Readonly<{ domains: Domains }>;
type Row = Readonly<{ mailbox: string; state: string; credential: Buffer | null; scram: Buffer | null }>;

/** A user name as an address, folded; null when it is none. `loginDomain` is for names without one. */
export function loginAddress(username: string, loginDomain: string | undefined): ParsedAddress | null {
  const whole = username.includes('@') || loginDomain === undefined ? username : `${username}@${loginDomain}`;
  const parsed = parseAddress(whole);
  return parsed && { local: foldLocal(parsed.local), domain: parsed.domain };
}

/** The account with this folded address; null when there is none. Throws ServerError key-*. */
export async function findAccount(
  deps: AccountDeps,
  address: ParsedAddress,
  use: KeyUse,
  signal?: AbortSignal,
): Promise<LoginAccount | null> {
  const owner = deps.domains.owner(address.domain);
  if (owner?.state !== 'active') return null; // nobody logs in there, so no key is asked for
  const { organization } = owner;
  using records = await openRecords(deps, organization, use, signal);
  const select = `SELECT m.id AS mailbox, m.state AS state, m.sealed_credential AS credential, m.sealed_scram AS scram
    FROM addresses a JOIN mailboxes m ON m.id = a.mailbox WHERE a.domain = ? AND a.local_index = ?`;
  const index = records.addressIndex(address.domain, address.local);
  const row = deps.directory.prepare<Row>(select).get(address.domain, index);
  if (!row) return null;
  const mailbox = mailboxId(row.mailbox);
  return {
    ref: { organization, mailbox },
    username: `${address.local}@${address.domain}`,
    open: row.state === 'active',
    sealedCredential: row.credential,
    phc: row.credential === null ? null : records.openCredential(mailbox, row.credential),
    sealedScram: row.scram,
    scram: row.scram === null ? null : parseScramSecrets(records.openScram(mailbox, row.scram)),
    appPasswords: openAppPasswords(deps, records, mailbox),
  };
}

/** What a login was verified by, as far as it can be taken away. */
type VerifiedBy =
  | Readonly<{ kind: 'password'; sealedCredential: Buffer | null }>
  | Readonly<{ kind: 'scram'; sealedScram: Buffer | null }>
  | Readonly<{ kind: 'app-password'; id: string }>
  | Readonly<{ kind: 'elsewhere' }>;

/** The login of `account`, which was verified `by` something of it. */
export function loggedIn({ directory }: DirectoryDeps, account: LoginAccount, by: VerifiedBy): LoggedIn {
  const { ref, username } = account;
  const isActive = (condition: string, value: Buffer | string | number | null): boolean => {
    const select = `SELECT 1 FROM mailboxes m JOIN organizations o ON o.id = m.organization
      WHERE m.id = ? AND o.id = ? AND m.state = 'active' AND o.state = 'active' AND ${condition}`;
    return directory.prepare(select).get(ref.mailbox, ref.organization, value) !== undefined;
  };
  const isCurrent = (): boolean => {
    switch (by.kind) {
      case 'password':
        return isActive('m.sealed_credential = ?', by.sealedCredential);
      case 'scram':
        return isActive('m.sealed_scram = ?', by.sealedScram);
      case 'app-password':
        return isActive('EXISTS (SELECT 1 FROM app_passwords p WHERE p.mailbox = m.id AND p.id = ?)', by.id);
      case 'elsewhere':
        return isActive('1 = ?', 1);
    }
  };
  return { kind: 'ok', ref, username, isCurrent };
}
