/**
 * The composition root: builds every service once, floor by floor, and takes them down in the opposite order.
 *
 * A1  One process for one data directory (core.ts, CR1).
 * A2  Nothing listens before everything below it is ready, nor without a TLS certificate.
 * A3  Stopping: listeners first, then what is under way within a grace period, then mailboxes, then the directory.
 * A4  When the disk fails the process ends (serving.ts, SV1).
 *
 * Called by main.ts: `serve`.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Certify } from './accounts/destructions.ts';
import type { EraseFiles } from './accounts/mailboxes.ts';
import type { AdminContext, ServerState } from './admin/operations/context.ts';
import { Receipts } from './admin/receipts.ts';
import { AdminServer } from './admin/server.ts';
import { Backups } from './backup/service.ts';
import type { OnProgress, TaskState } from './base/task.ts';
import type { Config } from './config/schema.ts';
import { defaultKeyOf, doctorDeps, mailboxesFolder, openCore, openMailboxes, type Core } from './core.ts';
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
import { type AuditLog } from './keys/audit-log.ts';
import type { MailboxRef } from './keys/mailbox-keys.ts';
import { remindOfBackup } from './keys/providers/keyring-backup.ts';
import { ImportRuns } from './mailbox/imports.ts';
import { type Mailboxes } from './mailbox/mailboxes.ts';
import { measureServer } from './measures.ts';
import { Health } from './observe/health.ts';
import type { Logger } from './observe/logger.ts';
import { Metrics } from './observe/metrics.ts';
import { createOutbound } from './outbound/outbound.ts';
import { Queue } from './queue/queue.ts';
import { Sasl } from './sasl/mechanisms.ts';
import {
  firstPorts,
  openChecks,
  openResolver,
  readTls,
  serveUntilStopped,
  type Observers,
  type Ports,
  type ServeOptions,
} from './serving.ts';
import { openPublicSite } from './site.ts';
import { createSmtpListeners } from './smtp/listener.ts';
import { HttpListeners } from './web/http.ts';
import { monitoring } from './web/monitoring.ts';

const PROJECT = join(import.meta.dirname, '..');
const STOP_GRACE_MS = 10_000;
const ADOPTION_EVERY_MS = 5000;
const VERIFICATION_EVERY_MS = 10 * 60_000;
const RETENTION_EVERY_MS = 3_600_000;
const SCRUB_EVERY_MS = 10 * 60_000;
const DAY_MS = 86_400_000;

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

function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as { version: string };
  return manifest.version;
}
