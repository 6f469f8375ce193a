import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect as tlsConnect } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';

const MAIN = join(import.meta.dirname, '../src/main.ts');
type Outcome = Readonly<{ code: number | null; out: string; error: string }>;

let folder = '';
const started: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealpost-app-'));
  writeFileSync(
    join(folder, 'sealpost.toml'),
    `[data]\ndirectory = "data"\n[log]\nfile = "log.jsonl"\n[accounts.argon2]\nmemoryKiB = 8192\npassesCount = 1
[smtp.mx]\nlisten = ["127.0.0.1:0"]\n[smtp.lmtp]\nlisten = ["127.0.0.1:0"]\n[smtp.submission]\nlisten = ["127.0.0.1:0"]\n[smtp.submissions]\nlisten = ["127.0.0.1:0"]
[imap]\nlisten = ["127.0.0.1:0"]\nlistenTls = ["127.0.0.1:0"]\n`,
  );
});

afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  rmSync(folder, { recursive: true, force: true });
});

function launch(...words: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...words, '--config', join(folder, 'sealpost.toml')], { stdio: 'pipe' });
  started.push(child);
  return child;
}

async function run(...words: readonly string[]): Promise<Outcome> {
  const child = launch(...words);
  let [out, error] = ['', ''];
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (error += chunk.toString()));
  await once(child, 'close');
  return { code: child.exitCode, out, error };
}

async function serving(): Promise<{ child: ChildProcess; ports: Record<string, number> }> {
  const readyFile = join(folder, 'ready.json');
  rmSync(readyFile, { force: true });
  const child = launch('serve', '--ready-file', readyFile);
  await expect.poll(() => existsSync(readyFile), { timeout: 15_000 }).toBe(true);
  return { child, ports: (JSON.parse(readFileSync(readyFile, 'utf8')) as { ports: Record<string, number> }).ports };
}

/** Delivers one message by LMTP and gives the last reply. */
async function deliver(port: number, recipient: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const reply = async (): Promise<string> => {
    for (;;) {
      const line = (await lines.next()).value as string;
      if (/^\d{3} /.test(line)) return line;
    }
  };
  await reply();
  for (const command of ['LHLO test', 'MAIL FROM:<a@example.net>', `RCPT TO:<${recipient}>`, 'DATA']) {
    socket.write(`${command}\r\n`);
    await reply();
  }
  socket.write('Subject: hello\r\n\r\nbody\r\n.\r\n');
  const last = await reply();
  socket.destroy();
  return last;
}

/** Logs in over IMAPS with the certificate that `init` made, and gives what SELECT INBOX says of its size. */
async function inboxSize(port: number, user: string, password: string): Promise<string> {
  const ca = readFileSync(join(folder, 'data/tls/certificate.pem'));
  const socket = tlsConnect({ port, host: '127.0.0.1', servername: 'localhost', ca });
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  socket.write(`a LOGIN ${user} ${password}\r\nb SELECT INBOX\r\n`);
  const seen: string[] = [];
  while (!seen.at(-1)?.startsWith('b ')) seen.push((await lines.next()).value as string);
  socket.destroy();
  return seen.find((line) => line.endsWith(' EXISTS')) ?? seen.join('\n');
}

test('init, serve, administer, stop: and the second start serves what the first one made', async () => {
  const made = await run('init', '--demo');
  expect(made).toMatchObject({ code: 0, error: '' });
  expect(made.out).toMatch(/^made .*\/data\n/);
  expect(made.out).toMatch(/made mailbox demo@example\.test, password [\w-]{16}\n$/);
  expect((await run('init', '--demo')).out).toBe('kept mailbox demo@example.test and its password\n');
  const password = /password ([\w-]{16})/.exec(made.out)?.[1] ?? '';
  for (let start = 1; start <= 2; start += 1) {
    const { child, ports } = await serving();
    expect(Object.keys(ports).sort()).toEqual(['imap', 'imaps', 'lmtp', 'smtp', 'submission', 'submissions']);
    expect(await deliver(ports['lmtp'] ?? 0, 'demo@example.test')).toMatch(/^250 /);
    const size = await inboxSize(ports['imaps'] ?? 0, 'demo@example.test', password);
    expect(size).toBe(`* ${String(start)} EXISTS`);
    expect((await run('tls', 'reload')).code).toBe(0);
    const status = await run('status', '--json');
    expect(JSON.parse(status.out)).toMatchObject({
      pid: child.pid,
      ports,
      health: { isOk: true },
      openMailboxesCount: 1,
    });
    child.kill('SIGTERM');
    await once(child, 'exit');
    expect([child.exitCode, existsSync(join(folder, 'ready.json'))]).toEqual([0, false]);
    expect(existsSync(join(folder, 'data/admin.sock'))).toBe(false);
  }
  const after = await run('status');
  expect(after).toMatchObject({ code: 1, error: expect.stringContaining('sealpost serve') as string });
}, 60_000);

test('A1 a data directory is served once; a process that was killed leaves it free', async () => {
  await run('init', '--users', '2', '--password', 'pw', '--domain', 'bench.test');
  const first = await serving();
  const second = await run('serve');
  expect(second).toMatchObject({
    code: 1,
    error: expect.stringContaining('in use by another sealpost process') as string,
  });
  expect((await run('init')).code).toBe(1);
  expect(await deliver(first.ports['lmtp'] ?? 0, 'u1@bench.test')).toMatch(/^250 /);
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  const third = await serving();
  expect(await deliver(third.ports['lmtp'] ?? 0, 'u2@bench.test')).toMatch(/^250 /);
}, 60_000);

test('A2 without data directory or certificate, or with the wrong key, the start is refused and says why', async () => {
  expect(await run('serve')).toMatchObject({
    code: 1,
    error: expect.stringContaining('certificate.pem cannot be read') as string,
  });
  await run('init');
  const key = join(folder, 'data/tls/key.pem');
  expect(statSync(key).mode & 0o777).toBe(0o600);
  writeFileSync(key, 'not a key');
  expect((await run('serve')).error).toContain('are not a certificate and its private key');
}, 30_000);

test('A4 when the disk gives nonsense back, the process says so and exits with 70', async () => {
  await run('init', '--demo');
  const { child } = await serving();
  const file = join(folder, 'data/directory.db');
  writeFileSync(file, Buffer.alloc(statSync(file).size, 0xff), { flag: 'r+' });
  expect((await run('org', 'list')).code).toBe(1);
  if (child.exitCode === null) await once(child, 'exit');
  expect(child.exitCode).toBe(70);
  expect(readFileSync(join(folder, 'data/log.jsonl'), 'utf8')).toMatch(/storage failed.*\n$/);
}, 30_000);

test('a configuration with faults is refused with all of them', async () => {
  writeFileSync(join(folder, 'sealpost.toml'), '[smtp]\nmaxMessageBytes = "big"\n[nonsense]\n');
  const { code, error } = await run('serve');
  expect(code).toBe(1);
  expect(error).toMatch(/smtp\.maxMessageBytes[^]*nonsense/);
});
