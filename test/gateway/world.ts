/** A main server's services and a gateway's, in one process, over a real HTTPS connection. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { WaitingMailboxes } from '../../src/accounts/waiting-mailboxes.ts';
import { ServerError } from '../../src/base/errors.ts';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { Database } from '../../src/db/database.ts';
import { Collection } from '../../src/gateway/collection.ts';
import { CollectionServer } from '../../src/gateway/collection-server.ts';
import { Roster } from '../../src/gateway/roster.ts';
import { makeTicket, readTicket } from '../../src/gateway/ticket.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { Mailboxes } from '../../src/mailbox/mailboxes.ts';
import type { Logger } from '../../src/observe/logger.ts';
import { madeDomain, openFixture, type Fixture } from '../accounts/fixture.ts';

const MIGRATIONS = join(import.meta.dirname, '../../migrations/gateway');
const PRINCIPAL = { protocol: 'test' };

export type GatewayWorld = Readonly<{
  main: Fixture;
  ref: MailboxRef;
  ticketFile: string;
  keyFile: string;
  roster: Roster;
  collection: Collection;
  /** On the main server. */
  mailboxes: Mailboxes;
  /** At the gateway. */
  held: Mailboxes;
  /** What was logged, one text each. */
  logged: string[];
  port: number;
  /** Takes in a message at the gateway, as its delivery does. */
  keep(text: string): Promise<void>;
  /** The gateway is not there, and is there again. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** The texts in the INBOX, after adoption. */
  inbox(): Promise<string[]>;
}>;

const onFailure = (error: Error): never => {
  throw error;
};

/** One mailbox, `ann@example.org`; no roster has been brought yet. */
export async function gatewayWorld(): Promise<GatewayWorld> {
  const main = await openFixture();
  const logged: string[] = [];
  const told = (text: string): void => void logged.push(text);
  const logger: Logger = { debug: told, info: told, warn: told, error: told, child: () => logger };
  await madeDomain(main);
  const ref = await main.accounts.mailboxes.create({ address: 'ann@example.org' });
  const checkpointer = new Checkpointer({ intervalMs: 60_000, onFailure });
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-gateway-'));
  const options = { inlineBodyMaxBytes: 1000, maxOpenCount: 10, freeSpaceReserveBytes: 0, checkpointer, onFailure };
  mkdirSync(join(folder, 'main'));
  mkdirSync(join(folder, 'gateway'));
  const quotaOf = (): null => null;
  const mailboxes = new Mailboxes({ ...options, directory: join(folder, 'main'), keys: main.keys, quotaOf });
  const file = join(folder, 'gateway.db');
  const database = await Database.open({ file, migrations: MIGRATIONS, checkpointer, onFailure });
  const files = { ticketFile: join(folder, 'ticket.json'), keyFile: join(folder, 'key.pem') };
  const port = await startedOnce(files);
  const { keys, certificatePem } = readTicket(files.ticketFile);
  const roster = new Roster({ database, keys, nowMs: Date.now });
  const away = (): Promise<never> => Promise.reject(new ServerError('key-unavailable', { clientText: 'no key here' }));
  const source = { publicKey: roster.publicKey.bind(roster), leaseMailbox: away, changes: null };
  const held = new Mailboxes({ ...options, directory: join(folder, 'gateway'), keys: source, quotaOf });
  const waiting = new WaitingMailboxes({ directory: database, nowMs: Date.now });
  const tls = { cert: certificatePem, key: readFileSync(files.keyFile, 'utf8') };
  let server: CollectionServer | null = null;
  const start = async (): Promise<void> => {
    server = new CollectionServer({ tls, keys, roster, mailboxes: held, waiting, logger });
    await server.listen({ host: '127.0.0.1', port });
  };
  const stop = async (): Promise<void> => {
    await server?.close();
    server = null;
  };
  await start();
  const { recipients, waitingMailboxes } = main.accounts;
  const collection = new Collection({
    tickets: [files.ticketFile],
    recipients,
    waitingMailboxes,
    mailboxes,
    keys: main.keys,
    adoptSoon: () => undefined,
    logger,
    everyMs: 3_600_000,
  });
  onTestFinished(async () => {
    await collection[Symbol.asyncDispose]();
    await stop();
    await mailboxes.close();
    await held.close();
    await database.close();
    await checkpointer.close();
    await main[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });
  return {
    main,
    ref,
    ...files,
    roster,
    collection,
    mailboxes,
    held,
    logged,
    port,
    start,
    stop,
    keep: async (text) => {
      const known = roster.mailbox(ref.mailbox);
      if (!known) throw new Error('no roster');
      await waiting.note(ref, async () => {
        using mailbox = await held.openWithoutKey(ref, PRINCIPAL);
        await mailbox.handover.followEpoch(known.epoch);
        await keepWaiting(mailbox, text);
      });
    },
    inbox: async () => {
      using mailbox = await mailboxes.open(ref, PRINCIPAL);
      await mailbox.adoptWaiting();
      const folderOf = await mailbox.folder('INBOX');
      const texts: string[] = [];
      if (!folderOf) return texts;
      for await (const batch of mailbox.messages(folderOf.id, [{ first: 1, last: 1000 }])) {
        for (const message of batch) texts.push((await message.bytes(0, message.row.sizeBytes)).toString());
      }
      return texts;
    },
  };
}

/** Finds a free port, so that the ticket can name it. */
async function startedOnce(files: Readonly<{ ticketFile: string; keyFile: string }>): Promise<number> {
  const { createServer } = await import('node:net');
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  makeTicket(files, `127.0.0.1:${String(port)}`);
  return port;
}

export async function keepWaiting(mailbox: Mailbox, text: string): Promise<void> {
  const writer = await mailbox.newWaitingMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } });
  await writer.write(Buffer.from(text));
  await mailbox.keepWaiting(await writer.finish(), { isJunk: false });
}
