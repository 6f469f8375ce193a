import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import SqliteDatabase from 'better-sqlite3';
import { expect, test } from 'vitest';
import type { FolderId, Uid } from '../../src/base/ids.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { appendTo, bytesOf, flatten, folderIdOf, mail } from '../support/messages.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const base = temporaryDirectory();
const ALL = [{ first: 1, last: 0xffff_ffff }];
const ROOT_KEY = { provider: 'local-keyring', rootKey: 'local:default' } as const;
/** A rotation beside a busy reader and writer may keep the event loop for longer than the usual budget. */
const PATIENT = { callBudgetMs: 20_000 };
const freshDirectory = (): string => mkdtempSync(join(base, 'world-'));
const text = (n: number): Buffer => mail({ Subject: `number ${String(n)}` }, `body ${String(n)}\r\n`);

function rotate(mailbox: Mailbox, onProgress: (doneCount: number) => void = () => undefined) {
  const told = ({ doneCount }: { doneCount: number }): void => {
    onProgress(doneCount);
  };
  return mailbox.rotateKey({ rootKey: ROOT_KEY, onProgress: told });
}

/** Messages `from` to `to` in INBOX, as UIDs 1 and up. */
async function fill(mailbox: Mailbox, count: number): Promise<FolderId> {
  const folder = await folderIdOf(mailbox, 'INBOX');
  for (let done = 0; done < count;) {
    const messages = [];
    for (let n = 0; n < 100 && done < count; n += 1) {
      const writer = await mailbox.newMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } });
      done += 1;
      await writer.write(text(done));
      messages.push({ prepared: await writer.finish(), flags: done % 10 === 0 ? ['tenth', '\\Seen'] : [] });
    }
    await mailbox.append({ folder, messages });
  }
  return folder;
}

/** Each message of INBOX by UID, opened. */
async function contentOf(mailbox: Mailbox, folder: FolderId): Promise<Map<number, string>> {
  const content = new Map<number, string>();
  for await (const batch of mailbox.messages(folder, ALL)) {
    for (const message of batch) {
      expect(message.summary.scanned.envelope.subject).toMatch(/^number /);
      content.set(message.row.uid, (await message.bytes(0, message.row.sizeBytes)).toString());
    }
  }
  return content;
}

async function expectWhole(mailbox: Mailbox, folder: FolderId, count: number): Promise<void> {
  const content = await contentOf(mailbox, folder);
  expect(content.size).toBe(count);
  for (const [uid, found] of content) expect(found).toBe(text(uid).toString());
  expect((await mailbox.folders()).map(({ name }) => name)).toEqual([
    'Archive',
    'Drafts',
    'INBOX',
    'Junk',
    'Sent',
    'Trash',
  ]);
  expect((await mailbox.subscriptions()).size).toBe(6);
  expect(await mailbox.folder('inbox')).toMatchObject({ id: folder });
}

/** Rows by table as they lie on disk. */
function diskRows(world: MailboxWorld, ref: MailboxRef, sql: string): Record<string, unknown>[] {
  const db = new SqliteDatabase(join(world.directory, 'mailboxes', ref.mailbox, 'mailbox.db'), { readonly: true });
  try {
    return db.prepare(sql).all() as Record<string, unknown>[];
  } finally {
    db.close();
  }
}
const epochsOnDisk = (world: MailboxWorld, ref: MailboxRef): unknown =>
  diskRows(
    world,
    ref,
    `SELECT DISTINCT epoch FROM (SELECT epoch FROM messages UNION SELECT epoch FROM folders
     UNION SELECT epoch FROM subscriptions UNION SELECT epoch FROM keywords
     UNION SELECT value FROM counters WHERE name = 'epoch')`,
  ).map((row) => row['epoch']);
const keyEpochs = (world: MailboxWorld, ref: MailboxRef): unknown =>
  world.keys
    .listKeys(ref.organization)
    .filter((row) => row.owner === ref.mailbox)
    .map(({ epoch, state }) => `${String(epoch)} ${state}`);

test('T1 T2 T3 everything goes over to a new key; bodies, UIDs and MODSEQ stay; the old key is gone from disk', async () => {
  await using world = await mailboxWorld(freshDirectory(), { ...PATIENT, inlineBodyMaxBytes: 1000 });
  const ref = await world.addMailbox();
  using mailbox = await world.open(ref);
  const folder = await fill(mailbox, 1200);
  const large = mail({ Subject: 'number large' }, 'x'.repeat(50_000));
  const largeUid = await appendTo(mailbox, folder, large, { flags: ['Tagged'] });
  await mailbox.copy({ source: folder, target: await folderIdOf(mailbox, 'Archive'), ranges: [{ first: 1, last: 5 }] });
  await mailbox.createFolder({ name: 'a/b' });
  await mailbox.subscribe('not/there');
  const blobs = (): string[] =>
    readdirSync(join(world.directory, 'mailboxes', ref.mailbox, 'blobs'), { recursive: true, encoding: 'utf8' })
      .map((name) => join(world.directory, 'mailboxes', ref.mailbox, 'blobs', name))
      .filter((file) => statSync(file).isFile())
      .map(
        (file) =>
          `${file} ${String(statSync(file).ino)} ${createHash('sha256').update(readFileSync(file)).digest('hex')}`,
      );
  const unchanging =
    'SELECT folder, uid, mod_seq, flags, hex(keywords) AS k, body, hex(message) AS m FROM messages ORDER BY 1, 2';
  const state = (): unknown => [
    blobs(),
    diskRows(world, ref, unchanging),
    diskRows(world, ref, 'SELECT id, special_use, uid_validity, uid_next, highest_mod_seq FROM folders'),
    diskRows(world, ref, 'SELECT id, hex(sealed_summary) AS s, hex(sealed_search_text) AS t FROM bodies'),
    diskRows(world, ref, 'SELECT id, hex(sealed) AS s FROM inline_bodies'),
    diskRows(world, ref, `SELECT * FROM counters WHERE name <> 'epoch'`),
  ];
  const inRange = ALL;
  expect(
    await mailbox.search({ folder, key: { kind: 'body', text: 'body 77\r' }, within: inRange, resolve: () => [] }),
  ).toHaveLength(1);
  const before = state();
  expect(blobs()).toHaveLength(1);
  const oldKeys = diskRows(world, ref, 'SELECT wrapped_key AS k FROM messages').map((row) => row['k'] as Buffer);
  const oldIndexes = diskRows(world, ref, 'SELECT name_index AS i FROM folders').map((row) => row['i'] as Buffer);
  const [oldWrapping] = diskRowsOfDirectory(world, ref).map((row) => row['wrapped'] as Buffer);

  const seen: number[] = [];
  const { highestModSeq } = await mailbox.snapshot(folder);
  let notices = 0;
  using _listening = mailbox.listen(folder, () => (notices += 1));
  const done = await rotate(mailbox, (doneCount) => seen.push(doneCount));
  expect(notices).toBe(0);
  expect(await mailbox.changesSince(folder, highestModSeq)).toMatchObject({ changed: [], vanished: [], highestModSeq });
  expect(done).toEqual({ epoch: 2, messagesCount: 1206 });
  expect(seen).toEqual([0, 500, 1000, 1206]);
  expect(state()).toEqual(before);
  expect(epochsOnDisk(world, ref)).toEqual([2]);
  expect(keyEpochs(world, ref)).toEqual(['2 active']);

  world.advance(61_000); // no cached key helps
  expect(await bytesOf(mailbox, folder, largeUid)).toEqual(large);
  expect((await mailbox.folders()).map(({ name }) => name)).toContain('a/b');
  expect(await mailbox.folder('a/b')).not.toBeNull();
  await expect(mailbox.createFolder({ name: 'a/b' })).rejects.toMatchObject({ code: 'already-exists' });
  expect(await mailbox.subscriptions()).toContain('not/there');
  await mailbox.unsubscribe('not/there');
  expect(await mailbox.subscriptions()).not.toContain('not/there');
  expect([...(await mailbox.keywords()).values()]).toEqual(['tenth', 'Tagged']);
  await mailbox.setFlags({ folder, ranges: [{ first: 1, last: 1 }] }, { mode: 'add', flags: ['TENTH'] });
  expect((await mailbox.keywords()).size).toBe(2);

  const files = [
    join(world.directory, 'directory.db'),
    join(world.directory, 'mailboxes', ref.mailbox, 'mailbox.db'),
  ].flatMap((file) => [file, `${file}-wal`]);
  const shredded = [...oldKeys.slice(0, 50), ...oldKeys.slice(-50), ...oldIndexes, oldWrapping ?? Buffer.alloc(0)];
  const onDisk = (): number => {
    const bytes = Buffer.concat(files.map((file) => readFileSync(file)));
    return shredded.filter((old) => bytes.includes(old)).length;
  };
  await expect.poll(onDisk, { timeout: 5000, interval: 50 }).toBe(0);

  expect(await rotate(mailbox)).toMatchObject({ epoch: 3 }); // and once more
  expect(await bytesOf(mailbox, folder, largeUid)).toEqual(large);
});

function diskRowsOfDirectory(world: MailboxWorld, ref: MailboxRef): Record<string, unknown>[] {
  const db = new SqliteDatabase(join(world.directory, 'directory.db'), { readonly: true });
  try {
    return db.prepare('SELECT * FROM wrapped_keys WHERE owner = ?').all(ref.mailbox) as Record<string, unknown>[];
  } finally {
    db.close();
  }
}

test('T2 2,000 messages rotate while others append, copy, move, flag, rename, look up and read', async () => {
  await using world = await mailboxWorld(freshDirectory(), PATIENT);
  const ref = await world.addMailbox();
  using mailbox = await world.open(ref);
  using writer = await world.open(ref);
  using reader = await world.open(ref);
  const folder = await fill(mailbox, 2000);
  const archive = await folderIdOf(mailbox, 'Archive');
  let isRunning = true;
  const counts = { written: 0, read: 0 };
  const appended: { uid: Uid; n: number }[] = [];
  const moved: { uid: Uid; n: number }[] = [];
  const write = async (): Promise<void> => {
    for (let n = 10_000; isRunning || n < 10_020; n += 1) {
      const uid = await appendTo(writer, folder, text(n), { flags: [`kw${String(n % 7)}`] });
      const { pairs } = await writer.copy({ source: folder, target: archive, ranges: [{ first: uid, last: uid }] });
      const [pair] = pairs;
      if (!pair) throw new Error('nothing was copied');
      const back = await writer.move({ source: archive, target: folder, ranges: [{ first: pair.to, last: pair.to }] });
      appended.push({ uid, n });
      for (const { to } of back.pairs) moved.push({ uid: to, n });
      await writer.createFolder({ name: `f/${String(n)}` });
      await writer.renameFolder({ from: `f/${String(n)}`, to: `g/${String(n)}` });
      await writer.subscribe(`g/${String(n)}`);
      await writer.setFlags({ folder, ranges: [{ first: uid, last: uid }] }, { mode: 'add', flags: ['Extra'] });
      counts.written += 1;
    }
  };
  const read = async (): Promise<void> => {
    for (let at = 1; isRunning; at = (at % 1900) + 100) {
      expect(await reader.folder('INBOX')).toMatchObject({ id: folder });
      expect(await reader.folder('Archive')).toMatchObject({ id: archive });
      const names = (await reader.folders()).map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
      for await (const batch of reader.messages(folder, [{ first: at, last: at + 99 }])) {
        for (const message of batch) {
          expect((await message.bytes(0, message.row.sizeBytes)).equals(text(message.row.uid))).toBe(true);
        }
      }
      const rows = await flatten(reader.rows(folder, [{ first: 10, last: 10 }]));
      expect(rows[0]?.flags).toContain('tenth');
      counts.read += 1;
      await turn();
    }
  };
  const [writing, reading] = [write(), read()];
  try {
    for (let rotations = 0; rotations < 3; rotations += 1) {
      await rotate(mailbox);
      world.advance(61_000);
    }
  } finally {
    isRunning = false;
    await Promise.all([writing, reading]);
  }
  expect(counts.read).toBeGreaterThan(0);
  expect(counts.written).toBeGreaterThanOrEqual(20);

  expect(keyEpochs(world, ref)).toEqual(['4 active']);
  expect(epochsOnDisk(world, ref)).toEqual([4]);
  for (const { uid, n } of [...appended, ...moved]) {
    expect((await bytesOf(mailbox, folder, uid)).equals(text(n))).toBe(true);
  }
  const expected = [
    'Archive',
    'Drafts',
    'INBOX',
    'Junk',
    'Sent',
    'Trash',
    'f',
    'g',
    ...appended.map(({ n }) => `g/${String(n)}`),
  ];
  expect((await mailbox.folders()).map(({ name }) => name).sort()).toEqual(expected.sort());
  const keywords = [...(await mailbox.keywords()).values()];
  expect(new Set(keywords.map((name) => name.toLowerCase())).size).toBe(keywords.length);
  expect(world.failures).toEqual([]);
});

test('X4 what is held open over a whole rotation goes on with the key that its row has by then', async () => {
  await using world = await mailboxWorld(freshDirectory(), PATIENT);
  const ref = await world.addMailbox();
  using mailbox = await world.open(ref);
  const folder = await fill(mailbox, 250);
  const seen: number[] = [];
  for await (const batch of mailbox.messages(folder, ALL)) {
    if (seen.length === 0) {
      await rotate(mailbox);
      world.advance(61_000);
    }
    for (const message of batch) {
      expect((await message.bytes(0, message.row.sizeBytes)).equals(text(message.row.uid))).toBe(true);
      seen.push(message.row.uid);
    }
  }
  expect(seen).toHaveLength(250);
});

test.for([0, 500, 1000, 1200])(
  'T4 broken off after %i messages, all is there, and the next run ends it',
  async (at) => {
    const directory = freshDirectory();
    let ref: MailboxRef;
    {
      await using world = await mailboxWorld(directory, PATIENT);
      ref = await world.addMailbox();
      using mailbox = await world.open(ref);
      await fill(mailbox, 1200);
      const broken = rotate(mailbox, (doneCount) => {
        if (doneCount === at) throw new Error('broken off');
      });
      await expect(broken).rejects.toThrow('broken off');
      expect(keyEpochs(world, ref)).toEqual(['1 retiring', '2 active']);
    }
    await using world = await mailboxWorld(directory, PATIENT);
    using mailbox = await world.open(ref);
    const folder = await folderIdOf(mailbox, 'INBOX');
    await expectWhole(mailbox, folder, 1200);
    expect(await rotate(mailbox)).toEqual({ epoch: 2, messagesCount: 1200 - at });
    world.advance(61_000);
    await expectWhole(mailbox, folder, 1200);
    expect(keyEpochs(world, ref)).toEqual(['2 active']);
    expect(epochsOnDisk(world, ref)).toEqual([2]);
  },
);

test.for([0, 1, 2, 3])('T4 killed at line %i of its progress, all is there, and the next run ends it', async (line) => {
  const directory = freshDirectory();
  let ref: MailboxRef;
  {
    await using world = await mailboxWorld(directory, PATIENT);
    ref = await world.addMailbox();
    using mailbox = await world.open(ref);
    await fill(mailbox, 1200);
  }
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'rotate-child.ts'), directory, ref.organization, ref.mailbox],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
    if (out.split('\n').length - 1 > line) child.kill('SIGKILL');
  });
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect(signal ?? out).toMatch(/SIGKILL|ended/);
  expect(out.split('\n').length).toBeGreaterThan(line + 1);

  await using world = await mailboxWorld(directory, PATIENT);
  using mailbox = await world.open(ref);
  const folder = await folderIdOf(mailbox, 'INBOX');
  await expectWhole(mailbox, folder, 1200);
  const before = keyEpochs(world, ref);
  const { epoch } = await rotate(mailbox);
  expect(epoch).toBe(JSON.stringify(before) === '["2 active"]' ? 3 : 2); // it may have ended before the kill
  world.advance(61_000);
  await expectWhole(mailbox, folder, 1200);
  expect(epochsOnDisk(world, ref)).toEqual([epoch]);
});

test('a key service that refuses leaves everything as it was', async () => {
  await using world = await mailboxWorld(freshDirectory(), PATIENT);
  const ref = await world.addMailbox();
  using mailbox = await world.open(ref);
  const folder = await fill(mailbox, 20);
  world.refuse('unreachable');
  await expect(rotate(mailbox)).rejects.toMatchObject({ code: 'key-unavailable' });
  expect(keyEpochs(world, ref)).toEqual(['1 active']);
  world.refuse(null);
  world.keys.retryNow();
  await expectWhole(mailbox, folder, 20);
  await rotate(mailbox);
  await expectWhole(mailbox, folder, 20);
});

test('T3 while a message key is damaged the old key stays; without that message the next run ends the rotation', async () => {
  const directory = freshDirectory();
  let ref: MailboxRef;
  {
    await using world = await mailboxWorld(directory, PATIENT);
    ref = await world.addMailbox();
    using mailbox = await world.open(ref);
    await fill(mailbox, 30);
  }
  const db = new SqliteDatabase(join(directory, 'mailboxes', ref.mailbox, 'mailbox.db'));
  db.exec('UPDATE messages SET wrapped_key = zeroblob(69) WHERE uid = 7');
  db.close();
  await using world = await mailboxWorld(directory, PATIENT);
  using mailbox = await world.open(ref);
  const folder = await folderIdOf(mailbox, 'INBOX');
  await expect(rotate(mailbox)).rejects.toMatchObject({ code: 'content-damaged' });
  expect(keyEpochs(world, ref)).toEqual(['1 retiring', '2 active']);
  expect(await bytesOf(mailbox, folder, 8 as Uid)).toEqual(text(8));
  await mailbox.setFlags({ folder, ranges: [{ first: 7, last: 7 }] }, { mode: 'add', flags: ['\\Deleted'] });
  await mailbox.expunge(folder, 'deleted');
  expect(await rotate(mailbox)).toEqual({ epoch: 2, messagesCount: 0 });
  expect(keyEpochs(world, ref)).toEqual(['2 active']);
});
