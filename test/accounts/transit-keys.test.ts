import { expect, test } from 'vitest';
import { TransitKeys } from '../../src/accounts/transit-keys.ts';
import { epoch } from '../../src/base/ids.ts';
import { deletion, LOCAL_KEY, openFixture, setRootKeyState } from './fixture.ts';

const USE = { purpose: 'test', protocol: 'test' } as const;

async function started() {
  const fixture = await openFixture();
  const { accounts, keys } = fixture;
  const organization = await accounts.organizations.create({ name: 'Example', ...LOCAL_KEY });
  const transitKeys = () => keys.listKeys(organization).filter(({ owner }) => owner === 'transit');
  return { fixture, organization, transitKeys, transit: accounts.transitKeys };
}

test('TK1 it is made on first need, once however many need it at once, and stays', async () => {
  const { fixture, organization, transitKeys, transit } = await started();
  await using _fixture = fixture;
  expect(transitKeys()).toEqual([]);
  const made = await Promise.all([1, 2, 3].map(() => transit.publicKey(organization, USE)));
  expect(transitKeys()).toMatchObject([{ epoch: 1, state: 'active' }]);
  expect(new Set(made.map(({ key }) => Buffer.from(key).toString('hex'))).size).toBe(1);
  const reopened = await fixture.reopened();
  const again = new TransitKeys({ directory: reopened.directory, keys: reopened.keys, nowMs: Date.now });
  expect(await again.publicKey(organization, USE)).toEqual(made[0]);
  await reopened[Symbol.asyncDispose]();
});

test('TK2 sealing needs no root key once there is one; opening does, and a suspended organization gets none', async () => {
  const { fixture, organization, transit } = await started();
  await using _fixture = fixture;
  await transit.publicKey(organization, USE);
  const open = async (): Promise<void> => {
    using _lease = await transit.lease({ organization, epoch: epoch(1) }, USE);
  };
  await open();
  await fixture.accounts.organizations.setState(organization, 'suspended');
  await expect(open()).rejects.toMatchObject({ code: 'suspended' });
  await fixture.accounts.organizations.setState(organization, 'active');
  await open();
  setRootKeyState(fixture, 'default', 'disabled');
  fixture.keys.forget(organization);
  await expect(open()).rejects.toMatchObject({ code: 'key-refused' });
});

test('it moves and is verified with the other keys, is left alone by rotations, and goes with its organization', async () => {
  const { fixture, organization, transitKeys, transit } = await started();
  await using _fixture = fixture;
  const { keys, accounts } = fixture;
  const { key } = await transit.publicKey(organization, USE);
  const [row] = keys.changes.rows(organization).filter(({ owner }) => owner === 'transit');
  if (!row) throw new Error('no transit key');
  await keys.changes.verify(row, { use: USE });
  await keys.changes.move(row, { provider: 'local-keyring', rootKey: row.rootKey }, { use: USE });
  expect((await transit.publicKey(organization, USE)).key).toEqual(key);
  await keys.changes.retireMailboxKeys(organization);
  expect(keys.changes.rotating(organization)).toEqual([]);
  expect(transitKeys()).toMatchObject([{ state: 'active' }]);
  await keys.changes.setSecondRootKey(organization, { provider: 'local-keyring', rootKey: row.rootKey });
  const lacking = keys.changes.lackingSecond(organization, { provider: 'local-keyring', rootKey: row.rootKey });
  expect(lacking.map(({ owner }) => owner).sort()).toEqual(['directory', 'transit']);
  expect(transit.isGone(organization)).toBe(false);
  const gone = deletion();
  await accounts.organizations.delete(organization, gone);
  expect(gone.certified.flatMap((one) => one.keys.map(({ owner }) => owner)).sort()).toEqual(['directory', 'transit']);
  expect(transit.isGone(organization)).toBe(true);
  await expect(transit.publicKey(organization, USE)).rejects.toMatchObject({ code: 'not-found' });
});
