import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { Scrub } from '../../src/jobs/scrub.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import type { Logger } from '../../src/observe/logger.ts';
import { mailboxWorld } from '../support/mailbox-world.ts';
import { appendTo, folderIdOf } from '../support/messages.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const DAY_MS = 86_400_000;
let count = 0;

async function scrubbing(mailboxesCount: number, options: Readonly<{ maxBytesPerSecond?: number }> = {}) {
  const world = await mailboxWorld(join(directory, String((count += 1))));
  onTestFinished(() => world[Symbol.asyncDispose]());
  const refs: MailboxRef[] = [];
  for (let index = 0; index < mailboxesCount; index += 1) {
    const ref = await world.addMailbox();
    refs.push(ref);
    using mailbox = await world.open(ref);
    const inbox = await folderIdOf(mailbox, 'INBOX');
    for (let size = 1; size <= 4; size += 1)
      await appendTo(mailbox, inbox, Buffer.from(`Subject: m\r\n\r\n${'x'.repeat(size * 20_000)}`));
  }
  const state = { nowMs: 100 * DAY_MS, done: new Map<string, { atMs: number; faultsCount: number }>() };
  const [logged, health]: [string[], string[]] = [[], []];
  const record = (message: string, fields: object = {}): void =>
    void logged.push(JSON.stringify({ message, ...fields }));
  const logger: Logger = { debug: record, info: record, warn: record, error: record, child: () => logger };
  const order: string[] = [];
  const scrub = new Scrub({
    scrubs: {
      due: (beforeMs) =>
        refs
          .filter((ref) => (state.done.get(ref.mailbox)?.atMs ?? 0) <= beforeMs)
          .sort((a, b) => (state.done.get(a.mailbox)?.atMs ?? 0) - (state.done.get(b.mailbox)?.atMs ?? 0)),
      note: ({ mailbox }, done) => {
        order.push(mailbox);
        state.done.set(mailbox, done);
      },
      state: () => ({
        mailboxesCount,
        dueCount: 0,
        oldestAtMs: null,
        faultsCount: [...state.done.values()].reduce((sum, { faultsCount }) => sum + faultsCount, 0),
      }),
    },
    mailboxes: world.mailboxes,
    logger,
    health: { ok: () => health.push('ok'), degraded: (reason) => health.push(reason) },
    nowMs: () => state.nowMs,
    periodMs: 30 * DAY_MS,
    maxBytesPerSecond: options.maxBytesPerSecond ?? 1 << 30,
    everyMs: 3_600_000,
  });
  onTestFinished(() => scrub[Symbol.asyncDispose]());
  return { world, refs, state, scrub, logged, health, order };
}

test('SB1 each mailbox comes round once in a period, the longest ago first', async () => {
  const { refs, state, scrub, order } = await scrubbing(3);
  await scrub.run();
  expect(order.toSorted()).toEqual(refs.map(({ mailbox }) => mailbox).toSorted());
  await scrub.run();
  expect(order).toHaveLength(3); // not due
  state.nowMs += 10 * DAY_MS;
  const [first] = order;
  state.done.set(first ?? '', { atMs: state.nowMs, faultsCount: 0 });
  state.nowMs += 25 * DAY_MS;
  await scrub.run();
  expect(order).toHaveLength(5);
  expect(order.slice(3)).not.toContain(first);
});

test('SB3 damage is in log and health, by ids, until a later round finds none', async () => {
  const { world, refs, state, scrub, logged, health } = await scrubbing(1);
  const file = join(world.directory, 'mailboxes', refs[0]?.mailbox ?? '', 'mailbox.db');
  const tamper = (sql: string): void => {
    const sqlite = new SqliteDatabase(file);
    sqlite.exec(sql);
    sqlite.close();
  };
  tamper('CREATE TABLE kept AS SELECT * FROM inline_bodies');
  tamper('UPDATE inline_bodies SET sealed = zeroblob(length(sealed)) WHERE id = 2');
  await scrub.run();
  expect(health.at(-1)).toBe('stored mail has faults: see sealpost doctor');
  expect(logged.join('\n')).toContain('"what":"the body of a message does not open","where":"folder 1, UID 2"');
  tamper('UPDATE inline_bodies SET sealed = kept.sealed FROM kept WHERE kept.id = inline_bodies.id; DROP TABLE kept');
  state.nowMs += 31 * DAY_MS;
  await scrub.run();
  expect(health.at(-1)).toBe('ok');
});

test('SB2 it takes no more bytes in a second than it may', async () => {
  const { scrub } = await scrubbing(1, { maxBytesPerSecond: 400_000 });
  const startedMs = performance.now();
  await scrub.run();
  expect(performance.now() - startedMs).toBeGreaterThan(450); // 204,000 bytes
});

test('SB4 a mailbox whose key cannot be had is left for later, and is no fault', async () => {
  const { world, refs, scrub, order, health, logged } = await scrubbing(2);
  world.keys.forget(refs[0]?.organization as never);
  world.refuse('unreachable');
  await scrub.run();
  expect([order, health.at(-1), logged]).toEqual([[], 'ok', []]);
  world.refuse(null);
  world.advance(60_000);
  await scrub.run();
  expect(order).toHaveLength(2);
});
