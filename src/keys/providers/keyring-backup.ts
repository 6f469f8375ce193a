/**
 * Whether the operator has a copy of the keyring file elsewhere: without it, a lost disk is lost mail.
 *
 * KB1  A copy counts for the file as it was: a key or version that was made since, or a new passphrase, makes it
 *      outdated. Enabling and disabling do not.
 * KB2  The record lies beside the keyring, `<keyring>.backed-up`, and holds no secret. A record that cannot be read
 *      counts as none.
 * KB3  The log speaks of a missing copy at the start and once a day.
 *
 * Format of the record: JSON {"format": "sealpost-keyring-backup", "version": 1, "at": ISO time, "newestCreatedAt": ISO
 * time of the newest key version, "salt": of the protection, or null}.
 *
 * Called by app.ts and admin/.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from '../../db/sync-folder.ts';
import type { Logger } from '../../observe/logger.ts';
import { KeyProviderError } from '../provider.ts';
import { readKeyring, readKeyringText, type Keyring } from './keyring-file.ts';

/** `at`: when the operator made the copy. */
type BackupState = Readonly<
  { kind: 'none' } | { kind: 'outdated'; at: string } | { kind: 'current'; at: string } | { kind: 'unreadable' }
>;
type BackupRecord = Readonly<{ at: string; newestCreatedAt: string; salt: string | null }>;
/** What a copy is made of. `digest` names exactly this text. */
type KeyringCopy = Readonly<{ text: string; digest: string; newestCreatedAt: string; isProtected: boolean }>;

const FORMAT = 'sealpost-keyring-backup';
const FORMAT_VERSION = 1;
const MODE = 0o600;
const REMIND_EVERY_MS = 24 * 60 * 60 * 1000;

/** Null without a keyring. */
export async function keyringBackupState(file: string): Promise<BackupState | null> {
  if (!existsSync(file)) return null;
  try {
    const now = markOf(await readKeyring(file));
    const record = await readRecord(file);
    if (!record) return { kind: 'none' };
    const isCurrent = record.newestCreatedAt === now.newestCreatedAt && record.salt === now.salt;
    return { kind: isCurrent ? 'current' : 'outdated', at: record.at };
  } catch (error) {
    if (error instanceof KeyProviderError) return { kind: 'unreadable' };
    throw error;
  }
}

/** Throws KeyProviderError. */
export async function copyKeyring(file: string): Promise<KeyringCopy> {
  const { text, keyring } = await readKeyringText(file);
  const { newestCreatedAt, salt } = markOf(keyring);
  return { text, digest: digestOf(text), newestCreatedAt, isProtected: salt !== null };
}

/** Records that the copy with this digest is safe. Throws Error when the keyring is another one by now. */
export async function recordKeyringBackup(file: string, digest: string): Promise<BackupRecord> {
  const { text, keyring } = await readKeyringText(file);
  if (digestOf(text) !== digest) throw new Error('the keyring was changed meanwhile: try again');
  const record = { at: new Date().toISOString(), ...markOf(keyring) };
  const temporary = `${recordFile(file)}.new`;
  {
    await using handle = await open(temporary, 'w', MODE);
    await handle.writeFile(`${JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, ...record })}\n`);
    await handle.sync();
  }
  await rename(temporary, recordFile(file));
  await syncFolder(dirname(file));
  return record;
}

/** Says in the log, now and once a day, that there is no copy (KB3). */
export function remindOfBackup(file: string, logger: Logger): Disposable {
  const remind = async (): Promise<void> => {
    const state = await keyringBackupState(file);
    if (state?.kind !== 'none' && state?.kind !== 'outdated') return;
    const remedy = 'sealpost keyring backup FILE, and keep FILE on another machine';
    logger.warn(`the ${state.kind === 'none' ? '' : 'newest '}root keys are on this disk only`, { file, remedy });
  };
  const tell = (): void => {
    remind().catch((error: unknown) => {
      logger.error('cannot tell whether the keyring is backed up', { error });
    });
  };
  tell();
  const timer = setInterval(tell, REMIND_EVERY_MS).unref();
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
    },
  };
}

function recordFile(file: string): string {
  return `${file}.backed-up`;
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** What tells a copy from a later keyring (KB1). */
function markOf({ keys, protection }: Keyring): Readonly<{ newestCreatedAt: string; salt: string | null }> {
  const times = Object.values(keys).flatMap(({ versions }) => versions.map(({ createdAt }) => createdAt));
  return { newestCreatedAt: times.sort().at(-1) ?? '', salt: protection?.salt ?? null };
}

async function readRecord(file: string): Promise<BackupRecord | null> {
  try {
    const value = JSON.parse(await readFile(recordFile(file), 'utf8')) as Partial<Record<string, unknown>> | null;
    const { format, version, at, newestCreatedAt, salt } = value ?? {};
    if (format !== FORMAT || version !== FORMAT_VERSION || typeof at !== 'string') return null;
    if (typeof newestCreatedAt !== 'string' || (typeof salt !== 'string' && salt !== null)) return null;
    return { at, newestCreatedAt, salt };
  } catch {
    return null; // KB2
  }
}
