import { expect, test } from 'vitest';
import type { NumberSet } from '../../src/base/uid-set.ts';
import { FolderView } from '../../src/imap/view.ts';
import { appendTo } from '../support/messages.ts';
import { mailboxWorld } from '../support/mailbox-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const MESSAGE = Buffer.from('Subject: x\r\n\r\nx');

function set(ranges: NumberSet, openFrom: number | null = null) {
  return { kind: 'set', set: { ranges, openFrom } } as const;
}

/** What is behind each sequence number. */
function uidsOf(view: FolderView): number[] {
  return Array.from({ length: view.count }, (_, index) => {
    const [range] = view.resolve(set([{ first: index + 1, last: index + 1 }]), 'sequence');
    return range?.first ?? 0;
  });
}

test('V1 V2 V3 a client that follows what it is told has the folder, whatever others do', async () => {
  await using world = await mailboxWorld(`${directory}/model`);
  using mailbox = await world.open(await world.addMailbox());
  const folder = (await mailbox.folder('INBOX'))!;
  for (let count = 0; count < 20; count += 1) await appendTo(mailbox, folder.id, MESSAGE);
  using view = await FolderView.open(mailbox, folder, { isReadOnly: false });
  const client = uidsOf(view);
  let seed = 11;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  for (let step = 0; step < 150; step += 1) {
    const { uids } = await mailbox.snapshot(folder.id);
    const first = uids[random(uids.length)] ?? 1;
    const ranges = [{ first, last: first + random(3) }];
    switch (random(4)) {
      case 0:
        await appendTo(mailbox, folder.id, MESSAGE);
        await appendTo(mailbox, folder.id, MESSAGE);
        break;
      case 1:
        await mailbox.setFlags({ folder: folder.id, ranges }, { mode: 'add', flags: ['\\Deleted'] });
        break;
      case 2:
        await mailbox.expunge(folder.id, 'deleted');
        break;
      default: {
        const mayExpunge = random(2) === 0;
        const update = await view.sync({ mayExpunge });
        if (!mayExpunge) expect(update.expunged).toEqual([]);
        for (const sequence of update.expunged) client.splice(sequence - 1, 1);
        if (update.exists !== null) client.push(...uidsOf(view).slice(client.length));
        expect(client).toEqual(uidsOf(view));
        for (const row of update.changed) expect(client[view.sequenceOf(row.uid) - 1]).toBe(row.uid);
      }
    }
  }
  await view.sync({ mayExpunge: true });
  expect(uidsOf(view)).toEqual([...(await mailbox.snapshot(folder.id)).uids]);
});

test('V2 sets end where the client knows the folder to end; unknown sequence numbers are a fault', async () => {
  await using world = await mailboxWorld(`${directory}/sets`);
  using mailbox = await world.open(await world.addMailbox());
  const folder = (await mailbox.folder('INBOX'))!;
  using empty = await FolderView.open(mailbox, folder, { isReadOnly: false });
  expect(empty.resolve(set([], 1), 'sequence')).toEqual([]);
  expect(empty.resolve(set([], 1), 'uid')).toEqual([]);
  for (let count = 0; count < 3; count += 1) await appendTo(mailbox, folder.id, MESSAGE);
  using view = await FolderView.open(mailbox, folder, { isReadOnly: false });
  await appendTo(mailbox, folder.id, MESSAGE);
  expect(view.resolve(set([], 1), 'uid')).toEqual([{ first: 1, last: 3 }]);
  expect(view.resolve(set([{ first: 2, last: 9 }]), 'uid')).toEqual([{ first: 2, last: 3 }]);
  expect(view.resolve(set([], 7), 'sequence')).toEqual([{ first: 3, last: 3 }]);
  expect(() => view.resolve(set([{ first: 4, last: 4 }]), 'sequence')).toThrow('sequence number');
  expect(view.isStale(false)).toBe(true);
  expect((await view.sync({ mayExpunge: false })).exists).toBe(4);
  expect(view.resolve(set([{ first: 4, last: 4 }]), 'sequence')).toEqual([{ first: 4, last: 4 }]);
});

test('what a command told is not told again', async () => {
  await using world = await mailboxWorld(`${directory}/told`);
  using mailbox = await world.open(await world.addMailbox());
  const folder = (await mailbox.folder('INBOX'))!;
  await appendTo(mailbox, folder.id, MESSAGE);
  using view = await FolderView.open(mailbox, folder, { isReadOnly: false });
  const target = { folder: folder.id, ranges: [{ first: 1, last: 1 }] };
  view.noteTold((await mailbox.setFlags(target, { mode: 'add', flags: ['\\Seen'] })).changed);
  expect((await view.sync({ mayExpunge: true })).changed).toEqual([]);
  await mailbox.setFlags(target, { mode: 'add', flags: ['$New'] });
  const update = await view.sync({ mayExpunge: true });
  expect(update.changed.map((row) => row.flags)).toEqual([['\\Seen', '$New']]);
  expect(update.hasNewKeywords).toBe(true);
  expect(await view.tellKeywords()).toEqual(['$New']);
  await mailbox.setFlags(target, { mode: 'remove', flags: ['\\Seen'] });
  expect(await view.sync({ mayExpunge: true })).toMatchObject({
    hasNewKeywords: false,
    changed: [{ flags: ['$New'] }],
  });
});
