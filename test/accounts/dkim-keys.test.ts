import { createPublicKey, sign, verify } from 'node:crypto';
import { expect, test } from 'vitest';
import { LOCAL_KEY, madeDomain, openFixture, setRootKeyState, type Fixture } from './fixture.ts';

async function madeWithKeys(fixture: Fixture) {
  const { organizations, dkimKeys } = fixture.accounts;
  const organization = await organizations.create({ name: 'Example', ...LOCAL_KEY });
  await dkimKeys.createDomain('Example.ORG', organization);
  return { dkimKeys, organization };
}

test('a new domain has a key of each algorithm, and they are what their records say', async () => {
  await using fixture = await openFixture();
  const { dkimKeys } = await madeWithKeys(fixture);
  const keys = dkimKeys.list('example.org');
  expect(keys.map(({ algorithm, state }) => `${algorithm} ${state}`)).toEqual(['ed25519 signing', 'rsa signing']);
  for (const { selector, algorithm, privateKey } of await dkimKeys.signingKeys('example.org')) {
    const published = Buffer.from(keys.find((key) => key.selector === selector)?.publicKey ?? '', 'base64');
    const prefix = Buffer.from('302a300506032b6570032100', 'hex'); // RFC 8410 §4
    const spki = algorithm === 'rsa' ? published : Buffer.concat([prefix, published]);
    const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    if (algorithm === 'rsa') expect(publicKey.asymmetricKeyDetails?.modulusLength).toBe(2048);
    const hash = algorithm === 'rsa' ? 'sha256' : null;
    const text = Buffer.from('x');
    expect(verify(hash, text, publicKey, sign(hash, text, privateKey))).toBe(true);
  }
});

test('a domain and its keys come together or not at all', async () => {
  await using fixture = await openFixture();
  const { dkimKeys, organization } = await madeWithKeys(fixture);
  await expect(dkimKeys.createDomain('example.org', organization)).rejects.toMatchObject({ code: 'already-exists' });
  await expect(dkimKeys.createDomain('no domain', organization)).rejects.toMatchObject({ code: 'invalid-argument' });
  fixture.keys.forget(organization);
  setRootKeyState(fixture, 'default', 'disabled');
  await expect(dkimKeys.createDomain('example.net', organization)).rejects.toMatchObject({ code: 'key-refused' });
  expect(fixture.accounts.domains.owner('example.net')).toBeNull();
  expect(() => dkimKeys.list('example.net')).toThrow('There is no domain');
});

test('DK1 a private key is not on disk, and does not open in another row', async () => {
  await using fixture = await openFixture();
  const { dkimKeys } = await madeWithKeys(fixture);
  const secrets = (await dkimKeys.signingKeys('example.org')).map(({ algorithm, privateKey }) => {
    const der = privateKey.export({ type: 'pkcs8', format: 'der' });
    return { der, inner: algorithm === 'rsa' ? der.subarray(300, 332) : der.subarray(-32) };
  });
  const swap = `UPDATE dkim_keys SET sealed_private_key = (SELECT sealed_private_key FROM dkim_keys d
    WHERE d.algorithm <> dkim_keys.algorithm) WHERE algorithm = 'rsa'`;
  fixture.directory.prepare(swap).run();
  await expect(dkimKeys.signingKeys('example.org')).rejects.toMatchObject({ code: 'content-damaged' });
  const disk = await fixture.closeAndReadAll();
  expect(disk.includes('example.org')).toBe(true);
  for (const { der, inner } of secrets) {
    for (const form of [
      der,
      inner,
      Buffer.from(inner.toString('hex')),
      Buffer.from(inner.toString('base64').slice(0, 40)),
    ])
      expect(disk.includes(form)).toBe(false);
  }
});

test('DK2 the next keys wait, then replace the ones that sign, whose private halves are gone', async () => {
  await using fixture = await openFixture();
  const { dkimKeys } = await madeWithKeys(fixture);
  const before = await dkimKeys.signingKeys('example.org');
  await expect(dkimKeys.activate('example.org')).rejects.toMatchObject({ code: 'not-allowed' });
  await expect(dkimKeys.create('example.org', { algorithm: 'rsa', state: 'signing' })).rejects.toMatchObject({
    code: 'already-exists',
  });
  const next = await dkimKeys.create('example.org', { algorithm: 'rsa', state: 'next', selector: 'new' });
  expect(next.state).toBe('next');
  expect((await dkimKeys.signingKeys('example.org')).map(({ selector }) => selector)).toEqual(
    before.map(({ selector }) => selector),
  );
  const oldRsa = before.find(({ algorithm }) => algorithm === 'rsa');
  expect(await dkimKeys.activate('example.org')).toEqual({ signing: ['new'], retired: [oldRsa?.selector] });
  const after = await dkimKeys.signingKeys('example.org');
  expect(after.map(({ algorithm, selector }) => [algorithm, selector === 'new'])).toEqual([
    ['rsa', true],
    ['ed25519', false],
  ]);
  const kept = fixture.directory.prepare(
    "SELECT 1 FROM dkim_keys WHERE state = 'retired' AND sealed_private_key IS NOT NULL",
  );
  expect(kept.all()).toEqual([]);
  expect(dkimKeys.list('example.org').map(({ state }) => state)).toEqual(['signing', 'signing', 'retired']);
  await dkimKeys.remove('example.org', oldRsa?.selector ?? '');
  expect(dkimKeys.list('example.org')).toHaveLength(2);
  await expect(dkimKeys.remove('example.org', 'new2')).rejects.toMatchObject({ code: 'not-found' });
});

test.for(['', 'a.b', '-a', 'A', 'a_b', 'x'.repeat(64)])('a selector %j is refused', async (selector) => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const made = fixture.accounts.dkimKeys.create('example.org', { algorithm: 'ed25519', state: 'signing', selector });
  await expect(made).rejects.toMatchObject({ code: 'invalid-argument' });
});

test('nothing is signed for a domain that is suspended, deleted or not ours; its keys go with it', async () => {
  await using fixture = await openFixture();
  const { dkimKeys } = await madeWithKeys(fixture);
  const { domains } = fixture.accounts;
  await domains.setState('example.org', 'suspended');
  expect(await dkimKeys.signingKeys('example.org')).toEqual([]);
  await domains.setState('example.org', 'active');
  expect(await dkimKeys.signingKeys('example.org')).toHaveLength(2);
  expect(await dkimKeys.signingKeys('example.net')).toEqual([]);
  expect(await dkimKeys.signingKeys('not a domain')).toEqual([]);
  await domains.delete('example.org');
  expect(await dkimKeys.signingKeys('example.org')).toEqual([]);
  expect(fixture.directory.prepare('SELECT 1 FROM dkim_keys').all()).toEqual([]);
});
