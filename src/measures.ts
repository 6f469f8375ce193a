/** Which metrics the server's parts give when they are asked. Called by app.ts. */
import { X509Certificate } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import type { Accounts } from './accounts/accounts.ts';
import type { KeyService } from './keys/key-service.ts';
import type { Health } from './observe/health.ts';
import type { Queue } from './queue/queue.ts';
import type { Measured, Metrics } from './observe/metrics.ts';

type Measurable = Readonly<{
  version: string;
  dataDirectory: string;
  keys: Pick<KeyService, 'metrics' | 'cacheState'>;
  accounts: Pick<Accounts, 'waitingMailboxes'>;
  queue: Pick<Queue, 'state'>;
  health: Pick<Health, 'report'>;
  openMailboxesCount(): number;
  connections: Readonly<Record<string, () => number>>;
  certificate(): string;
  nowMs(): number;
}>;

export function measureServer(metrics: Metrics, of: Measurable): void {
  const { keys, nowMs } = of;
  const calls =
    (
      pick: (
        counts: ReturnType<KeyService['metrics']>['operations'][keyof ReturnType<KeyService['metrics']>['operations']],
      ) => number,
    ) =>
    (): Measured[] =>
      Object.entries(keys.metrics().operations).map(([operation, counts]) => ({
        labels: { operation },
        value: pick(counts),
      }));
  const add = metrics.measure.bind(metrics);
  add('sealpost_info', { help: 'The version that runs.', labelNames: ['version'] }, () => [
    { value: 1, labels: { version: of.version } },
  ]);
  add('sealpost_connections', { help: 'Connections by protocol.', labelNames: ['protocol'] }, () =>
    Object.entries(of.connections).map(([protocol, count]) => ({ labels: { protocol }, value: count() })),
  );
  add('sealpost_open_mailboxes', { help: 'Mailbox databases that are open.' }, () => [
    { value: of.openMailboxesCount() },
  ]);
  add(
    'sealpost_key_calls_total',
    { help: 'Calls to key services by operation; every try counts.', labelNames: ['operation'] },
    calls((it) => it?.callsCount ?? 0),
  );
  add(
    'sealpost_key_call_failures_total',
    { help: 'Calls to key services that failed, by operation.', labelNames: ['operation'] },
    calls((it) => it?.failuresCount ?? 0),
  );
  add(
    'sealpost_key_call_seconds_total',
    { help: 'Time spent in calls to key services, by operation.', labelNames: ['operation'] },
    calls((it) => (it?.latencySumMs ?? 0) / 1000),
  );
  add(
    'sealpost_key_failures_total',
    { help: 'Failed calls by kind; those without a grant count as denied.', labelNames: ['failure'] },
    () => Object.entries(keys.metrics().failures).map(([failure, value]) => ({ labels: { failure }, value })),
  );
  add(
    'sealpost_key_calls_spared_total',
    { help: 'Calls that were not made: the root key had just failed, or no grant.', labelNames: ['reason'] },
    () => {
      const { pausedCount, ungrantedCount } = keys.metrics();
      return [
        { labels: { reason: 'paused' }, value: pausedCount },
        { labels: { reason: 'ungranted' }, value: ungrantedCount },
      ];
    },
  );
  add(
    'sealpost_key_cache_lookups_total',
    { help: 'Uses of unwrapped keys, and whether they were in the cache.', labelNames: ['cache', 'result'] },
    () => {
      const { mailboxKeyCache, directoryKeyCache } = keys.metrics();
      return Object.entries({ mailbox: mailboxKeyCache, directory: directoryKeyCache }).flatMap(([cache, counts]) => [
        { labels: { cache, result: 'hit' }, value: counts.hitsCount },
        { labels: { cache, result: 'miss' }, value: counts.missesCount },
      ]);
    },
  );
  add('sealpost_key_cache_keys', { help: 'Unwrapped keys in memory.', labelNames: ['cache'] }, () => {
    const { mailboxKeysCount, directoryKeysCount } = keys.cacheState();
    return [
      { labels: { cache: 'mailbox' }, value: mailboxKeysCount },
      { labels: { cache: 'directory' }, value: directoryKeysCount },
    ];
  });
  add('sealpost_waiting_mailboxes', { help: 'Mailboxes with mail that waits for their key.' }, () => [
    { value: of.accounts.waitingMailboxes.list().length },
  ]);
  add(
    'sealpost_waiting_oldest_seconds',
    { help: 'Age of the mail that waits longest for its key; 0 when none does.' },
    () => {
      const [oldest] = of.accounts.waitingMailboxes.list();
      return [{ value: oldest ? (nowMs() - oldest.sinceMs) / 1000 : 0 }];
    },
  );
  add('sealpost_queue_messages', { help: 'Messages on their way out, those that are held among them.' }, () => [
    { value: of.queue.state().messagesCount },
  ]);
  add('sealpost_queue_held_messages', { help: 'Messages that an operator holds back.' }, () => [
    { value: of.queue.state().heldCount },
  ]);
  add(
    'sealpost_queue_oldest_seconds',
    { help: 'Age of the oldest message on its way out; 0 when there is none.' },
    () => {
      const { oldestAcceptedAtMs } = of.queue.state();
      return [{ value: oldestAcceptedAtMs === null ? 0 : (nowMs() - oldestAcceptedAtMs) / 1000 }];
    },
  );
  add('sealpost_disk_bytes', { help: 'The file system of the data directory.', labelNames: ['state'] }, async () => {
    const { bavail, blocks, bsize } = await statfs(of.dataDirectory);
    return [
      { labels: { state: 'free' }, value: bavail * bsize },
      { labels: { state: 'size' }, value: blocks * bsize },
    ];
  });
  add(
    'sealpost_certificate_expiry_seconds',
    { help: 'When the TLS certificate runs out, as seconds since 1970.' },
    () => [{ value: new X509Certificate(of.certificate()).validToDate.getTime() / 1000 }],
  );
  add('sealpost_part_ok', { help: 'Whether a part of the server is well.', labelNames: ['part'] }, () =>
    Object.entries(of.health.report().parts).map(([part, state]) => ({
      labels: { part },
      value: state.kind === 'ok' ? 1 : 0,
    })),
  );
}
