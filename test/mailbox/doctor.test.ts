/** What examining finds and mending mends, against a mailbox whose database and blobs are damaged by hand. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Fault } from '../../src/base/fault.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { appendTo, folderIdOf } from '../support/messages.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
let world: MailboxWorld;
let ref: MailboxRef;
let count = 0;

beforeEach(async () => {
  world = await mailboxWorld(join(directory, String((count += 1))), { inlineBodyMaxBytes: 1000 });
  ref = await world.addMailbox();
  using mailbox = await world.open(ref);
  const inbox = await folderIdOf(mailbox, 'INBOX');
  const flags = ['\\Seen', 'work'];
  for (const [name, bytes] of [
    ['a', 100],
    ['b', 200],
    ['c', 50_000],
    ['d', 60_000],
  ] as const)
    await appendTo(mailbox, inbox, Buffer.from(`Subject: ${name}\r\n\r\n${name.repeat(bytes)}\r\n`), { flags });
});
afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

const folder = (): string => join(world.directory, 'mailboxes', ref.mailbox);

/** Changes the database behind the server's back, with the server's connection closed. */
async function tamper(...statements: readonly string[]): Promise<void> {
  await world.mailboxes.closeIdle();
  const sqlite = new SqliteDatabase(join(folder(), 'mailbox.db'));
  sqlite.pragma('foreign_keys = OFF');
  for (const sql of statements) sqlite.exec(sql);
  sqlite.close();
}

function blobs(): string[] {
  return readdirSync(join(folder(), 'blobs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

async function examined(work: (mailbox: Mailbox) => Promise<readonly Fault[]>): Promise<string[]> {
  using mailbox = await world.mailboxes.openWithoutKey(ref, { protocol: 'test' });
  return (await work(mailbox)).map(({ what, remedy }) => `${remedy}: ${what}`);
}

const structure = (): Promise<string[]> => examined((mailbox) => mailbox.examine());
const deep = (isRepair = false): Promise<string[]> =>
  examined(async (mailbox) => {
    const pace = (): Promise<void> => Promise.resolve();
    return (await mailbox.openEverything({ pace, isRepair, nowMs: Date.now })).faults;
  });

test('a sound mailbox has no fault', async () => {
  expect([await structure(), await deep(), await examined((mailbox) => mailbox.nameFaults())]).toEqual([[], [], []]);
});

test.for([
  ['the counters of a folder are wrong', 'UPDATE folders SET message_count = message_count + 1'],
  ['the counters of a folder are wrong', 'UPDATE folders SET unseen_count = 7 WHERE id = 1'],
  ['the counters of a folder are wrong', 'UPDATE folders SET deleted_count = 1 WHERE id = 1'],
  ['the counters of a folder are wrong', 'UPDATE folders SET size_bytes = 1 WHERE id = 1'],
  ['the messages that share a body are miscounted', 'UPDATE bodies SET row_count = 2'],
  ['UIDNEXT is not above all UIDs', 'UPDATE folders SET uid_next = 2 WHERE message_count > 0'],
  ['a modification sequence is above that of its folder', 'UPDATE folders SET highest_mod_seq = 1'],
  ['the counter of modification sequences is behind', `UPDATE counters SET value = 1 WHERE name = 'mod_seq'`],
  ['the counter of UIDVALIDITY is behind', `UPDATE counters SET value = 1 WHERE name = 'uid_validity'`],
  ['a UID is there and counts as vanished', 'INSERT INTO vanished SELECT folder, 1, uid FROM messages WHERE uid = 1'],
  ['messages have keywords without a name', `UPDATE messages SET keywords = x'81'`],
] as const)('MD1 %s: found, mended, and all mail is there (%s)', async ([what, sql]) => {
  await tamper(sql);
  expect(await structure()).toContain(`mendable: ${what}`);
  using mailbox = await world.open(ref);
  await mailbox.mend();
  expect(await structure()).toEqual([]);
  expect(await deep()).toEqual([]);
  expect((await mailbox.snapshot(await folderIdOf(mailbox, 'INBOX'))).uids).toHaveLength(4);
});

test.for([
  ['kept', 'a sealed body has no message, and no key any more', 'DELETE FROM messages WHERE uid = 2'],
  ['kept', 'a message and its body have different sizes', 'UPDATE messages SET size_bytes = 5 WHERE uid = 2'],
  ['kept', 'a message row has no body', 'DELETE FROM bodies WHERE id = 2'],
  ['by-hand', 'a row points to one that is not there', 'DELETE FROM bodies WHERE id = 2'],
  ['by-hand', 'a name is under another epoch than its mailbox', 'UPDATE folders SET epoch = 2 WHERE id = 3'],
] as const)('MD1 %s, and not mended: %s', async ([remedy, what, sql]) => {
  await tamper(sql);
  const before = await structure();
  expect(before).toContain(`${remedy}: ${what}`);
  using mailbox = await world.mailboxes.openWithoutKey(ref, { protocol: 'test' });
  await mailbox.mend();
  expect(await structure()).toContain(`${remedy}: ${what}`);
});

test('MD2 EX2 old files without a message are removed; young ones and those of messages stay', async () => {
  const [old, young, left] = ['blobs/ab', 'blobs/ab', 'blobs/tmp'].map((shard, index) =>
    join(folder(), shard, `ab${String(index)}`.padEnd(32, '0')),
  ) as [string, string, string];
  await world.mailboxes.closeIdle();
  mkdirSync(join(folder(), 'blobs/ab'), { recursive: true });
  using mailbox = await world.open(ref);
  for (const file of [old, young, left]) writeFileSync(file, 'sealed');
  for (const file of [...blobs(), old, left]) utimesSync(file, 1, 1);
  utimesSync(young, new Date(), new Date());
  expect(await structure()).toEqual(['mendable: a file has no message', 'mendable: a file has no message']);
  await mailbox.mend();
  expect([existsSync(old), existsSync(young), existsSync(left)]).toEqual([false, true, false]);
  expect(blobs()).toHaveLength(3);
  expect([await structure(), await deep()]).toEqual([[], []]);
});

test('a missing and a cut blob are told, and every other message opens', async () => {
  const [one = '', two = ''] = blobs();
  renameSync(one, `${one}-away`);
  expect(await structure()).toEqual(['kept: the file of a body is missing or has another size']);
  renameSync(`${one}-away`, one);
  expect(await structure()).toEqual([]);
  rmSync(two);
  writeFileSync(one, 'cut');
  const what = 'kept: the file of a body is missing or has another size';
  expect(await structure()).toEqual([what, what]);
  expect(await deep()).toEqual(Array.from({ length: 2 }, () => 'kept: the body of a message does not open'));
});

test('SC1 what does not open is named, kept, and stays listed until it opens again', async () => {
  await tamper(
    `UPDATE messages SET wrapped_key = zeroblob(69) WHERE uid = 1`,
    `UPDATE bodies SET sealed_summary = zeroblob(40) WHERE id = 2`,
  );
  expect(await structure()).toEqual([]); // nothing to be seen without a key
  const found = ['kept: the key of a message does not open', 'kept: the summary of a message does not open'];
  expect(await deep()).toEqual(found);
  await world.mailboxes.closeIdle();
  expect(await examined((mailbox) => Promise.resolve(mailbox.knownDamages()))).toEqual(found);
  expect(await deep(true)).toEqual(found); // repair keeps it
});

test('SC4 search text that does not open is dropped by a repair only, and made again', async () => {
  using mailbox = await world.open(ref);
  const folderId = await folderIdOf(mailbox, 'INBOX');
  const search = { kind: 'body', text: 'aaa' } as const;
  const find = () =>
    mailbox.search({ folder: folderId, key: search, within: [{ first: 1, last: 9 }], resolve: () => [] as never });
  expect(await find()).toHaveLength(1);
  const sqlite = new SqliteDatabase(join(folder(), 'mailbox.db'));
  sqlite.exec('UPDATE bodies SET sealed_search_text = zeroblob(99) WHERE id = 1');
  sqlite.close();
  expect(await deep()).toEqual(['mendable: the search text of a message does not open']);
  await expect(find()).rejects.toThrow();
  expect(await deep(true)).toEqual(['mended: the search text of a message does not open']);
  expect(await find()).toHaveLength(1);
  expect(await deep()).toEqual([]);
});

test('names that do not open, or lie under another index, are told', async () => {
  await tamper(
    `UPDATE folders SET sealed_name = zeroblob(60) WHERE id = 2`,
    `UPDATE folders SET name_index = x'00' WHERE id = 3`,
    `UPDATE keywords SET sealed_name = zeroblob(60)`,
  );
  expect(await examined((mailbox) => mailbox.nameFaults())).toEqual(
    Array.from({ length: 3 }, () => 'kept: a name does not open'),
  );
});

test('a key that cannot be had is no damage', async () => {
  await world.mailboxes.closeIdle();
  world.keys.forget(ref.organization);
  world.refuse('unreachable');
  await expect(deep()).rejects.toMatchObject({ code: 'key-unavailable' });
});
