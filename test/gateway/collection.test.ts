import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect, test } from 'vitest';
import { bodyId, epoch, messageId } from '../../src/base/ids.ts';
import { sealedBodySizeBytes } from '../../src/crypto/sealed-body.ts';
import { GatewayClient } from '../../src/gateway/client.ts';
import { makeTicket, readTicket } from '../../src/gateway/ticket.ts';
import { LOCAL_KEY } from '../accounts/fixture.ts';
import { gatewayWorld, type GatewayWorld } from './world.ts';

const ROOT_KEY = { provider: LOCAL_KEY.provider, rootKey: 'local:default' } as const;
const { signal } = new AbortController();
const LARGE = `Subject: large\r\n\r\n${'0123456789'.repeat(100_000)}`;

function statusOf({ port }: GatewayWorld, authorization: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = { host: '127.0.0.1', port, path: '/v1/held', rejectUnauthorized: false, headers: { authorization } };
    request(asked, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });
}

test('what a gateway took in is in the INBOX, whole and in order, and is gone there', async () => {
  const world = await gatewayWorld();
  await world.collection.run();
  for (const text of ['Subject: one\r\n\r\n1', LARGE, 'Subject: three\r\n\r\n']) await world.keep(text);
  await world.collection.run();
  expect(await world.inbox()).toEqual(['Subject: one\r\n\r\n1', LARGE, 'Subject: three\r\n\r\n']);
  using mailbox = await world.held.openWithoutKey(world.ref, { protocol: 'test' });
  expect(mailbox.hasWaiting).toBe(false);
  expect(world.collection.states()).toMatchObject([{ failure: null, takenInCount: 3 }]);
  expect(await statusOf(world, 'Bearer x')).toBe(401);
});

test('CS1 nothing is said to who has not the ticket, nor to a gateway with another certificate', async () => {
  const world = await gatewayWorld();
  const { keys } = readTicket(world.ticketFile);
  expect(await statusOf(world, `Bearer ${keys.bearerText()}`)).toBe(200);
  for (const wrong of ['', 'Bearer', `Bearer ${keys.bearerText().slice(1)}`, `Basic ${keys.bearerText()}`]) {
    expect(await statusOf(world, wrong)).toBe(401);
  }
  const forged = { ticketFile: `${world.ticketFile}.forged`, keyFile: `${world.keyFile}.forged` };
  makeTicket(forged, `127.0.0.1:${String(world.port)}`);
  using client = new GatewayClient(readTicket(forged.ticketFile));
  await expect(client.rosterVersion(signal)).rejects.toMatchObject({ code: 'key-unavailable', retryable: true });
});

test('CO1 a message that is offered again is taken in once', async () => {
  const world = await gatewayWorld();
  await world.collection.run();
  await world.keep('Subject: once\r\n\r\n');
  using client = new GatewayClient(readTicket(world.ticketFile));
  for (let times = 0; times < 3; times += 1) {
    using offered = await client.next(world.ref.mailbox, 0, signal);
    using mailbox = await world.mailboxes.openWithoutKey(world.ref, { protocol: 'test' });
    if (!offered) throw new Error('nothing is offered');
    await mailbox.handover.takeIn(offered.message, offered.body); // and killed before it was dropped
    if (times === 1) expect(await world.inbox()).toHaveLength(1);
  }
  await world.collection.run();
  expect(await world.inbox()).toEqual(['Subject: once\r\n\r\n']);
  expect(await client.heldMailboxes(signal)).toEqual([]);
});

test('CO3 a damaged message stays at the gateway, is told once, and holds up no other', async () => {
  const world = await gatewayWorld();
  await world.collection.run();
  for (const n of [1, 2, 3]) await world.keep(`Subject: ${String(n)}\r\n\r\n`);
  await world.held.closeIdle();
  const file = new SqliteDatabase(join(world.ticketFile, '../gateway', world.ref.mailbox, 'mailbox.db'));
  file.prepare('UPDATE waiting_messages SET epoch = 9 WHERE id = 2').run();
  file.close();
  for (let rounds = 0; rounds < 2; rounds += 1) await world.collection.run();
  expect(await world.inbox()).toEqual(['Subject: 1\r\n\r\n', 'Subject: 3\r\n\r\n']);
  expect(world.logged.filter((text) => text.includes('stays at its gateway'))).toHaveLength(1);
});

test('HO2 a gateway overwrites nothing: a body that is in use, or has another size, is refused', async () => {
  const world = await gatewayWorld();
  await world.collection.run();
  await world.keep(LARGE);
  await world.collection.run();
  expect(await world.inbox()).toEqual([LARGE]);
  using mailbox = await world.mailboxes.open(world.ref, { protocol: 'test' });
  const file = new SqliteDatabase(join(world.ticketFile, '../main', world.ref.mailbox, 'mailbox.db'), {
    readonly: true,
  });
  const { body } = file.prepare('SELECT body FROM bodies').get() as { body: Buffer };
  file.close();
  const offered = {
    message: messageId('ab'.repeat(16)),
    epoch: epoch(1),
    sealedKey: Buffer.alloc(100),
    body: bodyId(body.toString('hex')),
    sizeBytes: 10,
    commitment: Buffer.alloc(32),
    sealedSummary: Buffer.alloc(40),
    savedAtMs: 0,
    isJunk: false,
  };
  const bytes = async function* (count: number): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Buffer.alloc(count));
  };
  const rightBytes = sealedBodySizeBytes(offered.sizeBytes);
  const refused = { code: 'content-damaged' };
  await expect(mailbox.handover.takeIn(offered, bytes(rightBytes))).rejects.toMatchObject(refused);
  const other = { ...offered, body: bodyId('cd'.repeat(16)) };
  for (const count of [0, rightBytes - 1, rightBytes + 1, 5_000_000]) {
    await expect(mailbox.handover.takeIn(other, bytes(count))).rejects.toMatchObject(refused);
  }
  expect(await world.inbox()).toEqual([LARGE]);
});

test('CO4 a rotation ends when every gateway has given up what is under the old key, and not before', async () => {
  const world = await gatewayWorld();
  const { ref, collection, roster } = world;
  await collection.run();
  await world.keep('Subject: old\r\n\r\n');
  await world.stop();
  const { takeInRest } = collection;
  const rotate = async (): Promise<unknown> => {
    using mailbox = await world.mailboxes.open(ref, { protocol: 'test' });
    return await mailbox.rotateKey({ rootKey: ROOT_KEY, onProgress: () => undefined, takeInRest });
  };
  await expect(rotate()).rejects.toMatchObject({
    code: 'key-unavailable',
    clientText: expect.stringContaining('gateway'),
  });
  expect(roster.mailbox(ref.mailbox)?.epoch).toBe(1);
  await world.start();
  await world.keep('Subject: old too\r\n\r\n'); // the gateway knows the old key only
  expect(await rotate()).toMatchObject({ epoch: 2 });
  expect(roster.mailbox(ref.mailbox)?.epoch).toBe(2);
  await world.keep('Subject: new\r\n\r\n');
  await collection.run();
  expect(await world.inbox()).toEqual(['old', 'old too', 'new'].map((text) => `Subject: ${text}\r\n\r\n`));
  expect(world.main.keys.listKeys(ref.organization).filter(({ owner }) => owner === ref.mailbox)).toHaveLength(1);
});

test("mail for a mailbox that is not here stays: the gateway may be another server's", async () => {
  const world = await gatewayWorld();
  await world.collection.run();
  await world.keep('Subject: whose\r\n\r\n');
  await world.main.accounts.mailboxes.delete(world.ref, {
    by: 'test',
    eraseFiles: () => Promise.resolve(),
    certify: () => Promise.resolve(),
  });
  for (let rounds = 0; rounds < 2; rounds += 1) await world.collection.run();
  using client = new GatewayClient(readTicket(world.ticketFile));
  expect(await client.heldMailboxes(signal)).toEqual([world.ref.mailbox]);
  expect(world.logged.filter((text) => text.includes('stays at its gateway'))).toHaveLength(1);
  expect(await world.roster.resolveRecipient('ann@example.org')).toEqual({ kind: 'unknown-user' });
});

test('a ticket that is none is refused, and none of it is shown', async () => {
  const world = await gatewayWorld();
  const secret = (JSON.parse(readFileSync(world.ticketFile, 'utf8')) as { secret: string }).secret;
  const broken = `${world.ticketFile}.broken`;
  for (const text of [
    '',
    '{',
    '[]',
    `{"version":1,"secret":"${secret}"}`,
    `{"version":2,"secret":"${secret}"}`,
    secret,
  ]) {
    writeFileSync(broken, text);
    expect(() => readTicket(broken)).toThrow(/is not a ticket/);
    expect(() => readTicket(broken)).not.toThrow(new RegExp(secret));
  }
  expect(() => readTicket(`${broken}.absent`)).toThrow(/gateway init/);
  expect(makeTicket(world, '127.0.0.1:1')).toEqual([]); // what is there is kept
  expect(() => makeTicket({ ticketFile: broken, keyFile: `${broken}.key` }, 'nowhere')).toThrow(/HOST:PORT/);
  expect(() => makeTicket({ ticketFile: broken, keyFile: `${broken}.key` }, 'host:1')).toThrow(/Remove it/);
});
