/**
 * Starts a throw-away server on free loopback ports with mailboxes u1..uN, prints one JSON line when
 * it serves, and ends it at SIGTERM with exit code 0. The folder is removed if it was made here.
 *
 * What --config says wins over what is set here, except for the data folder and the log file.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parse as parseToml, stringify, type TomlTable } from 'smol-toml';

const ROOT = path.join(import.meta.dirname, '../..');
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;
const POLL_MS = 20;

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    users: { type: 'string', default: '600' },
    password: { type: 'string', default: 'pw' },
    domain: { type: 'string', default: 'bench.test' },
    config: { type: 'string' },
  },
});
const usersCount = Number(options.users);
if (!Number.isInteger(usersCount) || usersCount < 1) fail('--users needs a whole number');

const { directory, isMade } = makeDirectory(options.data);
const config = path.join(directory, 'sealpost.toml');
const log = path.join(directory, 'sealpost.log');
const readyFile = path.join(directory, 'ready.json');

/** The server is told everything by its file: settings of the caller's own server do not leak in. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SEALPOST_')));

let server: ChildProcess | undefined;
let isEnding = false;
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void end(0));
await start();

async function start(): Promise<void> {
  rmSync(readyFile, { force: true });
  writeFileSync(config, stringify(configuration()), { mode: 0o600 });
  const account = ['--users', String(usersCount), '--password', options.password, '--domain', options.domain];
  await run(['src/main.ts', 'init', '--config', config, ...account]);
  server = launch([
    '--disable-sigusr1',
    '--max-semi-space-size=4',
    'src/main.ts',
    'serve',
    '--config',
    config,
    '--ready-file',
    readyFile,
  ]);
  server.once('exit', (code, signal) => {
    if (!isEnding) void end(1, `the server ended by itself (${String(signal ?? code)})`);
  });
  const ports = await readyPorts();
  if (ports) process.stdout.write(`${JSON.stringify(description(ports, server.pid))}\n`);
}

function configuration(): TomlTable {
  const ours: TomlTable = {
    server: { hostname: 'localhost' },
    log: { level: 'warn' },
    smtp: {
      maxRecipientsCount: 10_000,
      maxConnectionsCount: 100_000,
      mx: { listen: ['127.0.0.1:0'] },
      lmtp: { listen: ['127.0.0.1:0'] },
      submission: {
        listen: ['127.0.0.1:0'],
        allowCleartextLogin: true,
        maxMessagesPerHourCount: 10_000_000,
        maxRecipientsPerHourCount: 10_000_000,
      },
      submissions: { listen: ['127.0.0.1:0'] },
    },
    imap: {
      listen: ['127.0.0.1:0'],
      listenTls: ['127.0.0.1:0'],
      allowCleartextLogin: true,
      maxConnectionsCount: 100_000,
      maxConnectionsPerAddressCount: 100_000,
    },
    store: { freeSpaceReserveBytes: 0 },
    outbound: { enabled: false }, // nothing leaves a testbed
    queue: { maxMessagesCount: 10_000_000 },
    accounts: { loginDomain: options.domain },
  };
  const given = options.config === undefined ? {} : parseToml(readFileSync(fromCaller(options.config), 'utf8'));
  return merged(merged(ours, given), { data: { directory: '.' }, log: { file: log } });
}

function merged(base: TomlTable, over: TomlTable): TomlTable {
  const result = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const below = base[name];
    result[name] = isTable(below) && isTable(value) ? merged(below, value) : value;
  }
  return result;
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function description(ports: Readonly<Record<string, number>>, pid: number | undefined): object {
  const node = path.join(ROOT, 'node_modules/.bin/node');
  const cold = [node, path.join(ROOT, 'src/main.ts'), 'cache', 'drop', '--config', config];
  return {
    name: 'sealpost',
    host: '127.0.0.1',
    ...ports,
    pids: [pid],
    users: usersCount,
    user: 'u{n}',
    password: options.password,
    address: `u{n}@${options.domain}`,
    data: directory,
    cert: path.join(directory, 'tls/certificate.pem'),
    log,
    cold_cmd: cold.map(shellWord).join(' '),
  };
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** Undefined when the server is gone instead. */
async function readyPorts(): Promise<Readonly<Record<string, number>> | undefined> {
  const untilMs = performance.now() + START_TIMEOUT_MS;
  while (!isEnding) {
    const text = existsSync(readyFile) ? readFileSync(readyFile, 'utf8') : '';
    if (text.endsWith('\n')) return (JSON.parse(text) as { ports: Record<string, number> }).ports;
    if (performance.now() > untilMs) await end(1, `the server was not ready in ${String(START_TIMEOUT_MS)} ms`);
    await sleep(POLL_MS);
  }
  return undefined;
}

function launch(args: readonly string[]): ChildProcess {
  const output = openSync(log, 'a', 0o600);
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', output, output] });
  closeSync(output);
  return child;
}

async function run(args: readonly string[]): Promise<void> {
  server = launch(args);
  const [code] = (await once(server, 'exit')) as [number | null];
  if (code !== 0 && !isEnding) await end(1, `init ended with ${String(code)}`);
}

/** Ends the server and this process. With a `problem`, the end of the log is shown first. */
async function end(code: number, problem?: string): Promise<never> {
  if (isEnding) return new Promise<never>(() => undefined); // the first call exits
  isEnding = true;
  if (problem !== undefined) process.stderr.write(`testbed: ${problem}\n${logTail()}`);
  if (server && server.exitCode === null && server.signalCode === null) {
    const gone = once(server, 'exit');
    server.kill('SIGTERM');
    const timer = setTimeout(() => server?.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await gone;
    clearTimeout(timer);
  }
  if (isMade) rmSync(directory, { recursive: true, force: true });
  process.exit(code);
}

function logTail(): string {
  return existsSync(log) ? `${readFileSync(log, 'utf8').trimEnd().split('\n').slice(-20).join('\n')}\n` : '';
}

function makeDirectory(wanted: string | undefined): Readonly<{ directory: string; isMade: boolean }> {
  if (wanted === undefined) return { directory: mkdtempSync(path.join(tmpdir(), 'sealpost-testbed-')), isMade: true };
  const absolute = fromCaller(wanted);
  const isNew = !existsSync(absolute);
  mkdirSync(absolute, { recursive: true, mode: 0o700 });
  return { directory: absolute, isMade: isNew };
}

function fromCaller(file: string): string {
  return path.resolve(process.env['CALLER_DIRECTORY'] ?? '.', file);
}

function fail(problem: string): never {
  process.stderr.write(`testbed: ${problem}\n`);
  process.exit(64);
}
