/**
 * Key provider over the Transit engine of HashiCorp Vault or OpenBao.
 *
 * VT1  A root key is named `vault:<mount>/<key>`; a bare name lies under the configured mount.
 * VT2  It serves when it is of type aes256-gcm96, encrypts and decrypts, is not derived, and is not soft-deleted (W2).
 * VT3  The encryption context goes along as associated data. A service that ignores that (too old a version) is
 *      found out by `describe` and refused.
 * VT4  Encrypting never makes a key: by itself, Transit makes one for an unknown name.
 * VT5  What is wrapped is Vault's own text, `vault:v<version>:<base64>`, so key versions are Vault's affair; a text with
 *      another spelling of the same bytes is refused.
 *
 * What Vault refuses by its policies is 'denied'. Transit has no switch that disables a key; raising
 * `min_decryption_version` above a wrapped key's version counts as 'disabled'.
 *
 * The key's plaintext comes as base64 inside a JSON answer: the strings made of it stay in memory until they are
 * collected. The bytes are zeroed.
 *
 * Made by app.ts; called by key-service.ts.
 */
import { encryptionContextBytes } from '../../crypto/context.ts';
import { SecretBytes } from '../../crypto/secret-bytes.ts';
import type { Logger } from '../../observe/logger.ts';
import {
  KeyProviderError,
  type EncryptionContext,
  type KeyProvider,
  type ProviderCallOptions,
  type ProviderGrant,
  type RootKeyDescription,
  type RootKeyFault,
  type UnwrapOptions,
  type UnwrappedByProvider,
  type WrappedByProvider,
} from '../provider.ts';
import { VaultClient, type VaultAnswer, type VaultConnection } from './vault-client.ts';
import { VaultToken, type TokenSource } from './vault-token.ts';

type VaultTransitOptions = VaultConnection & TokenSource & Readonly<{ mount: string }>;
type KeyPath = Readonly<{ rootKey: string; mount: string; key: string }>;

const PREFIX = 'vault:';
const SEGMENT = String.raw`(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]+`;
const KEY_PATH = new RegExp(`^(?<mount>${SEGMENT}(?:/${SEGMENT})*)/(?<key>${SEGMENT})$`);
const KEY_TYPE = 'aes256-gcm96';
const ASYMMETRIC = /^(rsa|ecdsa|ed25519|ml-dsa|slh-dsa|hybrid)/;
const WRAPPED = /^vault:v(?<version>[1-9]\d{0,8}):(?<sealed>[A-Za-z0-9+/]+={0,2})$/;
const WRAPPED_MAX_BYTES = 16_384;
const MAX_SECRET_BYTES = 4096;
/** The type of key to make for an unknown name: none that exists (VT4). For a known name Transit does not look at it. */
const NO_KEY_TYPE = 'none';
const PROBE_BYTES = 32;

export class VaultTransit implements KeyProvider {
  readonly kind = 'vault-transit';
  readonly #mount: string;
  readonly #client: VaultClient;
  readonly #token: VaultToken;
  readonly #logger: Logger;

  /** Throws ServerError 'not-found' when the CA file cannot be read. */
  constructor(options: VaultTransitOptions, logger: Logger) {
    this.#mount = options.mount;
    this.#client = new VaultClient(options);
    this.#token = new VaultToken(options, this.#client, logger);
    this.#logger = logger;
  }

  /** Looks at the token now, renews it in time from now on, and says in the log when it will run out. */
  watchToken(): void {
    this.#token.watch();
  }

  async describe(rootKey: string, signal?: AbortSignal): Promise<RootKeyDescription> {
    const path = this.#pathOf(rootKey);
    const { data, requestId } = await this.#send('GET', `${path.mount}/keys/${path.key}`, { signal });
    checkServes(path, data, requestId);
    await this.#checkBindsContext(path, signal);
    if (data['deletion_allowed'] === true) {
      this.#logger.warn('one command deletes this root key, and with it all mail under it', {
        rootKey: path.rootKey,
        remedy: `vault write ${path.mount}/keys/${path.key}/config deletion_allowed=false`,
      });
    }
    const newest = Number(data['latest_version']);
    const isNewest = (wrapped: Uint8Array): boolean => versionOf(wrapped) >= newest;
    return { rootKey: path.rootKey, requestId, isNewest };
  }

  async wrap(rootKey: string, secret: SecretBytes, options: ProviderCallOptions): Promise<WrappedByProvider> {
    if (secret.lengthBytes > MAX_SECRET_BYTES) throw new KeyProviderError('unsuitable', 'the secret is too long');
    const path = this.#pathOf(rootKey);
    const { buffer, byteOffset, length } = secret.expose();
    const body = {
      plaintext: Buffer.from(buffer, byteOffset, length).toString('base64'),
      associated_data: associatedData(options.context),
      type: NO_KEY_TYPE,
    };
    const { signal } = options;
    const { data, requestId } = await this.#send('POST', `${path.mount}/encrypt/${path.key}`, { body, signal });
    const { ciphertext } = data;
    if (typeof ciphertext !== 'string' || !isWrapped(ciphertext)) {
      throw new KeyProviderError('bad-answer', 'Vault: encrypt gave no ciphertext', { requestId });
    }
    return { rootKey: path.rootKey, wrapped: Buffer.from(ciphertext, 'latin1'), requestId };
  }

  async unwrap(rootKey: string, wrapped: Uint8Array, options: UnwrapOptions): Promise<UnwrappedByProvider> {
    const path = this.#pathOf(rootKey);
    const ciphertext = Buffer.from(wrapped.buffer, wrapped.byteOffset, wrapped.length).toString('latin1');
    if (!isWrapped(ciphertext)) throw new KeyProviderError('invalid-ciphertext', 'not wrapped by a Transit engine');
    const body = { ciphertext, associated_data: associatedData(options.context) };
    const { signal } = options;
    const { data, requestId } = await this.#send('POST', `${path.mount}/decrypt/${path.key}`, { body, signal });
    const plaintext = Buffer.from(typeof data['plaintext'] === 'string' ? data['plaintext'] : '', 'base64');
    try {
      if (plaintext.length !== options.lengthBytes) {
        throw new KeyProviderError('bad-answer', 'Vault: decrypt answered with the wrong length', { requestId });
      }
      return { secret: SecretBytes.copyOf(plaintext), requestId };
    } finally {
      plaintext.fill(0);
    }
  }

  /** Transit has no grants: its policies name the keys that a token may use. */
  createGrant(): Promise<ProviderGrant> {
    return Promise.resolve({ kind: 'absent', why: 'not-supported', requestId: null });
  }

  revokeGrant(): Promise<never> {
    return Promise.reject(new KeyProviderError('not-found', 'a Transit engine has no grants'));
  }

  close(): void {
    this.#token.close();
    this.#client.close();
  }

  async #send(
    method: 'GET' | 'POST',
    path: string,
    { body, signal }: Readonly<{ body?: Readonly<Record<string, unknown>>; signal: AbortSignal | undefined }>,
  ): Promise<VaultAnswer> {
    const token = await this.#token.current();
    return this.#client.send({ method, path, token, ...(body ? { body } : {}) }, signal);
  }

  /** VT3: wraps something under one context, and tries to unwrap it under another. */
  async #checkBindsContext({ rootKey }: KeyPath, signal: AbortSignal | undefined): Promise<void> {
    using probe = SecretBytes.random(PROBE_BYTES);
    const { wrapped } = await this.wrap(rootKey, probe, { context: { 'sealpost:probe': 'one' }, signal });
    try {
      const other = { context: { 'sealpost:probe': 'other' }, lengthBytes: PROBE_BYTES, signal };
      (await this.unwrap(rootKey, wrapped, other)).secret[Symbol.dispose]();
    } catch (error) {
      if (error instanceof KeyProviderError && error.failure === 'invalid-ciphertext') return;
      throw error;
    }
    const text = 'the service ignores associated_data: a newer version of it is needed';
    throw new KeyProviderError('unsuitable', `${rootKey}: ${text}`);
  }

  #pathOf(rootKey: string): KeyPath {
    const named = rootKey.startsWith(PREFIX) ? rootKey.slice(PREFIX.length) : `${this.#mount}/${rootKey}`;
    const { mount, key } = KEY_PATH.exec(named)?.groups ?? {};
    if (mount === undefined || key === undefined || (!rootKey.startsWith(PREFIX) && rootKey.includes('/'))) {
      throw new KeyProviderError('unsuitable', 'not a name of the form vault:<mount>/<key>');
    }
    return { rootKey: `${PREFIX}${mount}/${key}`, mount, key };
  }
}

function checkServes(path: KeyPath, data: VaultAnswer['data'], requestId: string | null): void {
  const { rootKey, mount, key } = path;
  const refuse = (reason: string, fault?: RootKeyFault): never => {
    throw new KeyProviderError('unsuitable', `${rootKey} ${reason}`, { requestId, ...(fault ? { fault } : {}) });
  };
  const { type } = data;
  if (typeof type !== 'string') throw new KeyProviderError('bad-answer', 'Vault: no type of key', { requestId });
  if (type !== KEY_TYPE) {
    const reason = `is of type ${type.slice(0, 64)}. Make one: vault write -f ${mount}/keys/NAME type=${KEY_TYPE}`;
    refuse(reason, ASYMMETRIC.test(type) ? 'asymmetric' : undefined);
  }
  if (data['supports_encryption'] !== true || data['supports_decryption'] !== true) {
    refuse('does not both encrypt and decrypt', 'wrong-usage');
  }
  if (data['derived'] === true) refuse('derives a key for each context: make one with derived=false');
  if (!Number.isInteger(data['latest_version'])) {
    throw new KeyProviderError('bad-answer', 'Vault: no version of the key', { requestId });
  }
  if (data['name'] !== key) throw new KeyProviderError('bad-answer', 'Vault: answered for another key', { requestId });
  if (data['soft_deleted'] === true) {
    throw new KeyProviderError('disabled', `${rootKey} is soft-deleted`, { requestId, fault: 'pending-deletion' });
  }
}

function associatedData(context: EncryptionContext): string {
  return encryptionContextBytes(context).toString('base64');
}

function versionOf(wrapped: Uint8Array): number {
  const text = Buffer.from(wrapped.buffer, wrapped.byteOffset, wrapped.length).toString('latin1');
  return Number(WRAPPED.exec(text)?.groups?.['version'] ?? 0);
}

/** Vault's text, in the one spelling that it writes (VT5). */
function isWrapped(text: string): boolean {
  if (text.length > WRAPPED_MAX_BYTES) return false;
  const sealed = WRAPPED.exec(text)?.groups?.['sealed'];
  return sealed !== undefined && Buffer.from(sealed, 'base64').toString('base64') === sealed;
}
