import { randomUUID } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { SecretBytes } from '../../../src/crypto/secret-bytes.ts';
import {
  addKeyringKey,
  addKeyringKeyVersion,
  createLocalKeyring,
  protectKeyring,
  setKeyringKeyState,
} from '../../../src/keys/providers/keyring-file.ts';
import { KeyringLock } from '../../../src/keys/providers/keyring-lock.ts';
import { LocalKeyring } from '../../../src/keys/providers/local-keyring.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { failureOf, testProvider } from './provider-suite.ts';

type StoredFile = {
  version: number;
  protection?: Record<string, unknown>;
  keys: Record<string, { versions: { secret: string }[] }>;
};

const PASSPHRASE = 'correct horse battery staple';
const directory = temporaryDirectory();
const context = { mailbox: '1' };
const secret = SecretBytes.random(53);
const lengthBytes = 53;
const lock = new KeyringLock(PASSPHRASE);
const newFile = (): string => join(directory, `${randomUUID()}.json`);
const stored = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as StoredFile;

const shared = newFile();
const sharedReady = createLocalKeyring(shared, lock);

describe('a protected keyring as a key provider', () => {
  testProvider(async () => {
    await sharedReady;
    const rootKey = async () => {
      const name = `key-${randomUUID()}`;
      await addKeyringKey(shared, name, lock);
      return {
        name,
        disable: () => setKeyringKeyState(shared, name, 'disabled'),
        enable: () => setKeyringKeyState(shared, name, 'enabled'),
      };
    };
    return { provider: new LocalKeyring(shared, lock), rootKey, missingKey: 'local:missing' };
  });
});

test('KF4 what was wrapped before stays readable, and no secret is left in the file', async () => {
  const file = newFile();
  await createLocalKeyring(file);
  await addKeyringKeyVersion(file, 'default');
  await addKeyringKey(file, 'archive');
  const before = Object.values(stored(file).keys).flatMap(({ versions }) => versions.map((each) => each.secret));
  const { wrapped } = await new LocalKeyring(file).wrap('default', secret, { context });
  expect(await protectKeyring(file, lock)).toEqual({ keysCount: 2, versionsCount: 3 });
  expect(stored(file).version).toBe(2);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  await addKeyringKeyVersion(file, 'default', lock);
  for (const plain of before) expect(readFileSync(file, 'utf8')).not.toContain(plain);
  const provider = new LocalKeyring(file, lock);
  const opened = await provider.unwrap('local:default', wrapped, { context, lengthBytes });
  expect(Buffer.from(opened.secret.expose())).toEqual(Buffer.from(secret.expose()));
  expect((await provider.wrap('default', secret, { context })).wrapped[4]).toBe(3);
});

test('KL1 a wrong or missing passphrase is denied, with what to do', async () => {
  await sharedReady;
  using wrong = new KeyringLock('another passphrase');
  using none = new KeyringLock();
  await expect(new LocalKeyring(shared, wrong).check()).rejects.toThrow(
    'the passphrase does not open the keyring. Set keys.localKeyring.passphrase',
  );
  await expect(new LocalKeyring(shared, none).check()).rejects.toThrow(
    'the keyring is protected by a passphrase, and none is given. Set keys.localKeyring.passphrase',
  );
  expect(await failureOf(new LocalKeyring(shared, none).wrap('default', secret, { context }))).toBe('denied');
  expect(await failureOf(addKeyringKeyVersion(shared, 'default', wrong))).toBe('denied');
  expect(await new LocalKeyring(shared, lock).check()).toEqual({ isProtected: true });
});

test('KL1 a secret that was altered or moved is damage, not a wrong passphrase', async () => {
  const file = newFile();
  await createLocalKeyring(file, lock);
  await addKeyringKey(file, 'other', lock);
  const text = stored(file);
  const [one, two] = [text.keys['default']!.versions[0]!, text.keys['other']!.versions[0]!];
  [one.secret, two.secret] = [two.secret, one.secret];
  writeFileSync(file, JSON.stringify(text));
  const provider = new LocalKeyring(file, lock);
  await provider.check();
  expect(await failureOf(provider.wrap('default', secret, { context }))).toBe('internal');
});

test('KF4 a protected file with a secret in the clear, or without its protection, is damaged', async () => {
  await sharedReady;
  const plain = newFile();
  await createLocalKeyring(plain);
  const [sealed, clear] = [stored(shared), stored(plain)];
  const damaged = [
    { ...clear, version: 2, protection: sealed.protection },
    { ...sealed, version: 1 },
    { ...sealed, protection: undefined },
    { ...sealed, protection: { ...sealed.protection, logN: 30 } },
    { ...sealed, protection: { ...sealed.protection, kdf: 'none' } },
    { ...sealed, protection: { ...sealed.protection, salt: '' } },
  ];
  for (const content of damaged) {
    writeFileSync(plain, JSON.stringify(content), { mode: 0o600 });
    expect(await failureOf(new LocalKeyring(plain, lock).describe('default'))).toBe('internal');
  }
});

test('KL3 a new passphrase counts at once, the old one no more', async () => {
  const file = newFile();
  using changing = new KeyringLock(PASSPHRASE);
  await createLocalKeyring(file, changing);
  const running = new LocalKeyring(file, changing);
  const { wrapped } = await running.wrap('default', secret, { context });
  changing.accept('another long passphrase');
  expect(await failureOf(running.unwrap('local:default', wrapped, { context, lengthBytes }))).toBe('succeeded');
  await protectKeyring(file, changing);
  expect(await failureOf(running.unwrap('local:default', wrapped, { context, lengthBytes }))).toBe('succeeded');
  using renewed = new KeyringLock('another long passphrase');
  await new LocalKeyring(file, renewed).check();
  expect(await failureOf(new LocalKeyring(file, new KeyringLock(PASSPHRASE)).check())).toBe('denied');
});

test('a keyring is protected by a passphrase of some length only', async () => {
  const file = newFile();
  await createLocalKeyring(file);
  const before = readFileSync(file, 'utf8');
  await expect(protectKeyring(file, new KeyringLock('too short'))).rejects.toThrow('at least 12 characters');
  await expect(protectKeyring(file, new KeyringLock())).rejects.toThrow('there is no passphrase');
  expect(readFileSync(file, 'utf8')).toBe(before);
});

test('a lock prints no passphrase', () => {
  expect(JSON.stringify(lock) + inspect(lock)).not.toContain('horse');
});
