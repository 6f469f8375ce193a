/**
 * The provider against a genuine HashiCorp Vault or OpenBao: scripts/test-providers starts one, or any other at
 * SEALPOST_TEST_VAULT_ADDRESS, with a root token in SEALPOST_TEST_VAULT_TOKEN. The tests mount an engine of their own.
 * With SEALPOST_TEST_VAULT_UNSEAL_KEY it is sealed and unsealed, too.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { SecretBytes } from '../../../src/crypto/secret-bytes.ts';
import { VaultTransit } from '../../../src/keys/providers/vault-transit.ts';
import type { Logger } from '../../../src/observe/logger.ts';
import { failureOf } from '../../keys/providers/provider-suite.ts';
import { inboxOf, serverWithMail } from './mail-round-trip.ts';

const address = process.env['SEALPOST_TEST_VAULT_ADDRESS'] ?? '';
const rootToken = process.env['SEALPOST_TEST_VAULT_TOKEN'] ?? '';
const unsealKey = process.env['SEALPOST_TEST_VAULT_UNSEAL_KEY'] ?? '';
const mount = `transit-${randomUUID().slice(0, 8)}`;
const SERVER_TEST_MS = 60_000;
const context = { 'sealpost:organization': 'arn:sealpost:organization/1', 'sealpost:mailbox': '2' };
const secret = SecretBytes.random(53);
const lengthBytes = 53;
/** What the documentation tells operators to allow. */
const POLICY = `path "${mount}/keys/*" { capabilities = ["read"] }
path "${mount}/encrypt/*" { capabilities = ["update"] }
path "${mount}/decrypt/*" { capabilities = ["update"] }`;

if (address === '') process.stdout.write('skipped: SEALPOST_TEST_VAULT_ADDRESS is not set (scripts/test-providers)\n');

type Answer = Readonly<{ auth?: { client_token: string }; data?: Record<string, unknown> }>;

/** As the operator. Fails for anything but success. */
async function operate(method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(`${address}/v1/${path}`, {
    method,
    headers: { 'x-vault-token': rootToken, 'x-vault-request': 'true' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${String(response.status)} ${text}`);
  return text === '' ? {} : (JSON.parse(text) as Answer);
}

async function newToken(shape: object = {}, policy = 'sealpost-test'): Promise<string> {
  const made = await operate('POST', 'auth/token/create-orphan', { policies: [policy], period: '1h', ...shape });
  return made.auth!.client_token;
}

async function newKey(shape: object = {}): Promise<string> {
  const name = `key-${randomUUID()}`;
  await operate('POST', `${mount}/keys/${name}`, shape);
  return name;
}

function recording(lines: string[]): Logger {
  const record = (message: string): void => void lines.push(message);
  return { debug: record, info: record, warn: record, error: record, child: () => recording(lines) };
}

function transit(token: string, lines: string[] = []): VaultTransit {
  const made = new VaultTransit({ address, mount, token, timeoutMs: 5000 }, recording(lines));
  onTestFinished(() => {
    made.close();
  });
  return made;
}

describe.skipIf(address === '')('a genuine Transit engine', () => {
  let token = '';
  beforeAll(async () => {
    await operate('POST', `sys/mounts/${mount}`, { type: 'transit' });
    await operate('PUT', 'sys/policies/acl/sealpost-test', { policy: POLICY });
    token = await newToken();
  });
  afterAll(async () => {
    await operate('DELETE', `sys/mounts/${mount}`);
  });

  test('VT1 VT2 a key is described by both names; missing keys and mounts are told', async () => {
    const provider = transit(token);
    const key = await newKey();
    expect(await provider.describe(key)).toMatchObject({ rootKey: `vault:${mount}/${key}` });
    expect((await provider.describe(`vault:${mount}/${key}`)).requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(await failureOf(provider.describe('missing'))).toBe('not-found');
    expect(await failureOf(provider.describe('vault:none/missing'))).toBe('denied'); // by the policy
    expect(await failureOf(transit(rootToken).describe('vault:none/missing'))).toBe('not-found');
  });

  test.for([
    { type: 'aes128-gcm96' },
    { type: 'chacha20-poly1305' },
    { type: 'rsa-2048' },
    { type: 'ed25519' },
    { derived: true },
  ])('VT2 a key made with %o is refused', async (shape) => {
    expect(await failureOf(transit(token).describe(await newKey(shape)))).toBe('unsuitable');
  });

  test('P2 VT3 VT5 what was wrapped unwraps in its own context only, and unaltered', async () => {
    const provider = transit(token);
    const [one, two] = [await newKey(), await newKey()];
    const { wrapped, rootKey } = await provider.wrap(one, secret, { context });
    const opened = await provider.unwrap(rootKey, wrapped, { context, lengthBytes });
    expect(Buffer.from(opened.secret.expose())).toEqual(Buffer.from(secret.expose()));
    for (const other of [{}, { ...context, 'sealpost:mailbox': '3' }, { ...context, more: 'x' }]) {
      expect(await failureOf(provider.unwrap(rootKey, wrapped, { context: other, lengthBytes }))).toBe(
        'invalid-ciphertext',
      );
    }
    for (let at = 0; at < wrapped.length; at += 5) {
      const altered = Buffer.from(wrapped);
      altered[at]! ^= 1;
      expect([at, await failureOf(provider.unwrap(rootKey, altered, { context, lengthBytes }))]).toEqual([
        at,
        'invalid-ciphertext',
      ]);
    }
    expect(await failureOf(provider.unwrap(two, wrapped, { context, lengthBytes }))).toBe('invalid-ciphertext');
    expect(await failureOf(provider.unwrap(one, wrapped, { context, lengthBytes: 52 }))).toBe('bad-answer');
  });

  test('VT4 encrypting never makes a key, with a token that might', async () => {
    const provider = transit(rootToken);
    const missing = `none-${randomUUID()}`;
    expect(await failureOf(provider.wrap(missing, secret, { context }))).toBe('not-found');
    await expect(operate('GET', `${mount}/keys/${missing}`)).rejects.toThrow('404');
  });

  test('VT5 every version unwraps, until the operator closes the older ones; deleted means gone', async () => {
    const provider = transit(token);
    const key = await newKey();
    const old = (await provider.wrap(key, secret, { context })).wrapped;
    await operate('POST', `${mount}/keys/${key}/rotate`, {});
    const fresh = (await provider.wrap(key, secret, { context })).wrapped;
    expect(Buffer.from(fresh).toString()).toMatch(/^vault:v2:/);
    const { isNewest } = await provider.describe(key);
    expect([old, fresh].map((each) => isNewest?.(each))).toEqual([false, true]);
    const unwrap = (wrapped: Uint8Array) => failureOf(provider.unwrap(key, wrapped, { context, lengthBytes }));
    expect([await unwrap(old), await unwrap(fresh)]).toEqual(['succeeded', 'succeeded']);
    await operate('POST', `${mount}/keys/${key}/config`, { min_decryption_version: 2 });
    expect([await unwrap(old), await unwrap(fresh)]).toEqual(['disabled', 'succeeded']);
    await operate('POST', `${mount}/keys/${key}/config`, { deletion_allowed: true });
    await operate('DELETE', `${mount}/keys/${key}`);
    expect(await unwrap(fresh)).toBe('not-found');
    expect(await failureOf(provider.describe(key))).toBe('not-found');
  });

  test('a token whose policy ends is denied, and serves again when it is back; a revoked one is denied', async () => {
    const policy = `sealpost-${randomUUID()}`;
    await operate('PUT', `sys/policies/acl/${policy}`, { policy: POLICY });
    const own = await newToken({}, policy);
    const provider = transit(own);
    const key = await newKey();
    const { wrapped } = await provider.wrap(key, secret, { context });
    const unwrap = () => failureOf(provider.unwrap(key, wrapped, { context, lengthBytes }));
    expect(await unwrap()).toBe('succeeded');
    await operate('DELETE', `sys/policies/acl/${policy}`);
    expect(await unwrap()).toBe('denied');
    await operate('PUT', `sys/policies/acl/${policy}`, { policy: POLICY });
    expect(await unwrap()).toBe('succeeded');
    await operate('POST', 'auth/token/revoke', { token: own });
    expect(await unwrap()).toBe('denied');
  });

  test('TK2 a short-lived token is renewed in time', { timeout: 30_000 }, async () => {
    const lines: string[] = [];
    const provider = transit(await newToken({ period: '6s' }), lines);
    const key = await newKey();
    provider.watchToken();
    await delay(10_000);
    expect(await failureOf(provider.describe(key))).toBe('succeeded');
    expect(lines).toContain('the Vault credential is renewed');
    expect(lines.filter((line) => !line.endsWith('is renewed'))).toEqual(['the Vault credential is fine']);
  });

  test('TK3 a token that will end, and one that may do everything, are told', async () => {
    const [ending, root]: [string[], string[]] = [[], []];
    const short = { period: '', ttl: '1h', renewable: false };
    transit(await newToken(short), ending).watchToken();
    transit(rootToken, root).watchToken();
    await expect.poll(() => ending).toEqual([expect.stringContaining('expires within a day')]);
    await expect.poll(() => root).toEqual([expect.stringContaining('may do everything')]);
  });

  test(
    'a whole server delivers and reads with it, before and after a rotation',
    { timeout: SERVER_TEST_MS },
    async () => {
      const key = await newKey();
      const vaultTransit = { address, mount, token, timeoutMs: 5000 };
      const server = await serverWithMail({
        config: { keys: { defaultProvider: 'vault-transit', defaultKey: key, vaultTransit } },
      });
      const before = await inboxOf(server);
      await operate('POST', `${mount}/keys/${key}/rotate`, {});
      await server.restart();
      expect(await inboxOf(server)).toEqual(before);
      expect((await server.run(['org', 'list'])).out).toContain(`vault:${mount}/${key}`);
      const other = await newKey({ type: 'rsa-2048' });
      const made = await server.run(['org', 'create', 'Second', '--provider', 'vault-transit', '--key', other]);
      expect(made).toMatchObject({ code: 1, error: expect.stringMatching(/asymmetric/) as string });
      expect(server.log()).not.toContain(token);
    },
  );

  test.skipIf(unsealKey === '')('a sealed Vault is unreachable until it is unsealed', async () => {
    const provider = transit(token);
    const key = await newKey();
    await operate('PUT', 'sys/seal');
    try {
      expect(await failureOf(provider.describe(key))).toBe('unreachable');
    } finally {
      await operate('PUT', 'sys/unseal', { key: unsealKey });
    }
    await expect.poll(() => failureOf(provider.describe(key)), { timeout: 10_000 }).toBe('succeeded');
  });
});
