/**
 * What the mail costs at the key service: one Decrypt for each mailbox in use and minute, whatever it does, and none
 * for a mailbox that is only open. Time is the test's own.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createAccounts } from '../../src/accounts/accounts.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { Database } from '../../src/db/database.ts';
import { Delivery } from '../../src/delivery/deliver.ts';
import { AuditLog } from '../../src/keys/audit-log.ts';
import { KeyService } from '../../src/keys/key-service.ts';
import { AwsKms } from '../../src/keys/providers/aws-kms.ts';
import { Mailboxes } from '../../src/mailbox/mailboxes.ts';
import { imapWorld } from '../protocol/imap-world.ts';
import { CREDENTIALS, KmsServer, REGION } from '../support/kms-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { NO_CHECKS } from '../delivery/memory-mailboxes.ts';

const MINUTE_MS = 60_000;
const MAILBOXES_COUNT = 10;
const DELIVERIES_COUNT = 1000;
const DELIVERIES_AT_ONCE_COUNT = 10;
const READERS_COUNT = 200;
const PASSWORDS = { argon2: { memoryKib: 8192, passes: 1, lanes: 1 }, concurrencyCount: 1, queueMaxCount: 10 };
const root = temporaryDirectory();

async function kmsWorld() {
  const running = new AsyncDisposableStack();
  onTestFinished(() => running.disposeAsync());
  const kms = running.use(await KmsServer.start());
  const onFailure = (error: Error): never => {
    throw error;
  };
  const checkpointer = new Checkpointer({ intervalMs: MINUTE_MS, onFailure });
  running.defer(() => checkpointer.close());
  const migrations = join(import.meta.dirname, '../../migrations/directory');
  const file = join(root, 'directory.db');
  const directory = await Database.open({ file, migrations, checkpointer, onFailure });
  running.defer(() => directory.close());
  const clock = { nowMs: 0 };
  const audit = new AuditLog(directory);
  running.defer(() => {
    audit.close();
  });
  const keys = new KeyService({
    db: directory,
    providers: [new AwsKms({ endpoint: kms.endpoint, region: REGION, timeoutMs: 10_000, ...CREDENTIALS })],
    audit,
    limits: {
      cacheMaxAgeMs: MINUTE_MS,
      cacheMaxEntriesCount: 1000,
      cacheMaxLeasesCount: 1_000_000,
      directoryKeyGraceMs: 0,
      callBudgetMs: 20_000,
    },
    nowMs: () => clock.nowMs,
  });
  running.defer(() => {
    keys.close();
  });
  const {
    organizations,
    domains,
    mailboxes: accounts,
    addresses,
    waitingMailboxes: waiting,
  } = createAccounts({ directory, keys, nowMs: Date.now }, { passwords: PASSWORDS });
  const folder = join(root, 'mailboxes');
  mkdirSync(folder);
  const mailboxes = new Mailboxes({
    directory: folder,
    inlineBodyMaxBytes: 65_536,
    maxOpenCount: 4, // fewer than are in use: opening a mailbox again costs no call either
    freeSpaceReserveBytes: 0,
    checkpointer,
    quotaOf: () => null,
    keys,
    onFailure,
  });
  running.defer(() => mailboxes.close());
  const organization = await organizations.create({ name: 'A', provider: 'aws-kms', rootKey: kms.addKey().arn });
  await domains.create('a.example', organization);
  for (let n = 0; n < MAILBOXES_COUNT; n += 1) await accounts.create({ address: `u${String(n)}@a.example` });
  return {
    kms,
    clock,
    keys,
    delivery: new Delivery({
      addresses,
      mailboxes,
      waiting,
      checks: NO_CHECKS,
      adoptSoon: () => undefined,
      hostname: 'mx',
      nowMs: Date.now,
    }),
    mailboxes,
  };
}

async function deliver(delivery: Delivery, user: number): Promise<MailboxRef> {
  const address = `u${String(user)}@a.example`;
  const resolution = await delivery.route(address);
  if (resolution.kind !== 'mailbox') throw new Error(resolution.kind);
  const transaction = delivery.begin({
    transaction: 't',
    sender: 'ann@example.net',
    protocol: 'ESMTP',
    peer: { address: '192.0.2.7', helo: 'out.example.net', tlsCipher: null },
    principal: { protocol: 'smtp', name: 'delivery' },
    settle: 'together',
    refusesLoops: true,
    isChecked: false,
  });
  await transaction.add({ address, ref: resolution.ref, keyKind: 'symmetric' });
  await transaction.write(Buffer.from('Subject: hi\r\n\r\nx\r\n'));
  expect(await transaction.commit()).toEqual([{ kind: 'stored' }]);
  return resolution.ref;
}

test('1,000 deliveries to ten mailboxes within a minute cost at most ten Decrypts, and one for the directory', async () => {
  const { kms, clock, keys, delivery, mailboxes } = await kmsWorld();
  clock.nowMs += MINUTE_MS; // nothing of the set-up is cached any more
  keys.sweep();
  kms.seen.length = 0;
  const refs = new Set<MailboxRef['mailbox']>();
  for (let n = 0; n < DELIVERIES_COUNT; n += DELIVERIES_AT_ONCE_COUNT) {
    const batch = Array.from({ length: DELIVERIES_AT_ONCE_COUNT }, (_, at) =>
      deliver(delivery, (n + at * 7) % MAILBOXES_COUNT),
    );
    for (const { mailbox } of await Promise.all(batch)) refs.add(mailbox);
    clock.nowMs += (MINUTE_MS - 1) / (DELIVERIES_COUNT / DELIVERIES_AT_ONCE_COUNT);
  }
  expect(refs.size).toBe(MAILBOXES_COUNT);
  const owners = kms.seen.map(
    ({ encryptionContext }) => (encryptionContext as Record<string, string>)['sealpost:mailbox'],
  );
  expect(new Set(kms.seen.map(({ operation }) => operation))).toEqual(new Set(['Decrypt']));
  expect(owners.filter((owner) => owner === 'directory')).toHaveLength(1);
  expect(owners).toHaveLength(MAILBOXES_COUNT + 1);
  expect(mailboxes.openCount).toBeLessThanOrEqual(4);
}, 120_000);

test('200 readers who only wait cost nothing for five minutes, in IDLE or with NOOP', async () => {
  await using world = await imapWorld(root, { maxConnectionsPerAddressCount: READERS_COUNT });
  const readers = [];
  for (let n = 0; n < READERS_COUNT; n += 1) {
    const client = await world.loggedIn();
    expect((await client.command('SELECT INBOX')).at(-1)).toMatch(/ OK /);
    readers.push(client);
  }
  const [idle, polling] = [readers.slice(0, READERS_COUNT / 2), readers.slice(READERS_COUNT / 2)];
  for (const client of idle) {
    client.send('i IDLE\r\n');
    expect(await client.line()).toMatch(/^\+/);
  }
  const { keys, advance } = world.mailboxes;
  const before = keys.metrics();
  for (let minute = 0; minute < 5; minute += 1) {
    advance(MINUTE_MS);
    keys.sweep();
    expect(keys.cacheState()).toEqual({ mailboxKeysCount: 0, directoryKeysCount: 0 });
    for (const client of polling) expect((await client.command('NOOP')).at(-1)).toMatch(/ OK /);
  }
  for (const client of idle) client.send('DONE\r\n');
  for (const client of idle) expect((await client.until('i')).at(-1)).toMatch(/^i OK /);
  expect(keys.metrics()).toEqual(before);
  expect((await idle[0]?.append('INBOX', 'Subject: hi\r\n\r\n'))?.at(-1)).toMatch(/ OK /);
  expect(keys.metrics().operations.Decrypt?.callsCount).toBe((before.operations.Decrypt?.callsCount ?? 0) + 1);
}, 120_000);
