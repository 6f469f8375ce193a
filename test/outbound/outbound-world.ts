/** Sending on real parts: a queue, mailboxes, a resolver with its own name server; remote servers are scripted. */
import { onTestFinished } from 'vitest';
import type { DkimKeys } from '../../src/accounts/dkim-keys.ts';
import type { MessageId } from '../../src/base/ids.ts';
import { Delivery } from '../../src/delivery/deliver.ts';
import { StubResolver } from '../../src/dns/stub-resolver.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import { DomainDelivery } from '../../src/outbound/deliver-domain.ts';
import { StsPolicies } from '../../src/outbound/mta-sts.ts';
import { Reports } from '../../src/outbound/reports.ts';
import { Routes, type Transport } from '../../src/outbound/routes.ts';
import { Sessions } from '../../src/outbound/sessions.ts';
import { OutboundWorker } from '../../src/outbound/worker.ts';
import type { QueuedEnvelope, QueuedRecipient } from '../../src/queue/envelope.ts';
import type { RetrySchedule } from '../../src/queue/retry.ts';
import { startDnsServer, type Zone } from '../support/dns-server.ts';
import { ENVELOPE, queueWorld, recipientOf, type QueueWorld } from '../support/queue-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { NO_CHECKS } from '../delivery/memory-mailboxes.ts';

export type OutboundOptions = Readonly<{
  /** Where the remote servers listen. */
  port: number;
  zone?: Zone;
  directory?: string;
  smarthost?: Transport | null;
  transports?: ReadonlyMap<string, Transport>;
  refusedNetworks?: readonly string[];
  ca?: readonly string[];
  isTlsRequired?: boolean;
  policies?: Readonly<Record<string, string>>;
  schedule?: Partial<RetrySchedule>;
  keys?: Readonly<Record<string, Awaited<ReturnType<DkimKeys['signingKeys']>>>>;
  replyMs?: number;
  perDomainCount?: number;
  inlineBodyMaxBytes?: number;
}>;

export const SCHEDULE: RetrySchedule = {
  firstRetryMs: 50,
  maxRetryMs: 200,
  giveUpAfterMs: 60_000,
  delayReportAfterMs: 30_000,
};

/** Parts without a queue: for one attempt after the other. */
export async function sendingParts(options: OutboundOptions) {
  const dns = await startDnsServer(options.zone ?? {});
  const settings = { trustAd: 'loopback', tryTimeoutMs: 2000, triesCount: 1, cacheMaxBytes: 100_000 } as const;
  const resolver = new StubResolver({ servers: [dns], ...settings }, () => performance.now());
  onTestFinished(() => {
    resolver[Symbol.dispose]();
  });
  const routes = new Routes(
    {
      port: options.port,
      smarthost: options.smarthost ?? null,
      transports: options.transports ?? new Map(),
      refusedNetworks: options.refusedNetworks ?? [],
    },
    { resolver, isOwnName: (name) => name === 'mx.here.test', random: Math.random },
  );
  const sessions = new Sessions({
    hostname: 'mx.here.test',
    sourceAddresses: [],
    connectTimeoutMs: 2000,
    timeouts: { replyMs: options.replyMs ?? 5000, dataBlockMs: 5000, dataEndMs: options.replyMs ?? 5000 },
    ca: options.ca,
    nowMs: Date.now,
  });
  onTestFinished(() => {
    sessions.cut();
  });
  const fetchPolicy = async (domain: string): Promise<string> => {
    const text = options.policies?.[domain];
    if (text === undefined) throw new Error('no policy');
    return text;
  };
  const sts = new StsPolicies({ resolver, fetchPolicy, nowMs: Date.now });
  const tls = { resolver, sts, isTlsRequired: options.isTlsRequired ?? false };
  return { dns, resolver, routes, sessions, domains: new DomainDelivery({ routes, sessions, tls }) };
}

export async function outboundWorld(options: OutboundOptions) {
  const directory = options.directory ?? temporaryDirectory();
  const world = await queueWorld(directory, { inlineBodyMaxBytes: options.inlineBodyMaxBytes ?? 65_536 });
  const parts = await sendingParts(options);
  const anna = await world.addMailbox();
  (await world.open(anna))[Symbol.dispose](); // its folders are made
  const delivery = new Delivery({
    checks: NO_CHECKS,
    addresses: {
      localDomains: () => ['example.org'],
      resolveRecipient: async (address: string) => {
        if (!address.endsWith('@example.org')) return { kind: 'unknown-domain' };
        if (address !== 'anna@example.org') return { kind: 'unknown-user' };
        return { kind: 'mailbox', ref: anna, keyKind: 'symmetric' };
      },
    },
    mailboxes: world.mailboxes,
    waiting: { note: (_ref, keep) => keep() },
    adoptSoon: () => undefined,
    hostname: 'mx.here.test',
    nowMs: Date.now,
  });
  const clock = { aheadMs: 0 };
  const logged: string[] = [];
  const log = (message: string, fields?: unknown): void => void logged.push(JSON.stringify([message, fields]));
  const worker = new OutboundWorker({
    queue: world.queue,
    delivery,
    domains: parts.domains,
    sessions: parts.sessions,
    reports: new Reports({ queue: world.queue, hostname: 'mx.here.test', nowMs: Date.now }),
    signingKeys: async (domain) => options.keys?.[domain] ?? [],
    schedule: { ...SCHEDULE, ...options.schedule },
    hostname: 'mx.here.test',
    maxDeliveriesCount: 20,
    maxDeliveriesPerDomainCount: options.perDomainCount ?? 5,
    logger: { debug: log, info: log, warn: log, error: log, child: () => ({}) as never },
    nowMs: () => Date.now() + clock.aheadMs,
    random: Math.random,
  });
  onTestFinished(async () => {
    await worker.stop(0);
    await world[Symbol.asyncDispose]();
  });
  worker.start();
  return { ...parts, ...world, worker, delivery, anna, clock, logged };
}

export type Mail = Readonly<{ content?: string; envelope?: Partial<QueuedEnvelope> }>;

/** Queues a message from anna. A recipient is an address, or all that is known of it. */
export async function send(
  { queue, organization }: Pick<QueueWorld, 'queue' | 'organization'>,
  recipients: readonly (string | QueuedRecipient)[],
  mail: Mail = {},
): Promise<MessageId> {
  const writer = await queue.newMessage(organization);
  await writer.write(Buffer.from(mail.content ?? 'Subject: hi\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n'));
  await writer.finish();
  return await writer.commit({
    envelope: { ...ENVELOPE, ...mail.envelope },
    recipients: recipients.map((one) => (typeof one === 'string' ? recipientOf(one) : one)),
  });
}

/** The messages in a mailbox's INBOX. */
export async function inboxOf(world: Pick<QueueWorld, 'open'>, ref: MailboxRef): Promise<string[]> {
  using mailbox = await world.open(ref);
  const inbox = await mailbox.folder('INBOX');
  if (!inbox) return [];
  const bodies: string[] = [];
  for (const uid of (await mailbox.snapshot(inbox.id)).uids) {
    using message = await mailbox.message(inbox.id, uid as never);
    const pieces: Buffer[] = [];
    if (message) for await (const piece of message.range(0, message.row.sizeBytes)) pieces.push(piece);
    bodies.push(Buffer.concat(pieces).toString());
  }
  return bodies;
}

/** The zone of one domain whose only exchanger is on this host. */
export function zoneOf(domain: string, more: Zone = {}): Zone {
  return { [domain]: { MX: [`10 mx.${domain}`] }, [`mx.${domain}`]: { A: ['127.0.0.1'] }, ...more };
}
