/**
 * A mailbox on real parts in a temporary directory: local keyring, key service, stores. The provider can be made
 * to refuse, and time can be moved for the key cache. Made again in the same directory it goes on with what is there.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { mailboxId, organizationId, randomHexId, type OrganizationId } from '../../src/base/ids.ts';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { Database } from '../../src/db/database.ts';
import { AuditLog } from '../../src/keys/audit-log.ts';
import { KeyService } from '../../src/keys/key-service.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import { KeyProviderError, type KeyFailure, type KeyProvider } from '../../src/keys/provider.ts';
import { createLocalKeyring } from '../../src/keys/providers/keyring-file.ts';
import { LocalKeyring } from '../../src/keys/providers/local-keyring.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { Mailboxes } from '../../src/mailbox/mailboxes.ts';
import type { Quota } from '../../src/store/quota.ts';

const PRINCIPAL = { protocol: 'test' } as const;
const USE = { purpose: 'test', protocol: 'test' } as const;
const ROOT_KEY = 'local:default';

export type MailboxWorld = Readonly<{
  mailboxes: Mailboxes;
  keys: KeyService;
  directory: string;
  database: Database;
  checkpointer: Checkpointer;
  organization: OrganizationId;
  failures: Error[];
  /** Makes the provider fail from now on, or work again with null. */
  refuse(failure: KeyFailure | null): void;
  /** Sets what each mailbox may hold. */
  limit(quota: Quota | null): void;
  /** Moves the key service's clock. */
  advance(ms: number): void;
  addMailbox(): Promise<MailboxRef>;
  open(ref: MailboxRef): Promise<Mailbox>;
}> &
  AsyncDisposable;

export async function mailboxWorld(
  directory: string,
  options: Readonly<{
    inlineBodyMaxBytes?: number;
    maxOpenCount?: number;
    freeSpaceReserveBytes?: number;
    callBudgetMs?: number;
    /** With a directory key, which outlasts an outage. */
    hasDirectoryKey?: boolean;
  }> = {},
): Promise<MailboxWorld> {
  mkdirSync(join(directory, 'mailboxes'), { recursive: true });
  const failures: Error[] = [];
  const onFailure = (error: Error): void => {
    failures.push(error);
  };
  const checkpointer = new Checkpointer({ intervalMs: 50, onFailure });
  const migrations = new URL('../../migrations/directory', import.meta.url).pathname;
  const database = await Database.open({ file: join(directory, 'directory.db'), migrations, checkpointer, onFailure });
  const keyring = join(directory, 'keyring.json');
  if (!existsSync(keyring)) await createLocalKeyring(keyring);
  const gate = { failure: null as KeyFailure | null, nowMs: 0, quota: null as Quota | null };
  const provider = refusable(new LocalKeyring(keyring), gate);
  const keys = new KeyService({
    db: database,
    providers: [provider],
    audit: new AuditLog(database),
    limits: {
      cacheMaxAgeMs: 60_000,
      cacheMaxEntriesCount: 100,
      cacheMaxLeasesCount: 1_000_000,
      directoryKeyGraceMs: options.hasDirectoryKey === true ? 3_600_000 : 0,
      callBudgetMs: options.callBudgetMs ?? 2000,
    },
    nowMs: () => gate.nowMs + performance.now(),
  });
  const { inlineBodyMaxBytes = 65_536, maxOpenCount = 100 } = options;
  const mailboxes = new Mailboxes({
    directory: join(directory, 'mailboxes'),
    inlineBodyMaxBytes,
    maxOpenCount,
    freeSpaceReserveBytes: options.freeSpaceReserveBytes ?? 0,
    checkpointer,
    keys,
    quotaOf: () => gate.quota,
    onFailure,
  });
  const there = database.prepare<{ id: string }>('SELECT id FROM organizations').get();
  const organization = organizationId(there?.id ?? randomHexId());
  if (!there) {
    database
      .prepare(
        `INSERT INTO organizations (id, state, provider, root_key, sealed_name, created_at_ms)
         VALUES (?, 'active', 'local-keyring', ?, x'00', 0)`,
      )
      .run(organization, ROOT_KEY);
    await keys.grants.create({ organization, provider: 'local-keyring', rootKey: ROOT_KEY }, USE);
    if (options.hasDirectoryKey === true) {
      keys.insertKey(
        await keys.createKey({ organization, owner: 'directory', provider: 'local-keyring', rootKey: ROOT_KEY }, USE),
      );
    }
  }
  return {
    mailboxes,
    keys,
    directory,
    database,
    checkpointer,
    organization,
    failures,
    refuse: (failure) => {
      gate.failure = failure;
    },
    limit: (quota) => {
      gate.quota = quota;
    },
    advance: (ms) => {
      gate.nowMs += ms;
    },
    addMailbox: async () => {
      const ref = { organization, mailbox: mailboxId(randomHexId()) };
      const scope = { organization, owner: ref.mailbox, provider: 'local-keyring', rootKey: ROOT_KEY } as const;
      const wrapped = await keys.createKey(scope, USE);
      database.transaction(() => {
        keys.insertKey(wrapped);
      });
      return ref;
    },
    open: (ref) => mailboxes.open(ref, PRINCIPAL),
    [Symbol.asyncDispose]: async () => {
      await mailboxes.close();
      keys.close();
      await database.close();
      await checkpointer.close();
    },
  };
}

function refusable(provider: KeyProvider, gate: Readonly<{ failure: KeyFailure | null }>): KeyProvider {
  const check = (): void => {
    if (gate.failure) throw new KeyProviderError(gate.failure, 'refused by the test');
  };
  return {
    kind: provider.kind,
    describe: async (...given) => {
      check();
      return provider.describe(...given);
    },
    wrap: async (...given) => {
      check();
      return provider.wrap(...given);
    },
    unwrap: async (...given) => {
      check();
      return provider.unwrap(...given);
    },
    createGrant: (...given) => provider.createGrant(...given),
    revokeGrant: (...given) => provider.revokeGrant(...given),
    close: () => {
      provider.close();
    },
  };
}
