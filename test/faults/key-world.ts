/**
 * All parts of a server in this process, on real listeners, over a key service that can be made to fail in each way,
 * with a clock of its own: a minute passes when the test says so.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAccounts, type Accounts } from '../../src/accounts/accounts.ts';
import type { AdminContext } from '../../src/admin/operations/context.ts';
import { operations, type OperationInput, type OperationName } from '../../src/admin/operations.ts';
import { Receipts } from '../../src/admin/receipts.ts';
import { configSchema, type Config } from '../../src/config/schema.ts';
import { makeSelfSigned } from '../../src/config/self-signed.ts';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { Database } from '../../src/db/database.ts';
import { Delivery } from '../../src/delivery/deliver.ts';
import { createImapServer } from '../../src/imap/server.ts';
import { AuditLog } from '../../src/keys/audit-log.ts';
import { KeyService } from '../../src/keys/key-service.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import { KeyProviderError, type KeyFailure, type KeyProvider } from '../../src/keys/provider.ts';
import { AwsKms } from '../../src/keys/providers/aws-kms.ts';
import { createLocalKeyring } from '../../src/keys/providers/keyring-file.ts';
import { LocalKeyring } from '../../src/keys/providers/local-keyring.ts';
import { Adoption } from '../../src/jobs/adoption.ts';
import { Mailboxes } from '../../src/mailbox/mailboxes.ts';
import { Health } from '../../src/observe/health.ts';
import type { Logger } from '../../src/observe/logger.ts';
import { Sasl } from '../../src/sasl/mechanisms.ts';
import { createSmtpListeners } from '../../src/smtp/listener.ts';
import { CREDENTIALS, KmsServer, REGION, type KmsKey } from '../support/kms-server.ts';
import { ImapClient, SmtpClient } from '../support/wire.ts';
import { NO_CHECKS } from '../delivery/memory-mailboxes.ts';

export const DOMAIN = 'key.test';
const MINUTE_MS = 60_000;
/** A try that hangs takes 45 % of it. */
const CALL_BUDGET_MS = 500;
export const HELD_OUTPUT_GRACE_MS = 300;
const CERTIFICATE = makeSelfSigned({ hostname: 'mail.key.test', notBefore: new Date(), validDays: 2 });

type Failing = KeyFailure | 'hang';
export type KeyWorld = AsyncDisposable &
  Readonly<{
    folder: string;
    accounts: Accounts;
    keys: KeyService;
    mailboxes: Mailboxes;
    imap: ReturnType<typeof createImapServer>;
    /** Its rounds are run by the test. */
    adoption: Adoption;
    admin: AdminContext;
    ports: Readonly<{ smtp: number; lmtp: number; imap: number }>;
    /** Null for the local keyring. */
    kms: Readonly<{ server: KmsServer; key: KmsKey }> | null;
    /** Makes the local keyring fail from now on, or work again with null. */
    fail(failing: Failing | null): void;
    /** Calls that reached the key service, unwraps and wraps. */
    callsCount(): number;
    /** Lets time pass for keys and their pauses. */
    advance(ms: number): void;
    addUser(local: string, keyKind?: 'symmetric' | 'pair'): Promise<MailboxRef>;
    run<Name extends OperationName>(name: Name, input: OperationInput<Name>): Promise<unknown>;
    login(local: string): Promise<ImapClient>;
    deliver(way: 'smtp' | 'lmtp', local: string, message: string | Uint8Array): Promise<string>;
  }>;

export async function keyWorld(provider: 'local' | 'aws'): Promise<KeyWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-keys-'));
  const onFailure = (error: Error): void => {
    throw error;
  };
  const checkpointer = new Checkpointer({ intervalMs: 20, onFailure });
  const migrations = join(import.meta.dirname, '../../migrations/directory');
  const directory = await Database.open({ file: join(folder, 'directory.db'), migrations, checkpointer, onFailure });
  const gate = { failing: null as Failing | null, callsCount: 0, nowMs: 0 };
  const keyring = join(folder, 'keyring.json');
  await createLocalKeyring(keyring);
  const server = provider === 'aws' ? await KmsServer.start() : null;
  const key = server?.addKey() ?? null;
  const kms = server && key ? { server, key } : null;
  if (kms) await import('@aws-sdk/client-kms'); // or the first call would take as long as a failing one
  const port = kms
    ? new AwsKms({ endpoint: kms.server.endpoint, region: REGION, ...CREDENTIALS, timeoutMs: CALL_BUDGET_MS })
    : gated(new LocalKeyring(keyring), gate);
  const audit = new AuditLog(directory);
  const keys = new KeyService({
    db: directory,
    providers: [port],
    audit,
    limits: {
      cacheMaxAgeMs: MINUTE_MS,
      cacheMaxEntriesCount: 100,
      cacheMaxLeasesCount: 1_000_000,
      directoryKeyGraceMs: 15 * MINUTE_MS,
      callBudgetMs: CALL_BUDGET_MS,
    },
    nowMs: () => gate.nowMs,
    random: () => 0,
  });
  const accounts = createAccounts(
    { directory, keys, nowMs: Date.now },
    {
      passwords: { argon2: { memoryKib: 64, passes: 1, lanes: 1 }, concurrencyCount: 4, queueMaxCount: 100 },
      hash: ({ password, salt, tagBytes }) =>
        Promise.resolve(createHash('sha512').update(salt).update(password).digest().subarray(0, tagBytes)),
    },
  );
  mkdirSync(join(folder, 'mailboxes'));
  const mailboxes = new Mailboxes({
    directory: join(folder, 'mailboxes'),
    inlineBodyMaxBytes: 65_536,
    maxOpenCount: 100,
    freeSpaceReserveBytes: 0,
    checkpointer,
    quotaOf: () => null,
    keys,
    onFailure,
  });
  const config = configSchema.parse({ data: {}, tls: {}, server: {} }) as Config;
  const listen = [{ host: '127.0.0.1', port: 0 }];
  const tls = { key: CERTIFICATE.keyPem, cert: CERTIFICATE.certificatePem, minimumVersion: 'TLSv1.2' } as const;
  const hostname = 'mail.key.test';
  const imap = createImapServer({
    config: { ...config.imap, listen, listenTls: [], allowCleartextLogin: true },
    hostname,
    tls,
    login: accounts.logins,
    sasl: new Sasl(accounts),
    capabilitiesOff: () => [],
    mailboxes,
    logger: QUIET,
    heldOutputGraceMs: HELD_OUTPUT_GRACE_MS,
  });
  keys.onRefusal(imap.expireOutput);
  const { waitingMailboxes } = accounts;
  const adoption = new Adoption({ waitingMailboxes, mailboxes, logger: QUIET, everyMs: 3_600_000 });
  const delivery = new Delivery({
    addresses: accounts.addresses,
    mailboxes,
    waiting: waitingMailboxes,
    checks: NO_CHECKS,
    adoptSoon: (ref) => {
      adoption.adoptSoon(ref);
    },
    hostname,
    nowMs: Date.now,
  });
  const smtpConfig = { ...config.smtp, mx: { ...config.smtp.mx, listen }, lmtp: { ...config.smtp.lmtp, listen } };
  const smtp = createSmtpListeners({ config: smtpConfig, hostname, tls, delivery, submission: null, logger: QUIET });
  const [bound, { imap: imapPorts }] = [await smtp.start(), await imap.start()];
  const ports = { smtp: bound.mx[0] ?? 0, lmtp: bound.lmtp[0] ?? 0, imap: imapPorts[0] ?? 0 };
  const health = new Health();
  const defaultKey = kms
    ? ({ provider: 'aws-kms', rootKey: kms.key.arn } as const)
    : ({ provider: 'local-keyring', rootKey: 'default' } as const);
  const admin = {
    accounts,
    keys,
    audit,
    eraseFiles: (ref: MailboxRef) => mailboxes.erase(ref.mailbox),
    endSessions: imap.endSessions,
    closeIdleMailboxes: () => mailboxes.closeIdle(),
    receipts: new Receipts(join(folder, 'receipts'), Date.now),
    queue: { countOf: () => 0, removeOrganization: () => Promise.resolve(0) },
    keyringFile: keyring,
    defaultKey,
  } as unknown as AdminContext; // of the rest nothing is asked here
  const id = await accounts.organizations.create({ name: 'Example', ...defaultKey });
  await accounts.domains.create(DOMAIN, id);
  return {
    folder,
    accounts,
    keys,
    mailboxes,
    imap,
    adoption,
    admin,
    ports,
    kms,
    fail: (failing) => {
      gate.failing = failing;
    },
    callsCount: () => (kms ? kms.server.seen.filter(isUseOfKey).length : gate.callsCount),
    advance: (ms) => {
      gate.nowMs += ms;
      keys.sweep();
    },
    addUser: (local, keyKind) => accounts.mailboxes.create({ address: `${local}@${DOMAIN}`, password: 'pw', keyKind }),
    run: async (name, input) => {
      const { input: schema, run } = operations[name] as unknown as {
        input: { parse(value: unknown): unknown };
        run(input: unknown, context: AdminContext, signal: AbortSignal): unknown;
      };
      return await run(schema.parse(input), admin, new AbortController().signal);
    },
    login: (local) => ImapClient.login(ports.imap, `${local}@${DOMAIN}`),
    deliver: async (way, local, message) => {
      using client = await SmtpClient.open(ports[way], way);
      return await client.deliver({ to: [`${local}@${DOMAIN}`], message: Buffer.from(message) });
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([smtp.stop(100), imap.stop(100)]);
      await adoption[Symbol.asyncDispose]();
      await mailboxes.close();
      health[Symbol.dispose]();
      keys.close();
      audit.close();
      await directory.close();
      await checkpointer.close();
      await kms?.server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function isUseOfKey({ operation }: Readonly<{ operation: string }>): boolean {
  return operation === 'Encrypt' || operation === 'Decrypt';
}

/** A provider whose every call can be made to fail; its calls are counted. */
function gated(provider: KeyProvider, gate: { failing: Failing | null; callsCount: number }): KeyProvider {
  return new Proxy(provider, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function' || name === 'close') return value;
      return async (...given: unknown[]) => {
        if (name === 'wrap' || name === 'unwrap') gate.callsCount += 1;
        const { failing } = gate;
        if (failing === 'hang') await new Promise(() => undefined);
        else if (failing) throw new KeyProviderError(failing, 'refused by the test');
        return await (value.apply(target, given) as Promise<unknown>);
      };
    },
  });
}

const QUIET: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => QUIET,
};
