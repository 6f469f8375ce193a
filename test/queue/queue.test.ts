import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import SqliteDatabase from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import type { MessageId } from '../../src/base/ids.ts';
import { filesUnder, findWords } from '../support/canary.ts';
import {
  attemptOf,
  bodyOf,
  claimed,
  enqueue,
  ENVELOPE,
  queueWorld,
  recipientOf,
  type QueueWorld,
} from '../support/queue-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const base = temporaryDirectory();
const freshDirectory = (): string => mkdtempSync(join(base, 'world-'));
const NEVER_MS = 10 * 24 * 3_600_000;

async function started(options: Parameters<typeof queueWorld>[1] = {}): Promise<QueueWorld> {
  const world = await queueWorld(freshDirectory(), options);
  onTestFinished(() => world[Symbol.asyncDispose]());
  return world;
}
const dueIds = (world: QueueWorld, atMs = Date.now()): MessageId[] => world.queue.due(atMs, 100).map(({ id }) => id);
const blobsOf = (directory: string): string[] => filesUnder([join(directory, 'queue/blobs')]);
const LARGE = 'line of text\r\n'.repeat(50_000);

test('Q1 a message comes out as it went in, with its envelope, small and large', async () => {
  const world = await started();
  for (const content of ['', 'small', LARGE]) {
    const writer = await world.queue.newMessage(world.organization);
    for (let at = 0; at < content.length; at += 100_001)
      await writer.write(Buffer.from(content.slice(at, at + 100_001)));
    await writer.finish();
    const envelope = { ...ENVELOPE, envelopeId: 'e1', returnContent: 'headers', isUtf8: true } as const;
    const recipients = [
      recipientOf('a@example.net'),
      { address: 'b@example.net', originalRecipient: 'rfc822;bb@example.net', notify: ['failure', 'delay'] },
    ] as const;
    const id = await writer.commit({ envelope, recipients });
    using item = await claimed(world, id);
    expect(item).toMatchObject({ id, organization: world.organization, sizeBytes: content.length, envelope });
    expect(item.recipients).toMatchObject(recipients);
    expect(item.recipients[0]).toMatchObject({ state: 'waiting', attemptsCount: 0, lastAttempt: null });
    expect(await bodyOf(item)).toBe(content);
  }
  expect(blobsOf(world.directory)).toHaveLength(1);
});

test('Q2 a message is claimed once at a time, and is due again when the claim ends', async () => {
  const world = await started();
  const id = await enqueue(world, 'text', ['a@example.net']);
  const item = await claimed(world, id);
  expect(await world.queue.claim(id)).toBeNull();
  expect(dueIds(world)).toEqual([]);
  item[Symbol.dispose]();
  item[Symbol.dispose]();
  expect(dueIds(world)).toEqual([id]);
  const both = await Promise.all([world.queue.claim(id), world.queue.claim(id)]);
  expect(both.filter((one) => one !== null)).toHaveLength(1);
  both.forEach((one) => one?.[Symbol.dispose]());
});

test('QS2 a message goes, with its blob and key, when its last recipient is settled and no report is owed', async () => {
  const world = await started();
  const id = await enqueue(world, LARGE, ['a@example.net', 'b@example.net', 'c@example.net']);
  {
    using item = await claimed(world, id);
    await item.settle([
      { recipient: 0, kind: 'delivered', attempt: attemptOf('2.0.0'), owesReport: false },
      { recipient: 1, kind: 'failed', attempt: attemptOf('5.1.1'), owesReport: true },
      {
        recipient: 2,
        kind: 'deferred',
        attempt: attemptOf('4.2.1'),
        owesReport: false,
        nextAtMs: Date.now() + NEVER_MS,
      },
    ]);
  }
  expect(dueIds(world)).toEqual([id]); // for its report
  {
    using item = await claimed(world, id);
    expect(item.due(Date.now())).toEqual([]);
    expect(item.recipients.map(({ state, report, attemptsCount }) => [state, report, attemptsCount])).toEqual([
      ['delivered', 'none', 1],
      ['failed', 'final', 1],
      ['waiting', 'none', 1],
    ]);
    expect(item.recipients.map(({ lastAttempt }) => lastAttempt?.text)).toEqual([
      'said 2.0.0',
      'said 5.1.1',
      'said 4.2.1',
    ]);
    await item.reported([1]);
  }
  expect(dueIds(world)).toEqual([]);
  expect(world.queue.nextDueMs(Date.now())).toBeGreaterThan(Date.now() + NEVER_MS - 60_000);
  {
    using item = await claimed(world, id);
    expect(await bodyOf(item)).toBe(LARGE);
    await item.settle([{ recipient: 2, kind: 'delivered', attempt: attemptOf('2.0.0'), owesReport: false }]);
    await item.settle([{ recipient: 2, kind: 'failed', attempt: attemptOf('5.0.0'), owesReport: true }]); // too late
  }
  expect(world.queue.state()).toMatchObject({ messagesCount: 0, recipientsCount: 0, claimedCount: 0 });
  expect(blobsOf(world.directory)).toEqual([]);
});

test('a delay is reported once, and a postponed recipient was not tried', async () => {
  const world = await started();
  const id = await enqueue(world, 'text', ['a@example.net']);
  const nextAtMs = Date.now() + NEVER_MS;
  {
    using item = await claimed(world, id);
    await item.settle([{ recipient: 0, kind: 'deferred', attempt: attemptOf('4.4.1'), owesReport: true, nextAtMs: 1 }]);
  }
  using item = await claimed(world, id);
  expect(item.recipients[0]).toMatchObject({ report: 'delay', delayReportedAtMs: null });
  await item.settle([{ recipient: 0, kind: 'postponed', nextAtMs }]);
  await item.reported([0]);
  item[Symbol.dispose]();
  using again = await claimed(world, id);
  expect(again.recipients[0]).toMatchObject({ report: 'none', attemptsCount: 1, nextAtMs });
  expect(again.recipients[0]?.delayReportedAtMs).toBeGreaterThan(0);
});

test('Q1 a report that goes into the queue is noted in the same transaction', async () => {
  const world = await started();
  const id = await enqueue(world, 'text', ['a@example.net']);
  using item = await claimed(world, id);
  await item.settle([{ recipient: 0, kind: 'failed', attempt: attemptOf('5.1.1'), owesReport: true }]);
  const writer = await world.queue.newMessage(world.organization);
  await writer.finish();
  const report = await writer.commit({
    envelope: { ...ENVELOPE, sender: '' },
    recipients: [recipientOf('anna@example.org')],
    reports: item.reportOf([0]),
  });
  item[Symbol.dispose]();
  expect(dueIds(world)).toEqual([report]);
});

test('operators hold, release, retry, expire and remove; a listener hears of work', async () => {
  let clockMs = 1_000_000;
  const world = await started({ nowMs: () => clockMs });
  const { queue } = world;
  let heard = 0;
  using listening = queue.onWork(() => (heard += 1));
  const id = await enqueue(world, LARGE, ['a@example.net']);
  expect(heard).toBe(1);
  expect(await queue.hold(id)).toBe(true);
  expect([dueIds(world, clockMs), await queue.claim(id), queue.state().heldCount]).toEqual([[], null, 1]);
  expect(await queue.release(id)).toBe(true);
  {
    using item = await claimed(world, id);
    await item.settle([{ recipient: 0, kind: 'postponed', nextAtMs: clockMs + NEVER_MS }]);
  }
  expect(dueIds(world, clockMs)).toEqual([]);
  expect(await queue.retry(id)).toBe(true);
  expect(dueIds(world, clockMs)).toEqual([id]);
  clockMs += 5000;
  expect(await queue.expire(id)).toBe(true);
  const item = await claimed(world, id);
  expect(item.expiresAtMs).toBe(clockMs);
  const reading = item.body();
  await reading.next();
  expect(await queue.remove(id)).toBe(true);
  expect(item.signal.aborted).toBe(true);
  await expect(reading.next()).rejects.toMatchObject({ code: 'content-damaged' });
  await item.settle([{ recipient: 0, kind: 'failed', attempt: attemptOf('5.0.0'), owesReport: true }]);
  item[Symbol.dispose]();
  expect(queue.state()).toMatchObject({ messagesCount: 0, damagedCount: 0 });
  expect(blobsOf(world.directory)).toEqual([]);
  for (const change of ['hold', 'release', 'retry', 'expire', 'remove'] as const)
    expect(await queue[change](id)).toBe(false);
  listening[Symbol.dispose]();
  const before = heard;
  await enqueue(world, 'text', ['a@example.net']);
  expect(heard).toBe(before);
});

test('Q3 a damaged row, key or blob of one message is told, and holds up no other', async () => {
  const directory = freshDirectory();
  const first = await queueWorld(directory);
  const ids: MessageId[] = [];
  for (const content of ['row', 'key', 'recipient', LARGE, 'whole'])
    ids.push(await enqueue(first, content, ['a@example.net']));
  await first[Symbol.asyncDispose]();
  const file = new SqliteDatabase(join(directory, 'queue/queue.db'));
  for (const [column, index] of [
    ['sealed_envelope', 0],
    ['sealed_key', 1],
  ] as const) {
    const damage = `UPDATE items SET ${column} = CAST(substr(${column}, 1, 20) || x'00' || substr(${column}, 22) AS BLOB) WHERE message = ?`;
    file.prepare(damage).run(Buffer.from(ids[index] ?? '', 'hex'));
  }
  const move =
    'UPDATE recipients SET sealed_recipient = (SELECT sealed_recipient FROM recipients WHERE item = 5) WHERE item = 3';
  file.prepare(move).run();
  file.close();
  const [blob = ''] = blobsOf(directory);
  writeFileSync(blob, Buffer.alloc(1000));

  await using world = await queueWorld(directory);
  const { queue } = world;
  const found: (string | null)[] = [];
  for (const { id } of queue.due(Date.now(), 100)) {
    using item = await queue.claim(id);
    found.push(item && (await bodyOf(item).catch((error: unknown) => (error as { code: string }).code)));
  }
  expect(found).toEqual([null, null, null, 'content-damaged', 'whole']);
  expect(dueIds(world)).toEqual([ids[4]]);
  expect(queue.state()).toMatchObject({ messagesCount: 5, damagedCount: 4 });
  expect(world.logged.filter((line) => line.includes('does not open'))).toHaveLength(4);
  const listed: boolean[] = [];
  for await (const { item } of queue.list()) listed.push(item !== null);
  expect(listed).toEqual([false, false, false, true, true]);
  expect(await queue.remove(ids[0] as MessageId)).toBe(true);
});

test('Q4 while the key service is away mail is taken, waits, and goes when it is back', async () => {
  const world = await started();
  await enqueue(world, 'before', ['a@example.net']);
  world.refuse('unreachable');
  world.advance(61_000); // what was cached is gone
  const id = await enqueue(world, 'meanwhile', ['b@example.net']);
  expect(await world.queue.claim(id)).toBeNull();
  expect(dueIds(world)).toEqual([]);
  expect(world.queue.state()).toMatchObject({ messagesCount: 2, keysMissingCount: 1, damagedCount: 0 });
  const againMs = world.queue.nextDueMs(Date.now()) ?? 0;
  expect(againMs - Date.now()).toBeLessThanOrEqual(30_000);
  world.refuse(null);
  world.advance(31_000);
  expect(dueIds(world, againMs)).toHaveLength(2);
  using item = await claimed(world, id);
  expect(await bodyOf(item)).toBe('meanwhile');
});

test('QI1 QI2 a body is read under a key that is current, and what came of it is noted without one', async () => {
  const world = await started();
  const id = await enqueue(world, LARGE, ['a@example.net']);
  using item = await claimed(world, id);
  const reading = item.body();
  expect((await reading.next()).done).toBe(false);
  world.advance(61_000);
  expect((await reading.next()).done).toBe(false); // asked for anew
  world.refuse('denied');
  world.advance(61_000);
  await expect(reading.next()).rejects.toMatchObject({ code: 'key-refused' });
  await item.settle([{ recipient: 0, kind: 'deferred', attempt: attemptOf('4.3.0'), owesReport: false, nextAtMs: 5 }]);
  item[Symbol.dispose]();
  world.refuse(null);
  world.advance(31_000);
  using again = await claimed(world, id);
  expect(again.recipients[0]?.lastAttempt?.status).toBe('4.3.0');
});

test('QW2 what is discarded, refused or has no room leaves nothing', async () => {
  const world = await started({ maxMessagesCount: 1 });
  const writer = await world.queue.newMessage(world.organization);
  await writer.write(Buffer.from(LARGE));
  await writer.discard();
  expect(blobsOf(world.directory)).toEqual([]);
  await enqueue(world, 'text', ['a@example.net']);
  await expect(world.queue.newMessage(world.organization)).rejects.toMatchObject({
    code: 'limit-exceeded',
    retryable: true,
  });
  const [only] = dueIds(world);
  await world.queue.remove(only as MessageId);
  await enqueue(world, 'text', ['a@example.net']); // there is room again
  const full = await started({ freeSpaceReserveBytes: 2 ** 52 });
  await expect(full.queue.newMessage(full.organization)).rejects.toMatchObject({
    code: 'storage-full',
    retryable: true,
  });
});

test('QS3 a blob without a row is swept at the start, and those of messages stay', async () => {
  const directory = freshDirectory();
  const first = await queueWorld(directory);
  const id = await enqueue(first, LARGE, ['a@example.net']);
  const writer = await first.queue.newMessage(first.organization);
  await writer.write(Buffer.from(LARGE));
  await writer.finish(); // never committed
  await first[Symbol.asyncDispose]();
  expect(blobsOf(directory)).toHaveLength(2);
  await using world = await queueWorld(directory);
  expect(blobsOf(directory)).toHaveLength(1);
  using item = await claimed(world, id);
  expect(await bodyOf(item)).toBe(LARGE);
});

test('the mail of an organization goes with it, also when that was cut short', async () => {
  const directory = freshDirectory();
  const first = await queueWorld(directory);
  await enqueue(first, LARGE, ['a@example.net']);
  expect(await first.queue.removeOrganization(first.organization)).toBe(1);
  expect(blobsOf(directory)).toEqual([]);
  await enqueue(first, LARGE, ['a@example.net']);
  first.keys.deleteOrganizationKeys(first.organization);
  first.database.prepare('DELETE FROM organizations').run();
  await first[Symbol.asyncDispose]();
  await using again = await queueWorld(directory);
  expect(again.queue.state().messagesCount).toBe(0);
  expect(blobsOf(directory)).toEqual([]);
});

test(
  'Q1 Q2 a kill loses nothing that was queued and repeats nothing that was settled',
  { timeout: 60_000 },
  async () => {
    const directory = freshDirectory();
    await (await queueWorld(directory))[Symbol.asyncDispose]();
    const [queued, sent] = [new Set<number>(), [] as number[]];
    for (let first = 0; first < 3; first += 1) {
      const child = spawn(
        process.execPath,
        [join(import.meta.dirname, 'queue-child.ts'), directory, String(first * 1000)],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
      const gone = once(child, 'close');
      while (child.exitCode === null && text.split('sent').length < 30) await sleep(5);
      child.kill('SIGKILL');
      await gone;
      for (const [, word, n] of text.matchAll(/^(queued|sent) (\d+)\n/gm)) {
        if (word === 'queued') queued.add(Number(n));
        else sent.push(Number(n));
      }
    }
    expect(sent.length).toBeGreaterThan(60);
    expect(new Set(sent).size).toBe(sent.length);
    await using world = await queueWorld(directory);
    const left: number[] = [];
    for (const { id } of world.queue.due(Date.now(), 10_000)) {
      using item = await claimed(world, id);
      left.push(Number.parseInt(await bodyOf(item), 10));
    }
    expect(left.filter((n) => sent.includes(n))).toEqual([]);
    const gone = [...queued].filter((n) => !sent.includes(n) && !left.includes(n));
    expect(gone.length).toBeLessThanOrEqual(3); // settled, and killed before it could say so
    expect(existsSync(join(directory, 'queue/blobs/tmp'))).toBe(true);
    expect(readdirSync(join(directory, 'queue/blobs/tmp'))).toEqual([]);
  },
);

test('W8 nothing of an envelope, or of what remote servers said, is on disk in plaintext', async () => {
  const directory = freshDirectory();
  const world = await queueWorld(directory);
  const words = [
    'senderqwxzk',
    'recipientvjkq',
    'domainqzxwv',
    'originalwqjx',
    'envelopeidqxz',
    'refusedqwjxk',
    'hostnamezqxk',
    'bodytextqxjz',
  ];
  const [sender = '', local = '', domain = '', original = '', envid = '', said = '', host = '', body = ''] = words;
  for (const size of [1, 500]) {
    const writer = await world.queue.newMessage(world.organization);
    await writer.write(Buffer.from(`${body}\r\n`.repeat(size)));
    await writer.finish();
    const id = await writer.commit({
      envelope: { ...ENVELOPE, sender: `${sender}@example.org`, envelopeId: envid },
      recipients: [{ address: `${local}@${domain}.example`, originalRecipient: `rfc822;${original}@x`, notify: null }],
    });
    using item = await claimed(world, id);
    const attempt = { status: '4.7.1', code: 450, text: `${said} <${local}@${domain}.example>`, remoteHost: host };
    await item.settle([{ recipient: 0, kind: 'deferred', attempt, owesReport: true, nextAtMs: Date.now() + NEVER_MS }]);
  }
  expect(findWords([directory], words)).toEqual([]);
  await world[Symbol.asyncDispose]();
  expect(findWords([directory], words)).toEqual([]);
  expect(filesUnder([join(directory, 'queue')]).length).toBeGreaterThan(1);
});

test('a settled message leaves neither its key nor its records in the files of the database', async () => {
  const directory = freshDirectory();
  const world = await queueWorld(directory);
  const id = await enqueue(world, 'text', ['a@example.net']);
  const file = new SqliteDatabase(join(directory, 'queue/queue.db'), { readonly: true });
  const row = file.prepare('SELECT sealed_key, sealed_envelope FROM items').get() as Record<string, Buffer>;
  file.close();
  const secrets = Object.values(row);
  const onDisk = (): number =>
    filesUnder([join(directory, 'queue')]).filter((name) =>
      secrets.some((secret) => readFileSync(name).includes(secret)),
    ).length;
  expect(onDisk()).toBeGreaterThan(0);
  using item = await claimed(world, id);
  await item.settle([{ recipient: 0, kind: 'delivered', attempt: attemptOf('2.0.0'), owesReport: false }]);
  const endMs = performance.now() + 20_000;
  while (onDisk() > 0 && performance.now() < endMs) await sleep(20);
  expect(onDisk()).toBe(0);
  await world[Symbol.asyncDispose]();
});
