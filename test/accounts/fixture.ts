/** A real directory on disk, with a real key service over a local keyring, and cheap password hashes that are counted. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAccounts, type Accounts } from '../../src/accounts/accounts.ts';
import type { Destruction } from '../../src/accounts/destructions.ts';
import type { MailboxDeletion } from '../../src/accounts/mailboxes.ts';
import type { OrganizationId } from '../../src/base/ids.ts';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { Database } from '../../src/db/database.ts';
import { AuditLog } from '../../src/keys/audit-log.ts';
import { KeyService } from '../../src/keys/key-service.ts';
import type { KeyProvider } from '../../src/keys/provider.ts';
import { createLocalKeyring } from '../../src/keys/providers/keyring-file.ts';
import { LocalKeyring } from '../../src/keys/providers/local-keyring.ts';

type AccountsOptions = Parameters<typeof createAccounts>[1];

const MIGRATIONS = join(import.meta.dirname, '../../migrations/directory');
export const LOCAL_KEY = { provider: 'local-keyring', rootKey: 'default' } as const;
const LIMITS = {
  cacheMaxAgeMs: 60_000,
  cacheMaxEntriesCount: 1000,
  cacheMaxLeasesCount: 1_000_000,
  directoryKeyGraceMs: 0,
  callBudgetMs: 2000,
};
export const CHEAP_ARGON2 = { memoryKib: 64, passes: 1, lanes: 1 };

export type Fixture = AsyncDisposable & {
  readonly folder: string;
  readonly keyring: string;
  readonly directory: Database;
  readonly keys: KeyService;
  readonly audit: AuditLog;
  readonly accounts: Accounts;
  /** Password hashes computed so far. */
  hashes: number;
  /** The wall clock of the accounts. */
  nowMs: number;
  /** The same directory after a restart of the process, with other options. */
  reopened(options?: Partial<AccountsOptions>): Promise<Fixture>;
  /** Everything that is on disk, read after the logs were moved into the databases. */
  closeAndReadAll(): Promise<Buffer>;
};

/** `providers` are there besides a local keyring. */
export async function openFixture(
  options: Partial<AccountsOptions> = {},
  providers: readonly KeyProvider[] = [],
): Promise<Fixture> {
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-accounts-'));
  await createLocalKeyring(join(folder, 'keyring.json'));
  return openFolder(folder, options, providers);
}

async function openFolder(
  folder: string,
  options: Partial<AccountsOptions>,
  others: readonly KeyProvider[],
): Promise<Fixture> {
  const onFailure = (error: Error): never => {
    throw error;
  };
  const keyring = join(folder, 'keyring.json');
  const checkpointer = new Checkpointer({ intervalMs: 60_000, onFailure });
  const file = join(folder, 'directory.db');
  const directory = await Database.open({ file, migrations: MIGRATIONS, checkpointer, onFailure });
  const audit = new AuditLog(directory);
  const providers = [new LocalKeyring(keyring), ...others];
  const keys = new KeyService({ db: directory, providers, audit, limits: LIMITS });
  const close = async (): Promise<void> => {
    keys.close();
    audit.close();
    await directory.close();
    await checkpointer.close();
  };
  let isOpen = true;
  const fixture: Omit<Fixture, 'accounts'> = {
    folder,
    keyring,
    directory,
    keys,
    audit,
    hashes: 0,
    nowMs: 1_000_000,
    reopened: async (changed = {}) => {
      await close();
      isOpen = false;
      return openFolder(folder, changed, others);
    },
    closeAndReadAll: async () => {
      await close();
      isOpen = false;
      const files = readdirSync(folder).filter((name) => name.startsWith('directory.db'));
      return Buffer.concat(files.map((name) => readFileSync(join(folder, name))));
    },
    [Symbol.asyncDispose]: async () => {
      if (isOpen) await close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  const accounts = createAccounts(
    { directory, keys, nowMs: () => fixture.nowMs },
    {
      passwords: { argon2: CHEAP_ARGON2, concurrencyCount: 4, queueMaxCount: 1000 },
      hash: ({ password, salt, tagBytes, parameters }) => {
        fixture.hashes += 1;
        const seed = createHash('sha512').update(JSON.stringify(parameters)).update(salt).update(password).digest();
        return Promise.resolve(seed.subarray(0, tagBytes));
      },
      ...options,
    },
  );
  return Object.assign(fixture, { accounts });
}

/** Enables or disables a root key, as an operator of a key service does. */
export function setRootKeyState({ keyring }: Fixture, name: string, state: 'enabled' | 'disabled'): void {
  const content = JSON.parse(readFileSync(keyring, 'utf8')) as { keys: Record<string, { state: string }> };
  Object.assign(content.keys[name] ?? {}, { state });
  writeFileSync(keyring, JSON.stringify(content));
}

/** A deletion that has nothing else to do, and remembers what it was told. */
export function deletion(eraseFiles: MailboxDeletion['eraseFiles'] = () => Promise.resolve()) {
  const certified: Destruction[] = [];
  const certify = (destruction: Destruction): Promise<void> => Promise.resolve(void certified.push(destruction));
  return { by: 'test', eraseFiles, certify, certified };
}

/** An organization with a domain. */
export async function madeDomain({ accounts }: Fixture, name = 'example.org'): Promise<OrganizationId> {
  const [existing] = await accounts.organizations.list();
  const id = existing?.id ?? (await accounts.organizations.create({ name: 'Example', ...LOCAL_KEY }));
  await accounts.domains.create(name, id);
  return id;
}
