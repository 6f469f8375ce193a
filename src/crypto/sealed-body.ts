/**
 * Sealed bodies: a message's bytes, sealed in chunks that open one by one.
 *
 * SB1  A body opens only under its message key, organization and body id, in its suite and version.
 * SB2  The commitment is checked, in constant time, before any chunk is decrypted; it also equals the one
 *      that the wrapped message key is bound to, so that a key and a body cannot be paired anew.
 * SB3  Chunks that were altered, reordered, dropped, repeated or added, or belong to another body, do not open.
 * SB4  No byte of a chunk leaves before its tag was checked; a range comes whole or not at all.
 * SB5  A range that reaches the end of the body authenticates the end, even where the last chunk is empty.
 *
 * Format: README.md, Sealed bodies.
 *
 * A body is sealed once under its message key and never changed. Called by store/.
 */
import { createSecretKey, randomFillSync, timingSafeEqual, type KeyObject } from 'node:crypto';
import { ServerError } from '../base/errors.ts';
import { contextBytes, type BodyContext } from './context.ts';
import { deriveMessageKey, expand } from './derive.ts';
import { gcmOpen, gcmSeal, NONCE_BYTES, TAG_BYTES } from './gcm.ts';
import type { SecretBytes } from './secret-bytes.ts';

const VERSION = 0x01;
const SUITE = 0x01;
const PREFACE = Buffer.from([...Buffer.from('SPBD'), VERSION, SUITE, 0, 0]);
const INFO_LABEL = Buffer.from('c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0');
const SALT_BYTES = 24;
const COMMITMENT_BYTES = 32;
const CHUNK_KEY_BYTES = 32;
const CHUNK_BYTES = 16_384;
const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
const COMMITMENT_OFFSET = PREFACE.length + SALT_BYTES;
/** The nonce arithmetic below is done in 32 bits: 64 TiB. */
const MAX_CHUNKS = 2 ** 32;

/** How many bytes of a sealed body come before its first chunk. */
export const SEALED_BODY_HEADER_BYTES = COMMITMENT_OFFSET + COMMITMENT_BYTES;

/** What the wrapped message key says about its body. */
type ExpectedBody = Readonly<{ commitment: Uint8Array; plainSizeBytes: number }>;

/** The exact size of the sealed form of `plainSizeBytes`. */
export function sealedBodySizeBytes(plainSizeBytes: number): number {
  return SEALED_BODY_HEADER_BYTES + plainSizeBytes + TAG_BYTES * (lastChunkOf(plainSizeBytes) + 1);
}

/**
 * Seals one body: `header`, then what `push` and `end` give, one after the other, is the sealed form.
 * It holds at most one chunk of plaintext, and zeroes it when disposed.
 */
export class BodySealer implements Disposable {
  /** 64 bytes. */
  readonly header: Buffer;
  /** 32 bytes, also in the header: for the message key's context. */
  readonly commitment: Buffer;
  readonly #keys: ChunkKeys;
  readonly #pending = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #pendingBytes = 0;
  #nextChunk = 0;
  #ended = false;

  constructor(messageKey: SecretBytes, context: BodyContext) {
    const salt = randomFillSync(Buffer.allocUnsafe(SALT_BYTES));
    this.#keys = new ChunkKeys(messageKey, context, salt);
    this.commitment = this.#keys.commitment;
    this.header = Buffer.concat([PREFACE, salt, this.commitment]);
  }

  /** Takes more plaintext (the caller may reuse its buffer); gives the chunks that became full, in pieces. */
  push(plain: Uint8Array): Buffer[] {
    if (this.#ended) throw new TypeError('the sealed body has ended');
    const sealed: Buffer[] = [];
    let at = 0;
    while (at < plain.length) {
      const takenBytes = Math.min(CHUNK_BYTES - this.#pendingBytes, plain.length - at);
      const taken = plain.subarray(at, at + takenBytes);
      at += takenBytes;
      if (takenBytes === CHUNK_BYTES) {
        sealed.push(...this.#seal(taken)); // a whole chunk needs no copy
        continue;
      }
      this.#pending.set(taken, this.#pendingBytes);
      this.#pendingBytes += takenBytes;
      if (this.#pendingBytes < CHUNK_BYTES) continue;
      sealed.push(...this.#seal(this.#pending));
      this.#pendingBytes = 0;
    }
    return sealed;
  }

  /** Gives the last chunk, which may hold no plaintext, in pieces. */
  end(): Buffer[] {
    if (this.#ended) throw new TypeError('the sealed body has ended');
    this.#ended = true;
    return this.#seal(this.#pending.subarray(0, this.#pendingBytes));
  }

  [Symbol.dispose](): void {
    this.#ended = true;
    this.#pending.fill(0);
    this.#keys[Symbol.dispose]();
  }

  #seal(chunk: Uint8Array): Buffer[] {
    if (this.#nextChunk >= MAX_CHUNKS) throw new RangeError('a body has at most 2^32 chunks');
    return this.#keys.sealChunk(this.#nextChunk++, chunk);
  }
}

/** Opens ranges of one sealed body, reading only the chunks that they touch. */
export class BodyOpener implements Disposable {
  readonly #keys: ChunkKeys;
  readonly #sizeBytes: number;

  /**
   * `header` is the first 64 bytes of the sealed form. `expected` comes from the wrapped message key.
   * Throws ServerError 'content-damaged' for what is no sealed body of this version, and 'key-mismatch' when
   * the commitment is not that of this key, context and wrapped key.
   */
  constructor(messageKey: SecretBytes, context: BodyContext, header: Uint8Array, expected: ExpectedBody) {
    lastChunkOf(expected.plainSizeBytes);
    if (header.length !== SEALED_BODY_HEADER_BYTES) throw damaged(context, 'the header is cut short');
    if (!PREFACE.equals(header.subarray(0, PREFACE.length))) throw damaged(context, 'unknown magic, version or suite');
    const keys = new ChunkKeys(messageKey, context, header.subarray(PREFACE.length, COMMITMENT_OFFSET));
    const fitsHeader = timingSafeEqual(keys.commitment, header.subarray(COMMITMENT_OFFSET));
    const fitsWrapped =
      expected.commitment.length === COMMITMENT_BYTES && timingSafeEqual(keys.commitment, expected.commitment);
    if (!fitsHeader || !fitsWrapped) {
      keys[Symbol.dispose]();
      throw new ServerError('key-mismatch', {
        clientText: 'Stored data is damaged',
        detail: `sealed body ${context.body}: its commitment is not that of its key and place`,
      });
    }
    this.#keys = keys;
    this.#sizeBytes = expected.plainSizeBytes;
  }

  /** Which bytes of the sealed form hold plaintext bytes [start, end): whole chunks, with the end's (SB5). */
  sealedRange(start: number, end: number): { offset: number; lengthBytes: number } {
    const { first, last } = this.#chunks(start, end);
    if (last < first) return { offset: SEALED_BODY_HEADER_BYTES, lengthBytes: 0 };
    const lastBytes = last === lastChunkOf(this.#sizeBytes) ? this.#lastChunkBytes() : SEALED_CHUNK_BYTES;
    return {
      offset: SEALED_BODY_HEADER_BYTES + first * SEALED_CHUNK_BYTES,
      lengthBytes: (last - first) * SEALED_CHUNK_BYTES + lastBytes,
    };
  }

  /**
   * Opens plaintext bytes [start, end) out of `sealed`, the bytes that `sealedRange(start, end)` named.
   * Throws ServerError 'content-damaged', and RangeError for a range outside the body.
   */
  open(sealed: Uint8Array, start: number, end: number): Buffer {
    const { first, last } = this.#chunks(start, end);
    if (sealed.length !== this.sealedRange(start, end).lengthBytes) {
      throw damaged(this.#keys.context, 'it is cut short or has bytes too many');
    }
    const base = first * CHUNK_BYTES;
    if (first === last) return this.#openChunk(sealed, first).subarray(start - base, end - base);
    const plain = Buffer.allocUnsafeSlow(end - start);
    try {
      for (let index = first; index <= last; index += 1) {
        const at = (index - first) * SEALED_CHUNK_BYTES;
        const chunk = this.#openChunk(sealed.subarray(at, at + SEALED_CHUNK_BYTES), index);
        const chunkStart = index * CHUNK_BYTES;
        const from = Math.max(start - chunkStart, 0);
        chunk.copy(plain, chunkStart + from - start, from, Math.min(end - chunkStart, chunk.length));
      }
    } catch (error) {
      plain.fill(0);
      throw error;
    }
    return plain;
  }

  [Symbol.dispose](): void {
    this.#keys[Symbol.dispose]();
  }

  /** The chunks that [start, end) touches; none (last < first) for an empty range that is not at the end. */
  #chunks(start: number, end: number): { first: number; last: number } {
    if (
      !Number.isSafeInteger(start) ||
      !Number.isSafeInteger(end) ||
      start < 0 ||
      end < start ||
      end > this.#sizeBytes
    ) {
      throw new RangeError('the range is outside the body');
    }
    const first = Math.floor(start / CHUNK_BYTES);
    if (end === this.#sizeBytes) return { first, last: lastChunkOf(end) };
    return { first, last: start === end ? first - 1 : Math.floor((end - 1) / CHUNK_BYTES) };
  }

  #lastChunkBytes(): number {
    return (this.#sizeBytes % CHUNK_BYTES) + TAG_BYTES;
  }

  #openChunk(sealed: Uint8Array, index: number): Buffer {
    const chunk = this.#keys.openChunk(index, sealed);
    if (!chunk) throw damaged(this.#keys.context, `chunk ${String(index)} does not open`);
    return chunk;
  }
}

/** The keys of one body: chunk key, base nonce and commitment, all from the message key, context and salt. */
class ChunkKeys implements Disposable {
  readonly context: BodyContext;
  readonly commitment: Buffer;
  readonly #baseNonce: Buffer;
  readonly #nonce = Buffer.allocUnsafe(NONCE_BYTES);
  #key: KeyObject | undefined;

  constructor(messageKey: SecretBytes, context: BodyContext, salt: Uint8Array) {
    using inputKey = deriveMessageKey(messageKey, 'body');
    const info = Buffer.concat([INFO_LABEL, salt, contextBytes(context, SUITE)]);
    const output = expand(inputKey, info, CHUNK_KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES);
    this.context = context;
    this.#key = createSecretKey(output.subarray(0, CHUNK_KEY_BYTES));
    this.#baseNonce = Buffer.from(output.subarray(CHUNK_KEY_BYTES, CHUNK_KEY_BYTES + NONCE_BYTES));
    this.commitment = Buffer.from(output.subarray(CHUNK_KEY_BYTES + NONCE_BYTES));
    output.fill(0);
  }

  /** Ciphertext and tag: they are written one after the other, and not copied together first. */
  sealChunk(index: number, plain: Uint8Array): [Buffer, Buffer] {
    return gcmSeal(this.#usableKey(), { nonce: this.#nonceOf(index) }, plain);
  }

  openChunk(index: number, sealed: Uint8Array): Buffer | null {
    return gcmOpen(this.#usableKey(), { nonce: this.#nonceOf(index) }, sealed);
  }

  [Symbol.dispose](): void {
    this.#key = undefined;
    this.#baseNonce.fill(0);
  }

  #usableKey(): KeyObject {
    if (!this.#key) throw new TypeError('a disposed body key was used');
    return this.#key;
  }

  /** Valid until the next call. */
  #nonceOf(index: number): Buffer {
    this.#baseNonce.copy(this.#nonce);
    const low = NONCE_BYTES - 4;
    this.#nonce.writeUInt32BE((this.#baseNonce.readUInt32BE(low) ^ index) >>> 0, low);
    return this.#nonce;
  }
}

/** The number of the last chunk of a body of `sizeBytes`. Throws RangeError for a size that cannot be. */
function lastChunkOf(sizeBytes: number): number {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes >= MAX_CHUNKS * CHUNK_BYTES) {
    throw new RangeError('not the size of a body');
  }
  return Math.floor(sizeBytes / CHUNK_BYTES);
}

function damaged(context: BodyContext, why: string): ServerError {
  return new ServerError('content-damaged', {
    clientText: 'Stored data is damaged',
    detail: `sealed body ${context.body}: ${why}`,
  });
}
