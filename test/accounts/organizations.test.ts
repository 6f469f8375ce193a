import { expect, test } from 'vitest';
import { organizationId } from '../../src/base/ids.ts';
import { addKeyringKey } from '../../src/keys/providers/keyring-file.ts';
import { LOCAL_KEY, madeDomain, openFixture, setRootKeyState, deletion } from './fixture.ts';

const TEST_USE = { purpose: 'test', protocol: 'test' };

test('O1 an organization is found by name or id, also after a restart', async () => {
  await using before = await openFixture();
  const id = await before.accounts.organizations.create({ name: ' Example\u00a0GmbH ', ...LOCAL_KEY });
  await using fixture = await before.reopened();
  const { organizations } = fixture.accounts;
  const found = await organizations.find('example\u00a0gmbh');
  expect(found).toMatchObject({
    id,
    name: 'Example\u00a0GmbH',
    state: 'active',
    rootKey: 'local:default',
    domainsCount: 0,
  });
  expect(await organizations.find(id)).toEqual(found);
  expect(await organizations.find('other')).toBeNull();
});

test('O1 nothing remains of a creation that fails', async () => {
  await using fixture = await openFixture();
  const { organizations } = fixture.accounts;
  const create = (request: Partial<{ name: string; rootKey: string }>) =>
    organizations.create({ name: 'Example', ...LOCAL_KEY, ...request });
  await expect(create({ rootKey: 'missing' })).rejects.toMatchObject({
    code: expect.stringMatching(/^key-/) as string,
  });
  for (const name of ['', ' ', 'a\nb', 'x'.repeat(201)]) {
    await expect(create({ name })).rejects.toMatchObject({ code: 'invalid-argument' });
  }
  await create({});
  await expect(create({ name: 'EXAMPLE' })).rejects.toMatchObject({ code: 'already-exists' });
  expect(await organizations.list()).toHaveLength(1);
  expect(fixture.keys.listKeys()).toHaveLength(1);
});

test('O1 a creation that was cut short is removed at the next start', async () => {
  await using fixture = await openFixture();
  const { directory, keys, accounts } = fixture;
  const cut = organizationId('0123456789abcdef0123456789abcdef');
  await keys.grants.create({ organization: cut, provider: 'local-keyring', rootKey: 'local:default' }, TEST_USE);
  const key = await keys.createKey(
    { organization: cut, owner: 'directory', provider: 'local-keyring', rootKey: 'local:default' },
    TEST_USE,
  );
  directory.transaction(() => {
    directory
      .prepare(
        'INSERT INTO organizations (id, state, provider, root_key, sealed_name, created_at_ms) VALUES (?,?,?,?,?,?)',
      )
      .run(cut, 'active', 'local-keyring', 'local:default', Buffer.alloc(0), 1);
    keys.insertKey(key);
  });
  expect(await accounts.organizations.list()).toEqual([]);
  accounts.organizations.recover();
  expect(keys.listKeys()).toEqual([]);
  expect(keys.grants.list(cut).map((grant) => grant.revokedAtMs === null)).toEqual([false]);
});

test('O2 an organization whose key is refused is listed without a name', async () => {
  await using fixture = await openFixture();
  const { organizations } = fixture.accounts;
  await addKeyringKey(fixture.keyring, 'second');
  await organizations.create({ name: 'Open', ...LOCAL_KEY });
  const sealed = await organizations.create({ name: 'Closed', provider: 'local-keyring', rootKey: 'second' });
  setRootKeyState(fixture, 'second', 'disabled');
  fixture.keys.forget(sealed);
  expect((await organizations.list()).map((it) => it.name).sort()).toEqual(['Open', null].sort());
});

test('O3 suspending forgets the keys and holds mail and logins until it is resumed', async () => {
  await using fixture = await openFixture();
  const id = await madeDomain(fixture);
  const { organizations, mailboxes, addresses, logins } = fixture.accounts;
  await mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  await organizations.setState(id, 'suspended');
  expect(fixture.keys.cacheState().directoryKeysCount).toBe(0);
  expect(await addresses.resolveRecipient('ann@example.org')).toEqual({ kind: 'suspended' });
  expect((await logins.login('ann@example.org', 'pw', { address: '192.0.2.1' })).kind).toBe('refused');
  await expect(mailboxes.create({ address: 'bob@example.org' })).rejects.toMatchObject({ code: 'not-allowed' });
  await organizations.setState(id, 'active');
  expect((await addresses.resolveRecipient('ann@example.org')).kind).toBe('mailbox');
  expect((await logins.login('ann@example.org', 'pw', { address: '192.0.2.1' })).kind).toBe('ok');
});

test('O3 deleting needs it to be empty and takes its key along', async () => {
  await using fixture = await openFixture();
  const { organizations, domains } = fixture.accounts;
  const id = await madeDomain(fixture);
  const deleting = deletion();
  await expect(organizations.delete(id, deleting)).rejects.toMatchObject({ code: 'not-allowed' });
  await domains.delete('example.org');
  await organizations.delete(id, deleting);
  expect(deleting.certified).toMatchObject([{ organization: id, mailbox: null, keys: [{ owner: 'directory' }] }]);
  expect(await organizations.list()).toEqual([]);
  expect(fixture.keys.listKeys()).toEqual([]);
  for (const act of [organizations.delete(id, deletion()), organizations.setState(id, 'active')]) {
    await expect(act).rejects.toMatchObject({ code: 'not-found' });
  }
});

test('O3 a deletion that was cut short before its receipt gets it at the next start', async () => {
  await using before = await openFixture();
  const id = await before.accounts.organizations.create({ name: 'Example', ...LOCAL_KEY });
  const failing = { by: 'test', certify: () => Promise.reject(new Error('disk')) };
  await expect(before.accounts.organizations.delete(id, failing)).rejects.toThrow('disk');
  expect(before.keys.listKeys()).toEqual([]);
  await using after = await before.reopened();
  const resumed = deletion();
  await after.accounts.organizations.certifyUnfinished(resumed.certify);
  await after.accounts.organizations.certifyUnfinished(resumed.certify);
  expect(resumed.certified).toMatchObject([{ organization: id, keys: [{ owner: 'directory', epoch: 1 }], by: 'test' }]);
});
