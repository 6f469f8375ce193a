import { randomUUID } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import {
  copyKeyring,
  keyringBackupState,
  recordKeyringBackup,
  remindOfBackup,
} from '../../../src/keys/providers/keyring-backup.ts';
import {
  addKeyringKeyVersion,
  createLocalKeyring,
  protectKeyring,
  setKeyringKeyState,
} from '../../../src/keys/providers/keyring-file.ts';
import { KeyringLock } from '../../../src/keys/providers/keyring-lock.ts';
import type { Logger } from '../../../src/observe/logger.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const directory = temporaryDirectory();
const DAY_MS = 24 * 60 * 60 * 1000;

async function keyring(): Promise<string> {
  const file = join(directory, `${randomUUID()}.json`);
  await createLocalKeyring(file);
  return file;
}

async function backUp(file: string): Promise<void> {
  await recordKeyringBackup(file, (await copyKeyring(file)).digest);
}

const kindOf = async (file: string) => (await keyringBackupState(file))?.kind;

test('KB1 a copy counts until a key is made', async () => {
  const file = await keyring();
  expect(await kindOf(file)).toBe('none');
  const copy = await copyKeyring(file);
  expect(copy).toMatchObject({ text: readFileSync(file, 'utf8'), isProtected: false });
  const record = await recordKeyringBackup(file, copy.digest);
  expect(record.newestCreatedAt).toBe(copy.newestCreatedAt);
  expect(await keyringBackupState(file)).toEqual({ kind: 'current', at: record.at });
  await setKeyringKeyState(file, 'default', 'disabled');
  expect(await kindOf(file)).toBe('current');
  await new Promise((resolve) => setTimeout(resolve, 2)); // a version is known by its time
  await addKeyringKeyVersion(file, 'default');
  expect(await keyringBackupState(file)).toEqual({ kind: 'outdated', at: record.at });
  await backUp(file);
  expect(await kindOf(file)).toBe('current');
});

test('KB1 a copy without protection is outdated once the keyring has one', async () => {
  const file = await keyring();
  await backUp(file);
  await protectKeyring(file, new KeyringLock('a passphrase of some length'));
  expect(await kindOf(file)).toBe('outdated');
});

test('a copy of an older text is not recorded', async () => {
  const file = await keyring();
  const { digest } = await copyKeyring(file);
  await addKeyringKeyVersion(file, 'default');
  await expect(recordKeyringBackup(file, digest)).rejects.toThrow('changed meanwhile');
  expect(await kindOf(file)).toBe('none');
});

test('KB2 a record that cannot be read counts as none, and holds no secret', async () => {
  const file = await keyring();
  await backUp(file);
  const secret = /"secret": "(.+)"/.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
  expect(readFileSync(`${file}.backed-up`, 'utf8')).not.toContain(secret);
  for (const text of ['', 'null', '[]', '{"format":"sealpost-keyring-backup","version":2}']) {
    writeFileSync(`${file}.backed-up`, text);
    expect(await kindOf(file)).toBe('none');
  }
});

test('without a keyring there is nothing to copy; an unreadable one is told as such', async () => {
  expect(await keyringBackupState(join(directory, 'none.json'))).toBeNull();
  const file = await keyring();
  chmodSync(file, 0o644);
  expect(await kindOf(file)).toBe('unreadable');
});

test('KB3 the log speaks of a missing copy at the start and once a day, until there is one', async () => {
  const file = await keyring();
  const lines: string[] = [];
  const warn = (message: string, fields: object = {}): void => void lines.push(message + JSON.stringify(fields));
  const logger: Logger = { debug: warn, info: warn, warn, error: warn, child: () => logger };
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  using _reminder = remindOfBackup(file, logger);
  await expect.poll(() => lines).toEqual([expect.stringContaining('on this disk only')]);
  expect(lines[0]).toContain('sealpost keyring backup FILE');
  vi.advanceTimersByTime(DAY_MS);
  await expect.poll(() => lines.length).toBe(2);
  await backUp(file);
  vi.advanceTimersByTime(DAY_MS);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(lines).toHaveLength(2);
});
