/**
 * Records: small things sealed with AES-256-GCM (folder names, summaries, directory rows, message keys).
 *
 * R1  A record opens only under the key, the context and the suite that it was sealed with.
 * R2  A nonce is used once with a key. Under a long-lived subkey it is random (96 bits: at most 2^32
 *     records for one epoch of a key). A record of `sealOnce` has a fixed nonce for its kind: the key must
 *     come from `deriveMessageKey` for that kind, and is used for one seal. What must change after that
 *     needs a new message key.
 * R3  No byte of plaintext leaves before its 16-byte tag was checked (gcm.ts).
 * R4  An unknown suite is an error, never a guess; the suite is part of the associated data.
 *
 * Formats, and why the key of a record need not be committed to: README.md, Records.
 *
 * Called by store/, accounts/ and keys/providers/.
 */
import { randomFillSync } from 'node:crypto';
import { ServerError } from '../base/errors.ts';
import { contextBytes, type Context, type MessageKeyContext, type OnceContext, type RecordContext } from './context.ts';
import { gcmOpen, gcmSeal, NONCE_BYTES, TAG_BYTES } from './gcm.ts';
import { SecretBytes } from './secret-bytes.ts';

const RECORD_SUITE = 0x01;
const ONCE_SUITE = 0x02;
const MESSAGE_KEY_SUITE = 0x03;
const MESSAGE_KEY_BYTES = 32;
const ONCE_NONCES: Readonly<Record<OnceContext['kind'], Buffer>> = {
  summary: Buffer.from('000000000000000000000001', 'hex'),
};

/** Seals `plaintext` under a long-lived subkey; 29 bytes are added. */
export function sealRecord(key: SecretBytes, context: RecordContext, plaintext: Uint8Array): Buffer {
  return sealWithRandomNonce(key, { suite: RECORD_SUITE, context }, plaintext);
}

/** Opens what `sealRecord` made. Throws ServerError 'content-damaged'. */
export function openRecord(key: SecretBytes, context: RecordContext, sealed: Uint8Array): Buffer {
  return openWithRandomNonce(key, { suite: RECORD_SUITE, context }, sealed);
}

/** Seals the one record of its kind under a key that `deriveMessageKey` made for it (R2); 17 bytes are added. */
export function sealOnce(key: SecretBytes, context: OnceContext, plaintext: Uint8Array): Buffer {
  const parameters = { nonce: ONCE_NONCES[context.kind], data: contextBytes(context, ONCE_SUITE) };
  return Buffer.concat([Buffer.of(ONCE_SUITE), ...gcmSeal(key.exposeKey(), parameters, plaintext)]);
}

/** Opens what `sealOnce` made. Throws ServerError 'content-damaged'. */
export function openOnce(key: SecretBytes, context: OnceContext, sealed: Uint8Array): Buffer {
  checkPrefix(sealed, { suite: ONCE_SUITE, context }, 1 + TAG_BYTES);
  const parameters = { nonce: ONCE_NONCES[context.kind], data: contextBytes(context, ONCE_SUITE) };
  return gcmOpen(key.exposeKey(), parameters, sealed.subarray(1)) ?? damaged(context, 'its tag does not fit');
}

/** Wraps a message key, with its body's plaintext size, under a wrap subkey: 69 bytes. */
export function wrapMessageKey(
  wrap: SecretBytes,
  context: MessageKeyContext,
  messageKey: SecretBytes,
  sizeBytes: number,
): Buffer {
  const plaintext = Buffer.allocUnsafeSlow(MESSAGE_KEY_BYTES + 8);
  plaintext.set(messageKey.expose());
  plaintext.writeBigUInt64BE(BigInt(sizeBytes), MESSAGE_KEY_BYTES);
  try {
    return sealWithRandomNonce(wrap, { suite: MESSAGE_KEY_SUITE, context }, plaintext);
  } finally {
    plaintext.fill(0);
  }
}

/** Unwraps; the caller disposes the key. Throws ServerError 'content-damaged'. */
export function unwrapMessageKey(
  wrap: SecretBytes,
  context: MessageKeyContext,
  wrapped: Uint8Array,
): { key: SecretBytes; sizeBytes: number } {
  const plaintext = openWithRandomNonce(wrap, { suite: MESSAGE_KEY_SUITE, context }, wrapped);
  if (plaintext.length !== MESSAGE_KEY_BYTES + 8) damaged(context, 'it has the wrong length');
  const sizeBytes = plaintext.readUInt32BE(MESSAGE_KEY_BYTES) * 2 ** 32 + plaintext.readUInt32BE(MESSAGE_KEY_BYTES + 4);
  // Its own memory, not a pooled Buffer's: the secret takes it over without a copy.
  return { key: new SecretBytes(plaintext.subarray(0, MESSAGE_KEY_BYTES)), sizeBytes };
}

type Sealing = Readonly<{ suite: number; context: Context }>;

function sealWithRandomNonce(key: SecretBytes, sealing: Sealing, plaintext: Uint8Array): Buffer {
  const prefix = Buffer.allocUnsafe(1 + NONCE_BYTES);
  prefix[0] = sealing.suite;
  randomFillSync(prefix, 1, NONCE_BYTES);
  const data = contextBytes(sealing.context, sealing.suite);
  return Buffer.concat([prefix, ...gcmSeal(key.exposeKey(), { nonce: prefix.subarray(1), data }, plaintext)]);
}

function openWithRandomNonce(key: SecretBytes, sealing: Sealing, sealed: Uint8Array): Buffer {
  checkPrefix(sealed, sealing, 1 + NONCE_BYTES + TAG_BYTES);
  const data = contextBytes(sealing.context, sealing.suite);
  const parameters = { nonce: sealed.subarray(1, 1 + NONCE_BYTES), data };
  const plaintext = gcmOpen(key.exposeKey(), parameters, sealed.subarray(1 + NONCE_BYTES));
  return plaintext ?? damaged(sealing.context, 'its tag does not fit');
}

function checkPrefix(sealed: Uint8Array, sealing: Sealing, leastBytes: number): void {
  if (sealed[0] !== sealing.suite) damaged(sealing.context, `its suite is ${String(sealed[0])}`);
  if (sealed.length < leastBytes) damaged(sealing.context, 'it is too short');
}

function damaged(context: Context, why: string): never {
  throw new ServerError('content-damaged', {
    clientText: 'Stored data is damaged',
    detail: `a sealed record (${context.kind}) does not open: ${why}`,
  });
}
