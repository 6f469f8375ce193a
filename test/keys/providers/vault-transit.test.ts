import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { makeSelfSigned } from '../../../src/config/self-signed.ts';
import { encryptionContextBytes } from '../../../src/crypto/context.ts';
import { SecretBytes } from '../../../src/crypto/secret-bytes.ts';
import type { KeyFailure } from '../../../src/keys/provider.ts';
import { VaultTransit } from '../../../src/keys/providers/vault-transit.ts';
import type { Logger } from '../../../src/observe/logger.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { VaultServer, type VaultKey, type VaultTestToken } from '../../support/vault-server.ts';
import { failureOf, testProvider } from './provider-suite.ts';

type Options = ConstructorParameters<typeof VaultTransit>[0];

const TIMEOUT_MS = 700;
const directory = temporaryDirectory();
const context = { 'sealpost:mailbox': '1' };
const lengthBytes = 53;
const secret = SecretBytes.random(lengthBytes);
let vault: VaultServer;
let provider: VaultTransit;
let key: VaultKey;
let name: string;
let wrapped: Uint8Array;
const unwrap = () => provider.unwrap(name, wrapped, { context, lengthBytes });

function recording(lines: string[]): Logger {
  const record = (message: string, fields: object = {}): void => {
    lines.push(JSON.stringify({ message, ...fields }));
  };
  return { debug: () => undefined, info: record, warn: record, error: record, child: () => recording(lines) };
}

function transit(options: Partial<Options> = {}, lines: string[] = []): VaultTransit {
  const settings = { address: vault.address, mount: 'transit', token: vault.token.id, timeoutMs: TIMEOUT_MS };
  const made = new VaultTransit({ ...settings, ...options }, recording(lines));
  onTestFinished(() => {
    made.close();
  });
  return made;
}

beforeAll(async () => {
  vault = await VaultServer.start();
  const settings = { address: vault.address, mount: 'transit', token: vault.token.id, timeoutMs: TIMEOUT_MS };
  provider = new VaultTransit(settings, recording([]));
  key = vault.addKey();
  name = `vault:transit/${key.name}`;
  wrapped = (await provider.wrap(name, secret, { context })).wrapped;
});
afterAll(async () => {
  provider.close();
  await vault[Symbol.asyncDispose]();
});
beforeEach(() => {
  vault.fault = null;
  vault.namespace = null;
  vault.seen.length = 0;
});

describe('as a key provider', () => {
  testProvider(() => {
    const rootKey = () => {
      const made = vault.addKey();
      const setDeleted = (isDeleted: boolean) => () => {
        made.softDeleted = isDeleted;
      };
      return Promise.resolve({ name: made.name, disable: setDeleted(true), enable: setDeleted(false) });
    };
    return Promise.resolve({ provider, rootKey, missingKey: 'vault:transit/missing' });
  });
});

test('VT1 a bare name lies under the mount; what is no name reaches no server', async () => {
  expect((await provider.describe(key.name)).rootKey).toBe(name);
  expect((await provider.wrap(key.name, secret, { context })).rootKey).toBe(name);
  vault.seen.length = 0;
  for (const none of ['', 'vault:x', 'vault:a/../sys/seal', 'vault:/x', 'a/b', 'vault:a/b?c', 'vault:a/..', 'ä']) {
    expect([none, await failureOf(provider.describe(none))]).toEqual([none, 'unsuitable']);
  }
  expect(vault.seen).toEqual([]);
  expect(await failureOf(provider.describe('vault:team/mail.transit/k'))).toBe('not-found');
  expect(vault.seen.map(({ path }) => path)).toEqual(['team/mail.transit/keys/k']);
});

test.for([
  ['of another cipher', { type: 'chacha20-poly1305' }, 'unsuitable'],
  ['too short', { type: 'aes128-gcm96' }, 'unsuitable'],
  ['asymmetric', { type: 'rsa-4096' }, 'unsuitable'],
  ['for signing', { type: 'ed25519', supportsEncryption: false }, 'unsuitable'],
  ['without encryption', { supportsEncryption: false }, 'unsuitable'],
  ['derived by context', { derived: true }, 'unsuitable'],
  ['soft-deleted', { softDeleted: true }, 'disabled'],
] as const)('VT2 a key that is %s is refused', async ([, shape, failure]) => {
  expect(await failureOf(provider.describe(vault.addKey(shape).name))).toBe(failure);
});

test('VT2 a key of another type is refused with the way to make one', async () => {
  const other = vault.addKey({ type: 'aes128-gcm96' });
  await expect(provider.describe(other.name)).rejects.toThrow(
    `vault:transit/${other.name} is of type aes128-gcm96. Make one: vault write -f transit/keys/NAME type=aes256-gcm96`,
  );
});

test('a key that one command deletes is a warning', async () => {
  const lines: string[] = [];
  await transit({}, lines).describe(key.name);
  expect(lines).toEqual([]);
  await transit({}, lines).describe(vault.addKey({ deletionAllowed: true }).name);
  expect(lines).toEqual([expect.stringContaining('deletion_allowed=false')]);
});

test('VT3 the context goes along as associated data', async () => {
  await unwrap();
  expect(vault.seen).toMatchObject([
    {
      method: 'POST',
      path: `transit/decrypt/${key.name}`,
      body: { associated_data: encryptionContextBytes(context).toString('base64') },
    },
  ]);
});

test('VT3 a service that ignores the context is refused', async () => {
  vault.fault = { kind: 'ignores-context' };
  expect(await failureOf(provider.describe(name))).toBe('unsuitable');
});

test('VT4 encrypting never makes a key', async () => {
  expect(await failureOf(provider.wrap('vault:transit/nothing', secret, { context }))).toBe('not-found');
  expect(vault.hasKey('nothing')).toBe(false);
  expect(await failureOf(provider.unwrap('vault:transit/nothing', wrapped, { context, lengthBytes }))).toBe(
    'not-found',
  );
});

test('VT5 every version unwraps, until the operator closes the older ones', async () => {
  key.secrets.push(SecretBytes.random(32).expose() as Buffer);
  const fresh = (await provider.wrap(name, secret, { context })).wrapped;
  expect(Buffer.from(fresh).toString()).toMatch(/^vault:v2:/);
  for (const each of [wrapped, fresh]) {
    const opened = await provider.unwrap(name, each, { context, lengthBytes });
    expect(Buffer.from(opened.secret.expose())).toEqual(Buffer.from(secret.expose()));
  }
  const { isNewest } = await provider.describe(name);
  expect([wrapped, fresh].map((each) => isNewest?.(each))).toEqual([false, true]);
  key.minDecryptionVersion = 2;
  expect(await failureOf(unwrap())).toBe('disabled');
  key.minDecryptionVersion = 1;
  expect(await failureOf(unwrap())).toBe('succeeded');
});

test('VT5 another spelling of the same bytes is refused', async () => {
  const text = Buffer.from(wrapped).toString();
  for (const other of [text.replace(':v1:', ':v0:'), text.replace(':v1:', ':v01:'), `${text}\n`, `${text}=`, '']) {
    expect(await failureOf(provider.unwrap(name, Buffer.from(other), { context, lengthBytes }))).toBe(
      'invalid-ciphertext',
    );
  }
  expect(vault.seen).toEqual([]);
});

const answers: [status: number, text: string, KeyFailure][] = [
  [400, 'cipher: message authentication failed', 'invalid-ciphertext'],
  [400, '1 error occurred:\n\t* invalid ciphertext: no prefix\n\n', 'invalid-ciphertext'],
  [400, 'encryption key not found', 'not-found'],
  [400, 'something else', 'bad-answer'],
  [401, '', 'denied'],
  [403, '1 error occurred:\n\t* permission denied\n\n', 'denied'],
  [404, 'no handler for route "transit/decrypt/x"', 'not-found'],
  [405, 'unsupported operation', 'bad-answer'],
  [412, 'required index state not present', 'internal'],
  [429, 'request path "transit": rate limit quota exceeded', 'throttled'],
  [307, '', 'unreachable'],
  [473, '', 'unreachable'],
  [500, 'internal error', 'internal'],
  [502, '', 'internal'],
  [503, 'Vault is sealed', 'unreachable'],
];
test.for(answers)('P3 VC1 %i %s is %s, asked once', async ([status, text, failure]) => {
  vault.fault = { kind: 'error', status, text };
  expect(await failureOf(unwrap())).toBe(failure);
  expect(await failureOf(provider.wrap(name, secret, { context }))).toBe(failure);
  expect(vault.seen).toHaveLength(2);
});

test.for([
  [{ kind: 'black-hole' }, 'unreachable'],
  [{ kind: 'slow-drip' }, 'unreachable'],
  [{ kind: 'reset' }, 'unreachable'],
  [{ kind: 'garbage' }, 'bad-answer'],
  [{ kind: 'endless' }, 'bad-answer'],
  [{ kind: 'html-502' }, 'internal'],
  [{ kind: 'empty' }, 'bad-answer'],
  [{ kind: 'short-plaintext' }, 'bad-answer'],
] as const)('P4 VC1 VC2 %o ends in time', async ([fault, failure]) => {
  vault.fault = fault;
  const startedMs = performance.now();
  expect(await failureOf(unwrap())).toBe(failure);
  expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS + 1000);
  expect(vault.seen).toHaveLength(1);
  vault.fault = null;
  expect(await failureOf(unwrap())).toBe('succeeded');
});

test.for(['empty', 'foreign-text', 'garbage'] as const)('VC1 a wrap whose answer is %s is refused', async (kind) => {
  vault.fault = { kind };
  expect(await failureOf(provider.wrap(name, secret, { context }))).toBe('bad-answer');
});

test('P4 VC2 the signal ends a call at once', async () => {
  vault.fault = { kind: 'black-hole' };
  const startedMs = performance.now();
  const signal = AbortSignal.timeout(50);
  expect(await failureOf(provider.unwrap(name, wrapped, { context, lengthBytes, signal }))).toBe('unreachable');
  expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS - 100);
});

test('VC1 nobody listening is unreachable', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const address = `http://127.0.0.1:${String(port)}`;
  expect(await failureOf(transit({ address }).describe(name))).toBe('unreachable');
});

test('VC3 no message quotes an answer that may hold a key, and none the token', async () => {
  vault.fault = { kind: 'garbage' };
  const messages = [String(await unwrap().catch((thrown: unknown) => thrown))];
  vault.fault = null;
  const refused = transit({ token: 'hvs.CANARY' });
  messages.push(String(await refused.describe(name).catch((thrown: unknown) => thrown)));
  expect(messages.join()).toMatch(/malformed answer.*403 permission denied/s);
  expect(messages.join()).not.toMatch(/AAAA|CANARY/);
});

test('VC4 over TLS, with the authority of a file, for that name only', async () => {
  const made = makeSelfSigned({ hostname: 'localhost', notBefore: new Date(), validDays: 2 });
  await using secure = await VaultServer.start({ cert: made.certificatePem, key: made.keyPem });
  const caFile = join(directory, 'ca.pem');
  writeFileSync(caFile, made.certificatePem);
  const options = { address: secure.address, token: secure.token.id };
  const { name: keyName } = secure.addKey();
  expect(await failureOf(transit({ ...options, caFile }).describe(keyName))).toBe('succeeded');
  expect(await failureOf(transit(options).describe(keyName))).toBe('unreachable');
  const wrongName = secure.address.replace('localhost', '127.0.0.2');
  expect(await failureOf(transit({ ...options, address: wrongName, caFile }).describe(keyName))).toBe('unreachable');
  expect(() => transit({ caFile: join(directory, 'none.pem') })).toThrow(/caFile/);
});

test('a namespace goes along', async () => {
  vault.namespace = 'mail/eu';
  expect(await failureOf(provider.describe(name))).toBe('not-found');
  expect(await failureOf(transit({ namespace: 'mail/eu' }).describe(name))).toBe('succeeded');
});

test('an address may have a path of its own', async () => {
  expect(await failureOf(transit({ address: `${vault.address}/` }).describe(name))).toBe('succeeded');
  await failureOf(transit({ address: `${vault.address}/vault/` }).describe(name));
  expect(vault.seen.at(-1)?.path).toBe(`/vault/v1/transit/keys/${key.name}`);
});

test('TK1 a token file that changes counts at once', async () => {
  const tokenFile = join(directory, 'token');
  const fromFile = transit({ token: undefined, tokenFile });
  expect(await failureOf(fromFile.describe(name))).toBe('unreachable');
  writeFileSync(tokenFile, `${vault.token.id}\n`);
  expect(await failureOf(fromFile.describe(name))).toBe('succeeded');
  writeFileSync(`${tokenFile}.new`, 'hvs.revoked');
  renameSync(`${tokenFile}.new`, tokenFile);
  expect(await failureOf(fromFile.describe(name))).toBe('denied');
  for (const content of ['', 'two\nlines', 'ä'.repeat(9000)]) {
    writeFileSync(tokenFile, content);
    expect(await failureOf(fromFile.describe(name))).toBe('denied');
  }
});

/** What is logged of a token within a moment after the first look. */
async function watched(shape: Partial<VaultTestToken>): Promise<{ lines: string[]; token: VaultTestToken }> {
  const token = vault.addToken(shape);
  const lines: string[] = [];
  transit({ token: token.id }, lines).watchToken();
  await expect.poll(() => lines.length).toBeGreaterThan(0);
  expect(lines.join()).not.toContain(token.id); // TK4
  return { lines, token };
}

test('TK2 a token is renewed when half of its time is over, and not before', async () => {
  expect((await watched({ ttl: 1900 })).token.renewals).toBe(0);
  const { lines, token } = await watched({ ttl: 1700 });
  expect(token.renewals).toBe(1);
  expect(lines).toEqual([expect.stringContaining('is fine')]);
});

test.for([
  ['cannot be renewed', { renewable: false, ttl: 86_400 * 9, creationTtl: 86_400 * 9 }, 'will expire'],
  ['cannot be renewed and is in its last day', { renewable: false }, 'within a day'],
  ['nears the end that cannot be moved', { ttl: 100, renewedTtl: 600 }, 'within a day'],
  ['may do everything', { policies: ['root'], ttl: 0, creationTtl: 0, renewable: false }, 'may do everything'],
] as const)('TK3 a token that %s is a warning with the remedy', async ([, shape, text]) => {
  const { lines } = await watched({ ...shape, policies: 'policies' in shape ? [...shape.policies] : ['default'] });
  expect(lines).toEqual([expect.stringMatching(new RegExp(`${text}.*vault token create -orphan -period`))]);
});

test('TK3 a token without an end is fine; a refused one, and a Vault that does not answer, are warnings', async () => {
  expect((await watched({ ttl: 0, creationTtl: 0, renewable: false })).lines[0]).toContain('is fine');
  const lines: string[] = [];
  transit({ token: 'hvs.unknown' }, lines).watchToken();
  await expect.poll(() => lines).toEqual([expect.stringContaining('is refused')]);
  vault.fault = { kind: 'error', status: 503, text: 'Vault is sealed' };
  const other: string[] = [];
  transit({}, other).watchToken();
  await expect.poll(() => other).toEqual([expect.stringContaining('could not be looked at')]);
});

test('TK2 TK3 the watch goes on, says each state once, and ends with the provider', async () => {
  const token = vault.addToken({ ttl: 8, creationTtl: 12, renewedTtl: 8 });
  const lines: string[] = [];
  const watching = transit({ token: token.id }, lines);
  watching.watchToken();
  const looks = () => vault.seen.filter(({ path }) => path === 'auth/token/lookup-self').length;
  await expect.poll(looks, { timeout: 5000 }).toBeGreaterThan(1);
  vault.revokeToken(token);
  await expect.poll(() => lines.length, { timeout: 5000 }).toBe(2);
  expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual([
    'the Vault credential is fine',
    'the Vault credential is refused, or may not look itself up',
  ]);
  watching.close();
  const before = looks();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(looks()).toBe(before);
});
