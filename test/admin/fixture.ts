/** An admin server on a real socket over a real directory, and command lines run against it. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createProgram, runProgram } from '../../src/admin/cli/program.ts';
import type { Terminal } from '../../src/admin/cli/terminal.ts';
import type { AdminContext } from '../../src/admin/operations/context.ts';
import { Receipts } from '../../src/admin/receipts.ts';
import { AdminServer } from '../../src/admin/server.ts';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { KeyJobs } from '../../src/jobs/key-jobs.ts';
import { KeyringLock } from '../../src/keys/providers/keyring-lock.ts';
import { ImportRuns } from '../../src/mailbox/imports.ts';
import { Queue } from '../../src/queue/queue.ts';
import { Mailboxes } from '../../src/mailbox/mailboxes.ts';
import { Health } from '../../src/observe/health.ts';
import type { Logger } from '../../src/observe/logger.ts';
import { LOCAL_KEY, openFixture, type Fixture } from '../accounts/fixture.ts';

type Outcome = Readonly<{ code: number; out: string; error: string }>;
export type AdminFixture = AsyncDisposable & {
  readonly base: Fixture;
  readonly mailboxes: Mailboxes;
  readonly queue: Queue;
  readonly socket: string;
  /** Every line that was logged, as JSON. */
  readonly logged: string[];
  readonly erased: string[];
  /** Whose sessions were ended, and what they were told. */
  readonly ended: string[];
  /** Runs `sealpost ..`; `typed` is standard input, of a terminal when `isTty`. */
  run(line: string, typed?: string, isTty?: boolean): Promise<Outcome>;
  /** Runs `sealpost .. --json`, which must succeed, and gives its answer. */
  json<T>(line: string): Promise<T>;
};

export async function openAdmin(overrides: Partial<AdminContext> = {}): Promise<AdminFixture> {
  const base = await openFixture();
  const socket = join(base.folder, 'admin.sock');
  const [logged, erased, ended]: [string[], string[], string[]] = [[], [], []];
  const health = new Health();
  const onFailure = (error: Error): never => {
    throw error;
  };
  const checkpointer = new Checkpointer({ intervalMs: 60_000, onFailure });
  const mailboxes = new Mailboxes({
    directory: join(base.folder, 'mailboxes'),
    inlineBodyMaxBytes: 65_536,
    maxOpenCount: 100,
    freeSpaceReserveBytes: 0,
    checkpointer,
    quotaOf: (mailbox) => base.accounts.mailboxes.quota({ mailbox }),
    keys: base.keys,
    onFailure,
  });
  mkdirSync(join(base.folder, 'mailboxes'));
  const logger = recordingLogger(logged);
  const queue = await Queue.open({
    directory: join(base.folder, 'queue'),
    inlineBodyMaxBytes: 65_536,
    freeSpaceReserveBytes: 0,
    maxMessagesCount: 1000,
    giveUpAfterMs: 5 * 24 * 3_600_000,
    checkpointer,
    transitKeys: base.accounts.transitKeys,
    logger,
    nowMs: () => base.nowMs,
    onFailure,
  });
  const keyJobs = new KeyJobs({ organizations: base.accounts.organizations, keys: base.keys, mailboxes, logger });
  const context: AdminContext = {
    accounts: base.accounts,
    keys: base.keys,
    audit: base.audit,
    keyJobs,
    queue,
    resolver: { resolve: () => Promise.resolve({ kind: 'no-name', secure: false, ttlS: 0 }) },
    hostname: 'mx.example.org',
    gateways: () => [{ address: 'mx1.test:2465', reachedAtMs: 1000, failure: null, takenInCount: 7 }],
    startDoctor: noTask,
    backups: { create: noTask, verify: noTask, restoreMailbox: noTask },
    findTask: () => null,
    scrubState: () => base.accounts.scrubs.state(0),
    keyringFile: join(base.folder, 'keyring.json'),
    keyringLock: new KeyringLock(),
    endSessions: ({ mailbox }, text) => void ended.push(`${mailbox ?? 'organization'}: ${text}`),
    closeIdleMailboxes: () => Promise.resolve(3),
    usageOf: (ref) => mailboxes.usage(ref),
    openMailbox: (ref, signal) => mailboxes.open(ref, { protocol: 'admin' }, signal),
    imports: new ImportRuns(() => base.nowMs),
    undelete: noTask,
    receipts: new Receipts(join(base.folder, 'receipts'), () => base.nowMs),
    eraseFiles: (ref) => Promise.resolve(void erased.push(ref.mailbox)),
    state: () => ({
      version: '1.2.3',
      pid: 42,
      uptimeMs: 93_784_000,
      ports: { imap: 143, smtp: 25 },
      openMailboxesCount: 7,
      health: health.report(),
    }),
    reloadTls: () => undefined,
    capabilityNames: ['QRESYNC', 'CONDSTORE'],
    defaultKey: LOCAL_KEY,
    ...overrides,
  };
  const server = new AdminServer(context, logger);
  await server.listen(socket);
  const run = async (line: string, typed = '', isTty = false): Promise<Outcome> => {
    let [out, error] = ['', ''];
    const terminal = {
      input: inputOf(typed, isTty),
      write: (text: string) => void (out += text),
      writeError: (text: string) => void (error += text),
    };
    const words = (line.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));
    const code = await runProgram(createProgram(terminal), terminal, ['--socket', socket, ...words]);
    return { code, out, error };
  };
  return {
    base,
    mailboxes,
    queue,
    socket,
    logged,
    erased,
    ended,
    run,
    json: async <T>(line: string) => {
      const { code, out, error } = await run(`${line} --json`);
      if (code !== 0) throw new Error(error);
      return JSON.parse(out) as T;
    },
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await keyJobs.close();
      await queue.close();
      await mailboxes.close();
      await checkpointer.close();
      health[Symbol.dispose]();
      await base[Symbol.asyncDispose]();
    },
  };
}

function noTask(): never {
  throw new TypeError('not in this fixture');
}

/** Standard input that goes on after a line is read, as a terminal's does. */
function inputOf(typed: string, isTTY: boolean): Terminal['input'] {
  const chunks = (isTTY ? (typed.match(/[^\n]*\n/g) ?? []) : [typed]).map((chunk) =>
    Buffer.from(chunk.replace('\n', isTTY ? '\r' : '\n')),
  );
  const iterator: AsyncIterator<Buffer> = {
    next: () => {
      const value = chunks.shift();
      return Promise.resolve(value ? { value, done: false } : { value: undefined, done: true });
    },
  };
  return { isTTY, setRawMode: () => undefined, [Symbol.asyncIterator]: () => iterator };
}

function recordingLogger(lines: string[]): Logger {
  const record = (message: string, fields: object = {}): void => {
    lines.push(JSON.stringify({ message, ...fields }));
  };
  return { debug: record, info: record, warn: record, error: record, child: () => recordingLogger(lines) };
}
