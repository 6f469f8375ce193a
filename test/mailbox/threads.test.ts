import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FolderId, Uid } from '../../src/base/ids.ts';
import { threadPieces } from '../../src/imap/proto/thread-text.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { scanMessage } from '../../src/mime/scan.ts';
import { folderIdOf, mail } from '../support/messages.ts';
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

async function append(message: Buffer, options: Readonly<{ isOld: boolean }>): Promise<Uid> {
  const scanned = { ...scanMessage(message), ...(options.isOld ? { references: null } : {}) };
  const internalDate = { atMs: 0, zoneMinutes: 0 };
  const writer = await mailbox.newMessage({ internalDate, scanned: () => scanned });
  await writer.write(message);
  const { uids } = await mailbox.append({
    folder: inbox,
    messages: [{ prepared: await writer.finish(), flags: [] }],
  });
  return uids[0]!;
}

test('a message whose summary was sealed before references were kept is threaded by its header', async () => {
  const uids = [
    await append(mail({ 'Message-ID': '<1@x>' }, ''), { isOld: true }),
    await append(mail({ 'Message-ID': '<2@x>', References: '<1@x>' }, ''), { isOld: true }),
    await append(mail({ 'Message-ID': '<3@x>', References: '<1@x> <2@x>' }, ''), { isOld: false }),
    await append(mail({ 'Message-ID': '<4@x>', 'In-Reply-To': '<3@x>' }, ''), { isOld: true }),
  ];
  const threads = await mailbox.threads({ folder: inbox, uids }, 'references');
  expect([...threadPieces(threads, (uid) => uid)].join('')).toBe('(1 2 3 4)');
});

test('O2 what is equal stays in the order of the folder, and what is gone is left out', async () => {
  const uids = [4, 2, 3, 99, 1] as Uid[];
  const sizes = { folder: inbox, uids };
  expect(await mailbox.sort(sizes, [{ key: 'subject', isReverse: true }])).toEqual([1, 2, 3, 4]);
  expect(await mailbox.sort(sizes, [{ key: 'size', isReverse: false }])).toEqual([1, 2, 4, 3]);
  expect(
    await mailbox.sort(sizes, [
      { key: 'size', isReverse: true },
      { key: 'arrival', isReverse: true },
    ]),
  ).toEqual([3, 4, 2, 1]);
});
