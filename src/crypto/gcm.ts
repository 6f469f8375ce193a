/**
 * AES-256-GCM: the one file that makes ciphers.
 *
 * G1  The tag has 16 bytes, always: node:crypto takes shorter ones unless it is told.
 * G2  No byte of plaintext leaves before the tag was checked.
 *
 * Called by record.ts and sealed-body.ts, which choose nonces and associated data.
 */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';

type GcmParameters = Readonly<{ nonce: Uint8Array; data?: Uint8Array }>;

export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;
const ALGORITHM = 'aes-256-gcm';
const OPTIONS = { authTagLength: TAG_BYTES } as const;

/** Encrypts; the sealed form is the two parts one after the other. */
export function gcmSeal(
  key: KeyObject,
  parameters: GcmParameters,
  plaintext: Uint8Array,
): [ciphertext: Buffer, tag: Buffer] {
  const cipher = createCipheriv(ALGORITHM, key, parameters.nonce, OPTIONS);
  if (parameters.data) cipher.setAAD(parameters.data);
  const ciphertext = cipher.update(plaintext);
  cipher.final(); // GCM is a stream: nothing is left to write
  return [ciphertext, cipher.getAuthTag()];
}

/** Decrypts ciphertext and tag; null when the tag does not fit, or `sealed` is too short to have one. */
export function gcmOpen(key: KeyObject, parameters: GcmParameters, sealed: Uint8Array): Buffer | null {
  const lengthBytes = sealed.length - TAG_BYTES;
  if (lengthBytes < 0) return null;
  const decipher = createDecipheriv(ALGORITHM, key, parameters.nonce, OPTIONS);
  if (parameters.data) decipher.setAAD(parameters.data);
  decipher.setAuthTag(sealed.subarray(lengthBytes));
  const plaintext = decipher.update(sealed.subarray(0, lengthBytes));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    return null;
  }
  return plaintext;
}
