import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ModSeq, Uid } from '../../src/base/ids.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { appendTo, bytesOf, flatten, folderIdOf, mail } from '../support/messages.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const ALL = [{ first: 1, last: 0xffff_ffff }];
let world: MailboxWorld;
beforeAll(async () => {
  world = await mailboxWorld(directory, { inlineBodyMaxBytes: 20_000 });
});
afterAll(async () => {
  expect(world.failures).toEqual([]);
  await world[Symbol.asyncDispose]();
});

async function fresh(): Promise<Mailbox> {
  return world.open(await world.addMailbox());
}
const uidsOf = async (mailbox: Mailbox, folder: Parameters<Mailbox['snapshot']>[0]): Promise<number[]> => [
  ...(await mailbox.snapshot(folder)).uids,
];

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}

describe('folders', () => {
  test('M2 a new mailbox has the default folders with their special uses, subscribed', async () => {
    using mailbox = await fresh();
    const folders = await mailbox.folders();
    expect(folders.map(({ name, specialUse }) => [name, specialUse])).toEqual([
      ['Archive', 'Archive'],
      ['Drafts', 'Drafts'],
      ['INBOX', null],
      ['Junk', 'Junk'],
      ['Sent', 'Sent'],
      ['Trash', 'Trash'],
    ]);
    expect([...(await mailbox.subscriptions())].sort()).toEqual(folders.map((folder) => folder.name));
  });

  test('A1 INBOX is one name in any case, other names are exact and NFC', async () => {
    using mailbox = await fresh();
    const inbox = await mailbox.folder('INBOX');
    expect(await mailbox.folder('inBox')).toEqual(inbox);
    await mailbox.createFolder({ name: 'inbox/Caf\u0065\u0301' });
    expect((await mailbox.folder('INBOX/Caf\u00e9'))?.name).toBe('INBOX/Caf\u00e9');
    expect(await mailbox.folder('INBOX/caf\u00e9')).toBeNull();
  });

  test('A2 parents are made; a name is made once; a deleted folder comes back with a higher UIDVALIDITY', async () => {
    using mailbox = await fresh();
    await mailbox.createFolder({ name: 'a/b/c' });
    expect((await mailbox.folders()).map((folder) => folder.name)).toEqual(
      expect.arrayContaining(['a', 'a/b', 'a/b/c']),
    );
    await expect(mailbox.createFolder({ name: 'a/b' })).rejects.toMatchObject({ code: 'already-exists' });
    const first = await mailbox.createFolder({ name: 'again' });
    await mailbox.deleteFolder('again');
    expect(await mailbox.folder('again')).toBeNull();
    const second = await mailbox.createFolder({ name: 'again' });
    expect(second.uidValidity).toBeGreaterThan(first.uidValidity);
    expect(second.id).not.toBe(first.id);
    await expect(mailbox.deleteFolder('never')).rejects.toMatchObject({ code: 'not-found' });
    await expect(mailbox.deleteFolder('InBox')).rejects.toMatchObject({ code: 'not-allowed' });
  });

  test('renaming takes what is below along and keeps ids, UIDs and messages', async () => {
    using mailbox = await fresh();
    const deep = await mailbox.createFolder({ name: 'old/deep' });
    const uid = await appendTo(mailbox, deep.id, mail({ Subject: 'x' }, 'y'));
    await mailbox.renameFolder({ from: 'old', to: 'new/place' });
    const names = (await mailbox.folders()).map((folder) => folder.name);
    expect(names).toEqual(expect.arrayContaining(['new', 'new/place', 'new/place/deep']));
    expect(names).not.toContain('old');
    const moved = await mailbox.folder('new/place/deep');
    expect(moved).toMatchObject({ id: deep.id, uidValidity: deep.uidValidity });
    expect(await bytesOf(mailbox, deep.id, uid)).toEqual(mail({ Subject: 'x' }, 'y'));
    await expect(mailbox.renameFolder({ from: 'new', to: 'Sent' })).rejects.toMatchObject({ code: 'already-exists' });
    await expect(mailbox.renameFolder({ from: 'new', to: 'new/x' })).rejects.toMatchObject({ code: 'not-allowed' });
    await expect(mailbox.renameFolder({ from: 'none', to: 'x' })).rejects.toMatchObject({ code: 'not-found' });
  });

  test('A3 renaming INBOX moves its messages and leaves it there, empty', async () => {
    using mailbox = await fresh();
    const inbox = await folderIdOf(mailbox, 'INBOX');
    await appendTo(mailbox, inbox, mail({}, 'kept'));
    await mailbox.renameFolder({ from: 'inbox', to: 'Before' });
    expect(await uidsOf(mailbox, inbox)).toEqual([]);
    const before = await folderIdOf(mailbox, 'Before');
    expect(await bytesOf(mailbox, before, 1 as Uid)).toEqual(mail({}, 'kept'));
  });
});

describe('messages', () => {
  test.for([0, 1, 100, 16_384, 19_900, 20_001, 65_536, 300_001])(
    'X3 %i bytes come back as they went in',
    async (size) => {
      using mailbox = await fresh();
      const inbox = await folderIdOf(mailbox, 'INBOX');
      const message = Buffer.alloc(size);
      for (let at = 0; at < size; at += 1) message[at] = (at * 31) % 256;
      const uid = await appendTo(mailbox, inbox, message, { chunkBytes: 7001 });
      expect((await bytesOf(mailbox, inbox, uid)).equals(message)).toBe(true);
      using opened = await mailbox.message(inbox, uid);
      const middle = await opened?.bytes(Math.floor(size / 3), Math.floor(size / 2));
      expect(middle?.equals(message.subarray(Math.floor(size / 3), Math.floor(size / 2)))).toBe(true);
    },
  );

  test('a row has its flags, size, dates and structure', async () => {
    using mailbox = await fresh();
    const drafts = await folderIdOf(mailbox, 'Drafts');
    const message = mail({ Subject: 'hello', From: 'A <a@example.org>', 'Content-Type': 'text/html' }, '<p>x</p>\r\n');
    const internalDate = { atMs: 868_000_000_000, zoneMinutes: -420 };
    const uid = await appendTo(mailbox, drafts, message, { flags: ['\\Seen', '$Todo', '\\draft'], ...internalDate });
    using opened = await mailbox.message(drafts, uid);
    expect(opened?.row).toMatchObject({ uid, sizeBytes: message.length, flags: ['\\Seen', '\\Draft', '$Todo'] });
    expect(opened?.summary.internalDate).toEqual(internalDate);
    expect(opened?.summary.scanned.envelope.subject).toBe('hello');
    expect(opened?.summary.scanned.root.subtype.toLowerCase()).toBe('html');
    expect([...(await mailbox.keywords()).values()]).toEqual(['$Todo']);
  });

  test('R1 UIDs ascend and are not given again after an expunge', async () => {
    using mailbox = await fresh();
    const inbox = await folderIdOf(mailbox, 'INBOX');
    for (const name of ['a', 'b', 'c']) await appendTo(mailbox, inbox, mail({}, name), { flags: ['\\Deleted'] });
    expect(await mailbox.expunge(inbox, { deletedOf: [{ first: 2, last: 3 }] })).toEqual([2, 3]);
    expect(await appendTo(mailbox, inbox, mail({}, 'd'))).toBe(4);
    expect(await uidsOf(mailbox, inbox)).toEqual([1, 4]);
    expect(await mailbox.expunge(inbox, 'deleted')).toEqual([1]);
    expect(await mailbox.message(inbox, 1 as Uid)).toBeNull();
  });

  test('R2 R3 flags change with the modification sequence and the counters', async () => {
    using mailbox = await fresh();
    const inbox = await folderIdOf(mailbox, 'INBOX');
    for (const name of ['a', 'b', 'c']) await appendTo(mailbox, inbox, mail({}, name));
    const before = await mailbox.status(inbox);
    expect(before).toMatchObject({ messageCount: 3, unseenCount: 3, deletedCount: 0, uidNext: 4 });
    const range = [{ first: 1, last: 2 }];
    const added = await mailbox.setFlags({ folder: inbox, ranges: range }, { mode: 'add', flags: ['\\Seen', 'work'] });
    expect(added.changed.map((row) => [row.uid, row.flags])).toEqual([
      [1, ['\\Seen', 'work']],
      [2, ['\\Seen', 'work']],
    ]);
    expect((await mailbox.status(inbox)).unseenCount).toBe(1);
    const changes = await mailbox.changesSince(inbox, before.highestModSeq);
    expect(changes.changed.map((row) => row.uid)).toEqual([1, 2]);
    const protectedOne = await mailbox.setFlags(
      { folder: inbox, ranges: [{ first: 1, last: 3 }] },
      { mode: 'replace', flags: ['\\Deleted'], unchangedSince: before.highestModSeq },
    );
    expect(protectedOne.modified).toEqual([1, 2]);
    expect(protectedOne.changed.map((row) => row.uid)).toEqual([3]);
    await mailbox.setFlags({ folder: inbox, ranges: range }, { mode: 'remove', flags: ['WORK'] });
    expect((await flatten(mailbox.rows(inbox, ALL))).map((row) => row.flags)).toEqual([
      ['\\Seen'],
      ['\\Seen'],
      ['\\Deleted'],
    ]);
    expect(await mailbox.status(inbox)).toMatchObject({ messageCount: 3, unseenCount: 1, deletedCount: 1 });
  });

  test('a change that changes nothing leaves the modification sequence', async () => {
    using mailbox = await fresh();
    const inbox = await folderIdOf(mailbox, 'INBOX');
    await appendTo(mailbox, inbox, mail({}, 'a'), { flags: ['\\Seen'] });
    const [row] = await flatten(mailbox.rows(inbox, ALL));
    const again = await mailbox.setFlags({ folder: inbox, ranges: ALL }, { mode: 'add', flags: ['\\Seen'] });
    expect(again.changed[0]?.modSeq).toBe(row?.modSeq);
  });

  test('copies share the body and outlive each other; a move leaves a trace', async () => {
    const ref = await world.addMailbox();
    using mailbox = await world.open(ref);
    const [inbox, archive] = [await folderIdOf(mailbox, 'INBOX'), await folderIdOf(mailbox, 'Archive')];
    const big = mail({ Subject: 'big' }, 'x'.repeat(50_000));
    await appendTo(mailbox, inbox, big, { flags: ['\\Flagged', 'tag'], atMs: 5000 });
    const blobs = join(directory, 'mailboxes', ref.mailbox, 'blobs');
    expect(filesUnder(blobs)).toHaveLength(1);
    const copied = await mailbox.copy({ source: inbox, target: archive, ranges: ALL });
    expect(copied.pairs).toEqual([{ from: 1, to: 1 }]);
    expect(filesUnder(blobs)).toHaveLength(1);
    const since = (await mailbox.status(inbox)).highestModSeq;
    const moved = await mailbox.move({ source: inbox, target: archive, ranges: ALL });
    expect(moved.pairs).toEqual([{ from: 1, to: 2 }]);
    expect(await mailbox.changesSince(inbox, since)).toMatchObject({ changed: [], vanished: [1] });
    expect((await flatten(mailbox.rows(archive, ALL))).map((row) => row.flags)).toEqual([
      ['\\Flagged', 'tag'],
      ['\\Flagged', 'tag'],
    ]);
    await mailbox.setFlags({ folder: archive, ranges: [{ first: 1, last: 1 }] }, { mode: 'add', flags: ['\\Deleted'] });
    await mailbox.expunge(archive, 'deleted');
    expect((await bytesOf(mailbox, archive, 2 as Uid)).equals(big)).toBe(true);
    await mailbox.setFlags({ folder: archive, ranges: ALL }, { mode: 'add', flags: ['\\Deleted'] });
    await mailbox.expunge(archive, 'deleted');
    expect(filesUnder(blobs)).toHaveLength(0);
  });

  test('W4 a discarded message leaves nothing', async () => {
    const ref = await world.addMailbox();
    using mailbox = await world.open(ref);
    const writer = await mailbox.newMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } });
    await writer.write(Buffer.alloc(100_000));
    await writer.discard();
    const finished = await mailbox.newMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } });
    await finished.write(Buffer.alloc(100_000));
    await (await finished.finish()).discard();
    expect(filesUnder(join(directory, 'mailboxes', ref.mailbox, 'blobs'))).toEqual([]);
  });

  test('listeners hear of each change of their folder only', async () => {
    using mailbox = await fresh();
    const [inbox, sent] = [await folderIdOf(mailbox, 'INBOX'), await folderIdOf(mailbox, 'Sent')];
    const heard: ModSeq[] = [];
    using _ = mailbox.listen(inbox, ({ highestModSeq }) => heard.push(highestModSeq));
    await appendTo(mailbox, inbox, mail({}, 'a'));
    await appendTo(mailbox, sent, mail({}, 'b'));
    expect(heard).toEqual([(await mailbox.status(inbox)).highestModSeq]);
  });

  test('many messages: batches come in order, without gaps', async () => {
    using mailbox = await fresh();
    const inbox = await folderIdOf(mailbox, 'INBOX');
    const prepared = [];
    for (let index = 0; index < 1203; index += 1) {
      const writer = await mailbox.newMessage({ internalDate: { atMs: index, zoneMinutes: 0 } });
      await writer.write(mail({ Subject: String(index) }, 'b'));
      prepared.push({ prepared: await writer.finish(), flags: [] });
    }
    await mailbox.append({ folder: inbox, messages: prepared });
    const rows = await flatten(mailbox.rows(inbox, ALL));
    expect(rows.map((row) => row.uid)).toEqual(Array.from({ length: 1203 }, (_, index) => index + 1));
    const subjects: (string | null)[] = [];
    for await (const batch of mailbox.messages(inbox, [{ first: 100, last: 700 }])) {
      for (const message of batch) subjects.push(message.summary.scanned.envelope.subject);
    }
    expect(subjects).toEqual(Array.from({ length: 601 }, (_, index) => String(index + 99)));
    const since = (await mailbox.status(inbox)).highestModSeq;
    await mailbox.setFlags({ folder: inbox, ranges: ALL }, { mode: 'add', flags: ['\\Deleted'] });
    expect((await mailbox.changesSince(inbox, since)).changed).toHaveLength(1203);
    expect(await mailbox.expunge(inbox, 'deleted')).toHaveLength(1203);
    expect(await mailbox.status(inbox)).toMatchObject({
      messageCount: 0,
      unseenCount: 0,
      deletedCount: 0,
      sizeBytes: 0,
    });
  });
});

describe('keys', () => {
  test('W6 with the cache expired and the provider refusing nothing is readable, and all comes back', async () => {
    const ref = await world.addMailbox();
    using mailbox = await world.open(ref);
    const inbox = await folderIdOf(mailbox, 'INBOX');
    const uid = await appendTo(mailbox, inbox, mail({ Subject: 'secret' }, 'words'));
    world.refuse('unreachable');
    expect(await bytesOf(mailbox, inbox, uid)).toEqual(mail({ Subject: 'secret' }, 'words')); // still cached
    world.advance(60_000);
    const unavailable = { code: 'key-unavailable' };
    await expect(bytesOf(mailbox, inbox, uid)).rejects.toMatchObject(unavailable);
    await expect(mailbox.folders()).rejects.toMatchObject(unavailable);
    await expect(mailbox.folder('INBOX')).rejects.toMatchObject(unavailable);
    await expect(mailbox.newMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } })).rejects.toMatchObject(unavailable);
    await expect(mailbox.copy({ source: inbox, target: inbox, ranges: ALL })).rejects.toMatchObject(unavailable);
    // what needs no key goes on: counters and flags
    expect(await mailbox.status(inbox)).toMatchObject({ messageCount: 1 });
    expect(await flatten(mailbox.rows(inbox, ALL))).toHaveLength(1);
    world.refuse(null);
    world.advance(60_000); // past any pause of the circuit breaker
    expect(await bytesOf(mailbox, inbox, uid)).toEqual(mail({ Subject: 'secret' }, 'words'));
  });

  test('W8 no word of the customer is on disk in any form', async () => {
    const ref = await world.addMailbox();
    using mailbox = await world.open(ref);
    const word = (name: string): string => `canary${name}q7x`;
    const folder = await mailbox.createFolder({ name: word('folder') });
    await mailbox.subscribe(word('subscription'));
    const message = mail(
      {
        Subject: word('subject'),
        From: `${word('from')}@example.org`,
        'Content-Type': `text/plain; name=${word('file')}`,
      },
      `${word('body')}\r\n`.repeat(3),
    );
    await appendTo(mailbox, folder.id, message, { flags: [word('keyword')] });
    await appendTo(mailbox, folder.id, Buffer.concat([message, Buffer.alloc(90_000, word('large'))]), {});
    const key = { kind: 'text', text: word('body') } as const;
    const found = await mailbox.search({ folder: folder.id, key, within: ALL, resolve: () => [] });
    expect(found).toHaveLength(2);
    await mailbox.setFlags({ folder: folder.id, ranges: ALL }, { mode: 'add', flags: ['\\Seen'] });
    const forms = (text: string): Buffer[] => [
      Buffer.from(text),
      Buffer.from(text.toUpperCase()),
      Buffer.from(text, 'utf16le'),
      Buffer.from(Buffer.from(text).toString('hex')),
      ...[0, 1, 2].map((phase) =>
        Buffer.from(
          Buffer.from('x'.repeat(phase) + text)
            .toString('base64')
            .slice(phase ? 4 : 0, -4),
        ),
      ),
    ];
    const files = filesUnder(directory);
    expect(files.length).toBeGreaterThan(4);
    for (const file of files) {
      const bytes = readFileSync(file);
      for (const name of ['folder', 'subscription', 'subject', 'from', 'file', 'body', 'keyword', 'large']) {
        for (const form of forms(word(name))) expect(bytes.includes(form), `${file} holds ${word(name)}`).toBe(false);
      }
    }
  });
});

test('M1 more mailboxes than may be open at once are served in turn', async () => {
  await using small = await mailboxWorld(join(directory, 'small'), { maxOpenCount: 2 });
  const refs = await Promise.all(Array.from({ length: 6 }, () => small.addMailbox()));
  for (const round of ['first', 'second']) {
    await Promise.all(
      refs.map(async (ref) => {
        using mailbox = await small.open(ref);
        await appendTo(mailbox, await folderIdOf(mailbox, 'INBOX'), mail({ Subject: round }, ''));
      }),
    );
    expect(small.mailboxes.openCount).toBeLessThanOrEqual(2);
  }
  for (const ref of refs) {
    using mailbox = await small.open(ref);
    expect(await mailbox.status(await folderIdOf(mailbox, 'INBOX'))).toMatchObject({ messageCount: 2 });
  }
});

test('below the free-space reserve mail is refused for the time being, and what is there stays readable', async () => {
  await using full = await mailboxWorld(join(directory, 'full'), { freeSpaceReserveBytes: 2 ** 60 });
  using mailbox = await full.open(await full.addMailbox());
  const refused = mailbox.newMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } });
  await expect(refused).rejects.toMatchObject({ code: 'storage-full', retryable: true });
  expect(await mailbox.folders()).toHaveLength(6);
});
