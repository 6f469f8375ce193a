/**
 * P12 and P13 of the promises: what a failing or full disk does to acknowledged mail. Calls of the running server
 * are made to fail with strace; a file system that is really full is a small tmpfs, which needs root.
 *
 * DF1  A failed write or sync: nothing is acknowledged that is lost, the process exits with 70, the next start is clean.
 * DF2  No space left: 452 or NO, the process stays, and it heals by itself.
 * DF3  Each acknowledgement comes after: sync of the blob, its rename, sync of its folder, sync of the log.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { faultsOnDisk } from '../support/disk-state.ts';
import { Ledger, ledgerMessage, seededRandom } from '../support/ledger.ts';
import { DOMAIN, TestServer } from '../support/server.ts';
import { Strace, straceProblem, type TracedCall } from '../support/strace.ts';
import { sendUntilGone, type Traffic, type Way } from '../support/traffic.ts';
import { ImapClient, SmtpClient } from '../support/wire.ts';

const MAILBOXES = ['u1', 'u2'] as const;
const CLIENTS: readonly Way[] = ['smtp', 'smtp', 'smtp', 'lmtp', 'lmtp', 'lmtp', 'append', 'append'];
const TIMEOUT_MS = 90_000;
const EXIT_STORAGE_FAILED = 70;
const noStrace = straceProblem();
const noMount = process.getuid?.() === 0 ? mountProblem() : 'a tmpfs needs root';
const skipped = (problem: string | null): string => (problem === null ? '' : ` (skipped: ${problem})`);

async function warmServer(config = {}, shape: Partial<Traffic> = {}): Promise<Traffic> {
  const server = await TestServer.start({ users: MAILBOXES.length, config });
  const traffic: Traffic = {
    server,
    ledger: new Ledger(),
    mailboxes: MAILBOXES,
    random: seededRandom(1),
    number: 0,
    refusals: [],
    isOver: false,
    ...shape,
  };
  using client = await SmtpClient.open(server.ports.smtp, 'smtp');
  for (const mailbox of MAILBOXES) {
    const message = ledgerMessage((traffic.number += 1), 1000, traffic.random);
    const entry = traffic.ledger.sending(mailbox, message);
    expect(await client.deliver({ to: [`${mailbox}@${DOMAIN}`], message })).toMatch(/^250 /);
    entry.isAcknowledged = true;
  }
  return traffic;
}

async function verifyLedger({ server, ledger }: Traffic) {
  return ledger.verify(MAILBOXES, (mailbox) => ImapClient.login(server.ports.imap, `${mailbox}@${DOMAIN}`));
}

test.skipIf(noStrace !== null).each([
  ['fdatasync', 'EIO', 1],
  ['fdatasync', 'EIO', 2],
  ['fdatasync', 'EIO', 9],
  ['fdatasync', 'ENOSPC', 3],
  ['fsync', 'EIO', 1],
  ['fsync', 'EIO', 3],
  ['pwrite64', 'EIO', 1],
  ['pwrite64', 'EIO', 17],
  ['pwrite64', 'EIO', 140],
  ['writev', 'EIO', 1],
  ['writev', 'EIO', 4],
  ['rename', 'EIO', 1],
] as const)(
  `DF1 %s fails with %s at call %i${skipped(noStrace)}`,
  { timeout: TIMEOUT_MS },
  async (name, error, when) => {
    await stopsAtFailure(await warmServer(), `${name}:error=${error}:when=${String(when)}`);
  },
);

test.skipIf(noStrace !== null).each(['EIO', 'ENOSPC'])(
  `DF1 the sync of the log alone fails with %s${skipped(noStrace)}`,
  { timeout: TIMEOUT_MS },
  async (error) => {
    // neither files of bodies nor checkpoints, which sync too
    const traffic = await warmServer({ store: { checkpointIntervalMs: 60_000 } }, { largeShare: 0 });
    await stopsAtFailure(traffic, `fdatasync:error=${error}:when=2`);
  },
);

async function stopsAtFailure(traffic: Traffic, injection: string): Promise<void> {
  const { server } = traffic;
  const [name = ''] = injection.split(':');
  await Strace.attach(server.pid, [`-e`, `trace=${name}`, '-e', `inject=${injection}`]);
  const clients = Promise.all(CLIENTS.map((way) => sendUntilGone(traffic, way)));
  expect(await server.ended(30_000)).toEqual({ code: EXIT_STORAGE_FAILED, signal: null });
  await clients;
  expect(server.log()).toContain('storage failed');
  expect(faultsOnDisk(server.data)).toEqual([]);
  await server.serve();
  await verifyLedger(traffic);
  using client = await SmtpClient.open(server.ports.smtp, 'smtp');
  expect(await client.deliver({ to: [`u1@${DOMAIN}`], message: Buffer.from('a: b\r\n\r\nc\r\n') })).toMatch(/^250 /);
}

test.skipIf(noStrace !== null).each([
  ['pwrite64', 1],
  ['pwrite64', 20],
  ['writev', 1],
] as const)(
  `DF2 %s finds no space at call %i: 452 or NO, and the server goes on${skipped(noStrace)}`,
  { timeout: TIMEOUT_MS },
  async (name, when) => {
    const traffic = await warmServer();
    const { server } = traffic;
    const strace = await Strace.attach(server.pid, [
      ...['-e', `trace=${name}`],
      ...['-e', `inject=${name}:error=ENOSPC:when=${String(when)}..${String(when + 5)}`],
    ]);
    const clients = Promise.all(CLIENTS.map((way) => sendUntilGone(traffic, way)));
    await delay(2500);
    traffic.isOver = true;
    await clients;
    expect(server.isRunning(), server.log().slice(-3000)).toBe(true);
    expect(strace.text()).toContain('ENOSPC');
    expect(traffic.refusals.length).toBeGreaterThan(0);
    for (const refusal of traffic.refusals) expect(refusal).toMatch(/^(452 4\.3\.1 |451 4\.3\.0 |NO )/);
    await verifyLedger(traffic);
    await strace.detach();
    expect((await server.restart()).code).toBe(0);
    expect((await verifyLedger(traffic)).acknowledged).toBeGreaterThan(MAILBOXES.length);
  },
);

test.skipIf(noMount !== null)(
  `DF2 a file system that is full${skipped(noMount)}`,
  { timeout: TIMEOUT_MS },
  async () => {
    const small = mountSmall(64);
    const traffic = await warmServer({ data: { directory: small }, store: { checkpointIntervalMs: 200 } });
    const { server, ledger, random } = traffic;
    const ballast = join(small, 'ballast');
    writeFileSync(ballast, Buffer.alloc(24 << 20, 1));
    using smtp = await SmtpClient.open(server.ports.smtp, 'smtp');
    using lmtp = await SmtpClient.open(server.ports.lmtp, 'lmtp');
    using imap = await ImapClient.login(server.ports.imap, `u2@${DOMAIN}`);
    const send = async (way: Way, bytesCount: number): Promise<string> => {
      const message = ledgerMessage((traffic.number += 1), bytesCount, random);
      const entry = ledger.sending(way === 'append' ? 'u2' : 'u1', message);
      const reply =
        way === 'append'
          ? await imap
              .append('INBOX', message)
              .then(({ status, text }) => (status === 'OK' ? '250' : `${status} ${text}`))
          : await (way === 'smtp' ? smtp : lmtp).deliver({ to: [`u1@${DOMAIN}`], message });
      entry.isAcknowledged = reply.startsWith('250');
      return reply;
    };
    const seen = new Map<string, number>();
    for (const bytesCount of [1_000_000, 30_000, 500]) {
      let refusedInRow = 0;
      for (let count = 0; refusedInRow < 12 && count < 3000; count += 1) {
        const reply = await send((['smtp', 'lmtp', 'append'] as const)[count % 3] ?? 'smtp', bytesCount);
        const kind = reply.startsWith('250') ? '250' : reply;
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        refusedInRow = kind === '250' ? 0 : refusedInRow + 1;
        if (kind !== '250') await delay(20);
      }
      expect(server.isRunning(), server.log().slice(-2000)).toBe(true);
    }
    process.stdout.write(`full disk: ${JSON.stringify(Object.fromEntries(seen))}\n`);
    for (const reply of seen.keys()) expect(reply).toMatch(/^(250|452 4\.3\.1 |NO )/);
    expect([...seen.keys()].some((reply) => reply.startsWith('452'))).toBe(true);
    expect([...seen.keys()].some((reply) => reply.startsWith('NO'))).toBe(true);
    await delay(1000); // checkpoints find no space either
    expect(server.isRunning(), server.log().slice(-2000)).toBe(true);
    const whileFull = await verifyLedger(traffic);
    expect(whileFull.acknowledged).toBeGreaterThan(10);
    rmSync(ballast);
    for (const way of ['smtp', 'lmtp', 'append'] as const) expect(await send(way, 1_000_000)).toMatch(/^250/);
    await verifyLedger(traffic);
    expect((await server.restart()).code).toBe(0);
    await verifyLedger(traffic);
    expect(faultsOnDisk(server.data)).toEqual([]);
    await server.kill();
  },
);

test.skipIf(noStrace !== null)(
  `DF3 the order of syncs before an acknowledgement${skipped(noStrace)}`,
  { timeout: TIMEOUT_MS },
  async () => {
    const traffic = await warmServer({ store: { checkpointIntervalMs: 60_000 } }); // checkpoints sync the log too
    const { server, random } = traffic;
    const strace = await Strace.attach(server.pid, ['-e', 'trace=fsync,fdatasync,rename,renameat,renameat2,write']);
    using client = await SmtpClient.open(server.ports.smtp, 'smtp');
    for (let count = 0; count < 20; count += 1) {
      const message = ledgerMessage((traffic.number += 1), 300_000, random);
      expect(await client.deliver({ to: [`u1@${DOMAIN}`], message })).toMatch(/^250 2\.0\.0 Stored/);
    }
    await strace.detach();
    const rounds = acknowledgements(strace.calls());
    expect(rounds).toHaveLength(20);
    for (const steps of rounds) {
      const [synced = '', renamed = '', folder = '', log = ''] = steps;
      expect(steps, steps.join('\n')).toHaveLength(4);
      const body = /^sync .*\/blobs\/tmp\/([0-9a-f]{32})$/.exec(synced)?.[1] ?? 'no body synced';
      expect(renamed).toMatch(new RegExp(`^rename .*/tmp/${body} .*/blobs/${body.slice(0, 2)}/${body}$`));
      expect(folder).toMatch(new RegExp(`^sync .*/blobs/${body.slice(0, 2)}$`));
      expect(log).toMatch(/^sync .*\/mailbox\.db-wal$/);
    }
  },
);

/** What was synced and renamed for the mailbox before each 250, in the order in which it ended. */
function acknowledgements(calls: readonly TracedCall[]): string[][] {
  const rounds: string[][] = [];
  let steps: string[] = [];
  for (const { name, given, result } of calls) {
    if (name === 'write' && given.includes('"354 ')) steps = [];
    if (name === 'write' && given.includes('"250 2.0.0 Stored')) rounds.push(steps);
    if (result !== '0') continue;
    const path = /<(.*)>/.exec(given)?.[1] ?? '';
    // blobs/ itself is synced when a shard folder is new, the directory by the audit: no part of the chain
    const isPart = path.includes('/mailboxes/') && !path.endsWith('/blobs');
    if (name.endsWith('sync') && isPart) steps.push(`sync ${path}`);
    if (name.startsWith('rename'))
      steps.push(`rename ${[...given.matchAll(/"([^"]*)"/g)].map((it) => it[1]).join(' ')}`);
  }
  return rounds;
}

/** Why a tmpfs cannot be mounted, or null. */
function mountProblem(): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-mount-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]).status === 0;
  if (mounted) spawnSync('umount', [folder]);
  rmSync(folder, { recursive: true });
  return mounted ? null : 'a tmpfs cannot be mounted here';
}

function mountSmall(mebibytes: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-small-'));
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${String(mebibytes)}m`, 'tmpfs', folder]).status).toBe(0);
  onTestFinished(() => {
    spawnSync('umount', [folder]);
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
