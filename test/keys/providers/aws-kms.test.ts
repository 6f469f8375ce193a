import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SecretBytes } from '../../../src/crypto/secret-bytes.ts';
import { AwsKms } from '../../../src/keys/providers/aws-kms.ts';
import type { KeyFailure } from '../../../src/keys/provider.ts';
import { CALLER, CREDENTIALS, KmsServer, REGION, type KmsKey } from '../../support/kms-server.ts';
import { failureOf, testProvider } from './provider-suite.ts';

const TIMEOUT_MS = 1000;
const context = { 'sealpost:mailbox': '1' };
const lengthBytes = 53;
const secret = SecretBytes.random(lengthBytes);
let kms: KmsServer;
let provider: AwsKms;
let key: KmsKey;
let wrapped: Uint8Array;
const unwrap = () => provider.unwrap(key.arn, wrapped, { context, lengthBytes });

beforeAll(async () => {
  // Through the SDK's own chain, as on a real host.
  process.env['AWS_ACCESS_KEY_ID'] = CREDENTIALS.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = CREDENTIALS.secretAccessKey;
  kms = await KmsServer.start();
  provider = new AwsKms({ endpoint: kms.endpoint, region: REGION, timeoutMs: TIMEOUT_MS });
  key = kms.addKey();
  await new AwsKms({ endpoint: kms.endpoint, region: REGION, timeoutMs: 10_000 }).describe(key.arn); // loads the SDK
  wrapped = (await provider.wrap(key.arn, secret, { context })).wrapped;
});
afterAll(async () => {
  provider.close();
  await kms[Symbol.asyncDispose]();
});
beforeEach(() => {
  kms.fault = null;
  kms.seen.length = 0;
});

describe('as a key provider', () => {
  testProvider(() => {
    const rootKey = () => {
      const made = kms.addKey();
      const setState = (state: KmsKey['state']) => () => {
        made.state = state;
      };
      return Promise.resolve({ name: made.id, disable: setState('Disabled'), enable: setState('Enabled') });
    };
    return Promise.resolve({ provider, rootKey, missingKey: `arn:aws:kms:${REGION}:111122223333:key/none` });
  });
});

test('AK5 P5 a grant is for the grantee, the operations and the context that it names, and is made once', async () => {
  const granted = kms.addKey({ grantsOnly: true });
  const options = { endpoint: kms.endpoint, region: REGION, timeoutMs: TIMEOUT_MS };
  const withGrantee = new AwsKms({ ...options, granteePrincipal: CALLER });
  const constraint = { 'sealpost:organization': 'arn:sealpost:organization/1' };
  const request = { name: 'sealpost-1', operations: ['Encrypt', 'Decrypt'], constraint } as const;
  const made = await withGrantee.createGrant(granted.arn, request);
  expect(await withGrantee.createGrant(granted.arn, request)).toMatchObject({ kind: 'made' });
  if (made.kind !== 'made') throw new Error('no grant was made');
  const [grant, ...others] = granted.grants;
  expect(others).toEqual([]);
  expect(grant).toMatchObject({ id: made.grantId, grantee: CALLER, ...request });

  const [own, foreign] = [
    { ...constraint, 'sealpost:mailbox': '2' },
    { ...constraint, 'sealpost:organization': 'another' },
  ];
  const grantToken = made.token ?? undefined;
  expect(await failureOf(withGrantee.wrap(granted.arn, secret, { context: own }))).toBe('denied'); // not known yet
  expect(await failureOf(withGrantee.wrap(granted.arn, secret, { context: own, grantToken }))).toBe('succeeded');
  expect(await failureOf(withGrantee.wrap(granted.arn, secret, { context: foreign, grantToken }))).toBe('denied');
  await withGrantee.revokeGrant(granted.arn, made.grantId);
  expect(await failureOf(withGrantee.wrap(granted.arn, secret, { context: own, grantToken }))).toBe('denied');
  expect(await failureOf(withGrantee.revokeGrant(granted.arn, made.grantId))).toBe('not-found');
  withGrantee.close();
});

test('AK5 without a grantee no grant is made, and that is said', async () => {
  const request = { name: 'sealpost-1', operations: ['Encrypt'], constraint: {} } as const;
  expect(await provider.createGrant(key.arn, request)).toEqual({
    kind: 'absent',
    why: 'no-grantee-principal',
    requestId: null,
  });
  expect(kms.seen).toEqual([]);
});

test.for([
  ['asymmetric', { keySpec: 'RSA_2048' }, 'unsuitable'],
  ['for signing', { keySpec: 'ECC_NIST_P256', keyUsage: 'SIGN_VERIFY' }, 'unsuitable'],
  ['for MACs', { keySpec: 'HMAC_256', keyUsage: 'GENERATE_VERIFY_MAC' }, 'unsuitable'],
  ['disabled', { state: 'Disabled' }, 'disabled'],
  ['pending deletion', { state: 'PendingDeletion' }, 'disabled'],
  ['without material', { state: 'PendingImport' }, 'disabled'],
] as const)('AK1 a key that is %s is refused', async ([, shape, failure]) => {
  expect(await failureOf(provider.describe(kms.addKey(shape).arn))).toBe(failure);
});

test('AK2 Decrypt names the key and the context, and refuses answers for another one', async () => {
  await unwrap();
  expect(kms.seen).toEqual([{ operation: 'Decrypt', keyId: key.arn, encryptionContext: context }]);
  kms.fault = { kind: 'wrong-key' };
  expect(await failureOf(unwrap())).toBe('bad-answer');
  kms.fault = { kind: 'short-plaintext' };
  expect(await failureOf(unwrap())).toBe('bad-answer');
});

const exceptions: [string, KeyFailure][] = [
  ['ThrottlingException', 'throttled'],
  ['LimitExceededException', 'throttled'],
  ['KMSInternalException', 'internal'],
  ['DependencyTimeoutException', 'internal'],
  ['KeyUnavailableException', 'internal'],
  ['DisabledException', 'disabled'],
  ['KMSInvalidStateException', 'disabled'],
  ['AccessDeniedException', 'denied'],
  ['InvalidGrantTokenException', 'denied'],
  ['UnrecognizedClientException', 'denied'],
  ['ExpiredTokenException', 'denied'],
  ['NotFoundException', 'not-found'],
  ['InvalidCiphertextException', 'invalid-ciphertext'],
  ['IncorrectKeyException', 'invalid-ciphertext'],
  ['InvalidKeyUsageException', 'unsuitable'],
  ['ValidationException', 'unsuitable'],
  ['SomethingNewException', 'bad-answer'],
];
test.for(exceptions)('P3 AK3 AK4 %s is %s, asked once', async ([name, failure]) => {
  kms.fault = { kind: 'error', name };
  expect(await failureOf(unwrap())).toBe(failure);
  expect(await failureOf(provider.wrap(key.arn, secret, { context }))).toBe(failure);
  expect(kms.seen).toHaveLength(2);
});

test.for([
  [{ kind: 'black-hole' }, 'unreachable'],
  [{ kind: 'slow-drip' }, 'unreachable'],
  [{ kind: 'reset' }, 'unreachable'],
  [{ kind: 'garbage' }, 'bad-answer'],
  [{ kind: 'html-500' }, 'internal'],
  [{ kind: 'throttle', probability: 1 }, 'throttled'],
  [{ kind: 'error', name: 'SomethingNewException', status: 500 }, 'internal'],
] as const)('P4 AK3 AK4 %o ends in time', async ([fault, failure]) => {
  kms.fault = fault;
  const startedMs = performance.now();
  expect(await failureOf(unwrap())).toBe(failure);
  expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS + 1000);
  expect(kms.seen).toHaveLength(1);
  kms.fault = null;
  expect(await failureOf(unwrap())).toBe('succeeded');
});

test('P4 AK3 the signal ends a call at once', async () => {
  kms.fault = { kind: 'black-hole' };
  const signal = AbortSignal.timeout(50);
  const startedMs = performance.now();
  expect(await failureOf(provider.unwrap(key.arn, wrapped, { context, lengthBytes, signal }))).toBe('unreachable');
  expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS);
});

test('AK4 nobody listening is unreachable', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const options = { endpoint: `http://127.0.0.1:${String(port)}`, region: REGION, timeoutMs: TIMEOUT_MS };
  expect(await failureOf(new AwsKms(options).describe(key.arn))).toBe('unreachable');
});

test('a wrong signature is a denial; credentials may be given', async () => {
  const options = {
    endpoint: kms.endpoint,
    region: REGION,
    timeoutMs: TIMEOUT_MS,
    accessKeyId: CREDENTIALS.accessKeyId,
  };
  expect(await failureOf(new AwsKms({ ...options, secretAccessKey: 'wrong' }).describe(key.arn))).toBe('denied');
  const { secretAccessKey } = CREDENTIALS;
  expect(await failureOf(new AwsKms({ ...options, secretAccessKey }).describe(key.arn))).toBe('succeeded');
});

test('AK4 no message quotes an answer that may hold a key', async () => {
  kms.fault = { kind: 'garbage' };
  const error = await unwrap().catch((thrown: unknown) => thrown);
  expect(String(error)).not.toContain('AAAA');
});

test('rewrapping moves a wrapping to another key, with its context, by one ReEncrypt', async () => {
  const to = kms.addKey();
  const keys = { from: key.arn, to: to.arn };
  const moved = await provider.rewrap(wrapped, keys, { context });
  expect(moved.rootKey).toBe(to.arn);
  expect(kms.seen.map((seen) => seen.operation)).toEqual(['ReEncrypt']);
  const opened = await provider.unwrap(to.arn, moved.wrapped, { context, lengthBytes });
  expect(opened.secret.equals(secret)).toBe(true);
  const otherContext = { 'sealpost:mailbox': '2' };
  expect(await failureOf(provider.rewrap(wrapped, keys, { context: otherContext }))).toBe('invalid-ciphertext');
  expect(await failureOf(provider.unwrap(to.arn, moved.wrapped, { context: otherContext, lengthBytes }))).toBe(
    'invalid-ciphertext',
  );
  expect(await failureOf(provider.rewrap(wrapped, { ...keys, from: to.arn }, { context }))).toBe('invalid-ciphertext');
  key.state = 'Disabled';
  expect(await failureOf(provider.rewrap(wrapped, keys, { context }))).toBe('disabled');
  key.state = 'Enabled';
});
