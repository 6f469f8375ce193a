import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { KeyringLock } from '../../src/keys/providers/keyring-lock.ts';
import { LocalKeyring } from '../../src/keys/providers/local-keyring.ts';
import { openAdmin } from './fixture.ts';

const PASSPHRASE = 'a passphrase of some length';

test('the keyring is protected with the configured passphrase, once', async () => {
  using lock = new KeyringLock(PASSPHRASE);
  await using admin = await openAdmin({ keyringLock: lock });
  const file = join(admin.base.folder, 'keyring.json');
  await admin.run('keyring rotate default');
  const { out } = await admin.run('keyring protect');
  expect(out).toContain(`Sealed ${file} with the passphrase: keys 1, versions 2.\n`);
  expect(out).toMatch(/Older copies of the file are not sealed.*destroy them/);
  expect(await new LocalKeyring(file, lock).check()).toEqual({ isProtected: true });
  expect((await admin.run('keyring protect')).error).toContain('protected already');
  expect((await admin.run('keyring add archive')).code).toBe(0);
  expect((await admin.run('keyring list')).out).toContain('local:archive');
});

test('a passphrase is changed, and the configuration is spoken of', async () => {
  using lock = new KeyringLock(PASSPHRASE);
  await using admin = await openAdmin({ keyringLock: lock });
  const file = join(admin.base.folder, 'keyring.json');
  await admin.run('keyring protect');
  expect((await admin.run('keyring protect --change', 'short\n')).error).toContain('newPassphrase');
  const { out } = await admin.run('keyring protect --change', 'another long passphrase\n');
  expect(out).toContain('Give the new passphrase to the configuration now');
  using renewed = new KeyringLock('another long passphrase');
  await new LocalKeyring(file, renewed).check();
  const fromFile = join(admin.base.folder, 'passphrase');
  writeFileSync(fromFile, `${PASSPHRASE}\n`);
  expect((await admin.run(`keyring protect --passphrase-file ${fromFile}`)).code).toBe(0);
  using again = new KeyringLock(PASSPHRASE);
  await new LocalKeyring(file, again).check();
  expect(admin.logged.join()).not.toMatch(/passphrase of|another long/);
});

test('without a configured passphrase nothing is sealed', async () => {
  await using admin = await openAdmin();
  const file = join(admin.base.folder, 'keyring.json');
  const before = readFileSync(file, 'utf8');
  expect((await admin.run('keyring protect')).error).toContain('Set keys.localKeyring.passphrase');
  expect((await admin.run('keyring protect --change', 'another long passphrase\n')).error).toContain('Configure');
  expect(readFileSync(file, 'utf8')).toBe(before);
});

test('a backup is an exact copy for its owner, and ends the reminder of status', async () => {
  await using admin = await openAdmin();
  const file = join(admin.base.folder, 'keyring.json');
  const copy = join(admin.base.folder, 'copy.json');
  expect((await admin.run('status')).out).toMatch(/keyring backup +NONE\. Run: sealpost keyring backup FILE/);
  expect((await admin.run(`keyring backup ${copy}`)).out).toContain(`Wrote ${copy}, with root keys up to 2`);
  expect(readFileSync(copy, 'utf8')).toBe(readFileSync(file, 'utf8'));
  expect(statSync(copy).mode & 0o777).toBe(0o600);
  expect((await admin.run('status')).out).toMatch(/keyring backup +2/);
  await new Promise((resolve) => setTimeout(resolve, 2)); // a key is known by its time
  await admin.run('keyring add archive');
  expect((await admin.run('status')).out).toMatch(/keyring backup +OUTDATED/);
  expect(await admin.run(`keyring backup ${copy}`)).toMatchObject({
    code: 1,
    error: `sealpost: The copy ${copy} cannot be written: it exists already.\n`,
  });
  expect((await admin.run('status')).out).toMatch(/keyring backup +OUTDATED/);
  expect(Object.keys(await admin.json<object>(`keyring backup ${copy}.2`))).toEqual([
    'file',
    'at',
    'newestCreatedAt',
    'isProtected',
  ]);
  expect(admin.logged.join()).not.toContain('secret');
});
