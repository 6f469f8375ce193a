/**
 * What is done to a data directory that no process serves: the first-run set-up, and the doctor.
 *
 * Called by main.ts: `init` and `doctor`.
 */
import { makeMissingFiles } from './admin/set-up-files.ts';
import { setUpDemo, setUpUsers, type DemoResult, type UsersResult } from './admin/set-up.ts';
import type { DoctorReport } from './base/fault.ts';
import type { Config } from './config/schema.ts';
import { defaultKeyOf, doctorDeps, openCore, openMailboxes } from './core.ts';
import { examine } from './jobs/doctor.ts';
import type { Logger } from './observe/logger.ts';
import { EXIT_STORAGE_FAILED } from './serving.ts';

const DEMO_DOMAIN = 'example.test';

/** The doctor without a running server. Throws ServerError 'not-allowed' while another process has the data directory. */
export async function examineOffline(
  config: Config,
  request: Readonly<{ isRepair: boolean; isDeep: boolean }>,
): Promise<DoctorReport> {
  process.umask(0o077);
  await using running = new AsyncDisposableStack();
  const core = await openCore(config, running, { logger: setUpLogger, onFailure: stopAtFailure });
  const mailboxes = openMailboxes(config, core, running, stopAtFailure);
  const follow = { onProgress: () => undefined, signal: new AbortController().signal };
  return await examine(doctorDeps(config, core, mailboxes), { mailbox: null, ...request }, follow);
}

export type InitializeRequest = Readonly<{
  demo: boolean;
  users?: Readonly<{ count: number; password: string; domain: string }> | undefined;
}>;
export type InitializeResult = Readonly<{
  /** Files and folders that were made. */
  made: readonly string[];
  demo?: DemoResult;
  users?: UsersResult;
}>;

/** First-run set-up, without a running server; running it again keeps what is there. Throws ServerError. */
export async function initialize(config: Config, request: InitializeRequest): Promise<InitializeResult> {
  process.umask(0o077);
  const made = await makeMissingFiles(config);
  await using running = new AsyncDisposableStack();
  const { accounts } = await openCore(config, running, { logger: setUpLogger, onFailure: stopAtFailure });
  accounts.organizations.recover();
  const deps = { accounts, defaultKey: defaultKeyOf(config) };
  const demo = { organization: 'Demo', domain: DEMO_DOMAIN, local: 'demo' };
  return {
    made,
    ...(request.demo ? { demo: await setUpDemo(deps, demo) } : {}),
    ...(request.users ? { users: await setUpUsers(deps, { organization: 'Test', ...request.users }) } : {}),
  };
}

function stopAtFailure(error: Error): never {
  process.stderr.write(`sealpost: storage failed: ${error.message}\n`);
  process.exit(EXIT_STORAGE_FAILED);
}

/** Set-up prints its result only; warnings go to standard error. */
const setUpLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (message) => void process.stderr.write(`sealpost: ${message}\n`),
  error: (message) => void process.stderr.write(`sealpost: ${message}\n`),
  child: () => setUpLogger,
};
