/**
 * Key provider over a keyring file (keyring-file.ts), with the answers that a key management service gives.
 *
 * LK1  A root key is named `local:<name>`; a bare name is taken for that.
 * LK2  Its newest version wraps, every version unwraps. A disabled key does neither.
 * LK3  The file is read for each call: a key that is disabled, or a file that is taken away, counts at once,
 *      and no root key stays in memory between calls. (Of a protected file the passphrase's key does: keyring-lock.ts.)
 * LK4  The encryption context, the key's name and its version are bound to what is wrapped.
 *
 * Format of what is wrapped: version 0x01 | key version (u32, big-endian) | a record (crypto/record.ts) under
 * that version's secret, with the context of kind "keyring".
 *
 * Made by app.ts; called by key-service.ts.
 */
import { randomUUID } from 'node:crypto';
import { ServerError } from '../../base/errors.ts';
import { encryptionContextBytes, type RecordContext } from '../../crypto/context.ts';
import { openRecord, sealRecord } from '../../crypto/record.ts';
import { SecretBytes } from '../../crypto/secret-bytes.ts';
import {
  KeyProviderError,
  type EncryptionContext,
  type KeyProvider,
  type ProviderGrant,
  type ProviderCallOptions,
  type RootKeyDescription,
  type UnwrapOptions,
  type UnwrappedByProvider,
  type WrappedByProvider,
} from '../provider.ts';
import { KeyringLock } from './keyring-lock.ts';
import { newestOf, readKeyring, secretOf, storedKey, type Keyring } from './keyring-file.ts';

type EnabledKey = Readonly<{ keyring: Keyring; key: ReturnType<typeof storedKey> }>;

const PREFIX = 'local:';
const FORMAT_VERSION = 0x01;
const HEADER_BYTES = 5;
const MAX_SECRET_BYTES = 4096;

export class LocalKeyring implements KeyProvider {
  readonly kind = 'local-keyring';
  readonly #file: string;
  readonly #lock: KeyringLock;

  /** `file` is read at the first call. `lock` stays the caller's to dispose. */
  constructor(file: string, lock = new KeyringLock()) {
    this.#file = file;
    this.#lock = lock;
  }

  /** Throws KeyProviderError when the file is there and cannot be used: unguarded, damaged, or the passphrase is wrong. */
  async check(): Promise<Readonly<{ isProtected: boolean }>> {
    const { protection } = await readKeyring(this.#file);
    if (protection) await this.#lock.check(protection);
    return { isProtected: protection !== null };
  }

  async describe(rootKey: string, signal?: AbortSignal): Promise<RootKeyDescription> {
    const { version } = newestOf((await this.#enabledKey(rootKey, signal)).key);
    const isNewest = (wrapped: Uint8Array): boolean => (versionOrNull(wrapped) ?? 0) >= version;
    return { rootKey: PREFIX + bareName(rootKey), requestId: randomUUID(), isNewest };
  }

  async wrap(rootKey: string, secret: SecretBytes, options: ProviderCallOptions): Promise<WrappedByProvider> {
    if (secret.lengthBytes > MAX_SECRET_BYTES) throw new KeyProviderError('unsuitable', 'the secret is too long');
    const { keyring, key: stored } = await this.#enabledKey(rootKey, options.signal);
    const { version } = newestOf(stored);
    using key = await secretOf({ keyring, lock: this.#lock }, { key: bareName(rootKey), version });
    const header = Buffer.alloc(HEADER_BYTES);
    header[0] = FORMAT_VERSION;
    header.writeUInt32BE(version, 1);
    const name = PREFIX + bareName(rootKey);
    const record = sealRecord(key, bound(name, version, options.context), secret.expose());
    return { rootKey: name, wrapped: Buffer.concat([header, record]), requestId: randomUUID() };
  }

  async unwrap(rootKey: string, wrapped: Uint8Array, options: UnwrapOptions): Promise<UnwrappedByProvider> {
    const { keyring } = await this.#enabledKey(rootKey, options.signal);
    const version = versionOf(wrapped);
    using secret = await secretOf({ keyring, lock: this.#lock }, { key: bareName(rootKey), version });
    const name = PREFIX + bareName(rootKey);
    const opened = openSecret(secret, bound(name, version, options.context), wrapped.subarray(HEADER_BYTES));
    if (opened.lengthBytes === options.lengthBytes) return { secret: opened, requestId: randomUUID() };
    opened[Symbol.dispose]();
    throw new KeyProviderError('bad-answer', 'the unwrapped secret has the wrong length');
  }

  /** The keyring has no grants: those of grants.ts are all there is. */
  createGrant(): Promise<ProviderGrant> {
    return Promise.resolve({ kind: 'absent', why: 'not-supported', requestId: null });
  }

  revokeGrant(rootKey: string): Promise<never> {
    return Promise.reject(new KeyProviderError('not-found', `the keyring has no grants for ${rootKey}`));
  }

  close(): void {
    // nothing is held between calls (LK3)
  }

  async #enabledKey(rootKey: string, signal?: AbortSignal): Promise<EnabledKey> {
    signal?.throwIfAborted();
    const keyring = await readKeyring(this.#file);
    const key = storedKey(keyring, bareName(rootKey));
    signal?.throwIfAborted();
    if (key.state === 'disabled') throw new KeyProviderError('disabled', `${rootKey} is disabled`);
    return { keyring, key };
  }
}

function bareName(rootKey: string): string {
  return rootKey.startsWith(PREFIX) ? rootKey.slice(PREFIX.length) : rootKey;
}

function bound(key: string, version: number, context: EncryptionContext): RecordContext {
  return { kind: 'keyring', key, version, context: encryptionContextBytes(context) };
}

function versionOf(wrapped: Uint8Array): number {
  const version = versionOrNull(wrapped);
  if (version !== null) return version;
  throw new KeyProviderError('invalid-ciphertext', 'not wrapped by a local keyring of this version');
}

function versionOrNull(wrapped: Uint8Array): number | null {
  const bytes = Buffer.from(wrapped.buffer, wrapped.byteOffset, wrapped.length);
  return bytes.length <= HEADER_BYTES || bytes[0] !== FORMAT_VERSION ? null : bytes.readUInt32BE(1);
}

function openSecret(key: SecretBytes, context: RecordContext, sealed: Uint8Array): SecretBytes {
  try {
    return new SecretBytes(openRecord(key, context, sealed));
  } catch (cause) {
    if (!(cause instanceof ServerError)) throw cause;
    throw new KeyProviderError('invalid-ciphertext', 'the wrapped secret does not open', { cause });
  }
}
