import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { appendTo, folderIdOf, mail } from '../support/messages.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { keep, numbersIn } from './waiting-mail.ts';

const base = temporaryDirectory();
const OPTIONS = { hasDirectoryKey: true, callBudgetMs: 20_000 };
const ROOT_KEY = { provider: 'local-keyring', rootKey: 'local:default' } as const;
const freshDirectory = (): string => mkdtempSync(join(base, 'world-'));

async function started(): Promise<{ world: MailboxWorld; ref: MailboxRef; mailbox: Mailbox }> {
  const world = await mailboxWorld(freshDirectory(), OPTIONS);
  onTestFinished(() => world[Symbol.asyncDispose]());
  const ref = await world.addMailbox();
  const mailbox = await world.open(ref);
  onTestFinished(() => {
    mailbox[Symbol.dispose]();
  });
  return { world, ref, mailbox };
}
function awayFor(world: MailboxWorld): void {
  world.refuse('unreachable');
  world.advance(61_000); // what was cached is gone
}
function back(world: MailboxWorld): void {
  world.refuse(null);
  world.advance(31_000);
}
const inbox = async (mailbox: Mailbox): Promise<number[]> => numbersIn(mailbox, await folderIdOf(mailbox, 'INBOX'));

test('WM2 what is meant for the Junk folder goes there, which is made if it is missing', async () => {
  const { world, mailbox } = await started();
  await mailbox.deleteFolder('Junk');
  awayFor(world);
  for (const n of [1, 2, 3, 4]) await keep(mailbox, n, 1, n % 2 === 0);
  back(world);
  expect(await mailbox.adoptWaiting()).toEqual({ adoptedCount: 4, leftCount: 0 });
  expect(await inbox(mailbox)).toEqual([1, 3]);
  const junk = await mailbox.folder('Junk');
  expect(junk?.specialUse).toBe('Junk');
  expect(await numbersIn(mailbox, await folderIdOf(mailbox, 'Junk'))).toEqual([2, 4]);
  await mailbox.renameFolder({ from: 'Junk', to: 'Spam' });
  expect((await mailbox.junkFolder()).name).toBe('Spam');
});

test('WM1 WM2 mail is kept while the key is away, and adopted once, in its order, with its flags and dates', async () => {
  const { world, mailbox } = await started();
  await appendTo(mailbox, await folderIdOf(mailbox, 'INBOX'), mail({ Subject: 'number 0' }, 'before'));
  awayFor(world);
  await expect(mailbox.newMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } })).rejects.toMatchObject({
    code: 'key-unavailable',
  });
  for (const n of [1, 2, 3]) await keep(mailbox, n, n === 2 ? 200 : 1); // the second is a blob
  await expect(mailbox.adoptWaiting()).rejects.toMatchObject({ code: 'key-unavailable' });
  back(world);
  const folder = await folderIdOf(mailbox, 'INBOX');
  const before = await mailbox.status(folder);
  const both = await Promise.all([mailbox.adoptWaiting(), mailbox.adoptWaiting()]);
  expect(both.every(({ leftCount }) => leftCount === 0)).toBe(true);
  expect(await inbox(mailbox)).toEqual([0, 1, 2, 3]);
  expect(await mailbox.adoptWaiting()).toEqual({ adoptedCount: 0, leftCount: 0 });
  expect(await mailbox.status(folder)).toMatchObject({ messageCount: 4, unseenCount: 4 });
  expect((await mailbox.status(folder)).highestModSeq).toBeGreaterThan(before.highestModSeq);
  using first = await mailbox.message(folder, 2 as never);
  expect(first?.summary.internalDate).toEqual({ atMs: 1, zoneMinutes: 0 });
});

test('a listener is told of what was adopted', async () => {
  const { world, mailbox } = await started();
  awayFor(world);
  await keep(mailbox, 1);
  back(world);
  const told: number[] = [];
  using _listening = mailbox.listen(await folderIdOf(mailbox, 'INBOX'), ({ highestModSeq }) =>
    told.push(highestModSeq),
  );
  await mailbox.adoptWaiting();
  expect(told).toHaveLength(1);
});

test('a new mailbox keeps mail before it has folders', async () => {
  const { world } = await started();
  const ref = await world.addMailbox();
  awayFor(world);
  await expect(world.open(ref)).rejects.toMatchObject({ code: 'key-unavailable' });
  using early = await world.mailboxes.openWithoutKey(ref, { protocol: 'test' });
  await keep(early, 7);
  back(world);
  using mailbox = await world.open(ref);
  await mailbox.adoptWaiting();
  expect(await inbox(mailbox)).toEqual([7]);
});

test('a rotation adopts first, and nothing is kept under a key that goes', async () => {
  const { world, mailbox } = await started();
  for (let n = 1; n <= 20; n += 1) await keep(mailbox, n);
  let isOver = false;
  const keeping = (async () => {
    let n = 21;
    for (; !isOver; n += 1) await keep(mailbox, n);
    return n;
  })();
  const { epoch } = await mailbox.rotateKey({ rootKey: ROOT_KEY, onProgress: () => undefined });
  expect(epoch).toBe(2);
  isOver = true;
  const end = await keeping;
  world.advance(61_000);
  expect(await mailbox.adoptWaiting()).toMatchObject({ leftCount: 0 });
  expect(await inbox(mailbox)).toEqual(Array.from({ length: end - 1 }, (_, at) => at + 1));
});

test('WM3 what does not open stays, and holds up no other', async () => {
  const { world, ref, mailbox } = await started();
  for (const n of [1, 2, 3]) await keep(mailbox, n);
  const file = new SqliteDatabase(join(world.directory, 'mailboxes', ref.mailbox, 'mailbox.db'));
  const { sealed_key: key } = file.prepare('SELECT sealed_key FROM waiting_messages WHERE id = 2').get() as {
    sealed_key: Buffer;
  };
  key.writeUInt8(key.readUInt8(500) ^ 1, 500);
  file.prepare('UPDATE waiting_messages SET sealed_key = ? WHERE id = 2').run(key);
  expect(await mailbox.adoptWaiting()).toEqual({ adoptedCount: 2, leftCount: 1 });
  expect(await inbox(mailbox)).toEqual([1, 3]);
  expect(mailbox.hasWaiting).toBe(true);
  await expect(mailbox.rotateKey({ rootKey: ROOT_KEY, onProgress: () => undefined })).rejects.toMatchObject({
    code: 'content-damaged',
  });
  key.writeUInt8(key.readUInt8(500) ^ 1, 500);
  file.prepare('UPDATE waiting_messages SET sealed_key = ? WHERE id = 2').run(key);
  file.close();
  expect(await mailbox.adoptWaiting()).toEqual({ adoptedCount: 1, leftCount: 0 });
});

test('a message that is given up, or cannot be kept, leaves nothing', async () => {
  const { world, ref, mailbox } = await started();
  const writer = await mailbox.newWaitingMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } });
  await writer.write(Buffer.alloc(300_000, 'x'));
  await writer.discard();
  const blobs = readdirSync(join(world.directory, 'mailboxes', ref.mailbox, 'blobs'), { recursive: true });
  expect(blobs.filter((name) => String(name).length > 8)).toEqual([]);
  expect(mailbox.hasWaiting).toBe(false);
});

test('killed at any moment, every message that was kept is there once', { timeout: 60_000 }, async () => {
  const directory = freshDirectory();
  let ref: MailboxRef;
  {
    await using world = await mailboxWorld(directory, OPTIONS);
    ref = await world.addMailbox();
    (await world.open(ref))[Symbol.dispose]();
  }
  const kept: number[] = [];
  for (const round of [0, 1, 2]) {
    const child = spawn(
      process.execPath,
      [join(import.meta.dirname, 'waiting-child.ts'), directory, ref.organization, ref.mailbox, String(round * 10_000)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.split('\n').length > 30 + round * 17) child.kill('SIGKILL');
    });
    await once(child, 'close');
    kept.push(...out.split('\n').slice(0, -1).map(Number));
  }
  await using world = await mailboxWorld(directory, OPTIONS);
  using mailbox = await world.open(ref);
  await mailbox.adoptWaiting();
  const there = await inbox(mailbox);
  expect(new Set(there).size).toBe(there.length);
  expect(there).toEqual(there.toSorted((a, b) => a - b));
  expect(kept.filter((n) => !there.includes(n))).toEqual([]);
  expect(kept.length).toBeGreaterThan(60);
});
