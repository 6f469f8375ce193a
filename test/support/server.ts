/**
 * A real server process for tests: `init`, then `serve`, on free loopback ports, in a directory of its own.
 *
 * TS1  A restart keeps data and ports; the configuration is what the first start was told.
 * TS2  The process is ended when the test ends, by its own handle; what it printed is in `output()`.
 * TS3  Everything it may write lies under `directory`: data, log, output, temporary files.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse as parseToml, stringify, type TomlTable } from 'smol-toml';
import { onTestFinished } from 'vitest';

export const ROOT = join(import.meta.dirname, '../..');
export const DOMAIN = 'bench.test';
export const PASSWORD = 'pw';
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 10;

export type Ports = Readonly<{
  smtp: number;
  lmtp: number;
  submission: number;
  submissions: number;
  imap: number;
  imaps: number;
}>;
export type Ended = Readonly<{ code: number | null; signal: NodeJS.Signals | null }>;
export type CommandResult = Ended & Readonly<{ out: string; error: string }>;
export type ServerOptions = Readonly<{
  /** Mailboxes u1..uN@bench.test with password `pw`; 0 makes none. */
  users?: number;
  /** Wins over the settings of these tests. */
  config?: TomlTable;
  env?: Readonly<Record<string, string>>;
  /** An existing directory, kept at the end; without it one is made and removed. */
  directory?: string;
  /** What is served. */
  command?: readonly string[];
}>;

/** What fits a test: fast password hashes, login without TLS on loopback, no reserve of free space. */
const SETTINGS: TomlTable = {
  data: { directory: 'data' },
  smtp: {
    maxConnectionsCount: 10_000,
    mx: { listen: ['127.0.0.1:0'] },
    lmtp: { listen: ['127.0.0.1:0'] },
    submission: { listen: ['127.0.0.1:0'], allowCleartextLogin: true },
    submissions: { listen: ['127.0.0.1:0'] },
  },
  imap: {
    listen: ['127.0.0.1:0'],
    listenTls: ['127.0.0.1:0'],
    allowCleartextLogin: true,
    maxConnectionsPerAddressCount: 10_000,
  },
  store: { freeSpaceReserveBytes: 0 },
  outbound: { enabled: false },
  accounts: { argon2: { memoryKiB: 8192, passesCount: 1 } },
};

export class TestServer {
  readonly directory: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #command: readonly string[];
  #child: ChildProcess | null = null;
  #ports: Ports = { smtp: 0, lmtp: 0, submission: 0, submissions: 0, imap: 0, imaps: 0 };

  constructor(directory: string, env: NodeJS.ProcessEnv, command: readonly string[]) {
    this.directory = directory;
    this.#env = env;
    this.#command = command;
  }

  /** Sets up and serves; resolves when all listeners are open. */
  static async start(options: ServerOptions = {}): Promise<TestServer> {
    const server = TestServer.prepare(options);
    const { users = 1 } = options;
    const account = users > 0 ? ['--users', String(users), '--password', PASSWORD, '--domain', DOMAIN] : [];
    const made = await server.run(['init', ...account]);
    if (made.code !== 0) throw new Error(`init failed: ${made.error}${server.output()}`);
    await server.serve();
    return server;
  }

  /** Writes the configuration and starts nothing. */
  static prepare({ config = {}, env = {}, directory, command = ['serve'] }: ServerOptions = {}): TestServer {
    const folder = directory ?? mkdtempSync(join(tmpdir(), 'sealpost-server-'));
    mkdirSync(join(folder, 'tmp'), { recursive: true });
    const log = { file: join(folder, 'log.jsonl'), level: 'debug' };
    writeFileSync(join(folder, 'sealpost.toml'), stringify(merged({ ...SETTINGS, log }, config)));
    // settings of the caller's own server do not leak in
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SEALPOST_')));
    const environment = { ...own, TMPDIR: join(folder, 'tmp'), UV_THREADPOOL_SIZE: '16', ...env };
    const server = new TestServer(folder, environment, command);
    onTestFinished(async () => {
      if (server.#child) await server.kill('SIGKILL');
      if (directory === undefined) rmSync(folder, { recursive: true, force: true });
    });
    return server;
  }

  get ports(): Ports {
    return this.#ports;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the server is not running');
    return pid;
  }

  /** The data directory; `config` may have put it elsewhere. */
  get data(): string {
    const table = parseToml(readFileSync(this.configFile, 'utf8'))['data'] as { directory: string };
    return resolve(this.directory, table.directory);
  }

  get configFile(): string {
    return join(this.directory, 'sealpost.toml');
  }

  /** Starts `serve` and waits until it is ready. Fails with what it printed. */
  async serve(): Promise<void> {
    const readyFile = join(this.directory, 'ready.json');
    rmSync(readyFile, { force: true });
    const child = this.#launch([...this.#command, '--ready-file', readyFile]);
    this.#child = child;
    const untilMs = performance.now() + START_TIMEOUT_MS;
    while (!existsSync(readyFile)) {
      if (child.exitCode !== null || child.signalCode !== null || performance.now() > untilMs) {
        throw new Error(`the server did not get ready (${String(child.exitCode)})\n${this.output()}\n${this.log()}`);
      }
      await delay(POLL_MS);
    }
    this.#ports = (JSON.parse(readFileSync(readyFile, 'utf8')) as { ports: Ports }).ports;
    this.#pinPorts();
  }

  /** Sends `signal` and waits for the end. */
  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.#child?.kill(signal);
    return this.ended();
  }

  /** Resolves when the process is gone; `timeoutMs` is an error. */
  async ended(timeoutMs = START_TIMEOUT_MS): Promise<Ended> {
    const child = this.#child;
    if (!child) throw new Error('the server is not running');
    if (child.exitCode === null && child.signalCode === null) {
      await once(child, 'exit', { signal: AbortSignal.timeout(timeoutMs) });
    }
    this.#child = null;
    return { code: child.exitCode, signal: child.signalCode };
  }

  isRunning(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    const ended = await this.kill(signal);
    await this.serve();
    return ended;
  }

  /** Runs a command of the program, with `input` on its standard input. */
  async run(words: readonly string[], input = ''): Promise<CommandResult> {
    const child = spawn(process.execPath, [join(ROOT, 'src/main.ts'), ...words, '--config', this.configFile], {
      cwd: this.directory,
      env: this.#env,
      stdio: 'pipe',
    });
    let [out, error] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (error += chunk.toString()));
    child.stdin.end(input);
    await once(child, 'close');
    return { code: child.exitCode, signal: child.signalCode, out, error };
  }

  output(): string {
    return textOf(join(this.directory, 'output.txt'));
  }

  log(): string {
    return textOf(join(this.directory, 'log.jsonl'));
  }

  #launch(words: readonly string[]): ChildProcess {
    const output = openSync(join(this.directory, 'output.txt'), 'a', 0o600);
    const args = ['--disable-sigusr1', join(ROOT, 'src/main.ts'), ...words, '--config', this.configFile];
    const stdio = ['ignore', output, output] as const;
    const child = spawn(process.execPath, args, { cwd: this.directory, env: this.#env, stdio: [...stdio] });
    closeSync(output);
    return child;
  }

  /** The next start takes the same ports (TS1). */
  #pinPorts(): void {
    const { smtp, lmtp, submission, submissions, imap, imaps } = this.#ports;
    const at = (port: number | undefined): string[] => (port === undefined ? [] : [`127.0.0.1:${String(port)}`]);
    const pinned = {
      smtp: {
        mx: { listen: at(smtp) },
        lmtp: { listen: at(lmtp) },
        submission: { listen: at(submission) },
        submissions: { listen: at(submissions) },
      },
      imap: { listen: at(imap), listenTls: at(imaps) },
    };
    const current = parseToml(readFileSync(this.configFile, 'utf8'));
    writeFileSync(this.configFile, stringify(merged(current, pinned)));
  }
}

function textOf(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
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
