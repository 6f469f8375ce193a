/**
 * The AWS SDK against a server for the KMS protocol that is not ours: moto (scripts/test-providers starts it), or any
 * other at SEALPOST_TEST_KMS_ENDPOINT. moto goes on serving a disabled key, and answers AccessDenied for a foreign one;
 * what AWS itself says is in test/keys/providers/aws-kms.test.ts.
 */
import {
  CreateAliasCommand,
  CreateKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  KMSClient,
  RotateKeyOnDemandCommand,
  ScheduleKeyDeletionCommand,
} from '@aws-sdk/client-kms';
import { afterAll, describe, expect, test } from 'vitest';
import { SecretBytes } from '../../../src/crypto/secret-bytes.ts';
import { AwsKms } from '../../../src/keys/providers/aws-kms.ts';
import { failureOf } from '../../keys/providers/provider-suite.ts';
import { inboxOf, serverWithMail } from './mail-round-trip.ts';

const endpoint = process.env['SEALPOST_TEST_KMS_ENDPOINT'] ?? '';
const region = 'eu-central-1';
const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
const SERVER_TEST_MS = 60_000;
const context = { 'sealpost:organization': 'arn:sealpost:organization/1', 'sealpost:mailbox': '2' };
const secret = SecretBytes.random(53);
const lengthBytes = 53;

if (endpoint === '') process.stdout.write('skipped: SEALPOST_TEST_KMS_ENDPOINT is not set (scripts/test-providers)\n');

describe.skipIf(endpoint === '')('a KMS of a third party', () => {
  const admin = new KMSClient({ endpoint, region, credentials: { ...credentials } });
  const provider = new AwsKms({ endpoint, region, ...credentials, timeoutMs: 5000 });
  afterAll(() => {
    provider.close();
    admin.destroy();
  });

  async function newKey(): Promise<{ id: string; arn: string }> {
    const input = { KeyUsage: 'ENCRYPT_DECRYPT', KeySpec: 'SYMMETRIC_DEFAULT' } as const;
    const { KeyMetadata: key } = await admin.send(new CreateKeyCommand(input));
    return { id: key!.KeyId!, arn: key!.Arn! };
  }

  const unwrap = (key: string, wrapped: Uint8Array, changed: object = {}) =>
    provider.unwrap(key, wrapped, { context: { ...context, ...changed }, lengthBytes });

  test('AK1 a key is described by id, ARN and alias', async () => {
    const { id, arn } = await newKey();
    const alias = `alias/mail-${id}`;
    await admin.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: id }));
    for (const name of [id, arn, alias]) expect((await provider.describe(name)).rootKey).toBe(arn);
  });

  test('P2 what was wrapped unwraps in its own context only, and unaltered', async () => {
    const { arn } = await newKey();
    const { wrapped, rootKey } = await provider.wrap(arn, secret, { context });
    expect(rootKey).toBe(arn);
    const opened = await unwrap(arn, wrapped);
    expect(Buffer.from(opened.secret.expose())).toEqual(Buffer.from(secret.expose()));
    for (const changed of [{ 'sealpost:mailbox': '3' }, { more: 'x' }]) {
      expect(await failureOf(unwrap(arn, wrapped, changed))).toBe('invalid-ciphertext');
    }
    const altered = Buffer.from(wrapped);
    altered[altered.length - 1]! ^= 1;
    expect(await failureOf(unwrap(arn, altered))).toBe('invalid-ciphertext');
    expect(await failureOf(unwrap((await newKey()).arn, wrapped))).toMatch(/^(denied|invalid-ciphertext)$/);
  });

  test('AK1 disabled, pending deletion, asymmetric and missing keys are refused', async () => {
    const [one, two] = [await newKey(), await newKey()];
    await admin.send(new DisableKeyCommand({ KeyId: one.id }));
    expect(await failureOf(provider.describe(one.arn))).toBe('disabled');
    await admin.send(new EnableKeyCommand({ KeyId: one.id }));
    expect(await failureOf(provider.describe(one.arn))).toBe('succeeded');
    await admin.send(new ScheduleKeyDeletionCommand({ KeyId: two.id, PendingWindowInDays: 7 }));
    expect(await failureOf(provider.describe(two.arn))).toBe('disabled');
    const rsa = await admin.send(new CreateKeyCommand({ KeySpec: 'RSA_2048', KeyUsage: 'ENCRYPT_DECRYPT' }));
    expect(await failureOf(provider.describe(rsa.KeyMetadata!.Arn!))).toBe('unsuitable');
    expect(await failureOf(provider.describe(one.arn.replace(/[^/]+$/, crypto.randomUUID())))).toBe('not-found');
  });

  test('a key that is rotated in the service unwraps what it wrapped before', async () => {
    const { id, arn } = await newKey();
    const { wrapped } = await provider.wrap(arn, secret, { context });
    await admin.send(new RotateKeyOnDemandCommand({ KeyId: id }));
    for (const each of [wrapped, (await provider.wrap(arn, secret, { context })).wrapped]) {
      expect(await failureOf(unwrap(arn, each))).toBe('succeeded');
    }
  });

  test(
    'a whole server delivers and reads with it, before and after a rotation',
    { timeout: SERVER_TEST_MS },
    async () => {
      const { id, arn } = await newKey();
      const awsKms = { endpoint, region, ...credentials, timeoutMs: 5000 };
      const server = await serverWithMail({
        config: { keys: { defaultProvider: 'aws-kms', defaultKey: arn, awsKms } },
      });
      const before = await inboxOf(server);
      await admin.send(new RotateKeyOnDemandCommand({ KeyId: id }));
      await server.restart();
      expect(await inboxOf(server)).toEqual(before);
      expect((await server.run(['org', 'list'])).out).toContain(arn);
      const refused = await newKey();
      await admin.send(new DisableKeyCommand({ KeyId: refused.id }));
      const made = await server.run(['org', 'create', 'Second', '--provider', 'aws-kms', '--key', refused.arn]);
      expect(made).toMatchObject({ code: 1, error: expect.stringMatching(/disabled/) as string });
    },
  );
});
