import { globSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { Mailboxes } from '../../src/mailbox/mailboxes.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { mailboxWorld } from '../support/mailbox-world.ts';
import { appendTo, bytesOf, flatten, folderIdOf } from '../support/messages.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const ALL = [{ first: 1, last: 0xffff_ffff }];
const LARGE = Buffer.from(`Subject: large\r\n\r\n${'x'.repeat(100_000)}`);
const SMALL = Buffer.from('Subject: small\r\n\r\nx\r\n');
let count = 0;

/** A mailbox in which expunged messages are kept, with two of them expunged. */
async function retaining(quota: { maxBytes: number | null; maxMessagesCount: number | null } | null = null) {
  const world = await mailboxWorld(join(directory, String((count += 1))));
  const state = { retentionMs: 1000 };
  const onFailure = (error: Error): never => {
    throw error;
  };
  const checkpointer = new Checkpointer({ intervalMs: 1000, onFailure });
  const mailboxes = new Mailboxes({
    directory: join(world.directory, 'mailboxes'),
    inlineBodyMaxBytes: 1000,
    maxOpenCount: 10,
    freeSpaceReserveBytes: 0,
    checkpointer,
    keys: world.keys,
    quotaOf: () => quota,
    retentionMsOf: () => state.retentionMs,
    onFailure,
  });
  const mailbox = await mailboxes.open(await world.addMailbox(), { protocol: 'test' });
  onTestFinished(async () => {
    await mailboxes.close();
    await checkpointer.close();
    await world[Symbol.asyncDispose]();
  });
  const inbox = await folderIdOf(mailbox, 'INBOX');
  for (const message of [LARGE, SMALL, SMALL])
    await appendTo(mailbox, inbox, message, { flags: ['\\Flagged', 'work'] });
  await deleteAndExpunge(mailbox, [{ first: 1, last: 2 }]);
  return { world, state, mailbox, inbox };
}

async function deleteAndExpunge(mailbox: Mailbox, ranges: typeof ALL): Promise<void> {
  const folder = await folderIdOf(mailbox, 'INBOX');
  await mailbox.setFlags({ folder, ranges }, { mode: 'add', flags: ['\\Deleted'] });
  await mailbox.expunge(folder, 'deleted');
}

const blobs = ({ directory: folder }: Readonly<{ directory: string }>): string[] =>
  globSync('mailboxes/*/blobs/??/*', { cwd: folder });

test('UD1 RT1 an expunged message is gone for clients and quota, and comes back byte for byte', async () => {
  const { mailbox, inbox, world } = await retaining();
  expect((await mailbox.snapshot(inbox)).uids).toHaveLength(1);
  expect(mailbox.usage()).toMatchObject({ messagesCount: 1 });
  expect(await mailbox.examine()).toEqual([]);
  expect(await mailbox.undelete(0)).toEqual({ folder: 'Undeleted', messagesCount: 2, damagedCount: 0 });
  const folder = await folderIdOf(mailbox, 'Undeleted');
  const rows = await flatten(mailbox.rows(folder, ALL));
  expect(rows.map(({ flags }) => flags)).toEqual([
    ['\\Flagged', 'work'],
    ['\\Flagged', 'work'],
  ]);
  expect(await bytesOf(mailbox, folder, rows[0]?.uid as never)).toEqual(LARGE);
  expect(await bytesOf(mailbox, folder, rows[1]?.uid as never)).toEqual(SMALL);
  expect(await mailbox.undelete(0)).toMatchObject({ messagesCount: 0 });
  expect([await mailbox.examine(), blobs(world)]).toMatchObject([[], { length: 1 }]);
});

test('UD1 only what was expunged since then comes back', async () => {
  const { mailbox } = await retaining();
  await new Promise((resolve) => setTimeout(resolve, 5));
  const sinceMs = Date.now();
  await deleteAndExpunge(mailbox, ALL);
  expect(await mailbox.undelete(sinceMs)).toMatchObject({ messagesCount: 1 });
  expect(await mailbox.undelete(0)).toMatchObject({ messagesCount: 2 });
});

test('RT2 shredding removes rows and bodies for good, and leaves what is not due', async () => {
  const { mailbox, world } = await retaining();
  expect(await mailbox.shredRetained(Date.now() - 60_000)).toBe(0);
  expect(blobs(world)).toHaveLength(1);
  expect(await mailbox.shredRetained(Date.now() + 1)).toBe(2);
  expect(blobs(world)).toEqual([]);
  expect([await mailbox.undelete(0), await mailbox.examine()]).toMatchObject([{ messagesCount: 0 }, []]);
});

test('without retention an expunge shreds at once; a move keeps nothing behind', async () => {
  const { mailbox, inbox, state } = await retaining();
  const target = await folderIdOf(mailbox, 'Archive');
  await mailbox.move({ source: inbox, target, ranges: ALL });
  state.retentionMs = 0;
  await mailbox.setFlags({ folder: target, ranges: ALL }, { mode: 'add', flags: ['\\Deleted'] });
  await mailbox.expunge(target, 'deleted');
  expect(await mailbox.undelete(0)).toMatchObject({ messagesCount: 2 }); // those of the beginning
});

test('RT3 a rotation takes what is kept along, and the old key is not needed for it', async () => {
  const { mailbox } = await retaining();
  const rootKey = { provider: 'local-keyring', rootKey: 'local:default' } as const;
  await mailbox.rotateKey({ rootKey, onProgress: () => undefined });
  expect(await mailbox.undelete(0)).toEqual({ folder: 'Undeleted', messagesCount: 2, damagedCount: 0 });
  expect(await mailbox.examine()).toEqual([]);
});

test('a copy that shares the body keeps it when the other is shredded', async () => {
  const { mailbox, inbox } = await retaining();
  await mailbox.undelete(0);
  const folder = await folderIdOf(mailbox, 'Undeleted');
  await mailbox.copy({ source: folder, target: inbox, ranges: [{ first: 1, last: 1 }] });
  await mailbox.setFlags({ folder, ranges: ALL }, { mode: 'add', flags: ['\\Deleted'] });
  await mailbox.expunge(folder, 'deleted');
  await mailbox.shredRetained(Date.now() + 1);
  const uids = (await mailbox.snapshot(inbox)).uids;
  expect(await bytesOf(mailbox, inbox, uids.at(-1) as never)).toEqual(LARGE);
});

test('a full mailbox takes nothing back, and loses nothing', async () => {
  const { mailbox } = await retaining({ maxBytes: LARGE.length + 2 * SMALL.length, maxMessagesCount: 3 });
  const inbox = await folderIdOf(mailbox, 'INBOX');
  await appendTo(mailbox, inbox, SMALL);
  await expect(mailbox.undelete(0)).rejects.toMatchObject({ code: 'over-quota' });
  await deleteAndExpunge(mailbox, ALL);
  expect(await mailbox.undelete(0).catch(() => null)).toBeNull(); // four now
});
