/**
 * Key material in memory: prints as [secret], is zeroed when disposed, and is read through two doors.
 *
 * S1  No string form shows the bytes: not `String()`, not JSON, not `inspect`, not a structured clone.
 * S2  `expose` and `exposeKey` are the only doors. They are called in crypto/ and keys/providers/ only.
 * S3  After dispose the bytes are zero and both doors throw.
 *
 * What this does not promise: OpenSSL's own copies go when the garbage collector frees their owner, and
 * whoever handed the bytes in (a JSON answer, say) may have left copies. The bytes made here lie outside
 * the moving heap, so the collector leaves no copies of them behind.
 *
 * Everything that holds a key uses it; bind it with `using`.
 */
import { createSecretKey, randomFillSync, timingSafeEqual, type KeyObject } from 'node:crypto';
import { inspect } from 'node:util';

const SHOWN = '[secret]';

export class SecretBytes implements Disposable {
  readonly #bytes: Uint8Array;
  #keyObject: KeyObject | undefined;
  #zeroed = false;

  /** Takes ownership of `bytes`: dispose zeroes them in place. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Fresh bytes from the system's random generator. */
  static random(lengthBytes: number): SecretBytes {
    return new SecretBytes(randomFillSync(unmovedBytes(lengthBytes)));
  }

  /** Copies `source`, which stays the caller's to zero. */
  static copyOf(source: Uint8Array): SecretBytes {
    const bytes = unmovedBytes(source.length);
    bytes.set(source);
    return new SecretBytes(bytes);
  }

  get lengthBytes(): number {
    return this.#bytes.length;
  }

  get zeroed(): boolean {
    return this.#zeroed;
  }

  /** The bytes themselves, not a copy. Throws TypeError once disposed. */
  expose(): Uint8Array {
    if (this.#zeroed) throw new TypeError('a disposed secret was used');
    return this.#bytes;
  }

  /** The same bytes as a key for node:crypto, which takes it four times as fast as bytes. Throws TypeError once disposed. */
  exposeKey(): KeyObject {
    return (this.#keyObject ??= createSecretKey(this.expose()));
  }

  /** Whether both hold the same bytes, compared in constant time. Throws TypeError once one is disposed. */
  equals(other: SecretBytes): boolean {
    return this.lengthBytes === other.lengthBytes && timingSafeEqual(this.expose(), other.expose());
  }

  [Symbol.dispose](): void {
    this.#zeroed = true;
    this.#keyObject = undefined;
    this.#bytes.fill(0);
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}

/** V8 keeps small typed arrays on its moving heap, unless they are made over an ArrayBuffer. */
function unmovedBytes(lengthBytes: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(lengthBytes));
}
