import { expect, test } from 'vitest';
import { WrappedKeys, type NewWrappedKey } from '../../src/keys/mailbox-keys.ts';
import { firstEpoch, mailbox, nextEpoch, organization, otherMailbox, otherOrganization } from '../crypto/fixtures.ts';
import { directoryDatabases } from './directory-database.ts';

const open = directoryDatabases();
const row: NewWrappedKey = {
  organization,
  owner: mailbox,
  epoch: firstEpoch,
  provider: 'local-keyring',
  rootKey: 'local:default',
  wrapped: Buffer.from('wrapped'),
  sealedPublic: Buffer.from('public'),
  state: 'active',
  createdAtMs: 5,
  second: null,
};

test('MK1 rows come back as they went in; the active epoch is the newest', async () => {
  const database = await open([organization, otherOrganization]);
  const keys = new WrappedKeys(database);
  const rows: NewWrappedKey[] = [
    row,
    { ...row, epoch: nextEpoch },
    { ...row, owner: 'directory' },
    { ...row, owner: otherMailbox, state: 'retiring' },
    { ...row, organization: otherOrganization },
  ];
  database.transaction(() => {
    for (const each of rows) keys.insert(each);
  });
  const { second: _none, ...stored } = row;
  expect(keys.find(organization, mailbox, firstEpoch)).toEqual(stored);
  expect(keys.find(organization, mailbox, nextEpoch)?.epoch).toBe(2);
  expect(keys.find(otherOrganization, mailbox, nextEpoch)).toBe(null);
  expect(keys.activeEpoch(organization, mailbox)).toBe(2);
  expect(keys.activeEpoch(organization, otherMailbox)).toBe(null);
  expect(keys.list()).toHaveLength(5);
  expect(keys.list(organization).map(({ owner, epoch }) => [owner, epoch])).toEqual([
    [otherMailbox, 1],
    [mailbox, 1],
    [mailbox, 2],
    ['directory', 1],
  ]);
});

test('MK2 a row is never overwritten', async () => {
  const database = await open([organization]);
  const keys = new WrappedKeys(database);
  keys.insert(row);
  expect(() => {
    keys.insert({ ...row, wrapped: Buffer.from('other') });
  }).toThrow();
  expect(keys.find(organization, mailbox, firstEpoch)?.wrapped).toEqual(row.wrapped);
});

test('a new epoch has the older ones retire, and only those are removed; without any it is refused', async () => {
  const database = await open([organization]);
  const keys = new WrappedKeys(database);
  const ref = { organization, mailbox };
  const states = (): string[] =>
    keys.list(organization).map(({ owner, epoch, state }) => `${owner} ${String(epoch)} ${state}`);
  await expect(keys.advance({ ...row, epoch: nextEpoch })).rejects.toMatchObject({ code: 'not-found' });
  database.transaction(() => {
    for (const owner of [mailbox, otherMailbox, 'directory'] as const) keys.insert({ ...row, owner });
  });
  expect(keys.activeEpoch(organization, mailbox)).toBe(1);
  await keys.advance({ ...row, epoch: nextEpoch });
  expect(keys.activeEpoch(organization, mailbox)).toBe(2);
  expect(keys.epochs(ref).map(({ epoch, state }) => [epoch, state])).toEqual([
    [1, 'retiring'],
    [2, 'active'],
  ]);
  expect(keys.rotating(organization)).toEqual([mailbox]);
  await keys.removeOlder(ref, nextEpoch);
  expect(states()).toEqual([`${otherMailbox} 1 active`, `${mailbox} 2 active`, 'directory 1 active']);
  await keys.removeOlder(ref, nextEpoch);
  await keys.retireMailboxKeys(organization);
  expect(states()).toEqual([`${otherMailbox} 1 retiring`, `${mailbox} 2 retiring`, 'directory 1 active']);
  expect(keys.rotating(organization)).toEqual([otherMailbox, mailbox]);
});

test('MK2 a wrapping is replaced only while it is the one that was read', async () => {
  const database = await open([organization]);
  const keys = new WrappedKeys(database);
  keys.insert(row);
  const moved: NewWrappedKey = { ...row, provider: 'aws-kms', rootKey: 'arn', wrapped: Buffer.from('by another') };
  await keys.replace(row, moved);
  expect(keys.find(organization, mailbox, firstEpoch)).toMatchObject({
    provider: 'aws-kms',
    rootKey: moved.rootKey,
    wrapped: moved.wrapped,
  });
  await keys.replace(row, { ...row, wrapped: Buffer.from('too late') });
  expect(keys.find(organization, mailbox, firstEpoch)).toMatchObject({
    provider: 'aws-kms',
    rootKey: moved.rootKey,
    wrapped: moved.wrapped,
  });
  expect(keys.list()).toHaveLength(1);
});
