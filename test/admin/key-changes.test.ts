import { expect, test } from 'vitest';
import type { KeyChangeState } from '../../src/keys/key-changes.ts';
import { openAdmin, type AdminFixture } from './fixture.ts';

async function withMailboxes(admin: AdminFixture): Promise<void> {
  for (const line of [
    'org create Example',
    'domain create example.org',
    'mailbox create ann@example.org --no-password',
    'mailbox create bob@example.org --no-password',
    'keyring add second',
  ]) {
    expect(await admin.run(line)).toMatchObject({ code: 0, error: '' });
  }
}
const lines = (out: string): KeyChangeState[] =>
  out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as KeyChangeState);

test('key move prints its progress, and key list shows the new root key', async () => {
  await using admin = await openAdmin();
  await withMailboxes(admin);
  const moved = await admin.run('key move --org Example --provider local-keyring --key second');
  expect(moved).toMatchObject({ code: 0, error: '' });
  expect(moved.out).toMatch(/^(\d\/\d keys, .*\n)*3\/3 keys, done in \d+\.\d s, \d+\/s\n$/);
  expect((await admin.run('key list')).out.match(/local:second/g)).toHaveLength(3);
  expect((await admin.run('org list')).out).toContain('local:second');
});

test('without a key the newest version of the present one is meant, and again changes nothing', async () => {
  await using admin = await openAdmin();
  await withMailboxes(admin);
  await admin.run('keyring rotate default');
  for (let times = 0; times < 2; times += 1) {
    const states = lines((await admin.run('key move --json')).out);
    expect(states.at(-1)).toMatchObject({ kind: 'move', state: 'done', doneCount: 3, totalCount: 3, failure: null });
  }
});

test('key rotate takes a mailbox or an organization, and key list shows the epochs', async () => {
  await using admin = await openAdmin();
  await withMailboxes(admin);
  const one = await admin.run('key rotate Ann@example.org');
  expect(one).toMatchObject({ code: 0, error: '' });
  expect(one.out).toMatch(/0\/0 messages, done in .*, 0 message keys wrapped anew\n$/);
  const all = lines((await admin.run('key rotate --org Example --json')).out);
  expect(all.at(-1)).toMatchObject({ kind: 'rotate', unit: 'mailboxes', mailbox: null, doneCount: 2, totalCount: 2 });
  const listed = await admin.json<{ owner: string; epoch: number; state: string }[]>('key list');
  expect(
    listed
      .filter((row) => row.owner !== 'directory')
      .map((row) => [row.epoch, row.state])
      .sort(),
  ).toEqual([
    [2, 'active'],
    [3, 'active'],
  ]);
});

test('a rotation that was begun shows both epochs, and is ended by the same command, which says so', async () => {
  await using admin = await openAdmin();
  await withMailboxes(admin);
  const { ref } = await admin.base.accounts.mailboxes.require('ann@example.org');
  const rootKey = { provider: 'local-keyring', rootKey: 'local:default' } as const;
  const use = { purpose: 'test', protocol: 'test' };
  await admin.base.keys.changes.beginRotation(ref, rootKey, { use });
  expect((await admin.run('key list')).out).toMatch(/ 1 +retiring .*\n.* 2 +active /);
  expect((await admin.run('key rotate --org Example')).out).toMatch(
    /^(.*\n)*1\/1 mailboxes, done .*\nThis ended a change/,
  );
  expect((await admin.run('key list')).out).not.toContain('retiring');
});

test.for([
  ['key move --org Nobody --key second', 'There is no organization Nobody'],
  ['key move --provider aws-kms', 'Name the root key too'],
  ['key move --key nothing', 'no such key'],
  ['key rotate', 'Name either a mailbox or'],
  ['key rotate ann@example.org --org Example', 'Name either a mailbox or'],
  ['key rotate nobody@example.org', 'There is no mailbox nobody@example.org'],
] as const)('%s fails with the reason', async ([line, reason]) => {
  await using admin = await openAdmin();
  await withMailboxes(admin);
  const { code, error } = await admin.run(line);
  expect(code).toBe(1);
  expect(error).toContain(reason);
});

test('key second set, verify and remove', async () => {
  await using admin = await openAdmin();
  await withMailboxes(admin);
  const set = await admin.run('key second set --provider local-keyring --key second');
  expect(set).toMatchObject({ code: 0, error: '' });
  expect(set.out).toMatch(/3\/3 keys, done in /);
  expect(await admin.run('key second set --provider local-keyring --key default')).toMatchObject({
    code: 1,
    error: expect.stringContaining('the first root key already') as string,
  });
  expect((await admin.run('key verify')).out).toMatch(/3\/3 keys, done in /);
  expect((await admin.run('status')).out).toMatch(/wrapped keys +all opened, /);
  expect((await admin.run('grant list')).out).toContain('local:second');
  const removed = await admin.run('key second remove');
  expect(removed).toMatchObject({ code: 0, out: 'Removed 3 wrappings under local-keyring local:second.\n' });
  expect(await admin.run('key second remove')).toMatchObject({
    code: 1,
    error: expect.stringContaining('no second root key') as string,
  });
});
