import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { appendTo, folderIdOf, mail } from '../support/messages.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { keep } from './waiting-mail.ts';

const base = temporaryDirectory();
const TEXT = mail({ Subject: 'one' }, 'x'.repeat(1000));
const ALL = [{ first: 1, last: 0xffff_ffff }];
const FULL = { code: 'over-quota', retryable: true };

async function started(): Promise<{ world: MailboxWorld; mailbox: Mailbox }> {
  const world = await mailboxWorld(mkdtempSync(join(base, 'world-')), { hasDirectoryKey: true });
  onTestFinished(() => world[Symbol.asyncDispose]());
  const mailbox = await world.open(await world.addMailbox());
  onTestFinished(() => {
    mailbox[Symbol.dispose]();
  });
  return { world, mailbox };
}
const prepared = async (mailbox: Mailbox, text: Uint8Array) => {
  const writer = await mailbox.newMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } });
  await writer.write(text);
  return { prepared: await writer.finish(), flags: [] };
};

test('Q1 what a mailbox holds: all folders, copies, and what waits', async () => {
  const { mailbox } = await started();
  const [inbox, archive] = [await folderIdOf(mailbox, 'INBOX'), await folderIdOf(mailbox, 'Archive')];
  expect(mailbox.usage()).toEqual({ sizeBytes: 0, messagesCount: 0 });
  await appendTo(mailbox, inbox, TEXT);
  await mailbox.copy({ source: inbox, target: archive, ranges: ALL });
  expect(mailbox.usage()).toEqual({ sizeBytes: 2 * TEXT.length, messagesCount: 2 });
  await keep(mailbox, 1);
  const { sizeBytes, messagesCount } = mailbox.usage();
  expect(messagesCount).toBe(3);
  await mailbox.adoptWaiting();
  expect(mailbox.usage()).toEqual({ sizeBytes, messagesCount });
  await mailbox.move({ source: inbox, target: archive, ranges: ALL });
  expect(mailbox.usage()).toEqual({ sizeBytes, messagesCount });
});

test.for([
  ['bytes', { maxBytes: 2 * TEXT.length, maxMessagesCount: null }],
  ['messages', { maxBytes: null, maxMessagesCount: 2 }],
] as const)('Q2 a quota of %s: what fits goes in, the next does not, and nothing is left of it', async ([, quota]) => {
  const { world, mailbox } = await started();
  const inbox = await folderIdOf(mailbox, 'INBOX');
  world.limit(quota);
  await appendTo(mailbox, inbox, TEXT);
  const late = [await prepared(mailbox, TEXT), await prepared(mailbox, TEXT)];
  await expect(mailbox.append({ folder: inbox, messages: late })).rejects.toMatchObject(FULL);
  await appendTo(mailbox, inbox, TEXT);
  expect(mailbox.usage()).toEqual({ sizeBytes: 2 * TEXT.length, messagesCount: 2 });
  await expect(appendTo(mailbox, inbox, TEXT)).rejects.toMatchObject(FULL);
  const archive = await folderIdOf(mailbox, 'Archive');
  await expect(mailbox.copy({ source: inbox, target: archive, ranges: ALL })).rejects.toMatchObject(FULL);
  expect((await mailbox.status(archive)).messageCount).toBe(0);
  await expect(keep(mailbox, 1)).rejects.toMatchObject(FULL);
  expect(mailbox.hasWaiting).toBe(false);

  // What makes room, and what needs none, goes on.
  await mailbox.move({ source: inbox, target: archive, ranges: ALL });
  await mailbox.setFlags({ folder: archive, ranges: [{ first: 1, last: 1 }] }, { mode: 'add', flags: ['\\Deleted'] });
  await mailbox.expunge(archive, 'deleted');
  await appendTo(mailbox, inbox, TEXT);
  world.limit(null);
  await appendTo(mailbox, inbox, TEXT);
});

test('many at once do not slip past together', async () => {
  const { world, mailbox } = await started();
  const inbox = await folderIdOf(mailbox, 'INBOX');
  world.limit({ maxBytes: null, maxMessagesCount: 5 });
  const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => appendTo(mailbox, inbox, TEXT)));
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
  expect(mailbox.usage().messagesCount).toBe(5);
});
