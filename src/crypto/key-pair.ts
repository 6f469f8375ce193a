/**
 * Key pairs: a message key sealed with a mailbox's public key, by somebody who cannot unwrap the mailbox key. The pair
 * comes out of a seed, which is a subkey of the mailbox key (derive.ts): whoever can unwrap the one has the other.
 *
 * P1  A sealed message key opens only with the pair, context and suite that it was sealed with.
 * P2  The suite is the public key's first byte and the sealed key's, and is bound into both; an unknown one is an error,
 *     never a guess.
 * P3  Nothing says who sealed it: a public key is no secret to those who can read the directory key's records. What is
 *     sealed so is mail that came from outside, of which the same is true.
 *
 * HPKE in mode base (RFC 9180 §5.1.1), single-shot (RFC 9180 §6.1), pairs by DeriveKeyPair (RFC 9180 §7.1.3), by the hpke
 * package over WebCrypto. Formats: README.md, Key pairs.
 * 0x12 is used where this Node has ML-KEM: mail that waits could be copied today and opened by a machine of later days.
 *
 * Called by keys/ and mailbox/.
 */
import {
  AEAD_AES_256_GCM,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_DHKEM_X25519_HKDF_SHA256,
  KEM_MLKEM768_X25519,
  NotSupportedError,
  type KeyPair,
} from 'hpke';
import { ServerError } from '../base/errors.ts';
import { canonicalBytes, contextBytes, type MessageKeyContext } from './context.ts';
import { SecretBytes } from './secret-bytes.ts';

const CLASSIC = 0x11;
const HYBRID = 0x12;
const SUITES: ReadonlyMap<number, CipherSuite> = new Map<number, CipherSuite>([
  [CLASSIC, new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)],
  [HYBRID, new CipherSuite(KEM_MLKEM768_X25519, KDF_HKDF_SHA256, AEAD_AES_256_GCM)],
]);
const MESSAGE_KEY_BYTES = 32;
const PLAINTEXT_BYTES = MESSAGE_KEY_BYTES + 8;
/** The public half of the pair that `seed` gives, with its suite in front: the hybrid one where this Node has it. */
export async function publicKeyOf(seed: SecretBytes, suite: number = HYBRID): Promise<Buffer> {
  try {
    return await publicKeyOfSuite(seed, suite);
  } catch (error) {
    if (!(error instanceof NotSupportedError)) throw error;
    return publicKeyOfSuite(seed, CLASSIC);
  }
}

async function publicKeyOfSuite(seed: SecretBytes, suite: number): Promise<Buffer> {
  const hpke = suiteOf(suite, 'a public key');
  const pair = await hpke.DeriveKeyPair(seed.expose());
  return Buffer.concat([Buffer.of(suite), await hpke.SerializePublicKey(pair.publicKey)]);
}

/** Seals a message key, with its body's plaintext size. Throws ServerError 'content-damaged' for what is no public key. */
export async function sealMessageKey(
  publicKey: Uint8Array,
  context: MessageKeyContext,
  messageKey: SecretBytes,
  sizeBytes: number,
): Promise<Buffer> {
  const suite = publicKey[0] ?? 0;
  const hpke = suiteOf(suite, 'a public key');
  const plaintext = Buffer.allocUnsafeSlow(PLAINTEXT_BYTES);
  plaintext.set(messageKey.expose());
  plaintext.writeBigUInt64BE(BigInt(sizeBytes), MESSAGE_KEY_BYTES);
  try {
    const key = await hpke.DeserializePublicKey(publicKey.subarray(1));
    const { encapsulatedSecret, ciphertext } = await hpke.Seal(key, plaintext, bound(suite, context));
    return Buffer.concat([Buffer.of(suite), encapsulatedSecret, ciphertext]);
  } catch (cause) {
    throw damaged('a public key cannot be used', cause);
  } finally {
    plaintext.fill(0);
  }
}

/** A pair, ready to open what was sealed with its public half. */
export class KeyPairOpener {
  readonly #seed: SecretBytes;
  readonly #pairs = new Map<number, Promise<KeyPair>>();

  /** `seed` stays the caller's, and is used while this is. */
  constructor(seed: SecretBytes) {
    this.#seed = seed;
  }

  /** Opens; the caller disposes the key. Throws ServerError 'content-damaged'. */
  async open(context: MessageKeyContext, sealed: Uint8Array): Promise<{ key: SecretBytes; sizeBytes: number }> {
    const suite = sealed[0] ?? 0;
    const hpke = suiteOf(suite, 'a sealed message key');
    const encEnd = 1 + hpke.KEM.Nenc;
    let plaintext: Uint8Array;
    try {
      const pair = this.#pairs.get(suite) ?? hpke.DeriveKeyPair(this.#seed.expose());
      this.#pairs.set(suite, pair);
      const parts = [sealed.subarray(1, encEnd), sealed.subarray(encEnd)] as const;
      plaintext = await hpke.Open(await pair, ...parts, bound(suite, context));
    } catch (cause) {
      throw damaged('a sealed message key does not open', cause);
    }
    try {
      if (plaintext.length !== PLAINTEXT_BYTES) throw damaged('a sealed message key has the wrong length');
      const sizeBytes = Number(Buffer.from(plaintext.buffer, plaintext.byteOffset).readBigUInt64BE(MESSAGE_KEY_BYTES));
      return { key: SecretBytes.copyOf(plaintext.subarray(0, MESSAGE_KEY_BYTES)), sizeBytes };
    } finally {
      plaintext.fill(0);
    }
  }
}

function bound(suite: number, context: MessageKeyContext): { info: Uint8Array; aad: Uint8Array } {
  return { info: canonicalBytes(suite, 'key-pair', []), aad: contextBytes(context, suite) };
}

function suiteOf(suite: number, what: string): CipherSuite {
  const known = SUITES.get(suite);
  if (!known) throw damaged(`${what} has suite ${String(suite)}`);
  return known;
}

function damaged(detail: string, cause?: unknown): ServerError {
  return new ServerError('content-damaged', { clientText: 'Stored data is damaged', detail, cause });
}
