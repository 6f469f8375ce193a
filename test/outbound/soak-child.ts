/**
 * Fills a queue and sends it out, in a process that the test kills:
 * `node soak-child.ts DIRECTORY FIRST COUNT SEED DNS_PORT SMTP_PORT`. Prints `queued N` once message N is on disk, and
 * `empty` when nothing waits any more.
 */
import { Delivery } from '../../src/delivery/deliver.ts';
import { StubResolver } from '../../src/dns/stub-resolver.ts';
import { mailboxId } from '../../src/base/ids.ts';
import { DomainDelivery } from '../../src/outbound/deliver-domain.ts';
import { StsPolicies } from '../../src/outbound/mta-sts.ts';
import { Reports } from '../../src/outbound/reports.ts';
import { Routes } from '../../src/outbound/routes.ts';
import { Sessions } from '../../src/outbound/sessions.ts';
import { OutboundWorker } from '../../src/outbound/worker.ts';
import { ENVELOPE, queueWorld, recipientOf } from '../support/queue-world.ts';
import { messageOf } from './soak-messages.ts';
import { NO_CHECKS } from '../delivery/memory-mailboxes.ts';

const [directory = '', ...numbers] = process.argv.slice(2);
const [first = 0, count = 0, seed = 0, dnsPort = 0, smtpPort = 0] = numbers.map(Number);
/** Messages that are queued at one time. */
const FILLERS = 8;
const say = (text: string): void => void process.stdout.write(`${text}\n`);
const world = await queueWorld(directory, { inlineBodyMaxBytes: 65_536, maxMessagesCount: 100_000 });

/** The one mailbox, made by the first of these processes. */
async function mailbox() {
  const sql = "SELECT owner FROM wrapped_keys WHERE owner NOT IN ('directory', 'transit')";
  const [known] = world.database.prepare<{ owner: string }>(sql).all();
  return known ? { organization: world.organization, mailbox: mailboxId(known.owner) } : await world.addMailbox();
}

const anna = await mailbox();
(await world.open(anna))[Symbol.dispose]();
say(`mailbox ${anna.mailbox}`);
const servers = [{ address: '127.0.0.1', port: dnsPort }];
const resolver = new StubResolver(
  { servers, trustAd: 'never', tryTimeoutMs: 2000, triesCount: 2, cacheMaxBytes: 1_000_000 },
  () => performance.now(),
);
const routes = new Routes(
  { port: smtpPort, smarthost: null, transports: new Map(), refusedNetworks: [] },
  { resolver, isOwnName: () => false, random: Math.random },
);
const sessions = new Sessions({
  hostname: 'mx.here.test',
  sourceAddresses: [],
  connectTimeoutMs: 5000,
  timeouts: { replyMs: 2000, dataBlockMs: 5000, dataEndMs: 5000 },
  nowMs: Date.now,
});
const sts = new StsPolicies({ resolver, fetchPolicy: () => Promise.reject(new Error('none')), nowMs: Date.now });
const delivery = new Delivery({
  checks: NO_CHECKS,
  addresses: {
    localDomains: () => ['example.org'],
    resolveRecipient: async (address: string) =>
      address.endsWith('@example.org')
        ? { kind: 'mailbox', ref: anna, keyKind: 'symmetric' }
        : { kind: 'unknown-domain' },
  },
  mailboxes: world.mailboxes,
  waiting: { note: (_ref, keep) => keep() },
  adoptSoon: () => undefined,
  hostname: 'mx.here.test',
  nowMs: Date.now,
});
const log = (message: string, fields?: unknown): void => {
  if (message !== 'mail was sent out') process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
};
const worker = new OutboundWorker({
  queue: world.queue,
  delivery,
  domains: new DomainDelivery({ routes, sessions, tls: { resolver, sts, isTlsRequired: false } }),
  sessions,
  reports: new Reports({ queue: world.queue, hostname: 'mx.here.test', nowMs: Date.now }),
  signingKeys: async () => [],
  schedule: { firstRetryMs: 100, maxRetryMs: 1000, giveUpAfterMs: 86_400_000, delayReportAfterMs: 86_400_000 },
  hostname: 'mx.here.test',
  maxDeliveriesCount: 50,
  maxDeliveriesPerDomainCount: 5,
  logger: { debug: log, info: log, warn: log, error: log, child: () => ({}) as never },
  nowMs: Date.now,
  random: Math.random,
});
worker.start();

async function fill(n: number): Promise<void> {
  const { recipients, content } = messageOf(seed, n);
  const writer = await world.queue.newMessage(world.organization);
  await writer.write(Buffer.from(content));
  await writer.finish();
  await writer.commit({ envelope: ENVELOPE, recipients: recipients.map(recipientOf) });
  say(`queued ${String(n)}`);
}

for (let n = first; n < count; n += FILLERS) {
  await Promise.all(Array.from({ length: Math.min(FILLERS, count - n) }, (_, at) => fill(n + at)));
}
while (world.queue.state().messagesCount > 0) await new Promise((resolve) => setTimeout(resolve, 50));
await worker.stop(1000);
say('empty');
await world[Symbol.asyncDispose]();
resolver[Symbol.dispose]();
