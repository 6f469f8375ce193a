import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';

const script = path.join(import.meta.dirname, '../../scripts/testbed');
type Description = Readonly<{
  smtp: number;
  lmtp: number;
  pids: readonly number[];
  data: string;
  cert: string;
  log: string;
  cold_cmd: string;
}>;

async function started(args: readonly string[]) {
  const testbed = spawn(script, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => {
    testbed.kill('SIGTERM');
  });
  const lines = createInterface(testbed.stdout)[Symbol.asyncIterator]();
  const first = await lines.next();
  return { testbed, described: JSON.parse(first.value ?? '') as Description };
}

async function ended(testbed: ChildProcess): Promise<unknown> {
  const exit = once(testbed, 'exit');
  testbed.kill('SIGTERM');
  return (await exit)[0];
}

async function greeting(port: number): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return bytes.toString();
}

test(
  'testbed: one JSON line, listeners that answer, exit code 0, its folder removed',
  { timeout: 60_000 },
  async () => {
    const { testbed, described } = await started(['--users', '2', '--password', "p'w", '--domain', 'one.test']);
    expect(described).toMatchObject({
      name: 'sealpost',
      host: '127.0.0.1',
      users: 2,
      user: 'u{n}',
      password: "p'w",
      address: 'u{n}@one.test',
    });
    for (const port of [described.smtp, described.lmtp]) expect(await greeting(port)).toMatch(/^220 /);
    for (const file of [described.data, described.cert, described.log]) expect(existsSync(file)).toBe(true);
    for (const pid of described.pids) expect(process.kill(pid, 0)).toBe(true);
    await promisify(execFile)('/bin/sh', ['-c', described.cold_cmd]);
    expect(await ended(testbed)).toBe(0);
    expect(existsSync(described.data)).toBe(false);
    for (const pid of described.pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  },
);

test('testbed: a folder that was there is kept; --config wins over its settings', { timeout: 60_000 }, async () => {
  const base = mkdtempSync(path.join(tmpdir(), 'sealpost-given-'));
  onTestFinished(() => {
    rmSync(base, { recursive: true });
  });
  const data = path.join(base, 'data');
  mkdirSync(data);
  const config = path.join(base, 'given.toml');
  writeFileSync(config, '[smtp.lmtp]\nlisten = []\n');
  const { testbed, described } = await started(['--users', '1', '--data', data, '--config', config]);
  expect(described.data).toBe(data);
  expect(described.lmtp).toBeUndefined();
  expect(described.smtp).toBeGreaterThan(0);
  expect(await ended(testbed)).toBe(0);
  expect(existsSync(path.join(data, 'directory.db'))).toBe(true);
});
