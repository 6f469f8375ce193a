/** The examination of a directory: silent over a sound one, and with a fault for each thing that is changed. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DirectoryExamination } from '../../src/accounts/examine.ts';
import { DatabaseReader } from '../../src/db/reader.ts';
import { LOCAL_KEY, openFixture } from './fixture.ts';

const USE = { purpose: 'test', protocol: 'test' } as const;

async function examined(...statements: readonly string[]): Promise<string[]> {
  await using fixture = await openFixture();
  await using reader = new DatabaseReader();
  const { accounts, directory, keys, folder } = fixture;
  const organization = await accounts.organizations.create({ name: 'Example', ...LOCAL_KEY });
  await accounts.domains.create('example.org', organization);
  await accounts.mailboxes.create({ address: 'ann@example.org', password: 'a long password' });
  await accounts.mailboxes.create({ address: 'bob@example.org', keyKind: 'pair' });
  await accounts.addresses.createAlias('sales@example.org', 'ann@example.org');
  await accounts.transitKeys.publicKey(organization, USE);
  for (const sql of statements) directory.prepare(sql).run();
  await directory.durable();
  const file = join(folder, 'directory.db');
  const examination = new DirectoryExamination({ directory, keys, nowMs: Date.now, reader, file });
  const faults = [...(await examination.faults()), ...(await examination.recordFaults(organization))];
  return faults.map(({ what, remedy }) => `${remedy}: ${what}`);
}

test('a sound directory has no fault, transit key included', async () => {
  expect(await examined()).toEqual([]);
});

test.for([
  ['by-hand: a mailbox has no key', `DELETE FROM wrapped_keys WHERE owner NOT IN ('directory', 'transit')`],
  ['by-hand: a mailbox has no address of its own, or several', `UPDATE addresses SET kind = 'primary'`],
  ['by-hand: a mailbox has no address of its own, or several', 'DELETE FROM addresses'],
  ['by-hand: a deletion has not ended: the next start ends it', `UPDATE mailboxes SET state = 'deleting'`],
  ['kept: a record of the directory does not open', `UPDATE mailboxes SET sealed_profile = zeroblob(60)`],
  [
    'kept: a record of the directory does not open',
    `UPDATE mailboxes SET sealed_credential = zeroblob(60) WHERE sealed_credential IS NOT NULL`,
  ],
  [
    'kept: a record of the directory does not open',
    `UPDATE addresses SET sealed_local = zeroblob(60) WHERE kind = 'alias'`,
  ],
  [
    'kept: a record of the directory does not open',
    `UPDATE addresses SET local_index = zeroblob(16) WHERE kind = 'alias'`,
  ],
  [
    'kept: a record of the directory does not open',
    `UPDATE wrapped_keys SET sealed_public = zeroblob(60) WHERE owner = 'transit'`,
  ],
])('DX1 %s', async ([fault = '', sql = '']) => {
  expect(await examined(sql)).toContain(fault);
});
