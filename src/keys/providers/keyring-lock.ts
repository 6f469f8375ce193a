/**
 * The lock of a keyring file that is protected by a passphrase: seals and opens the secrets in it.
 *
 * KL1  A wrong or missing passphrase is 'denied', with what to do; a secret that does not open under the right one is
 *      'internal': the file is damaged.
 * KL2  The key that comes from the passphrase is made once for each salt and stays in memory while the server runs:
 *      making it takes too long for every call. The secrets do not stay (LK3).
 * KL3  While a passphrase is changed, the old and the new one both count.
 *
 * Made by app.ts; used by keyring-file.ts.
 */
import { randomBytes } from 'node:crypto';
import { ServerError } from '../../base/errors.ts';
import { areScryptParameters, passphraseKey, SCRYPT_COST, type ScryptParameters } from '../../crypto/passphrase.ts';
import { openRecord, sealRecord } from '../../crypto/record.ts';
import { SecretBytes } from '../../crypto/secret-bytes.ts';
import { KeyProviderError } from '../provider.ts';

/** As it stands in the file. `check` is an empty record: it opens under the right passphrase only. */
export type Protection = Readonly<{
  kdf: 'scrypt';
  logN: number;
  r: number;
  p: number;
  salt: string;
  check: string;
}>;
/** Which secret: a key's name and version. */
export type SecretPlace = Readonly<{ key: string; version: number }>;

const SALT_BYTES = 32;
const PASSPHRASE_MIN_LENGTH = 12;
const KEYS_MAX_COUNT = 4;
const CHECK: SecretPlace = { key: '', version: 0 };
const REMEDY =
  'Set keys.localKeyring.passphrase (SEALPOST_KEYS_LOCAL_KEYRING_PASSPHRASE_FILE), or the systemd credential sealpost-keyring';

export class KeyringLock implements Disposable {
  /** The newest first. */
  #passphrases: readonly string[];
  /** By salt. */
  readonly #keys = new Map<string, Promise<SecretBytes>>();

  constructor(passphrase?: string) {
    this.#passphrases = passphrase === undefined ? [] : [passphrase];
  }

  get hasPassphrase(): boolean {
    return this.#passphrases.length > 0;
  }

  /** From now on `passphrase` counts too, before the others (KL3). */
  accept(passphrase: string): void {
    this.#passphrases = [passphrase, ...this.#passphrases];
  }

  /** Takes `accept` back. */
  withdraw(passphrase: string): void {
    this.#passphrases = this.#passphrases.filter((each) => each !== passphrase);
  }

  /** A protection by the newest passphrase, with a salt of its own. Throws Error when there is none, or a short one. */
  async newProtection(): Promise<Protection> {
    const [passphrase] = this.#passphrases;
    if (passphrase === undefined) throw new Error(`there is no passphrase. ${REMEDY}, and start the server anew`);
    if (passphrase.length < PASSPHRASE_MIN_LENGTH) {
      throw new Error(`the passphrase must have at least ${String(PASSPHRASE_MIN_LENGTH)} characters`);
    }
    const salt = randomBytes(SALT_BYTES);
    const key = await passphraseKey(passphrase, { ...SCRYPT_COST, salt });
    const protection = {
      kdf: 'scrypt',
      ...SCRYPT_COST,
      salt: salt.toString('base64'),
      check: sealed(key, salt, CHECK),
    };
    this.#keep(protection.salt, Promise.resolve(key));
    return protection as Protection;
  }

  /** Throws KeyProviderError 'denied' for a wrong or missing passphrase (KL1). */
  async check(protection: Protection): Promise<void> {
    await this.#keyOf(protection);
  }

  /** Throws as `check`. */
  async seal(protection: Protection, place: SecretPlace, secret: SecretBytes): Promise<string> {
    return sealed(await this.#keyOf(protection), saltOf(protection), place, secret);
  }

  /** The caller disposes it. Throws as `check`, and KeyProviderError 'internal' for what is damaged. */
  async open(protection: Protection, place: SecretPlace, text: string): Promise<SecretBytes> {
    const opened = openedBy(await this.#keyOf(protection), protection, { place, text });
    if (opened) return opened;
    throw new KeyProviderError(
      'internal',
      `version ${String(place.version)} of ${place.key} in the keyring is damaged`,
    );
  }

  [Symbol.dispose](): void {
    for (const key of this.#keys.values()) {
      key.then(
        (made) => {
          made[Symbol.dispose]();
        },
        () => undefined,
      );
    }
    this.#keys.clear();
  }

  async #keyOf(protection: Protection): Promise<SecretBytes> {
    const known = this.#keys.get(protection.salt) ?? this.#derive(protection);
    this.#keep(protection.salt, known);
    try {
      return await known;
    } catch (error) {
      this.#keys.delete(protection.salt);
      throw error;
    }
  }

  #keep(salt: string, key: Promise<SecretBytes>): void {
    this.#keys.set(salt, key);
    const [oldest] = this.#keys.keys();
    // not disposed: somebody may be using it
    if (oldest !== undefined && this.#keys.size > KEYS_MAX_COUNT) this.#keys.delete(oldest);
  }

  async #derive(protection: Protection): Promise<SecretBytes> {
    for (const passphrase of this.#passphrases) {
      const key = await passphraseKey(passphrase, { ...protection, salt: saltOf(protection) });
      const check = openedBy(key, protection, { place: CHECK, text: protection.check });
      if (check) return key;
      key[Symbol.dispose]();
    }
    const problem = this.hasPassphrase
      ? 'the passphrase does not open the keyring'
      : 'the keyring is protected by a passphrase, and none is given';
    throw new KeyProviderError('denied', `${problem}. ${REMEDY}`);
  }
}

/** True for what may stand as `protection` in a file. */
export function isProtection(value: Readonly<Record<string, unknown>>): boolean {
  const { kdf, logN, r, p, salt, check } = value;
  if (kdf !== 'scrypt' || typeof salt !== 'string' || typeof check !== 'string') return false;
  return areScryptParameters({ logN, r, p, salt: Buffer.from(salt, 'base64') } as ScryptParameters);
}

function saltOf(protection: Protection): Buffer {
  return Buffer.from(protection.salt, 'base64');
}

/** Without `secret`: an empty record. */
function sealed(key: SecretBytes, salt: Uint8Array, place: SecretPlace, secret?: SecretBytes): string {
  const content = secret ? secret.expose() : new Uint8Array();
  return sealRecord(key, { kind: 'keyring-secret', ...place, salt }, content).toString('base64');
}

/** Null for what does not open. */
function openedBy(
  key: SecretBytes,
  protection: Protection,
  { place, text }: Readonly<{ place: SecretPlace; text: string }>,
): SecretBytes | null {
  const context = { kind: 'keyring-secret', ...place, salt: saltOf(protection) } as const;
  try {
    return new SecretBytes(openRecord(key, context, Buffer.from(text, 'base64')));
  } catch (error) {
    if (error instanceof ServerError) return null;
    throw error;
  }
}
