/** sealpost status */
import type { Command } from 'commander';
import type { OperationAnswer } from '../operations.ts';
import { examples } from './organizations.ts';
import { openSession } from './session.ts';
import { table, type Terminal } from './terminal.ts';

type Status = OperationAnswer<'status'>;

export function addStatusCommand(program: Command, terminal: Terminal): void {
  program
    .command('status')
    .description('Show how the running server is. Exits with 1 when it is not well.')
    .addHelpText('after', examples('status', 'status --json'))
    .action(async (_options: object, command: Command) => {
      const session = await openSession(command, terminal);
      const status = await session.ask('status', {});
      session.print(status, statusText);
      if (!status.health.isOk) process.exitCode = 1;
    });
}

function statusText(status: Status): string {
  const ports = Object.entries(status.ports).map(([name, port]) => `${name} ${String(port)}`);
  const parts = Object.entries(status.health.parts).map(([name, part]) => [
    name,
    part.kind === 'degraded' ? `degraded: ${part.reason}` : part.kind,
  ]);
  return table([
    ['sealpost', `${status.version}, process ${String(status.pid)}, ${status.health.isOk ? 'well' : 'NOT WELL'}`],
    ['up', durationText(status.uptimeMs)],
    ['ports', ports.join(', ')],
    ['open mailboxes', String(status.openMailboxesCount)],
    ['cached keys', JSON.stringify(status.keyCache)],
    ['mail waits for its key', waitingText(status.waitingMailboxes)],
    ['queue', queueText(status.queue)],
    ['wrapped keys', verifiedText(status.keysVerified)],
    ['stored mail', scrubText(status.scrub)],
    ...keyServiceLines(status.keyService),
    ...backupLine(status.keyringBackup),
    ['event loop delay', `${status.health.eventLoopDelayMs.toFixed(1)} ms`],
    ...parts,
  ]);
}

function verifiedText(verified: Status['keysVerified']): string {
  const failedCount = verified.reduce((sum, { failedCount: count }) => sum + (count ?? 0), 0);
  const times = verified.map(({ atMs }) => atMs ?? 0);
  if (failedCount > 0) return `${String(failedCount)} DO NOT OPEN. See: sealpost key verify`;
  const oldest = Math.min(...times);
  return Number.isFinite(oldest) && oldest > 0 ? `all opened, ${new Date(oldest).toISOString()}` : 'not yet verified';
}

function scrubText(scrub: Status['scrub']): string {
  if (!scrub) return 'never opened to check it (store.scrubPeriodDays)';
  const { faultsCount, dueCount, mailboxesCount, oldestAtMs } = scrub;
  if (faultsCount > 0) return `${String(faultsCount)} FAULTS. See: sealpost doctor`;
  if (dueCount > 0) return `${String(mailboxesCount - dueCount)} of ${String(mailboxesCount)} mailboxes opened in time`;
  return oldestAtMs === null ? 'none' : `all opened since ${new Date(oldestAtMs).toISOString()}`;
}

function queueText(queue: Status['queue']): string {
  if (queue.messagesCount === 0) return 'empty';
  const { oldestAcceptedAtMs: oldest, damagedCount, keysMissingCount } = queue;
  return [
    `${String(queue.messagesCount)} messages for ${String(queue.recipientsCount)} recipients`,
    ...(oldest === null ? [] : [`the oldest ${durationText(Math.max(Date.now() - oldest, 0))} old`]),
    ...(queue.heldCount > 0 ? [`${String(queue.heldCount)} held`] : []),
    ...(keysMissingCount > 0 ? [`WAITING FOR KEYS of ${String(keysMissingCount)} organizations`] : []),
    ...(damagedCount > 0 ? [`${String(damagedCount)} DO NOT OPEN`] : []),
  ].join(', ');
}

function waitingText({ count, since }: Status['waitingMailboxes']): string {
  return since === null ? 'none' : `in ${String(count)} mailboxes, since ${since}`;
}

function keyServiceLines(counts: Status['keyService']): string[][] {
  const calls = Object.entries(counts.operations).map(([operation, it]) => {
    const meanMs = it.latencySumMs / it.callsCount;
    const times = `mean ${meanMs.toFixed(1)} ms, longest ${it.latencyMaxMs.toFixed(1)} ms`;
    return [`key calls: ${operation}`, `${String(it.callsCount)}, ${String(it.failuresCount)} failed, ${times}`];
  });
  const failures = Object.entries(counts.failures).map(([failure, count]) => `${failure} ${String(count)}`);
  const spared = `${String(counts.pausedCount)} in a pause, ${String(counts.ungrantedCount)} without a grant`;
  const uses = ({ hitsCount, missesCount }: typeof counts.mailboxKeyCache): string =>
    `${String(hitsCount)} hits, ${String(missesCount)} misses`;
  return [
    ...calls,
    ['key failures', failures.join(', ') || 'none'],
    ['key calls refused here', spared],
    ['mailbox key cache', uses(counts.mailboxKeyCache)],
    ['directory key cache', uses(counts.directoryKeyCache)],
  ];
}

function backupLine(state: Status['keyringBackup']): string[][] {
  const remedy = 'Run: sealpost keyring backup FILE, and keep FILE on another machine';
  switch (state?.kind) {
    case undefined:
      return [];
    case 'none':
      return [['keyring backup', `NONE. ${remedy}`]];
    case 'outdated':
      return [['keyring backup', `OUTDATED, of ${state.at}. ${remedy}`]];
    case 'unreadable':
      return [['keyring backup', 'unknown: the keyring cannot be read. See: sealpost keyring list']];
    case 'current':
      return [['keyring backup', state.at]];
  }
}

function durationText(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000);
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  return `${String(days)} d ${String(hours)} h ${String(minutes)} min ${String(seconds % 60)} s`;
}
