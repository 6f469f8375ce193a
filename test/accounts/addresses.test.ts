import { rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LOCAL_KEY, madeDomain, openFixture } from './fixture.ts';

test('A1 A2 an address leads to its mailbox in any case and composition, with any tag', async () => {
  await using fixture = await openFixture();
  const organization = await madeDomain(fixture);
  const { mailboxes, addresses } = fixture.accounts;
  const [jorg, list] = [
    await mailboxes.create({ address: 'J\u00f6rg@example.org' }),
    await mailboxes.create({ address: 'jo\u0308rg+list@example.org' }),
  ];
  const to = async (address: string) => {
    const answer = await addresses.resolveRecipient(address);
    return answer.kind === 'mailbox' ? answer.ref : answer.kind;
  };
  for (const address of [
    'j\u00f6rg@example.org',
    'JO\u0308RG@EXAMPLE.ORG',
    '"J\u00f6rg"@example.org',
    'j\u00f6rg+any@example.org',
  ]) {
    expect(await to(address), address).toEqual(jorg);
  }
  expect(await to('J\u00d6RG+LIST@example.org')).toEqual(list);
  expect(await to('j\u00f6rg+list+more@example.org')).toEqual(jorg);
  expect(jorg.organization).toBe(organization);
  for (const address of ['jorg@example.org', '+list@example.org', 'postmaster@example.org']) {
    expect(await to(address), address).toBe('unknown-user');
  }
  for (const address of ['j\u00f6rg@example.net', 'j\u00f6rg', '', 'a@b@', 'j\u00f6rg@[192.0.2.1]']) {
    expect(await to(address), address).toBe('unknown-domain');
  }
});

test('A1 equal local parts in two domains are two addresses', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  await madeDomain(fixture, 'example.net');
  const { mailboxes, addresses } = fixture.accounts;
  const refs = [
    await mailboxes.create({ address: 'ann@example.org' }),
    await mailboxes.create({ address: 'ann@example.net' }),
  ];
  const found = await Promise.all(['ann@example.org', 'ann@example.net'].map((it) => addresses.resolveRecipient(it)));
  expect(found).toEqual(refs.map((ref) => ({ kind: 'mailbox', keyKind: 'symmetric', ref })));
});

test('A3 without the directory key a lookup of our domain throws, retryably while the key is merely out of reach', async () => {
  await using fixture = await openFixture();
  const organization = await madeDomain(fixture);
  const { mailboxes, addresses, logins } = fixture.accounts;
  await mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  rmSync(fixture.keyring);
  fixture.keys.forget(organization);
  const unavailable = { code: 'key-unavailable', retryable: true };
  await expect(addresses.resolveRecipient('ann@example.org')).rejects.toMatchObject(unavailable);
  await expect(addresses.resolveRecipient('nobody@example.org')).rejects.toMatchObject(unavailable);
  await expect(logins.login('ann@example.org', 'pw', { address: '192.0.2.1' })).rejects.toMatchObject(unavailable);
  expect((await addresses.resolveRecipient('ann@example.net')).kind).toBe('unknown-domain');
});

test('A4 aliases: postmaster in any case, listed, deleted; the primary address is no alias', async () => {
  await using fixture = await openFixture();
  const organization = await madeDomain(fixture);
  const { mailboxes, addresses } = fixture.accounts;
  const ref = await mailboxes.create({ address: 'ann@example.org' });
  await addresses.createAlias('Postmaster@example.org', 'ANN@example.org');
  expect(await addresses.resolveRecipient('POSTMASTER@example.org')).toEqual({
    kind: 'mailbox',
    keyKind: 'symmetric',
    ref,
  });
  const listed = (await addresses.list(organization, null)).map((it) => `${it.kind} ${it.address}`);
  expect(listed).toEqual(['alias Postmaster@example.org', 'primary ann@example.org']);
  await expect(addresses.deleteAlias('ann@example.org')).rejects.toMatchObject({ code: 'not-allowed' });
  await addresses.deleteAlias('postmaster@example.org');
  await expect(addresses.deleteAlias('postmaster@example.org')).rejects.toMatchObject({ code: 'not-found' });
  expect((await addresses.resolveRecipient('postmaster@example.org')).kind).toBe('unknown-user');
});

test('an alias is refused when it is taken, malformed, of a foreign domain or organization, or leads nowhere', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, addresses, organizations, domains } = fixture.accounts;
  await domains.create('other.example', await organizations.create({ name: 'Other', ...LOCAL_KEY }));
  await mailboxes.create({ address: 'ann@example.org' });
  const alias = (from: string, to = 'ann@example.org') => addresses.createAlias(from, to);
  await expect(alias('ANN@example.org')).rejects.toMatchObject({ code: 'already-exists' });
  await expect(alias('a b@example.org')).rejects.toMatchObject({ code: 'invalid-argument' });
  await expect(alias('"a b"@example.org')).rejects.toMatchObject({ code: 'invalid-argument' });
  await expect(alias('x@example.com')).rejects.toMatchObject({ code: 'not-found' });
  await expect(alias('x@other.example')).rejects.toMatchObject({ code: 'not-allowed' });
  await expect(alias('x@example.org', 'nobody@example.org')).rejects.toMatchObject({ code: 'not-found' });
  expect((await addresses.resolveRecipient('x@example.org')).kind).toBe('unknown-user');
});
