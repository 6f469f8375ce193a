/**
 * A gateway and its main server as two processes: mail goes in at the one, which has no key at all, and is read at the other.
 */
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { findWords } from '../support/canary.ts';
import { faultsOnDisk } from '../support/disk-state.ts';
import { Ledger, ledgerMessage, seededRandom } from '../support/ledger.ts';
import { DOMAIN, TestServer } from '../support/server.ts';
import { ConnectionGone, ImapClient, SmtpClient } from '../support/wire.ts';

const TIMEOUT_MS = 180_000;
const COMES_WITHIN_MS = 60_000;
const WORD = 'Kanarienvogel77';

type Pair = Readonly<{ main: TestServer; gateway: TestServer }>;

/** A gateway, and a main server that collects from it and has brought its roster. */
async function started(users: number): Promise<Pair> {
  const address = `127.0.0.1:${String(await freePort())}`;
  const config = { gateway: { listen: [address] } };
  const gateway = TestServer.prepare({ config, command: ['gateway', 'serve'] });
  expect(await gateway.run(['gateway', 'init', '--address', address])).toMatchObject({ code: 0, error: '' });
  await gateway.serve();
  expect(await send(gateway, 'u1', Buffer.from('Subject: too early\r\n\r\n'))).toMatch(/^451 4\.3\.0/);
  const ticket = join(gateway.data, 'gateway-ticket.json');
  const main = await TestServer.start({ users, config: { gateway: { tickets: [ticket], collectEveryMs: 200 } } });
  await until(() => gateway.log().includes('a new roster is in force'));
  return { main, gateway };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function until(isSo: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = performance.now() + COMES_WITHIN_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error('it did not come about in time');
    await delay(50);
  }
}

async function send({ ports }: TestServer, user: string, message: Uint8Array): Promise<string> {
  using client = await SmtpClient.open(ports.smtp, 'smtp');
  return await client.deliver({ to: [`${user}@${DOMAIN}`], message });
}

async function inboxCount({ ports }: TestServer, user: string): Promise<number> {
  using client = await ImapClient.login(ports.imap, `${user}@${DOMAIN}`);
  return (await client.select('INBOX')).exists;
}

test(
  'mail comes in without a key, holds no word of it at the gateway, and is read at the main server',
  { timeout: TIMEOUT_MS },
  async () => {
    const { main, gateway } = await started(2);
    await main.kill();
    const message = Buffer.from(
      `From: ${WORD} <ann@${WORD.toLowerCase()}.example>\r\nSubject: about ${WORD}\r\n\r\n${WORD}\r\n${'x'.repeat(200_000)}\r\n`,
    );
    expect(await send(gateway, 'u1', message)).toMatch(/^250 /);
    expect(await send(gateway, 'U2+tag', message)).toMatch(/^250 /);
    expect(await send(gateway, 'nobody', message)).toMatch(/^550 5\.1\.1/);
    using relay = await SmtpClient.open(gateway.ports.smtp, 'smtp');
    await relay.ask('MAIL FROM:<ann@example.org>');
    expect(await relay.ask('RCPT TO:<bob@elsewhere.example>')).toMatch(/^550 5\.7\.1/);
    // u1 as such is too short to be looked for; the domain is public
    expect(findWords([gateway.directory], [WORD, `u1@${DOMAIN}`])).toEqual([]);
    expect(globSync('**/keyring*', { cwd: gateway.directory })).toEqual([]);
    expect(globSync('**/mailbox.db', { cwd: gateway.directory })).toHaveLength(2);

    expect(await gateway.restart('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
    await main.serve();
    await until(async () => (await inboxCount(main, 'u1')) === 1 && (await inboxCount(main, 'u2')) === 1);
    using client = await ImapClient.login(main.ports.imap, `u1@${DOMAIN}`);
    await client.select('INBOX');
    const [fetched] = await client.fetchAll();
    expect(fetched?.bytes.subarray(-message.length).equals(message)).toBe(true);
    const listed = JSON.parse((await main.run(['gateway', 'list', '--json'])).out) as object[];
    expect(listed).toMatchObject([{ failure: null, takenInCount: 2 }]);
    await until(() => globSync('**/blobs/??/*', { cwd: gateway.directory }).length === 0); // dropped there

    // What changes at the main server is known at the gateway.
    expect(await main.run(['alias', 'create', `new@${DOMAIN}`, `u1@${DOMAIN}`])).toMatchObject({ code: 0 });
    expect(await main.run(['mailbox', 'suspend', `u2@${DOMAIN}`])).toMatchObject({ code: 0 });
    await until(async () => (await send(gateway, 'new', message)).startsWith('250 '));
    await until(async () => (await send(gateway, 'u2', message)).startsWith('450 4.2.1'));
  },
);

test(
  'CO1 both are killed at random under traffic: nothing acknowledged is lost or doubled, over a rotation',
  { timeout: TIMEOUT_MS },
  async () => {
    const seed = Date.now() % 1_000_000;
    process.stdout.write(`seed ${String(seed)}\n`);
    const random = seededRandom(seed);
    const { main, gateway } = await started(2);
    const ledger = new Ledger();
    let [number, isOver] = [0, false];
    const sending = async (user: string): Promise<void> => {
      while (!isOver) {
        const message = ledgerMessage((number += 1), random() < 0.1 ? 150_000 : 2000, random);
        const entry = ledger.sending(user, message);
        try {
          entry.isAcknowledged = (await send(gateway, user, message)).startsWith('250 ');
          await delay(30); // what comes in must be taken over in time
        } catch (error) {
          if (!(error instanceof ConnectionGone) && !(error instanceof Error && 'code' in error)) throw error;
          await delay(20);
        }
      }
    };
    const senders = ['u1', 'u2', 'u1', 'u2'].map(sending);
    for (const victim of [gateway, main, gateway, main]) {
      const before = ledger.acknowledgedCount;
      await until(() => ledger.acknowledgedCount > before + 10);
      await delay(random() * 500);
      await victim.restart('SIGKILL');
    }
    const rotated = await main.run(['key', 'rotate', `u1@${DOMAIN}`, '--json']);
    expect(rotated).toMatchObject({ code: 0 });
    isOver = true;
    await Promise.all(senders);
    const acknowledged = ledger.acknowledgedCount;
    expect(acknowledged).toBeGreaterThan(40);
    await until(async () => (await inboxCount(main, 'u1')) + (await inboxCount(main, 'u2')) >= acknowledged);
    await until(() => globSync('**/blobs/??/*', { cwd: gateway.directory }).length === 0);
    const count = await ledger.verify(['u1', 'u2'], (user) => ImapClient.login(main.ports.imap, `${user}@${DOMAIN}`));
    process.stdout.write(`${String(count.acknowledged)} acknowledged, ${String(count.stored)} stored\n`);
    expect((await main.kill()).code).toBe(0);
    expect(faultsOnDisk(main.data)).toEqual([]);
  },
);
