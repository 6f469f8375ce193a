/**
 * What every process on a data directory needs: its lock, the directory, the keys, the accounts; and the mailboxes.
 *
 * CR1  One process for one data directory: the second one is refused before it opens anything.
 *
 * Called by app.ts, which serves, and offline.ts.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createAccounts, type Accounts } from './accounts/accounts.ts';
import { DirectoryExamination } from './accounts/examine.ts';
import { requireRestored } from './backup/restore.ts';
import { ServerError } from './base/errors.ts';
import type { Config } from './config/schema.ts';
import { Checkpointer } from './db/checkpointer.ts';
import { Database } from './db/database.ts';
import { lockDirectory } from './db/lock.ts';
import { type examine } from './jobs/doctor.ts';
import { AuditLog } from './keys/audit-log.ts';
import { KeyService } from './keys/key-service.ts';
import { KeyProviderError, type KeyProvider, type ProviderKind } from './keys/provider.ts';
import { AwsKms } from './keys/providers/aws-kms.ts';
import { KeyringLock } from './keys/providers/keyring-lock.ts';
import { LocalKeyring } from './keys/providers/local-keyring.ts';
import { VaultTransit } from './keys/providers/vault-transit.ts';
import { Mailboxes } from './mailbox/mailboxes.ts';
import type { Logger } from './observe/logger.ts';
import { type Observers, type OnFailure } from './serving.ts';

const DIRECTORY_MIGRATIONS = join(import.meta.dirname, '../migrations/directory');
const HASH_QUEUE_MAX_COUNT = 1000;

export type Core = Readonly<{
  directory: Database;
  checkpointer: Checkpointer;
  audit: AuditLog;
  keys: KeyService;
  keyringLock: KeyringLock;
  accounts: Accounts;
}>;

/** What both serving and setting up need: the lock, the directory and the keys. */
export async function openCore(config: Config, running: AsyncDisposableStack, observers: Observers): Promise<Core> {
  const { logger, onFailure } = observers;
  const data = config.data.directory;
  if (!existsSync(data)) {
    throw new ServerError('not-found', { clientText: `There is no data directory ${data}. Make it: sealpost init` });
  }
  requireRestored(data);
  running.use(lockDirectory(data)); // CR1
  const checkpointer = new Checkpointer({ intervalMs: config.store.checkpointIntervalMs, onFailure });
  running.defer(() => checkpointer.close());
  const directory = await Database.open({
    file: join(data, 'directory.db'),
    migrations: DIRECTORY_MIGRATIONS,
    checkpointer,
    onFailure,
  });
  running.defer(() => directory.close());
  const audit = new AuditLog(directory);
  running.defer(() => {
    audit.close();
  });
  const keyringLock = running.use(new KeyringLock(config.keys.localKeyring.passphrase));
  const keyring = await openKeyring(config, keyringLock, logger);
  const vault = openVault(config, logger);
  const providers = [keyring, new AwsKms(config.keys.awsKms), ...(vault ? [vault] : [])];
  const keys = openKeys(config, { db: directory, audit, providers });
  running.defer(() => {
    keys.close();
  });
  const { loginDomain, argon2, scram, oauth } = config.accounts;
  const { memoryKiB, passesCount, maxConcurrentCount } = argon2;
  const passwords = {
    argon2: { memoryKib: memoryKiB, passes: passesCount, lanes: 1 },
    concurrencyCount: maxConcurrentCount,
    queueMaxCount: HASH_QUEUE_MAX_COUNT,
  };
  const { issuer, audience, addressClaim, timeoutMs } = oauth;
  const oidc =
    issuer === undefined || audience === undefined ? undefined : { issuer, audience, addressClaim, timeoutMs };
  const options = {
    passwords,
    scram: { iterationsCount: scram.iterationsCount, hasSha1: scram.sha1 },
    oidc,
    loginDomain,
  };
  const accounts = createAccounts({ directory, keys, nowMs: Date.now }, options);
  vault?.watchToken();
  return { directory, checkpointer, audit, keys, keyringLock, accounts };
}

export function mailboxesFolder(config: Config): string {
  return join(config.data.directory, 'mailboxes');
}

export function openMailboxes(
  config: Config,
  { accounts, checkpointer, keys }: Core,
  running: AsyncDisposableStack,
  onFailure: OnFailure,
): Mailboxes {
  const mailboxes = new Mailboxes({
    directory: mailboxesFolder(config),
    inlineBodyMaxBytes: config.store.inlineBodyMaxBytes,
    maxOpenCount: config.store.maxOpenMailboxesCount,
    freeSpaceReserveBytes: config.store.freeSpaceReserveBytes,
    checkpointer,
    keys,
    quotaOf: (mailbox) => accounts.mailboxes.quota({ mailbox }),
    retentionMsOf: (mailbox) => accounts.organizations.retentionMsOf(mailbox),
    onFailure,
  });
  running.defer(() => mailboxes.close());
  return mailboxes;
}

export function doctorDeps(config: Config, core: Core, mailboxes: Mailboxes): Parameters<typeof examine>[0] {
  const { accounts, keys, audit, directory } = core;
  const { scrubs, waitingMailboxes } = accounts;
  const file = join(config.data.directory, 'directory.db');
  return {
    directory: new DirectoryExamination({ directory, keys, nowMs: Date.now, reader: mailboxes.reader, file }),
    mailboxesFolder: mailboxesFolder(config),
    ...{ mailboxes, scrubs, waitingMailboxes, keys, audit, nowMs: Date.now },
  };
}

type KeyDeps = Readonly<{ db: Database; audit: AuditLog; providers: readonly KeyProvider[] }>;

function openKeys({ keys }: Config, deps: KeyDeps): KeyService {
  const callBudgetMs = Math.max(keys.awsKms.timeoutMs, keys.vaultTransit.timeoutMs);
  return new KeyService({ ...deps, limits: { ...keys, callBudgetMs } });
}

/** A keyring that is there and cannot be used stops the start, and not the first mail. Throws ServerError 'not-allowed'. */
async function openKeyring({ keys }: Config, lock: KeyringLock, logger: Logger): Promise<LocalKeyring> {
  const { file } = keys.localKeyring;
  const keyring = new LocalKeyring(file, lock);
  if (!existsSync(file)) return keyring;
  try {
    const { isProtected } = await keyring.check();
    if (lock.hasPassphrase && !isProtected) {
      logger.warn('a passphrase is configured, and the keyring is not protected', {
        file,
        remedy: 'sealpost keyring protect',
      });
    }
    return keyring;
  } catch (cause) {
    if (!(cause instanceof KeyProviderError)) throw cause;
    throw new ServerError('not-allowed', { clientText: `The server cannot start: ${cause.message}.`, cause });
  }
}

/** Null when none is configured. Throws ServerError 'not-found' for its CA file. */
function openVault({ keys }: Config, logger: Logger): VaultTransit | null {
  const { address } = keys.vaultTransit;
  return address === undefined ? null : new VaultTransit({ ...keys.vaultTransit, address }, logger);
}

export function defaultKeyOf({ keys }: Config): Readonly<{ provider: ProviderKind; rootKey: string }> {
  return { provider: keys.defaultProvider, rootKey: keys.defaultKey };
}
