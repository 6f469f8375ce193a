/** Idle IMAP sessions against a testbed of its own: how often they make the server ask the key service, and their memory. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

type Testbed = Readonly<{ imap: number; data: string; pids: readonly number[] }>;
type Status = Readonly<{
  keyService: Readonly<{ operations: Readonly<Record<string, Readonly<{ callsCount: number }>>> }>;
}>;

const ROOT = path.join(import.meta.dirname, '../..');
const SETTLE_MS = 2000;
const OPENED_AT_A_TIME_COUNT = 50;

const [seconds = 300, sessionsCount = 1000] = process.argv.slice(2).map(Number);
if (!(seconds >= 1 && seconds <= 3600 && sessionsCount >= 1 && sessionsCount <= 10_000)) {
  throw new RangeError('give 1 to 3,600 seconds and 1 to 10,000 sessions');
}

const testbed = spawn(path.join(ROOT, 'scripts/testbed'), ['--users', String(sessionsCount)], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const ended = once(testbed, 'exit');
try {
  const [line] = (await once(createInterface(testbed.stdout), 'line')) as [string];
  process.exitCode = await measured(JSON.parse(line) as Testbed);
} finally {
  testbed.kill('SIGTERM');
  await ended;
}

/** The exit code. */
async function measured({ imap, data, pids }: Testbed): Promise<number> {
  const [pid = 0] = pids;
  const before = residentMegabytes(pid);
  const sockets: Socket[] = [];
  for (let n = 1; n <= sessionsCount; n += OPENED_AT_A_TIME_COUNT) {
    const users = Array.from({ length: Math.min(OPENED_AT_A_TIME_COUNT, sessionsCount - n + 1) }, (_, at) => n + at);
    sockets.push(...(await Promise.all(users.map((user) => idling(imap, user)))));
  }
  await sleep(SETTLE_MS);
  const callsBefore = keyCalls(data);
  tell(`${String(sockets.length)} sessions idle; waiting for ${String(seconds)} s`);
  await sleep(seconds * 1000);
  const lost = sockets.filter((socket) => socket.destroyed).length;
  const calls = keyCalls(data) - callsBefore;
  const perSession = ((residentMegabytes(pid) - before) * 1024) / sessionsCount;
  tell(`calls to the key service: ${String(calls)}; sessions lost: ${String(lost)}`);
  tell(`resident memory for each session, with its mailbox open: ${perSession.toFixed(0)} KiB`);
  for (const socket of sockets) socket.destroy();
  return calls === 0 && lost === 0 ? 0 : 1;
}

async function idling(port: number, user: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  let said = '';
  const answered = async (expected: RegExp): Promise<void> => {
    while (!expected.test(said)) said += String((await once(socket, 'data'))[0]);
    said = '';
  };
  await answered(/^\* OK /);
  for (const [command, expected] of [
    [`a LOGIN u${String(user)} pw`, /^a OK/m],
    ['b SELECT INBOX', /^b OK/m],
    ['c IDLE', /^\+ /m],
  ] as const) {
    socket.write(`${command}\r\n`);
    await answered(expected);
  }
  socket.resume();
  return socket;
}

function keyCalls(data: string): number {
  const words = ['src/main.ts', 'status', '--json', '--config', path.join(data, 'sealpost.toml')];
  const status = JSON.parse(execFileSync(process.execPath, words, { cwd: ROOT, encoding: 'utf8' })) as Status;
  return Object.values(status.keyService.operations).reduce((sum, { callsCount }) => sum + callsCount, 0);
}

function residentMegabytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1];
  return Number(kilobytes) / 1024;
}

function tell(text: string): void {
  process.stdout.write(`${text}\n`);
}
