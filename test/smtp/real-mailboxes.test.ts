/** The same listeners over real mailboxes: keys, sealing and the store included. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Delivery } from '../../src/delivery/deliver.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import { type MailboxWorld, mailboxWorld } from '../support/mailbox-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { listenFor, MailClient, until, withoutTrace } from './mail-client.ts';
import { NO_CHECKS } from '../delivery/memory-mailboxes.ts';

const root = temporaryDirectory();
let worldsCount = 0;

async function start(options: Readonly<{ hasDirectoryKey?: boolean }> = {}) {
  const directory = join(root, String((worldsCount += 1)));
  const world = await mailboxWorld(directory, { inlineBodyMaxBytes: 65_536, ...options });
  onTestFinished(() => world[Symbol.asyncDispose]());
  const users = { ann: await world.addMailbox(), bob: await world.addMailbox() };
  for (const ref of Object.values(users)) (await world.open(ref))[Symbol.dispose](); // its folders are made
  const resolveRecipient = async (address: string) => {
    const ref = users[address.split('@')[0] as keyof typeof users] as MailboxRef | undefined;
    return ref ? ({ kind: 'mailbox', ref, keyKind: 'symmetric' } as const) : ({ kind: 'unknown-user' } as const);
  };
  const { mailboxes } = world;
  const waiting = { note: <T>(_ref: MailboxRef, keep: () => Promise<T>) => keep() };
  const delivery = new Delivery({
    addresses: { resolveRecipient, localDomains: () => [] },
    mailboxes,
    waiting,
    checks: NO_CHECKS,
    adoptSoon: () => undefined,
    hostname: 'mx',
    nowMs: Date.now,
  });
  return { world, users, ...(await listenFor(delivery)) };
}

async function inboxOf(world: MailboxWorld, ref: MailboxRef): Promise<Buffer[]> {
  using mailbox = await world.open(ref);
  const inbox = await mailbox.folder('INBOX');
  const bodies: Buffer[] = [];
  for (const uid of (await mailbox.snapshot(inbox!.id)).uids) {
    using message = (await mailbox.message(inbox!.id, uid as never))!;
    const pieces: Buffer[] = [];
    for await (const piece of message.range(0, message.row.sizeBytes)) pieces.push(piece);
    expect(message.summary.scanned.envelope.subject?.toString()).toContain('hi');
    bodies.push(Buffer.concat(pieces));
  }
  return bodies;
}

const filesUnder = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

describe('real mailboxes', () => {
  test.for([10, 60_000, 3_000_000])('a message of %i bytes reaches two inboxes, byte for byte', async (sizeBytes) => {
    const { world, users, lmtp } = await start();
    const message = `Subject: hi\r\n\r\n${'..x\xff\r\n'.repeat(Math.ceil(sizeBytes / 6))}`;
    const client = await MailClient.introduced(lmtp, 'LHLO c');
    await client.upToData(['ann@here', 'bob@here']);
    client.send(`${message.replaceAll(/^\./gm, '..')}.\r\n`);
    for (let count = 0; count < 2; count += 1) expect(await client.reply()).toMatch(/^250/);
    for (const ref of Object.values(users)) {
      const [body, ...others] = await inboxOf(world, ref);
      expect(others).toEqual([]);
      expect(withoutTrace(body!) === message).toBe(true);
    }
  });

  test('a key that cannot be had defers its mailbox at RCPT', async () => {
    const { world, mx } = await start();
    world.advance(61_000);
    world.refuse('unreachable');
    const client = await MailClient.introduced(mx);
    const replies = await client.upToData(['ann@here']);
    expect(replies[0]).toBe('451 4.3.0 Temporary failure, try again later');
    expect(replies[1]).toMatch(/^503/);
  });

  test.for(['disabled', 'unreachable', 'not-found', 'invalid-ciphertext'] as const)(
    'a key that becomes %s while the message comes: 451 and nothing is stored',
    async (failure) => {
      const { world, users, mx } = await start();
      const client = await MailClient.introduced(mx);
      await client.upToData(['ann@here', 'bob@here']);
      client.send('Subject: hi\r\n\r\n');
      world.advance(61_000);
      world.refuse(failure);
      client.send('x\r\n.\r\n');
      expect(await client.reply()).toMatch(/^451 4\.3\.0 /);
      world.refuse(null);
      world.advance(61_000);
      for (const ref of Object.values(users)) expect(await inboxOf(world, ref)).toEqual([]);
      expect(world.failures).toEqual([]);
    },
  );

  test.for(['before', 'while'] as const)(
    'a key that becomes unreachable %s the message comes: it is kept',
    async (when) => {
      const { world, users, mx } = await start({ hasDirectoryKey: true });
      const goAway = (): void => {
        world.advance(61_000);
        world.refuse('unreachable');
      };
      const client = await MailClient.introduced(mx);
      if (when === 'before') goAway();
      await client.upToData(['ann@here', 'bob@here']);
      client.send('Subject: hi\r\n\r\n');
      if (when === 'while') goAway();
      client.send('x\r\n.\r\n');
      expect(await client.reply()).toMatch(/^250 /);
      world.refuse(null);
      world.advance(61_000);
      for (const ref of Object.values(users)) {
        using mailbox = await world.open(ref);
        expect(await mailbox.adoptWaiting()).toEqual({ adoptedCount: 1, leftCount: 0 });
        expect((await inboxOf(world, ref)).map((bytes) => withoutTrace(bytes))).toEqual(['Subject: hi\r\n\r\nx\r\n']);
      }
    },
  );

  test('a connection lost in the middle of a large message leaves no file', async () => {
    const { world, mx } = await start();
    const before = filesUnder(world.directory).length;
    const client = await MailClient.introduced(mx);
    await client.upToData(['ann@here', 'bob@here']);
    client.send(`Subject: hi\r\n\r\n${'canary-body\r\n'.repeat(200_000)}`);
    await until(() => filesUnder(world.directory).length > before);
    client.destroy();
    await until(() => filesUnder(world.directory).length === before);
    for (const file of filesUnder(world.directory)) expect(readFileSync(file).includes('canary-body')).toBe(false);
  });
});

test('a full mailbox is told at RCPT, and one that the message would overfill after the data', async () => {
  const { world, users, mx, lmtp } = await start();
  world.limit({ maxBytes: 600, maxMessagesCount: null });
  const client = await MailClient.introduced(lmtp, 'LHLO c');
  await client.upToData(['ann@here']);
  client.send(`Subject: hi\r\n\r\n${'x'.repeat(1000)}\r\n.\r\n`);
  expect(await client.reply()).toMatch(/^452 4\.2\.2 /);
  expect(await inboxOf(world, users.ann)).toEqual([]);
  world.limit({ maxBytes: null, maxMessagesCount: 0 });
  const replies = await (await MailClient.introduced(mx)).upToData(['ann@here']);
  expect(replies[0]).toMatch(/^452 4\.2\.2 /);
});
