/** The services of this folder, built once and wired to each other. Called by app.ts and the first-run set-up. */
import { Addresses } from './addresses.ts';
import type { DirectoryDeps } from './directory.ts';
import { DkimKeys } from './dkim-keys.ts';
import { Domains } from './domains.ts';
import { AppPasswords } from './app-passwords.ts';
import { Logins } from './login.ts';
import { LoginTurns, type LoginLimits } from './login-turns.ts';
import { MailboxAccounts } from './mailboxes.ts';
import { Organizations } from './organizations.ts';
import { Recipients } from './recipients.ts';
import { Scrubs } from './scrubs.ts';
import { OidcTokens, type OidcOptions } from './oidc.ts';
import { ScramLogins } from './scram-login.ts';
import type { ScramOptions } from './scram-secrets.ts';
import { VerifiedLogins } from './verified-login.ts';
import { TransitKeys } from './transit-keys.ts';
import { WaitingMailboxes } from './waiting-mailboxes.ts';
import { Passwords, type HashFunction, type PasswordOptions } from './passwords.ts';

export type Accounts = Readonly<{
  organizations: Organizations;
  domains: Domains;
  dkimKeys: DkimKeys;
  addresses: Addresses;
  mailboxes: MailboxAccounts;
  logins: Logins;
  scramLogins: ScramLogins;
  verifiedLogins: VerifiedLogins;
  appPasswords: AppPasswords;
  passwords: Passwords;
  waitingMailboxes: WaitingMailboxes;
  recipients: Recipients;
  scrubs: Scrubs;
  transitKeys: TransitKeys;
}>;
type AccountsOptions = Readonly<{
  passwords: PasswordOptions;
  /** Absent: the fewest iterations that RFC 7677 §4 allows, and no SCRAM-SHA-1. */
  scram?: ScramOptions | undefined;
  /** Whose access tokens log in; absent: nobody's. */
  oidc?: OidcOptions | undefined;
  loginDomain?: string | undefined;
  /** Replaced by tests. */
  loginLimits?: LoginLimits | undefined;
  hash?: HashFunction | undefined;
}>;

const LEAST_SCRAM: ScramOptions = { iterationsCount: 4096, hasSha1: false };

export function createAccounts(deps: DirectoryDeps, options: AccountsOptions): Accounts {
  const passwords = new Passwords(options.passwords, options.hash);
  const domains = new Domains(deps);
  const addresses = new Addresses({ ...deps, domains });
  const { scram = LEAST_SCRAM, loginDomain, oidc } = options;
  const turns = new LoginTurns(deps.nowMs, options.loginLimits);
  const login = { ...deps, domains, passwords, scram, turns, loginDomain };
  return {
    organizations: new Organizations(deps),
    domains,
    dkimKeys: new DkimKeys({ ...deps, domains }),
    addresses,
    mailboxes: new MailboxAccounts({ ...deps, domains, addresses, passwords, scram }),
    logins: new Logins(login),
    scramLogins: new ScramLogins(login),
    verifiedLogins: new VerifiedLogins({ ...login, tokens: oidc ? new OidcTokens(oidc) : null }),
    appPasswords: new AppPasswords({ ...deps, scram }),
    passwords,
    waitingMailboxes: new WaitingMailboxes(deps),
    recipients: new Recipients(deps),
    scrubs: new Scrubs(deps),
    transitKeys: new TransitKeys(deps),
  };
}
