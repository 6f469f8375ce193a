/**
 * Bytes that arrive in pieces, gathered in one block that doubles: its size follows what was received,
 * and a byte at a time costs no object each.
 */

const FIRST_CAPACITY_BYTES = 256;

const EMPTY: Buffer = Buffer.alloc(0);

export class ByteBuilder {
  #block = EMPTY;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** A view of the bytes, valid until the next call. */
  get bytes(): Buffer {
    return this.#block.subarray(0, this.#length);
  }

  append(piece: Uint8Array): void {
    const needed = this.#length + piece.length;
    if (needed > this.#block.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#block.length * 2, FIRST_CAPACITY_BYTES));
      this.#block.copy(grown, 0, 0, this.#length);
      this.#block = grown;
    }
    this.#block.set(piece, this.#length);
    this.#length = needed;
  }

  /** The bytes, which the caller then owns; the builder is empty again. */
  take(): Buffer {
    const bytes = this.#block.subarray(0, this.#length);
    this.#block = EMPTY;
    this.#length = 0;
    return bytes;
  }

  clear(): void {
    if (this.#length > 0) this.take();
  }
}
