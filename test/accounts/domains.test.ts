import { expect, test } from 'vitest';
import { organizationId } from '../../src/base/ids.ts';
import { LOCAL_KEY, madeDomain, openFixture } from './fixture.ts';

test('D1 a domain is stored once, under its A-label, and is ours in any spelling', async () => {
  await using fixture = await openFixture();
  const id = await madeDomain(fixture, 'BÜCHER.example');
  const { domains, organizations, addresses } = fixture.accounts;
  const other = await organizations.create({ name: 'Other', ...LOCAL_KEY });
  await expect(domains.create('xn--bcher-kva.EXAMPLE', other)).rejects.toMatchObject({ code: 'already-exists' });
  await expect(domains.create('no domain', id)).rejects.toMatchObject({ code: 'invalid-argument' });
  const nobody = organizationId('0'.repeat(32));
  await expect(domains.create('example.net', nobody)).rejects.toMatchObject({ code: 'not-found' });
  expect(domains.list().map((it) => [it.name, it.organization])).toEqual([['xn--bcher-kva.example', id]]);
  expect(domains.list(other)).toEqual([]);
  const names = ['bücher.example', 'Xn--Bcher-Kva.example', 'example.net', 'not a name'];
  expect(names.map((name) => addresses.isLocalDomain(name))).toEqual([true, true, false, false]);
});

test('a suspended domain holds its mail and logins; the others of the organization go on', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  await madeDomain(fixture, 'example.net');
  const { domains, mailboxes, addresses, logins } = fixture.accounts;
  await mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  await addresses.createAlias('ann@example.net', 'ann@example.org');
  await domains.setState('Example.ORG', 'suspended');
  const peer = { address: '192.0.2.1' };
  expect((await addresses.resolveRecipient('ann@example.org')).kind).toBe('suspended');
  expect((await addresses.resolveRecipient('ann@example.net')).kind).toBe('mailbox');
  expect((await logins.login('ann@example.org', 'pw', peer)).kind).toBe('refused');
  expect((await logins.login('ann@example.net', 'pw', peer)).kind).toBe('ok');
  await domains.setState('example.org', 'active');
  expect((await addresses.resolveRecipient('ann@example.org')).kind).toBe('mailbox');
  await expect(domains.setState('example.com', 'active')).rejects.toMatchObject({ code: 'not-found' });
});

test('D2 a domain with addresses is not deleted', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  await madeDomain(fixture, 'example.net');
  const { domains, mailboxes, addresses } = fixture.accounts;
  await mailboxes.create({ address: 'ann@example.org' });
  await addresses.createAlias('ann@example.net', 'ann@example.org');
  await expect(domains.delete('example.net')).rejects.toMatchObject({ code: 'not-allowed' });
  await addresses.deleteAlias('ann@example.net');
  await domains.delete('EXAMPLE.net');
  expect(domains.list().map((it) => [it.name, it.addressesCount])).toEqual([['example.org', 1]]);
  await expect(domains.delete('example.net')).rejects.toMatchObject({ code: 'not-found' });
});

test('domains in use are those that are active, oldest first', async () => {
  await using fixture = await openFixture();
  const organization = await madeDomain(fixture, 'z.example');
  const { domains, organizations } = fixture.accounts;
  for (const name of ['b.example', 'a.example']) {
    fixture.nowMs += 1;
    await domains.create(name, organization);
  }
  expect(domains.active(9)).toEqual(['z.example', 'b.example', 'a.example']);
  expect(domains.active(1)).toEqual(['z.example']);
  await domains.setState('b.example', 'suspended');
  expect(domains.active(9)).toEqual(['z.example', 'a.example']);
  await organizations.setState(organization, 'suspended');
  expect(domains.active(9)).toEqual([]);
});
