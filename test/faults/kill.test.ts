/**
 * P1 and P14 of the promises: a server that is killed with no warning, while 200 clients deliver, has lost nothing it
 * acknowledged, and gives no UID twice.
 *
 * KILL_ROUNDS and KILL_SEED change the number of rounds and the random numbers: see scripts/test-soak.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { faultsOnDisk } from '../support/disk-state.ts';
import { Ledger, seededRandom } from '../support/ledger.ts';
import { DOMAIN, TestServer } from '../support/server.ts';
import { sendUntilGone, type Traffic, type Way } from '../support/traffic.ts';
import { ImapClient } from '../support/wire.ts';

const ROUNDS_COUNT = Number(process.env['KILL_ROUNDS'] ?? 3);
const SEED = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000);
const CLIENTS: readonly Way[] = [
  ...Array.from({ length: 80 }, () => 'smtp' as const),
  ...Array.from({ length: 80 }, () => 'lmtp' as const),
  ...Array.from({ length: 40 }, () => 'append' as const),
];
const MAILBOXES = Array.from({ length: 8 }, (_, index) => `u${String(index + 1)}`);
const LATEST_KILL_MS = 1500;

test(
  `kill -9 under 200 deliveries, ${String(ROUNDS_COUNT)} rounds, seed ${String(SEED)}`,
  { timeout: 60_000 + ROUNDS_COUNT * 60_000 },
  async () => {
    const random = seededRandom(SEED);
    const ledger = new Ledger();
    const server = await TestServer.start({ users: MAILBOXES.length });
    const { ports } = server;
    const traffic: Traffic = { server, ledger, mailboxes: MAILBOXES, random, number: 0, refusals: [], isOver: false };
    for (let round = 1; round <= ROUNDS_COUNT; round += 1) {
      const before = ledger.acknowledgedCount;
      const clients = CLIENTS.map((way) => sendUntilGone(traffic, way));
      while (ledger.acknowledgedCount === before) await delay(5);
      await delay(random() * LATEST_KILL_MS);
      const pendingUntilKill = ledger.acknowledgedCount;
      expect(await server.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
      await Promise.all(clients);
      expect(faultsOnDisk(server.data)).toEqual([]);
      await server.serve();
      expect(server.ports).toEqual(ports);
      const count = await ledger.verify(MAILBOXES, (mailbox) => ImapClient.login(ports.imap, `${mailbox}@${DOMAIN}`));
      expect(traffic.refusals).toEqual([]);
      expect(count.stored).toBeGreaterThanOrEqual(count.acknowledged);
      expect(count.acknowledged).toBeGreaterThan(before);
      process.stdout.write(
        `kill round ${String(round)}: ${String(pendingUntilKill - before)} acknowledged before the kill; in all ` +
          `${String(count.sent)} sent, ${String(count.acknowledged)} acknowledged, ${String(count.stored)} stored\n`,
      );
    }
    expect((await server.kill('SIGTERM')).code).toBe(0);
    expect(faultsOnDisk(server.data)).toEqual([]);
  },
);
