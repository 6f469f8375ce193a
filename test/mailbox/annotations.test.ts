import { afterAll, beforeAll, expect, test } from 'vitest';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
let world: MailboxWorld;
beforeAll(async () => {
  world = await mailboxWorld(directory);
});
afterAll(() => world[Symbol.asyncDispose]());

const change = (name: string, value: string | null) => ({ name, value: value === null ? null : Buffer.from(value) });

test('N1 one name in any case is one annotation; what would be too many changes nothing', async () => {
  const ref = await world.addMailbox();
  using mailbox = await world.mailboxes.open(ref, { protocol: 'test' });
  const inbox = (await mailbox.folder('INBOX'))!.id;
  expect(
    await mailbox.annotate({ folder: inbox, changes: [change('/private/a', '1'), change('/PRIVATE/A', '2')] }),
  ).toBe(true);
  expect(await mailbox.annotations(inbox)).toEqual([{ name: '/PRIVATE/A', value: Buffer.from('2') }]);
  const many = Array.from({ length: 1000 }, (_, at) => change(`/private/n${String(at)}`, 'x'));
  expect(await mailbox.annotate({ folder: null, changes: many })).toBe(false);
  expect(await mailbox.annotations(null)).toEqual([]);
  expect(await mailbox.annotate({ folder: null, changes: many.slice(1) })).toBe(true);
  expect(await mailbox.annotate({ folder: inbox, changes: [change('/private/b', 'x')] })).toBe(false);
  expect(
    await mailbox.annotate({ folder: inbox, changes: [change('/private/a', null), change('/private/b', 'x')] }),
  ).toBe(true);
  const large = Array.from({ length: 70 }, (_, at) => change(`/private/n${String(at)}`, 'x'.repeat(65_536)));
  expect(await mailbox.annotate({ folder: null, changes: large })).toBe(false);
  await expect(mailbox.annotate({ folder: (inbox + 99) as typeof inbox, changes: [] })).rejects.toMatchObject({
    code: 'not-found',
  });
});

test('N2 a rotation of the key seals annotations anew, and they are found as before', async () => {
  const ref = await world.addMailbox();
  using mailbox = await world.mailboxes.open(ref, { protocol: 'test' });
  const inbox = (await mailbox.folder('INBOX'))!.id;
  await mailbox.annotate({ folder: inbox, changes: [change('/private/comment', 'kept')] });
  await mailbox.rotateKey({
    rootKey: { provider: 'local-keyring', rootKey: 'local:default' },
    onProgress: () => undefined,
  });
  expect(await mailbox.annotations(inbox)).toEqual([{ name: '/private/comment', value: Buffer.from('kept') }]);
  await mailbox.annotate({ folder: inbox, changes: [change('/private/comment', null)] });
  expect(await mailbox.annotations(inbox)).toEqual([]);
});
