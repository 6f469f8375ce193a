/**
 * The keyring file: root keys on this machine's own disk, for operators without a key management service.
 *
 * KF1  It is read only when it is a regular file of mode 0600 (or stricter) that belongs to this process's
 *      user; otherwise the error says what to do.
 * KF2  It is replaced whole (temporary file, fsync, rename, fsync of the folder): a crash leaves the old or
 *      the new one. Two changes at a time are kept apart by the temporary file, made with O_EXCL.
 * KF3  A version of a key is never changed or removed here: what it wrapped must be unwrapped later.
 *
 * KF4  Once protected by a passphrase, every secret in the file is sealed, and a new one is sealed before it is written.
 *
 * Format: JSON {"format": "sealpost-keyring", "version": 1, "keys": {name: {"state": "enabled" | "disabled",
 * "versions": [{"version": 1, "createdAt": ISO time, "secret": base64 of 32 bytes}, ..ascending..]}}}.
 * Version 2, with a passphrase: as above, with "protection": {"kdf": "scrypt", "logN", "r", "p", "salt", "check"}, and
 * each "secret" is base64 of a record (crypto/record.ts, context "keyring-secret") under the passphrase's key.
 * JSON strings cannot be zeroed: while a file of version 1 is read, copies of the secrets are in memory.
 *
 * Called by local-keyring.ts and, to make and change keyrings, by admin/. Without a `lock`, for keyrings of version 1.
 */
import { constants, type Stats } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SecretBytes } from '../../crypto/secret-bytes.ts';
import { syncFolder } from '../../db/sync-folder.ts';
import { KeyProviderError } from '../provider.ts';
import { isProtection, KeyringLock, type Protection, type SecretPlace } from './keyring-lock.ts';

type KeyState = 'enabled' | 'disabled';
type KeyVersion = Readonly<{ version: number; createdAt: string; secret: string }>;
type StoredKey = Readonly<{ state: KeyState; versions: readonly [KeyVersion, ...KeyVersion[]] }>;
export type Keyring = Readonly<{ protection: Protection | null; keys: Readonly<Record<string, StoredKey>> }>;

const FORMAT = 'sealpost-keyring';
const PLAIN_VERSION = 1;
const PROTECTED_VERSION = 2;
const FIRST_KEY = 'default';
const SECRET_BYTES = 32;
const MODE = 0o600;
const OTHERS_MASK = 0o077;
const MAX_FILE_BYTES = 1024 * 1024;
const KEY_NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/;
const BASE64_OF_32_BYTES = /^[A-Za-z0-9+/]{43}=$/;
const BASE64_OF_61_BYTES = /^[A-Za-z0-9+/]{82}==$/;

/** Makes a keyring with one enabled key, `default`; protected if `lock` has a passphrase. Throws when the file exists. */
export async function createLocalKeyring(file: string, lock = new KeyringLock()): Promise<void> {
  const protection = lock.hasPassphrase ? await lock.newProtection() : null;
  const first = await freshVersion({ protection, lock }, { key: FIRST_KEY, version: 1 });
  await writeNew(file, { protection, keys: { [FIRST_KEY]: { state: 'enabled', versions: [first] } } });
  await syncFolder(dirname(file));
}

/** Adds an enabled key. Throws KeyProviderError, and Error when the name is taken. */
export async function addKeyringKey(file: string, name: string, lock = new KeyringLock()): Promise<void> {
  if (!KEY_NAME.test(name)) throw new Error(`not a key name: use lower-case letters, digits, '_', '.', '-'`);
  await change(file, async ({ protection, keys }) => {
    if (Object.hasOwn(keys, name)) throw new Error(`the keyring has a key ${name} already`);
    const first = await freshVersion({ protection, lock }, { key: name, version: 1 });
    return { protection, keys: { ...keys, [name]: { state: 'enabled', versions: [first] } } };
  });
}

/** Adds a version, which wraps from now on; the older ones go on unwrapping. Throws KeyProviderError. */
export async function addKeyringKeyVersion(file: string, name: string, lock = new KeyringLock()): Promise<void> {
  await change(file, async (keyring) => {
    const { protection, keys } = keyring;
    const key = storedKey(keyring, name);
    const next = await freshVersion({ protection, lock }, { key: name, version: newestOf(key).version + 1 });
    return { protection, keys: { ...keys, [name]: { ...key, versions: [...key.versions, next] } } };
  });
}

/**
 * Seals every secret of the keyring under the newest passphrase of `lock`, which must open what is sealed already.
 * Throws KeyProviderError, and Error when `lock` has no passphrase that may serve.
 */
export async function protectKeyring(
  file: string,
  lock: KeyringLock,
): Promise<Readonly<{ keysCount: number; versionsCount: number }>> {
  let versionsCount = 0;
  const { keys } = await change(file, async (keyring) => {
    const protection = await lock.newProtection();
    const resealed: Record<string, StoredKey> = {};
    for (const [name, key] of Object.entries(keyring.keys)) {
      const versions: KeyVersion[] = [];
      for (const version of key.versions) {
        const place = { key: name, version: version.version };
        using secret = await secretOf({ keyring, lock }, place);
        versions.push({ ...version, secret: await lock.seal(protection, place, secret) });
      }
      versionsCount += versions.length;
      resealed[name] = { ...key, versions: versions as [KeyVersion, ...KeyVersion[]] };
    }
    return { protection, keys: resealed };
  });
  return { keysCount: Object.keys(keys).length, versionsCount };
}

/** Enables or disables a key, at once for a running server too. Throws KeyProviderError. */
export async function setKeyringKeyState(file: string, name: string, state: KeyState): Promise<void> {
  await change(file, (keyring) => {
    const keys = { ...keyring.keys, [name]: { ...storedKey(keyring, name), state } };
    return Promise.resolve({ ...keyring, keys });
  });
}

/** Reads a keyring, checking owner and mode first (KF1). Throws KeyProviderError 'unreachable', 'denied', 'internal'. */
export async function readKeyring(file: string): Promise<Keyring> {
  return (await readKeyringText(file)).keyring;
}

/** The same, with the text of the file, for a copy of it. */
export async function readKeyringText(file: string): Promise<Readonly<{ keyring: Keyring; text: string }>> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW).catch((cause: unknown) => {
    throw new KeyProviderError('unreachable', `the keyring ${file} cannot be opened: ${messageOf(cause)}`, { cause });
  });
  try {
    checkGuarded(file, await handle.stat());
    const text = await handle.readFile('utf8');
    return { keyring: parseKeyring(file, text), text };
  } finally {
    await handle.close();
  }
}

/** Throws KeyProviderError 'not-found'. */
export function storedKey(keyring: Keyring, name: string): StoredKey {
  const key = Object.hasOwn(keyring.keys, name) ? keyring.keys[name] : undefined;
  if (!key) throw new KeyProviderError('not-found', `the keyring has no key ${name}`);
  return key;
}

/** The version that wraps. */
export function newestOf(key: StoredKey): KeyVersion {
  return key.versions.at(-1) ?? key.versions[0];
}

/** The caller disposes it. Throws KeyProviderError 'denied', 'internal', 'invalid-ciphertext' without such a version. */
export async function secretOf(
  { keyring, lock }: Readonly<{ keyring: Keyring; lock: KeyringLock }>,
  place: SecretPlace,
): Promise<SecretBytes> {
  const { key, version } = place;
  const found = storedKey(keyring, key).versions.find((each) => each.version === version);
  if (!found) throw new KeyProviderError('invalid-ciphertext', `${key} has no version ${String(version)}`);
  if (keyring.protection) return lock.open(keyring.protection, place, found.secret);
  const decoded = Buffer.from(found.secret, 'base64');
  const secret = SecretBytes.copyOf(decoded);
  decoded.fill(0);
  return secret;
}

async function freshVersion(
  { protection, lock }: Readonly<{ protection: Protection | null; lock: KeyringLock }>,
  place: SecretPlace,
): Promise<KeyVersion> {
  using secret = SecretBytes.random(SECRET_BYTES);
  const { buffer, byteOffset, length } = secret.expose();
  return {
    version: place.version,
    createdAt: new Date().toISOString(),
    secret: protection
      ? await lock.seal(protection, place, secret)
      : Buffer.from(buffer, byteOffset, length).toString('base64'),
  };
}

async function change(file: string, edit: (keyring: Keyring) => Promise<Keyring>): Promise<Keyring> {
  const temporary = `${file}.new`;
  const edited = await edit(await readKeyring(file));
  await writeNew(temporary, edited).catch((cause: unknown) => {
    const hint = isCode(cause, 'EEXIST') ? `; if no other change is under way, remove it and try again` : '';
    throw new Error(`cannot write ${temporary}: ${messageOf(cause)}${hint}`, { cause });
  });
  await rename(temporary, file);
  await syncFolder(dirname(file));
  return edited;
}

async function writeNew(file: string, { protection, keys }: Keyring): Promise<void> {
  const handle = await open(file, 'wx', MODE);
  const version = protection ? PROTECTED_VERSION : PLAIN_VERSION;
  const content = { format: FORMAT, version, ...(protection ? { protection } : {}), keys };
  try {
    await handle.writeFile(`${JSON.stringify(content, null, 2)}\n`);
    await handle.sync();
  } catch (error) {
    await unlink(file);
    throw error;
  } finally {
    await handle.close();
  }
}

function checkGuarded(file: string, found: Stats): void {
  if (!found.isFile()) throw new KeyProviderError('denied', `the keyring ${file} is not a regular file`);
  const user = process.getuid?.();
  if (user !== undefined && found.uid !== user) {
    const text = `the keyring ${file} belongs to user ${String(found.uid)}, the server runs as ${String(user)}`;
    throw new KeyProviderError('denied', `${text}: run chown ${String(user)} ${file}`);
  }
  if ((found.mode & OTHERS_MASK) !== 0) {
    const mode = (found.mode & 0o777).toString(8).padStart(4, '0');
    throw new KeyProviderError(
      'denied',
      `the keyring ${file} has mode ${mode}, others could read it: run chmod 600 ${file}`,
    );
  }
  if (found.size > MAX_FILE_BYTES) throw new KeyProviderError('internal', `the keyring ${file} is too large`);
}

function parseKeyring(file: string, text: string): Keyring {
  const value = parseJson(text);
  if (!isRecord(value) || value['format'] !== FORMAT) {
    throw new KeyProviderError('internal', `${file} is not a sealpost keyring`);
  }
  const { version, keys, protection } = value;
  if (version !== PLAIN_VERSION && version !== PROTECTED_VERSION) {
    throw new KeyProviderError('internal', `the keyring ${file} has an unknown version: it was made by a newer server`);
  }
  const secret = version === PROTECTED_VERSION ? BASE64_OF_61_BYTES : BASE64_OF_32_BYTES;
  if (isRecord(keys) && isKeys(keys, secret)) {
    if (version === PLAIN_VERSION) return { protection: null, keys };
    if (isRecord(protection) && isProtection(protection)) return { protection: protection as Protection, keys };
  }
  throw new KeyProviderError('internal', `the keyring ${file} is damaged`);
}

/** Null for what is no JSON; the parser's own message would show parts of the secrets. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

function isKeys(keys: Record<string, unknown>, secret: RegExp): keys is Record<string, StoredKey> {
  return Object.values(keys).every(
    (key) =>
      isRecord(key) &&
      (key['state'] === 'enabled' || key['state'] === 'disabled') &&
      Array.isArray(key['versions']) &&
      key['versions'].length > 0 &&
      key['versions'].every((version, at) => isVersion(version, at, secret)),
  );
}

function isVersion(value: unknown, index: number, secret: RegExp): boolean {
  if (!isRecord(value) || value['version'] !== index + 1 || typeof value['createdAt'] !== 'string') return false;
  return typeof value['secret'] === 'string' && secret.test(value['secret']);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
