import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FolderId, Uid } from '../../src/base/ids.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { appendTo, bytesOf, folderIdOf } from '../support/messages.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
let world: MailboxWorld;
let mailbox: Mailbox;
let inbox: FolderId;

beforeAll(async () => {
  world = await mailboxWorld(directory);
  mailbox = await world.open(await world.addMailbox());
  inbox = await folderIdOf(mailbox, 'INBOX');
});
afterAll(async () => {
  mailbox[Symbol.dispose]();
  await world[Symbol.asyncDispose]();
});

async function replace(uid: Uid, message: string, folder = inbox): Promise<Uid> {
  const writer = await mailbox.newMessage({ internalDate: { atMs: 0, zoneMinutes: 0 }, isReplacement: true });
  await writer.write(Buffer.from(message));
  const messages = [{ prepared: await writer.finish(), flags: [] }];
  const { uids } = await mailbox.append({ folder, messages, replaced: { folder: inbox, uid } });
  return uids[0]!;
}

/** RFC 8508 §3.4. */
test('a message and its replacement change places in one step, and the quota counts what comes of both', async () => {
  const first = await appendTo(mailbox, inbox, Buffer.from('x'.repeat(1000)));
  world.limit({ maxBytes: 1700, maxMessagesCount: 1 });
  const before = await mailbox.status(inbox);
  const second = await replace(first, 'y'.repeat(1500));
  expect(await mailbox.message(inbox, first)).toBeNull();
  expect((await bytesOf(mailbox, inbox, second)).length).toBe(1500);
  const { changed, vanished } = await mailbox.changesSince(inbox, before.highestModSeq);
  expect([changed.map(({ uid }) => uid), vanished]).toEqual([[second], [first]]);
  await expect(replace(second, 'z'.repeat(1800))).rejects.toMatchObject({ code: 'over-quota' });
  expect((await bytesOf(mailbox, inbox, second)).length).toBe(1500);
  world.limit(null);
});

test('nothing is appended for a message that is gone, nothing removed where the folder is', async () => {
  const uid = await appendTo(mailbox, inbox, Buffer.from('here'));
  const { messageCount } = await mailbox.status(inbox);
  await expect(replace(9999 as Uid, 'new')).rejects.toMatchObject({ code: 'not-found' });
  await expect(replace(uid, 'new', 9999 as FolderId)).rejects.toMatchObject({ code: 'not-found' });
  expect((await mailbox.status(inbox)).messageCount).toBe(messageCount);
  expect((await bytesOf(mailbox, inbox, uid)).toString()).toBe('here');
});
