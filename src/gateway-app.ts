/**
 * The composition root of a gateway: a mail exchanger that has no right to any key. It takes in mail by SMTP, seals it to
 * the public keys that its main server told it of, and keeps it until the main server has collected it.
 *
 * GA1  No key service, keyring or directory is opened, or needed: who has all that is on this machine, its memory included,
 *      can read none of the mail that it holds.
 * GA2  `250` means what it means on the main server: sealed and on disk.
 *
 * Called by main.ts: `gateway serve` and `gateway init`.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { WaitingMailboxes } from './accounts/waiting-mailboxes.ts';
import { makeCertificate } from './admin/set-up-files.ts';
import { ServerError } from './base/errors.ts';
import type { Config } from './config/schema.ts';
import { Checkpointer } from './db/checkpointer.ts';
import { Database } from './db/database.ts';
import { lockDirectory } from './db/lock.ts';
import { syncFolder } from './db/sync-folder.ts';
import { Delivery } from './delivery/deliver.ts';
import { CollectionServer } from './gateway/collection-server.ts';
import { Roster } from './gateway/roster.ts';
import { makeTicket, readTicket } from './gateway/ticket.ts';
import { Mailboxes } from './mailbox/mailboxes.ts';
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
import { createSmtpListeners } from './smtp/listener.ts';

const MIGRATIONS = join(import.meta.dirname, '../migrations/gateway');
const STOP_GRACE_MS = 10_000;

/** Serves until SIGTERM or SIGINT. Throws ServerError when it cannot start. */
export function serveGateway(options: ServeOptions): Promise<void> {
  return serveUntilStopped(options, startGateway);
}

/** Makes what a gateway's first start needs; keeps what is there. Gives what was made. Throws ServerError. */
export async function initializeGateway(config: Config, address: string): Promise<readonly string[]> {
  process.umask(0o077);
  const made: string[] = [];
  const { directory } = config.data;
  const { ticketFile, keyFile } = config.gateway;
  if (mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) made.push(directory);
  for (const file of [ticketFile, keyFile]) mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  made.push(...makeCertificate(config), ...makeTicket({ ticketFile, keyFile }, address));
  await syncFolder(directory);
  return made;
}

async function startGateway(config: Config, running: AsyncDisposableStack, observers: Observers): Promise<Ports> {
  const { logger, onFailure } = observers;
  const { directory } = config.data;
  const { listen, ticketFile, keyFile } = config.gateway;
  const tls = readTls(config);
  const [collectedAt] = listen;
  if (!collectedAt) {
    const clientText = 'Set gateway.listen: without it nobody can collect the mail of this gateway.';
    throw new ServerError('not-allowed', { clientText });
  }
  if (!existsSync(directory)) {
    const clientText = `There is no data directory ${directory}. Make it: sealpost gateway init`;
    throw new ServerError('not-found', { clientText });
  }
  const { keys, certificatePem } = readTicket(ticketFile);
  running.use(keys);
  running.use(lockDirectory(directory));
  const checkpointer = new Checkpointer({ intervalMs: config.store.checkpointIntervalMs, onFailure });
  running.defer(() => checkpointer.close());
  const file = join(directory, 'gateway.db');
  const database = await Database.open({ file, migrations: MIGRATIONS, checkpointer, onFailure });
  running.defer(() => database.close());
  const roster = new Roster({ database, keys, nowMs: Date.now });
  const waiting = new WaitingMailboxes({ directory: database, nowMs: Date.now });
  const mailboxes = new Mailboxes({
    directory: join(directory, 'mailboxes'),
    inlineBodyMaxBytes: config.store.inlineBodyMaxBytes,
    maxOpenCount: config.store.maxOpenMailboxesCount,
    freeSpaceReserveBytes: config.store.freeSpaceReserveBytes,
    checkpointer,
    keys: { publicKey: (ref) => roster.publicKey(ref), leaseMailbox: () => Promise.reject(noKeyHere()), changes: null },
    quotaOf: () => null, // the main server takes in what was acknowledged here
    onFailure,
  });
  if (mkdirSync(join(directory, 'mailboxes'), { recursive: true, mode: 0o700 }) !== undefined) {
    await syncFolder(directory);
  }
  running.defer(() => mailboxes.close());
  const delivery = new Delivery({
    addresses: roster,
    mailboxes: {
      open: () => Promise.reject(noKeyHere()), // all its mailboxes are of kind pair
      openWithoutKey: async (ref, principal) => {
        const mailbox = await mailboxes.openWithoutKey(ref, principal);
        const known = roster.mailbox(ref.mailbox);
        if (known) await mailbox.handover.followEpoch(known.epoch);
        return mailbox;
      },
    },
    waiting,
    checks: await openChecks(config, { resolver: running.use(openResolver(config)), logger }),
    adoptSoon: () => undefined, // the main server comes for it
    hostname: config.server.hostname,
    nowMs: Date.now,
  });
  const { hostname } = config.server;
  const smtp = createSmtpListeners({ config: config.smtp, hostname, tls, delivery, submission: null, logger });
  running.defer(() => smtp.stop(STOP_GRACE_MS));
  const { mx, lmtp } = await smtp.start();
  const collectionTls = { cert: certificatePem, key: readFileSync(keyFile, 'utf8') };
  const collection = new CollectionServer({ tls: collectionTls, keys, roster, mailboxes, waiting, logger });
  running.defer(() => collection.close());
  const port = await collection.listen(collectedAt);
  if (!roster.state()) logger.warn('no roster has come yet: all mail is deferred until the main server brings one');
  return firstPorts({ smtp: mx, lmtp, collection: [port] });
}

function noKeyHere(): ServerError {
  return new ServerError('key-unavailable', { clientText: 'There is no key on a gateway.', retryable: true });
}
