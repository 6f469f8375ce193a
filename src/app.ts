/**
 * The composition root: builds every service once, floor by floor, and takes them down in the opposite order.
 *
 * A1  One process for one data directory: the second one is refused before it opens anything.
 * A2  Nothing listens before everything below it is ready, nor without a TLS certificate.
 * A3  Stopping: listeners first, then what is under way within a grace period, then mailboxes, then the directory.
 * A4  When the disk fails the process ends (serving.ts, SV1).
 *
 * Called by main.ts: `serve` and `initialize`.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAccounts, type Accounts } from './accounts/accounts.ts';
import type { Certify } from './accounts/destructions.ts';
import { DirectoryExamination } from './accounts/examine.ts';
import type { EraseFiles } from './accounts/mailboxes.ts';
import { Receipts } from './admin/receipts.ts';
import { AdminServer } from './admin/server.ts';
import type { AdminContext, ServerState } from './admin/operations/context.ts';
import { makeMissingFiles } from './admin/set-up-files.ts';
import { setUpDemo, setUpUsers, type DemoResult, type UsersResult } from './admin/set-up.ts';
import { requireRestored } from './backup/restore.ts';
import { Backups } from './backup/service.ts';
import { ServerError } from './base/errors.ts';
import type { DoctorReport } from './base/fault.ts';
import type { OnProgress, TaskState } from './base/task.ts';
import type { Config } from './config/schema.ts';
import { Checkpointer } from './db/checkpointer.ts';
import { Database } from './db/database.ts';
import { lockDirectory } from './db/lock.ts';
import { syncFolder } from './db/sync-folder.ts';
import { Delivery } from './delivery/deliver.ts';
import { Collection } from './gateway/collection.ts';
import { createImapServer } from './imap/server.ts';
import { Adoption } from './jobs/adoption.ts';
import { examine } from './jobs/doctor.ts';
import { KeyJobs } from './jobs/key-jobs.ts';
import { KeyVerification } from './jobs/key-verification.ts';
import { Retention } from './jobs/retention.ts';
import { Scrub } from './jobs/scrub.ts';
import { Tasks } from './jobs/tasks.ts';
import { AuditLog } from './keys/audit-log.ts';
import { KeyService } from './keys/key-service.ts';
import type { MailboxRef } from './keys/mailbox-keys.ts';
import { KeyProviderError, type KeyProvider, type ProviderKind } from './keys/provider.ts';
import { AwsKms } from './keys/providers/aws-kms.ts';
import { remindOfBackup } from './keys/providers/keyring-backup.ts';
import { KeyringLock } from './keys/providers/keyring-lock.ts';
import { LocalKeyring } from './keys/providers/local-keyring.ts';
import { VaultTransit } from './keys/providers/vault-transit.ts';
import { ImportRuns } from './mailbox/imports.ts';
import { Mailboxes } from './mailbox/mailboxes.ts';
import { Health } from './observe/health.ts';
import type { Logger } from './observe/logger.ts';
import {
  EXIT_STORAGE_FAILED,
  firstPorts,
  openChecks,
  openResolver,
  readTls,
  serveUntilStopped,
  type Observers,
  type OnFailure,
  type Ports,
  type ServeOptions,
} from './serving.ts';
import { createOutbound } from './outbound/outbound.ts';
import { Queue } from './queue/queue.ts';
import { Sasl } from './sasl/mechanisms.ts';
import { createSmtpListeners } from './smtp/listener.ts';
import { measureServer } from './measures.ts';
import { Metrics } from './observe/metrics.ts';
import { normalizeDomain } from './accounts/domain-name.ts';
import { mtaStsPolicy } from './admin/domain-records.ts';
import { AcmeCertificate, type AcmeOptions } from './web/acme.ts';
import type { MailServers } from './web/client-settings.ts';
import { HttpListeners } from './web/http.ts';
import { monitoring } from './web/monitoring.ts';
import { plainSite, publicSite } from './web/public.ts';

const PROJECT = join(import.meta.dirname, '..');
const DIRECTORY_MIGRATIONS = join(PROJECT, 'migrations/directory');
const STOP_GRACE_MS = 10_000;
const HASH_QUEUE_MAX_COUNT = 1000;
const ADOPTION_EVERY_MS = 5000;
const VERIFICATION_EVERY_MS = 10 * 60_000;
const RETENTION_EVERY_MS = 3_600_000;
const SCRUB_EVERY_MS = 10 * 60_000;
const DAY_MS = 86_400_000;
const DEMO_DOMAIN = 'example.test';

type Core = Readonly<{
  directory: Database;
  checkpointer: Checkpointer;
  audit: AuditLog;
  keys: KeyService;
  keyringLock: KeyringLock;
  accounts: Accounts;
}>;

/** Serves until SIGTERM or SIGINT; resolves when everything is down. Throws ServerError when it cannot start. */
export function serve(options: ServeOptions): Promise<void> {
  return serveUntilStopped(options, startServer);
}

/** Starts every service; `running` takes each down again, last first (A3). */
async function startServer(config: Config, running: AsyncDisposableStack, observers: Observers): Promise<Ports> {
  const { logger, onFailure } = observers;
  const startedMs = performance.now();
  const tls = readTls(config);
  const core = await openCore(config, running, observers);
  const { audit, keys, keyringLock, accounts } = core;
  const resolver = running.use(openResolver(config));
  const health = running.use(new Health());
  if (mkdirSync(mailboxesFolder(config), { recursive: true, mode: 0o700 }) !== undefined)
    await syncFolder(config.data.directory);
  const mailboxes = openMailboxes(config, core, running, onFailure);
  const tasks = new Tasks(logger);
  running.defer(() => tasks.close());
  const scrub = startScrub(config, core, running, { mailboxes, logger, health });
  const queue = await openQueue(config, core, running, observers);
  const { organizations, waitingMailboxes, recipients } = accounts;
  const verifying = { intervalMs: config.keys.verifyIntervalMs, everyMs: VERIFICATION_EVERY_MS, pauseMs: 1000 };
  running.use(new KeyVerification({ organizations, keys, logger, nowMs: Date.now, ...verifying }));
  const adoption = running.use(new Adoption({ waitingMailboxes, mailboxes, logger, everyMs: ADOPTION_EVERY_MS }));
  const adoptSoon = (ref: MailboxRef): void => {
    adoption.adoptSoon(ref);
  };
  const { tickets, collectEveryMs: everyMs } = config.gateway;
  const collection = running.use(
    new Collection({ tickets, recipients, waitingMailboxes, mailboxes, keys, adoptSoon, logger, everyMs }),
  );
  const { takeInRest } = collection;
  const keyJobs = new KeyJobs({ organizations, keys, mailboxes, takeInRest, logger });
  running.defer(() => keyJobs.close());
  running.use(new Retention({ organizations, mailboxes, logger, nowMs: Date.now, everyMs: RETENTION_EVERY_MS }));
  accounts.organizations.recover();
  const receipts = new Receipts(join(config.data.directory, 'receipts'), Date.now);
  const eraseFiles: EraseFiles = (ref) => mailboxes.erase(ref.mailbox);
  const certify: Certify = async (destruction) => {
    await receipts.certify(destruction);
  };
  for (const ref of accounts.mailboxes.unfinishedDeletions()) {
    await accounts.mailboxes.delete(ref, { by: 'start', eraseFiles, certify });
  }
  await accounts.organizations.certifyUnfinished(certify);
  const { hostname } = config.server;
  const checks = await openChecks(config, { resolver, logger });
  const delivery = new Delivery({
    addresses: accounts.addresses,
    mailboxes,
    waiting: waitingMailboxes,
    checks,
    adoptSoon,
    hostname,
    nowMs: Date.now,
  });
  const { logins, scramLogins, verifiedLogins } = accounts;
  const sasl = new Sasl({ logins, scramLogins, verifiedLogins });
  const submission = { sasl, addresses: accounts.addresses, queue };
  const smtp = createSmtpListeners({ config: config.smtp, hostname, tls, delivery, submission, logger });
  const outbound = createOutbound({
    config: config.outbound,
    schedule: config.queue,
    serverHostname: hostname,
    queue,
    delivery,
    resolver,
    dkimKeys: accounts.dkimKeys,
    logger,
  });
  const imap = createImapServer({
    config: config.imap,
    hostname,
    tls,
    login: logins,
    sasl,
    capabilitiesOff: (ref) => accounts.mailboxes.capabilitiesOff(ref),
    mailboxes,
    logger,
  });
  keys.onRefusal(imap.expireOutput);
  running.defer(async () => {
    await Promise.all([smtp.stop(STOP_GRACE_MS), imap.stop(STOP_GRACE_MS), outbound.stop(STOP_GRACE_MS)]);
  });
  const reloadTls = (): void => {
    const renewed = readTls(config);
    smtp.reloadTls(renewed);
    imap.updateTls(renewed);
    webListeners.updateTls(renewed);
  };
  const webListeners = running.use(new HttpListeners());
  const openWeb = async (): Promise<Readonly<Record<string, readonly number[]>>> => {
    const site = await openPublicSite(config, {
      listeners: webListeners,
      running,
      logger,
      reload: () => {
        reloadTls();
      },
    });
    if (config.metrics.listen.length === 0) return site;
    if (config.metrics.allowRemote) logger.warn('metrics may be read from other machines');
    const metrics = running.use(new Metrics());
    measureServer(metrics, {
      version: packageVersion(),
      dataDirectory: config.data.directory,
      keys,
      accounts,
      queue,
      health,
      openMailboxesCount: () => mailboxes.openCount,
      connections: { smtp: () => smtp.connectionsCount(), imap: () => imap.connectionsCount() },
      certificate: () => readTls(config).cert,
      nowMs: Date.now,
    });
    const handler = monitoring({ metrics, report: () => health.report() });
    return { ...site, metrics: await webListeners.open(config.metrics.listen, handler) };
  };

  checkAudit(audit, health, logger);
  const smtpHealth = health.part('smtp');
  const { mx, ...otherPorts } = await smtp.start();
  smtpHealth.ok();
  const imapHealth = health.part('imap');
  const ports = firstPorts({ smtp: mx, ...otherPorts, ...(await imap.start()), ...(await openWeb()) });
  imapHealth.ok();
  health.part('outbound').ok();
  if (config.outbound.enabled) outbound.start();
  else logger.warn('outgoing mail stays in the queue', { option: 'outbound.enabled' });

  const state = (): ServerState => ({
    version: packageVersion(),
    pid: process.pid,
    uptimeMs: Math.round(performance.now() - startedMs),
    ports,
    openMailboxesCount: mailboxes.openCount,
    health: health.report(),
  });
  const admin = new AdminServer(
    {
      accounts,
      keys,
      audit,
      eraseFiles,
      endSessions: (of, text) => {
        imap.endSessions(of, text);
      },
      closeIdleMailboxes: () => mailboxes.closeIdle(),
      usageOf: (ref) => mailboxes.usage(ref),
      capabilityNames: imap.capabilityNames,
      openMailbox: (ref, signal) => mailboxes.open(ref, { protocol: 'admin' }, signal),
      imports: new ImportRuns(() => performance.now()),
      undelete: async (ref, sinceMs, signal) => {
        using mailbox = await mailboxes.open(ref, { protocol: 'admin', name: 'undelete' }, signal);
        return await mailbox.undelete(sinceMs, signal);
      },
      queue,
      receipts,
      keyJobs,
      resolver,
      hostname,
      gateways: () => collection.states(),
      startDoctor: (request) =>
        tasks.start({
          kind: 'doctor',
          key: JSON.stringify(request),
          unit: 'mailboxes',
          work: (onProgress, signal) => examine(doctorDeps(config, core, mailboxes), request, { onProgress, signal }),
        }),
      backups: backupTasks(config, core, { mailboxes, tasks }),
      findTask: (id) => tasks.find(id),
      scrubState: scrub,
      keyringFile: config.keys.localKeyring.file,
      keyringLock,
      state,
      reloadTls,
      defaultKey: defaultKeyOf(config),
    },
    logger,
  );
  running.defer(() => admin.close());
  await admin.listen(config.admin.socketFile);
  running.use(remindOfBackup(config.keys.localKeyring.file, logger));
  return ports;
}

function mailboxesFolder(config: Config): string {
  return join(config.data.directory, 'mailboxes');
}

function openMailboxes(
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

async function openQueue(
  { data, store, queue: { maxMessagesCount, giveUpAfterMs } }: Config,
  { accounts: { transitKeys }, checkpointer }: Core,
  running: AsyncDisposableStack,
  { logger, onFailure }: Observers,
): Promise<Queue> {
  const { inlineBodyMaxBytes, freeSpaceReserveBytes } = store;
  const queue = await Queue.open({
    directory: join(data.directory, 'queue'),
    inlineBodyMaxBytes,
    freeSpaceReserveBytes,
    maxMessagesCount,
    giveUpAfterMs,
    checkpointer,
    transitKeys,
    logger,
    nowMs: Date.now,
    onFailure,
  });
  running.defer(() => queue.close());
  return queue;
}

/** Starts opening all mail in the background; gives what tells how far it is. */
function startScrub(
  { store }: Config,
  { accounts: { scrubs } }: Core,
  running: AsyncDisposableStack,
  { mailboxes, logger, health }: Readonly<{ mailboxes: Mailboxes; logger: Logger; health: Health }>,
): AdminContext['scrubState'] {
  const periodMs = store.scrubPeriodDays * DAY_MS;
  const timing = { periodMs, maxBytesPerSecond: store.scrubMaxBytesPerSecond, everyMs: SCRUB_EVERY_MS };
  running.use(new Scrub({ scrubs, mailboxes, logger, health: health.part('stored mail'), nowMs: Date.now, ...timing }));
  return () => (periodMs === 0 ? null : scrubs.state(Date.now() - periodMs));
}

function backupTasks(
  config: Config,
  { directory, keys, accounts }: Core,
  { mailboxes, tasks }: Readonly<{ mailboxes: Mailboxes; tasks: Tasks }>,
): AdminContext['backups'] {
  const { reader } = mailboxes;
  const place = { data: config.data.directory, s3: config.backup.s3, version: packageVersion() };
  const backups = new Backups({ directory, keys, accounts, mailboxes, reader, nowMs: Date.now, ...place });
  const start = <Request extends Readonly<{ target: string }>>(
    kind: string,
    request: Request,
    work: (request: Request, follow: Readonly<{ onProgress: OnProgress; signal: AbortSignal }>) => Promise<unknown>,
  ): TaskState => {
    backups.check(request.target);
    const key = JSON.stringify(request);
    return tasks.start({
      kind,
      key,
      unit: 'bytes',
      work: (onProgress, signal) => work(request, { onProgress, signal }),
    });
  };
  return {
    create: (request) => start('backup', request, (given, follow) => backups.create(given, follow)),
    verify: (request) => start('verification of a backup', request, (given, follow) => backups.verify(given, follow)),
    restoreMailbox: (request) => start('restore', request, (given, follow) => backups.restoreMailbox(given, follow)),
  };
}

function doctorDeps(config: Config, core: Core, mailboxes: Mailboxes): Parameters<typeof examine>[0] {
  const { accounts, keys, audit, directory } = core;
  const { scrubs, waitingMailboxes } = accounts;
  const file = join(config.data.directory, 'directory.db');
  return {
    directory: new DirectoryExamination({ directory, keys, nowMs: Date.now, reader: mailboxes.reader, file }),
    mailboxesFolder: mailboxesFolder(config),
    ...{ mailboxes, scrubs, waitingMailboxes, keys, audit, nowMs: Date.now },
  };
}

type SiteDeps = Readonly<{ listeners: HttpListeners; running: AsyncDisposableStack; logger: Logger; reload(): void }>;

/** The listeners for everybody: settings of mail programs, MTA-STS, ACME. Gives their ports. */
async function openPublicSite(
  config: Config,
  { listeners, running, logger, reload }: SiteDeps,
): Promise<Readonly<Record<string, readonly number[]>>> {
  const { web, server, imap, smtp } = config;
  const acme = acmeOptions(config);
  const certificate = acme && running.use(new AcmeCertificate({ options: acme, logger, reload, nowMs: Date.now }));
  const challenge = (token: string): string | null => certificate?.challenge(token) ?? null;
  const service = (implicit: readonly { port: number }[], plain: readonly { port: number }[]): MailServers['imap'] => {
    const [first] = implicit;
    const port = first?.port ?? plain[0]?.port;
    return port === undefined ? null : { port, isImplicitTls: first !== undefined };
  };
  const servers: MailServers = {
    hostname: server.hostname,
    imap: service(imap.listenTls, imap.listen),
    submission: service(smtp.submissions.listen, smtp.submission.listen),
  };
  const site = publicSite({
    servers,
    mtaStsPolicy: mtaStsPolicy(server.hostname),
    challenge,
    domainOf: normalizeDomain,
  });
  const plain = plainSite({ challenge }, web.listenTls.length > 0);
  const ports = {
    http: await listeners.open(web.listen, plain),
    https: web.listenTls.length === 0 ? [] : await listeners.open(web.listenTls, site, readTls(config)),
  };
  certificate?.start();
  return ports;
}

function acmeOptions({ acme, tls, server, data }: Config): AcmeOptions | null {
  const { directoryUrl, acceptTerms, email, names, caFile } = acme;
  if (directoryUrl === undefined || !acceptTerms) return null;
  return {
    directoryUrl,
    email: email ?? null,
    names: names.length > 0 ? names : [server.hostname],
    accountKeyFile: join(data.directory, 'tls/acme-account-key.pem'),
    certificateFile: tls.certificateFile,
    keyFile: tls.keyFile,
    ca: caFile === undefined ? null : readFileSync(caFile, 'utf8'),
  };
}

/** What both serving and setting up need: the lock, the directory and the keys. */
async function openCore(config: Config, running: AsyncDisposableStack, observers: Observers): Promise<Core> {
  const { logger, onFailure } = observers;
  const data = config.data.directory;
  if (!existsSync(data)) {
    throw new ServerError('not-found', { clientText: `There is no data directory ${data}. Make it: sealpost init` });
  }
  requireRestored(data);
  running.use(lockDirectory(data)); // A1
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

/** The doctor without a running server. Throws ServerError 'not-allowed' while another process has the data directory. */
export async function examineOffline(
  config: Config,
  request: Readonly<{ isRepair: boolean; isDeep: boolean }>,
): Promise<DoctorReport> {
  process.umask(0o077);
  await using running = new AsyncDisposableStack();
  const core = await openCore(config, running, { logger: setUpLogger, onFailure: stopAtFailure });
  const mailboxes = openMailboxes(config, core, running, stopAtFailure);
  const follow = { onProgress: () => undefined, signal: new AbortController().signal };
  return await examine(doctorDeps(config, core, mailboxes), { mailbox: null, ...request }, follow);
}

export type InitializeRequest = Readonly<{
  demo: boolean;
  users?: Readonly<{ count: number; password: string; domain: string }> | undefined;
}>;
export type InitializeResult = Readonly<{
  /** Files and folders that were made. */
  made: readonly string[];
  demo?: DemoResult;
  users?: UsersResult;
}>;

/** First-run set-up, without a running server; running it again keeps what is there. Throws ServerError. */
export async function initialize(config: Config, request: InitializeRequest): Promise<InitializeResult> {
  process.umask(0o077);
  const made = await makeMissingFiles(config);
  await using running = new AsyncDisposableStack();
  const { accounts } = await openCore(config, running, { logger: setUpLogger, onFailure: stopAtFailure });
  accounts.organizations.recover();
  const deps = { accounts, defaultKey: defaultKeyOf(config) };
  const demo = { organization: 'Demo', domain: DEMO_DOMAIN, local: 'demo' };
  return {
    made,
    ...(request.demo ? { demo: await setUpDemo(deps, demo) } : {}),
    ...(request.users ? { users: await setUpUsers(deps, { organization: 'Test', ...request.users }) } : {}),
  };
}

/** An audit that was tampered with does not stop the mail, but nobody overlooks it. */
function checkAudit(audit: AuditLog, health: Health, logger: Logger): void {
  const part = health.part('key audit');
  const fault = audit.headFault();
  if (!fault) {
    part.ok();
    return;
  }
  logger.error('the key audit is broken', { row: fault.rowId, reason: fault.reason });
  part.degraded('its newest entry is not what was written: see sealpost key audit verify');
}

function stopAtFailure(error: Error): never {
  process.stderr.write(`sealpost: storage failed: ${error.message}\n`);
  process.exit(EXIT_STORAGE_FAILED);
}

/** Set-up prints its result only; warnings go to standard error. */
const setUpLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (message) => void process.stderr.write(`sealpost: ${message}\n`),
  error: (message) => void process.stderr.write(`sealpost: ${message}\n`),
  child: () => setUpLogger,
};

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

function defaultKeyOf({ keys }: Config): Readonly<{ provider: ProviderKind; rootKey: string }> {
  return { provider: keys.defaultProvider, rootKey: keys.defaultKey };
}

function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as { version: string };
  return manifest.version;
}
