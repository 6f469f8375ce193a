import { expect, test } from 'vitest';
import { madeDomain, openFixture, setRootKeyState, deletion } from './fixture.ts';

const peer = { address: '192.0.2.1' };

test('M1 a mailbox has its own key, and appears whole or not at all', async () => {
  await using fixture = await openFixture();
  const organization = await madeDomain(fixture);
  const { mailboxes } = fixture.accounts;
  const ann = await mailboxes.create({ address: 'Ann@example.org', displayName: 'Ann Example', password: 'pw' });
  const owners = () =>
    fixture.keys
      .listKeys(organization)
      .map((key) => key.owner)
      .sort();
  expect(owners()).toEqual([ann.mailbox, 'directory'].sort());
  await expect(mailboxes.create({ address: 'ann@EXAMPLE.org' })).rejects.toMatchObject({ code: 'already-exists' });
  await expect(mailboxes.create({ address: 'ann@example.net' })).rejects.toMatchObject({ code: 'not-found' });
  await expect(mailboxes.create({ address: 'x@example.org', password: '' })).rejects.toMatchObject({
    code: 'invalid-argument',
  });
  await expect(mailboxes.create({ address: 'x@example.org', credential: 'pw' })).rejects.toMatchObject({
    code: 'invalid-argument',
  });
  await expect(mailboxes.create({ address: 'x@example.org', displayName: 'a\nb' })).rejects.toMatchObject({
    code: 'invalid-argument',
  });
  setRootKeyState(fixture, 'default', 'disabled');
  await expect(mailboxes.create({ address: 'y@example.org' })).rejects.toMatchObject({ code: 'key-refused' });
  setRootKeyState(fixture, 'default', 'enabled');
  expect(owners()).toHaveLength(2);
  await using again = await fixture.reopened();
  expect(await again.accounts.mailboxes.list(organization, { limitCount: 9 })).toEqual([
    {
      ref: ann,
      state: 'active',
      address: 'Ann@example.org',
      displayName: 'Ann Example',
      keyKind: 'symmetric',
      aliases: [],
      hasPassword: true,
      createdAtMs: 1_000_000,
    },
  ]);
});

test('of many creations of one address at once, one wins', async () => {
  await using fixture = await openFixture();
  const organization = await madeDomain(fixture);
  const { mailboxes } = fixture.accounts;
  const tries = Array.from({ length: 8 }, () => mailboxes.create({ address: 'ann@example.org' }));
  const outcomes = await Promise.allSettled(tries);
  expect(outcomes.filter((it) => it.status === 'fulfilled')).toHaveLength(1);
  expect(fixture.keys.listKeys(organization)).toHaveLength(2);
});

test('pages cover all mailboxes once', async () => {
  await using fixture = await openFixture();
  const organization = await madeDomain(fixture);
  const { mailboxes } = fixture.accounts;
  const names = ['a', 'b', 'c', 'd', 'e'].map((name) => `${name}@example.org`);
  for (const address of names) await mailboxes.create({ address });
  const seen: string[] = [];
  let after;
  for (;;) {
    const page = await mailboxes.list(organization, { after, limitCount: 2 });
    if (page.length === 0) break;
    seen.push(...page.map((it) => it.address));
    after = page.at(-1)?.ref.mailbox;
  }
  expect(seen.sort()).toEqual(names);
});

test('a mailbox is found by its address or alias, not by a tag', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, addresses } = fixture.accounts;
  const ref = await mailboxes.create({ address: 'ann@example.org' });
  await addresses.createAlias('sales@example.org', 'ann@example.org');
  const found = await mailboxes.find('SALES@example.org');
  expect(found).toMatchObject({ ref, aliases: ['sales@example.org'], hasPassword: false });
  for (const none of ['ann+x@example.org', 'bob@example.org', 'ann@example.net']) {
    expect(await mailboxes.find(none), none).toBeNull();
  }
  await expect(mailboxes.require('bob@example.org')).rejects.toMatchObject({ code: 'not-found' });
  await expect(mailboxes.find('ann')).rejects.toMatchObject({ code: 'invalid-argument' });
});

test('M2 a new password replaces the old one; a bulk credential costs no hash', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, logins, passwords } = fixture.accounts;
  const phc = await passwords.hash('shared');
  const hashes = fixture.hashes;
  const ref = await mailboxes.create({ address: 'ann@example.org', credential: phc });
  await mailboxes.setCredential(ref, phc);
  expect(fixture.hashes).toBe(hashes);
  expect((await logins.login('ann@example.org', 'shared', peer)).kind).toBe('ok');
  await mailboxes.setPassword(ref, 'own');
  expect((await logins.login('ann@example.org', 'shared', peer)).kind).toBe('refused');
  expect((await logins.login('ann@example.org', 'own', peer)).kind).toBe('ok');
  await expect(mailboxes.setCredential(ref, 'plaintext')).rejects.toMatchObject({ code: 'invalid-argument' });
});

test('a suspended mailbox takes no mail and no login until it is resumed', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, addresses, logins } = fixture.accounts;
  const ref = await mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  await mailboxes.setState(ref, 'suspended');
  expect((await addresses.resolveRecipient('ann@example.org')).kind).toBe('suspended');
  expect((await logins.login('ann@example.org', 'pw', peer)).kind).toBe('refused');
  await mailboxes.setState(ref, 'active');
  expect((await logins.login('ann@example.org', 'pw', peer)).kind).toBe('ok');
});

test('M3 deleting removes key, addresses and files, and is taken up again after it was cut short', async () => {
  await using before = await openFixture();
  const organization = await madeDomain(before);
  const { mailboxes, addresses } = before.accounts;
  const ref = await mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  await addresses.createAlias('sales@example.org', 'ann@example.org');
  const failing = deletion(() => Promise.reject(new Error('disk')));
  await expect(mailboxes.delete(ref, failing)).rejects.toThrow('disk');
  expect(failing.certified).toEqual([]);
  expect(before.keys.listKeys(organization).map((key) => key.owner)).toEqual(['directory']);
  expect((await addresses.resolveRecipient('sales@example.org')).kind).toBe('unknown-user');
  expect(await mailboxes.list(organization, { limitCount: 9 })).toEqual([]);
  await expect(mailboxes.setState(ref, 'active')).rejects.toMatchObject({ code: 'not-found' });
  await expect(mailboxes.setPassword(ref, 'x')).rejects.toMatchObject({ code: 'not-found' });

  await using after = await before.reopened();
  const erased: unknown[] = [];
  for (const unfinished of after.accounts.mailboxes.unfinishedDeletions()) {
    const resumed = deletion((it) => Promise.resolve(void erased.push(it)));
    await after.accounts.mailboxes.delete(unfinished, { ...resumed, by: 'start' });
    const key = { owner: ref.mailbox, epoch: 1, provider: 'local-keyring', rootKey: 'local:default' };
    const said = { ...ref, keys: [key], addressesCount: 2, by: 'test', keysDestroyedAtMs: before.nowMs };
    expect(resumed.certified).toMatchObject([said]); // what the first attempt destroyed
  }
  expect(erased).toEqual([ref]);
  expect(after.accounts.mailboxes.unfinishedDeletions()).toEqual([]);
  const recreated = await after.accounts.mailboxes.create({ address: 'ann@example.org' });
  expect(recreated.mailbox).not.toBe(ref.mailbox);
  const gone = after.accounts.mailboxes.delete(ref, deletion());
  await expect(gone).rejects.toMatchObject({ code: 'not-found' });
});
