/**
 * Many messages through a remote server that fails in every way, from a process that is killed in between: in the end each
 * recipient has its message or its sender has one report, and nobody has more copies than SMTP allows.
 * QUEUE_SOAK_MESSAGES, QUEUE_SOAK_KILLS and QUEUE_SOAK_SEED make it larger: scripts/test-queue-soak.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { mailboxId } from '../../src/base/ids.ts';
import { mailboxWorld } from '../support/mailbox-world.ts';
import { startDnsServer, type Zone } from '../support/dns-server.ts';
import { CUT, MUTE, startSmtpRemote } from '../support/smtp-remote.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { inboxOf } from './outbound-world.ts';
import { DOMAINS_COUNT, fateOf, messageOf, type Fate } from './soak-messages.ts';

const numberOf = (name: string, fallback: number): number => Number(process.env[name] ?? fallback);
const MESSAGES = numberOf('QUEUE_SOAK_MESSAGES', 200);
const KILLS = numberOf('QUEUE_SOAK_KILLS', 4);
const SEED = numberOf('QUEUE_SOAK_SEED', 1);
const TIMEOUT_MS = 120_000 + MESSAGES * 100 + KILLS * 30_000;
/** Deliveries that may be on their way when the process is killed. */
const UNDER_WAY_MAX_COUNT = 50;
/** Messages that a child queues at one time. */
const FILLERS_COUNT = 8;
const CHILD = join(import.meta.dirname, 'soak-child.ts');

/** The remote: what it did to whom. */
async function flakyRemote() {
  const seen = new Map<string, number>(); // how often a recipient was named
  const taken = new Map<string, number>(); // how many copies it took
  const bodies = new Map<string, string>();
  let cutAfterTaken = 0;
  const occurrence = (address: string): number => seen.get(address) ?? 0;
  const only = (recipients: readonly string[]): string => recipients[0] ?? '';
  const isFirst = (recipients: readonly string[], fate: Fate): boolean =>
    fateOf(only(recipients)) === fate && occurrence(only(recipients)) === 1;
  const remote = await startSmtpRemote({
    ehlo: ['PIPELINING', 'SIZE', '8BITMIME'],
    answer: (line) => {
      const address = /^RCPT TO:<(.*)>/.exec(line)?.[1];
      if (address === undefined) return undefined;
      seen.set(address, occurrence(address) + 1);
      const fate = fateOf(address);
      if (fate === 'perm') return '550 5.1.1 nobody here';
      if (fate === 'grey' && occurrence(address) < 3) return '451 4.7.1 come again';
      if (fate === 'mute' && occurrence(address) === 1) return MUTE;
      return undefined;
    },
    duringData: (_, recipients) => (isFirst(recipients, 'cut') ? CUT : undefined),
    afterData: ({ recipients, data }) => {
      if (isFirst(recipients, 'busy')) return '451 4.3.0 not now';
      if (fateOf(only(recipients)) === 'bad') return '554 5.7.1 not that';
      if (isFirst(recipients, 'cut')) return CUT;
      for (const address of recipients) {
        taken.set(address, (taken.get(address) ?? 0) + 1);
        bodies.set(address, data.toString());
      }
      if (!isFirst(recipients, 'lost')) return undefined;
      cutAfterTaken += 1;
      return CUT;
    },
  });
  return { port: remote.port, taken, bodies, cutAfterTaken: () => cutAfterTaken };
}

test('P1 S2 the ledger balances over failures and kills', { timeout: TIMEOUT_MS }, async () => {
  const directory = temporaryDirectory();
  const zone: Zone = {};
  for (let at = 0; at < DOMAINS_COUNT; at += 1) {
    zone[`d${String(at)}.test`] = { MX: [`10 mx${String(at)}.test`] };
    zone[`mx${String(at)}.test`] = { A: ['127.0.0.1'] };
  }
  const [dns, remote] = [await startDnsServer(zone), await flakyRemote()];
  const queued = new Set<number>();
  let mailbox = '';
  const errors: string[] = [];
  const start = (): Readonly<{ child: ChildProcess; ended: Promise<boolean> }> => {
    // those that were being queued at the time of a kill may be there, and are not queued again
    const first = queued.size === 0 ? 0 : maximumOf(queued) + 1 + FILLERS_COUNT;
    const numbers = [first, MESSAGES, SEED, dns.port, remote.port].map(String);
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', CHILD, directory, ...numbers]);
    let isEmpty = false;
    createInterface({ input: child.stderr }).on('line', (line) => errors.push(line));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [word, value = ''] = line.split(' ');
      if (word === 'queued') queued.add(Number(value));
      if (word === 'mailbox') mailbox = value;
      if (word === 'empty') isEmpty = true;
    });
    const ended = new Promise<boolean>((resolve) => {
      child.on('close', () => {
        resolve(isEmpty);
      });
    });
    return { child, ended };
  };
  for (let kill = 0; kill < KILLS; kill += 1) {
    const { child, ended } = start();
    const goal = Math.floor(((kill + 1) * MESSAGES) / (KILLS + 1));
    await expect
      .poll(() => queued.size + Number(child.exitCode !== null) * MESSAGES, { timeout: TIMEOUT_MS, interval: 2 })
      .toBeGreaterThanOrEqual(goal);
    child.kill('SIGKILL');
    await ended;
  }
  const last = start();
  expect(await last.ended, errors.join('\n')).toBe(true);
  expect(queued.size).toBeGreaterThan(MESSAGES - 2 * FILLERS_COUNT * KILLS - 1);

  const world = await mailboxWorld(directory, { hasDirectoryKey: true });
  const reports = await inboxOf(world, { organization: world.organization, mailbox: mailboxId(mailbox) });
  await world[Symbol.asyncDispose]();
  const names = reports.map((report) => /^Message-ID: (.*)\r$/m.exec(report)?.[1]);
  expect(new Set(names).size).toBe(reports.length); // LD1 no report is stored twice
  const reported = new Map<string, number>();
  for (const report of reports) {
    for (const [, address = ''] of report.matchAll(/^Final-Recipient: rfc822; (.*)\r$/gm)) {
      reported.set(address, (reported.get(address) ?? 0) + 1);
    }
  }
  let duplicatesCount = 0;
  for (const n of queued) {
    const { recipients, content } = messageOf(SEED, n);
    for (const address of recipients) {
      const isRefused = ['perm', 'bad'].includes(fateOf(address));
      const copies = remote.taken.get(address) ?? 0;
      expect([address, reported.get(address) ?? 0, copies > 0]).toEqual([address, isRefused ? 1 : 0, !isRefused]);
      if (isRefused) continue;
      duplicatesCount += copies - 1;
      expect(remote.bodies.get(address)).toBe(content.replaceAll('\r\n.', '\r\n..'));
    }
  }
  const perDelivery = 3; // recipients of one
  expect(duplicatesCount).toBeLessThanOrEqual(remote.cutAfterTaken() + KILLS * UNDER_WAY_MAX_COUNT * perDelivery);
  expect(errors).toEqual([]);
  console.log(
    `queue soak: seed ${String(SEED)}, ${String(queued.size)} messages, ${String(KILLS)} kills, ${String(remote.taken.size)} recipients served, ${String(reported.size)} reported, ${String(duplicatesCount)} duplicates, ${String(remote.cutAfterTaken())} answers lost`,
  );
});

function maximumOf(numbers: ReadonlySet<number>): number {
  let largest = -1;
  for (const number of numbers) largest = Math.max(largest, number);
  return largest;
}
