/** What an operator is told about a root key at the creation of an organization, and organizations side by side (W1, W2). */
import { chmodSync } from 'node:fs';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { ServerError } from '../../src/base/errors.ts';
import type { OrganizationId } from '../../src/base/ids.ts';
import { encryptionContext } from '../../src/crypto/context.ts';
import { addKeyringKey } from '../../src/keys/providers/keyring-file.ts';
import { AwsKms } from '../../src/keys/providers/aws-kms.ts';
import { CALLER, CREDENTIALS, KmsServer, REGION } from '../support/kms-server.ts';
import { LOCAL_KEY, openFixture, setRootKeyState, type Fixture } from './fixture.ts';

const kms = await KmsServer.start();
afterAll(() => kms[Symbol.asyncDispose]());
beforeEach(() => {
  kms.fault = null;
  kms.seen.length = 0;
});

function openBoth(): Promise<Fixture> {
  const options = { endpoint: kms.endpoint, region: REGION, timeoutMs: 1000, granteePrincipal: CALLER };
  return openFixture({}, [new AwsKms({ ...options, ...CREDENTIALS })]);
}

async function refusalOf(fixture: Fixture, rootKey: string, provider: 'aws-kms' | 'local-keyring' = 'aws-kms') {
  const error: unknown = await fixture.accounts.organizations
    .create({ name: 'Example', provider, rootKey })
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ServerError);
  const { code, clientText, retryable } = error as ServerError;
  expect(clientText).not.toContain(rootKey); // E1
  expect(await fixture.accounts.organizations.list()).toEqual([]);
  expect(fixture.keys.listKeys()).toEqual([]);
  return { code, clientText, retryable };
}

describe('W2 a key that cannot serve is refused with the reason and what to do', () => {
  test.for([
    [{ keySpec: 'RSA_2048' }, 'key-unsuitable', /is asymmetric.*Name another key with --key/],
    [{ keySpec: 'ECC_NIST_P256', keyUsage: 'SIGN_VERIFY' }, 'key-unsuitable', /is asymmetric.*another key/],
    [{ keySpec: 'HMAC_256', keyUsage: 'GENERATE_VERIFY_MAC' }, 'key-unsuitable', /not for encryption.*another key/],
    [{ state: 'Disabled' }, 'key-refused', /is disabled\. Enable it \(AWS KMS: EnableKey/],
    [{ state: 'PendingDeletion' }, 'key-refused', /pending deletion.*CancelKeyDeletion/],
    [{ state: 'PendingImport' }, 'key-refused', /no key material yet\. Import it/],
    [{ state: 'Unavailable' }, 'key-refused', /is not ready.*Try again/],
  ] as const)('%j', async ([shape, code, text]) => {
    await using fixture = await openBoth();
    const refusal = await refusalOf(fixture, kms.addKey(shape).arn);
    expect(refusal).toMatchObject({ code, clientText: expect.stringMatching(text) as string, retryable: false });
    expect(kms.seen.map(({ operation }) => operation)).toEqual(['DescribeKey']);
  });

  test.for([
    ['AccessDeniedException', 'key-refused', /denies access.*kms:DescribeKey.*key policy/, false],
    ['NotFoundException', 'key-lost', /no such key\. Check its name/, false],
    ['ThrottlingException', 'key-unavailable', /is busy\. Try again/, true],
    ['KMSInternalException', 'key-unavailable', /failed\. Try again/, true],
    ['SomethingNewException', 'key-unavailable', /cannot be right.*endpoint/, true],
  ] as const)('%s', async ([name, code, text, retryable]) => {
    await using fixture = await openBoth();
    const { arn } = kms.addKey();
    kms.fault = { kind: 'error', name };
    const refusal = await refusalOf(fixture, arn);
    expect(refusal).toMatchObject({ code, clientText: expect.stringMatching(text) as string, retryable });
  });

  test.for(['reset', 'black-hole'] as const)('out of reach: %s', async (kind) => {
    await using fixture = await openBoth();
    const { arn } = kms.addKey();
    kms.fault = { kind };
    expect((await refusalOf(fixture, arn)).clientText).toMatch(/cannot be reached.*endpoint, region, credentials/);
  });

  test('a key that may be described but not used, with the grant made for nothing', async () => {
    await using fixture = await openBoth();
    const key = kms.addKey({ grantsOnly: true });
    kms.onGrant = (grant) => {
      grant.operations.length = 0;
    };
    expect((await refusalOf(fixture, key.arn)).clientText).toMatch(/denies access.*kms:Encrypt/);
    kms.onGrant = null;
    expect(kms.seen.map(({ operation }) => operation)).toEqual([
      'DescribeKey',
      'CreateGrant',
      'Encrypt',
      'RevokeGrant',
    ]);
    expect(key.grants).toEqual([]);
    const grants = fixture.keys.grants.list();
    expect(grants.map(({ providerRevokedAtMs }) => providerRevokedAtMs !== null)).toEqual([true]);
  });

  test('of the local keyring', async () => {
    await using fixture = await openBoth();
    await addKeyringKey(fixture.keyring, 'old');
    setRootKeyState(fixture, 'old', 'disabled');
    const text = async (name: string): Promise<string> => (await refusalOf(fixture, name, 'local-keyring')).clientText;
    expect(await text('old')).toContain('sealpost keyring enable NAME');
    expect(await text('nowhere')).toContain('sealpost keyring list');
    chmodSync(fixture.keyring, 0o644);
    expect(await text('default')).toContain('mode 0600');
  });

  test('of a key service that is not configured', async () => {
    await using fixture = await openFixture();
    const { code, clientText } = await refusalOf(fixture, 'alias/mail');
    expect([code, clientText]).toEqual(['key-unsuitable', expect.stringContaining('another --provider')]);
  });
});

describe('W1 W9 organizations with keys and key services of their own', () => {
  async function made(fixture: Fixture, name: string, key: Readonly<{ provider: 'aws-kms'; rootKey: string }> | null) {
    const { organizations, domains, mailboxes } = fixture.accounts;
    const id = await organizations.create({ name, ...(key ?? LOCAL_KEY) });
    const domain = `${name.toLowerCase()}.example`;
    await domains.create(domain, id);
    return { id, ref: await mailboxes.create({ address: `ann@${domain}`, password: 'pw' }), domain };
  }
  const opens = async ({ keys }: Fixture, id: OrganizationId): Promise<string> => {
    try {
      (await keys.leaseDirectory(id, { use: { purpose: 'test', protocol: 'test' } }))[Symbol.dispose]();
      return 'opens';
    } catch (error) {
      return error instanceof ServerError ? error.code : String(error);
    }
  };

  test('each has its grant, its key and its context; taking one away leaves the others', async () => {
    await using fixture = await openBoth();
    const [one, two] = [kms.addKey({ grantsOnly: true }), kms.addKey({ grantsOnly: true })];
    const a = await made(fixture, 'A', { provider: 'aws-kms', rootKey: one.arn });
    const b = await made(fixture, 'B', { provider: 'aws-kms', rootKey: two.arn });
    const c = await made(fixture, 'C', { provider: 'aws-kms', rootKey: two.id });
    const d = await made(fixture, 'D', null);
    const { keys, accounts } = fixture;
    expect(keys.grants.list().map((grant) => [grant.organization, grant.rootKey, grant.providerGrant])).toEqual([
      [a.id, one.arn, 'made'],
      [b.id, two.arn, 'made'],
      [c.id, two.arn, 'made'],
      [d.id, 'local:default', 'not-supported'],
    ]);
    const wrapped = kms.seen.filter(({ operation }) => operation === 'Encrypt');
    expect(wrapped.map(({ keyId, encryptionContext: context }) => [keyId, context])).toEqual([
      [one.arn, encryptionContext(a.id, 'directory')],
      [one.arn, encryptionContext(a.id, a.ref.mailbox)],
      [two.arn, encryptionContext(b.id, 'directory')],
      [two.arn, encryptionContext(b.id, b.ref.mailbox)],
      [two.arn, encryptionContext(c.id, 'directory')],
      [two.arn, encryptionContext(c.id, c.ref.mailbox)],
    ]);
    const all = [a, b, c, d];
    const opened = async (): Promise<string[]> => {
      for (const { id } of all) keys.forget(id);
      return Promise.all(all.map(({ id }) => opens(fixture, id)));
    };
    expect(await opened()).toEqual(['opens', 'opens', 'opens', 'opens']);
    one.state = 'Disabled';
    expect(await opened()).toEqual(['key-refused', 'opens', 'opens', 'opens']);
    const [grantOfB] = keys.grants.list(b.id);
    await keys.grants.revoke(grantOfB?.id ?? '', { purpose: 'test', protocol: 'test' });
    expect(await opened()).toEqual(['key-refused', 'key-refused', 'opens', 'opens']);
    kms.deleteKey(two);
    expect(await opened()).toEqual(['key-refused', 'key-refused', 'key-lost', 'opens']);
    const names = (await accounts.organizations.list()).map(({ name }) => name);
    expect(names.toSorted()).toEqual(['D', null, null, null].toSorted());
    const login = await accounts.logins.login('ann@d.example', 'pw', { address: '192.0.2.1' });
    expect(login.kind).toBe('ok');
  });

  test('a deleted organization leaves no grant at its key service, and its record stays', async () => {
    await using fixture = await openBoth();
    const key = kms.addKey({ grantsOnly: true });
    const id = await fixture.accounts.organizations.create({ name: 'A', provider: 'aws-kms', rootKey: key.arn });
    await fixture.accounts.organizations.delete(id, { by: 'test', certify: () => Promise.resolve() });
    expect(key.grants).toEqual([]);
    const [grant] = fixture.keys.grants.list(id);
    expect([grant?.revokedAtMs, grant?.providerRevokedAtMs]).not.toContain(null);
  });
});
