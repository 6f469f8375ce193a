import { chmodSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SecretBytes } from '../../../src/crypto/secret-bytes.ts';
import {
  addKeyringKey,
  addKeyringKeyVersion,
  createLocalKeyring,
  setKeyringKeyState,
} from '../../../src/keys/providers/keyring-file.ts';
import { LocalKeyring } from '../../../src/keys/providers/local-keyring.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { failureOf, testProvider } from './provider-suite.ts';

const directory = temporaryDirectory();
const context = { mailbox: '1' };
const secret = SecretBytes.random(53);
const lengthBytes = 53;

async function keyring(): Promise<{ file: string; provider: LocalKeyring }> {
  const file = join(directory, `${randomUUID()}.json`);
  await createLocalKeyring(file);
  return { file, provider: new LocalKeyring(file) };
}

describe('as a key provider', () => {
  testProvider(async () => {
    const { file, provider } = await keyring();
    const rootKey = async () => {
      const name = `key-${randomUUID()}`;
      await addKeyringKey(file, name);
      return {
        name,
        disable: () => setKeyringKeyState(file, name, 'disabled'),
        enable: () => setKeyringKeyState(file, name, 'enabled'),
      };
    };
    return { provider, rootKey, missingKey: 'local:missing' };
  });
});

test('LK1 a bare name and the full name are one key', async () => {
  const { provider } = await keyring();
  expect((await provider.describe('default')).rootKey).toBe('local:default');
  expect((await provider.wrap('default', secret, { context })).rootKey).toBe('local:default');
  expect(await failureOf(provider.describe('local:__proto__'))).toBe('not-found');
});

test('LK2 the newest version wraps, every version unwraps', async () => {
  const { file, provider } = await keyring();
  const old = await provider.wrap('default', secret, { context });
  await addKeyringKeyVersion(file, 'default');
  const fresh = await provider.wrap('default', secret, { context });
  expect([old, fresh].map(({ wrapped }) => Buffer.from(wrapped).readUInt32BE(1))).toEqual([1, 2]);
  for (const { wrapped } of [old, fresh]) {
    const opened = await provider.unwrap('local:default', wrapped, { context, lengthBytes });
    expect(opened.secret.expose()).toEqual(Buffer.from(secret.expose()));
  }
});

test('LK3 a keyring that is taken away is unreachable, and serves again when it is back', async () => {
  const { file, provider } = await keyring();
  const { wrapped } = await provider.wrap('default', secret, { context });
  renameSync(file, `${file}.away`);
  expect(await failureOf(provider.unwrap('local:default', wrapped, { context, lengthBytes }))).toBe('unreachable');
  renameSync(`${file}.away`, file);
  expect(await failureOf(provider.unwrap('local:default', wrapped, { context, lengthBytes }))).toBe('succeeded');
});

test('LK4 a key of another name does not unwrap, even with the same secret', async () => {
  const { file, provider } = await keyring();
  const { wrapped } = await provider.wrap('default', secret, { context });
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace('"default"', '"other"'));
  expect(await failureOf(provider.unwrap('local:other', wrapped, { context, lengthBytes }))).toBe('invalid-ciphertext');
});

test.for([0o640, 0o604, 0o660, 0o644, 0o601])('KF1 mode %o is refused, with what to do', async (mode) => {
  const { file, provider } = await keyring();
  expect(statSync(file).mode & 0o777).toBe(0o600);
  chmodSync(file, mode);
  await expect(provider.describe('default')).rejects.toThrow(`run chmod 600 ${file}`);
  expect(await failureOf(provider.describe('default'))).toBe('denied');
  chmodSync(file, 0o400);
  expect(await failureOf(provider.describe('default'))).toBe('succeeded');
});

test('KF1 another owner is refused, with what to do', async () => {
  const { file, provider } = await keyring();
  const real = process.getuid;
  process.getuid = () => 4242;
  try {
    await expect(provider.describe('default')).rejects.toThrow(`run chown 4242 ${file}`);
  } finally {
    process.getuid = real as () => number;
  }
});

test('KF1 symbolic links, folders and files of other kinds are refused', async () => {
  const { file } = await keyring();
  symlinkSync(file, `${file}.link`);
  expect(await failureOf(new LocalKeyring(`${file}.link`).describe('default'))).toBe('unreachable');
  expect(await failureOf(new LocalKeyring(directory).describe('default'))).toBe('denied');
  const written = join(directory, 'written.json');
  const damaged = [
    '',
    '[]',
    '{"format":"sealpost-keyring","version":2,"keys":{}}',
    '{"format":"sealpost-keyring","version":1,"keys":{"default":{"state":"enabled","versions":[]}}}',
    readFileSync(file, 'utf8').replace(/"secret": "./, '"secret": "'),
    readFileSync(file, 'utf8').replace('"enabled"', '"maybe"'),
  ];
  for (const text of damaged) {
    writeFileSync(written, text, { mode: 0o600 });
    expect(await failureOf(new LocalKeyring(written).describe('default')), text).toBe('internal');
  }
});

test('KF1 no message shows a secret of a damaged file', async () => {
  const { file, provider } = await keyring();
  const found = /"secret": "(.+)"/.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
  writeFileSync(file, readFileSync(file, 'utf8').replace('}', ''));
  const error = await provider.describe('default').catch((thrown: unknown) => thrown);
  expect(String(error)).toContain('not a sealpost keyring');
  expect(String(error)).not.toContain(found.slice(0, 8));
});

test('KF2 nothing is overwritten, and a cut-short change is reported', async () => {
  const { file } = await keyring();
  const before = readFileSync(file, 'utf8');
  await expect(createLocalKeyring(file)).rejects.toThrow('EEXIST');
  await expect(addKeyringKey(file, 'default')).rejects.toThrow('has a key default already');
  await expect(addKeyringKey(file, 'No Name')).rejects.toThrow('not a key name');
  writeFileSync(`${file}.new`, '');
  await expect(addKeyringKey(file, 'second')).rejects.toThrow(`cannot write ${file}.new`);
  expect(readFileSync(file, 'utf8')).toBe(before);
});

test('a description tells what the newest version wrapped', async () => {
  const { file, provider } = await keyring();
  using secret = SecretBytes.random(53);
  const old = await provider.wrap('default', secret, { context: {} });
  expect((await provider.describe('default')).isNewest?.(old.wrapped)).toBe(true);
  await addKeyringKeyVersion(file, 'default');
  const { isNewest } = await provider.describe('default');
  const fresh = await provider.wrap('default', secret, { context: {} });
  expect([old.wrapped, fresh.wrapped, Buffer.from('damaged')].map((each) => isNewest?.(each))).toEqual([
    false,
    true,
    false,
  ]);
});
