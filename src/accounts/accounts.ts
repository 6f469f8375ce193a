/** The services of this folder, built once and wired to each other. Called by app.ts and the first-run set-up. */
import { Addresses } from './addresses.ts';
import type { DirectoryDeps } from './directory.ts';
import { DkimKeys } from './dkim-keys.ts';
import { Domains } from './domains.ts';
import { Logins, type LoginLimits } from './login.ts';
import { MailboxAccounts } from './mailboxes.ts';
import { Organizations } from './organizations.ts';
import { Recipients } from './recipients.ts';
import { Scrubs } from './scrubs.ts';
import { WaitingMailboxes } from './waiting-mailboxes.ts';
import { Passwords, type HashFunction, type PasswordOptions } from './passwords.ts';

export type Accounts = Readonly<{
  organizations: Organizations;
  domains: Domains;
  dkimKeys: DkimKeys;
  addresses: Addresses;
  mailboxes: MailboxAccounts;
  logins: Logins;
  passwords: Passwords;
  waitingMailboxes: WaitingMailboxes;
  recipients: Recipients;
  scrubs: Scrubs;
}>;
type AccountsOptions = Readonly<{
  passwords: PasswordOptions;
  loginDomain?: string | undefined;
  /** Replaced by tests. */
  loginLimits?: LoginLimits | undefined;
  hash?: HashFunction | undefined;
}>;

export function createAccounts(deps: DirectoryDeps, options: AccountsOptions): Accounts {
  const passwords = new Passwords(options.passwords, options.hash);
  const domains = new Domains(deps);
  const addresses = new Addresses({ ...deps, domains });
  return {
    organizations: new Organizations(deps),
    domains,
    dkimKeys: new DkimKeys({ ...deps, domains }),
    addresses,
    mailboxes: new MailboxAccounts({ ...deps, domains, addresses, passwords }),
    logins: new Logins({ ...deps, domains, passwords, loginDomain: options.loginDomain, limits: options.loginLimits }),
    passwords,
    waitingMailboxes: new WaitingMailboxes(deps),
    recipients: new Recipients(deps),
    scrubs: new Scrubs(deps),
  };
}
