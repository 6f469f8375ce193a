/**
 * A key from a passphrase, by scrypt (RFC 7914 §6).
 *
 * PP1  A passphrase is compared as its letters look: it is composed (NFC) first, so that it fits however it was typed.
 * PP2  Parameters come out of a file: they are bounded, so that a damaged one cannot take all memory.
 *
 * Called by keys/providers/.
 */
import { scrypt } from 'node:crypto';
import { SecretBytes } from './secret-bytes.ts';

export type ScryptParameters = Readonly<{
  /** The cost N is 2 to the power of this. */
  logN: number;
  r: number;
  p: number;
  salt: Uint8Array;
}>;

const KEY_BYTES = 32;
const LOG_N = { min: 10, max: 20 };
const R_MAX = 16;
const P_MAX = 4;
const SALT_MIN_BYTES = 8;

/** What a new salt goes with: 128 MiB, and some tenths of a second. */
export const SCRYPT_COST = { logN: 17, r: 8, p: 1 } as const;

/** True for parameters that `passphraseKey` takes (PP2). */
export function areScryptParameters({ logN, r, p, salt }: ScryptParameters): boolean {
  const isWithin = (value: number, min: number, max: number): boolean =>
    Number.isInteger(value) && value >= min && value <= max;
  return (
    isWithin(logN, LOG_N.min, LOG_N.max) &&
    isWithin(r, 1, R_MAX) &&
    isWithin(p, 1, P_MAX) &&
    salt.length >= SALT_MIN_BYTES
  );
}

/** 32 bytes; the caller disposes them. Runs in libuv's thread pool. Throws TypeError for other parameters. */
export async function passphraseKey(passphrase: string, parameters: ScryptParameters): Promise<SecretBytes> {
  if (!areScryptParameters(parameters)) throw new TypeError('scrypt parameters out of range');
  const { logN, r, p, salt } = parameters;
  const cost = 2 ** logN;
  const options = { N: cost, r, p, maxmem: 129 * cost * r + 1024 * r * p };
  const key = Promise.withResolvers<Buffer>();
  scrypt(passphrase.normalize('NFC'), salt, KEY_BYTES, options, (error, derived) => {
    if (error) key.reject(error);
    else key.resolve(derived);
  });
  return new SecretBytes(await key.promise);
}
