/**
 * Parts the header of a message from its body while it comes in pieces.
 *
 * HC1  The header ends with its blank line, which belongs to neither; where a message ends before it, all is header.
 * HC2  At most `maxBytes` of header are held; of a larger one nothing is kept, and `isTooLarge` says so.
 *
 * CR and LF stand only as CRLF. Called by the other files of this folder. Pure.
 */
const BLANK_LINE = Buffer.from('\r\n\r\n');
const NOTHING = Buffer.alloc(0);

export class HeaderCollector {
  readonly #maxBytes: number;
  #pieces: Buffer[] = [];
  #sizeBytes = 0;
  #state: 'header' | 'body' = 'header';
  #tail: Buffer = Buffer.from('\r\n'); // the last bytes seen, at most three: a blank line may come first of all
  #isTooLarge = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isTooLarge(): boolean {
    return this.#isTooLarge;
  }

  /** True once the blank line was seen. */
  get isComplete(): boolean {
    return this.#state === 'body';
  }

  /** Takes the next bytes; gives those of the body among them. */
  push(bytes: Uint8Array): Uint8Array {
    if (this.#state === 'body') return bytes;
    const piece = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const end = this.#endIn(piece);
    this.#keep(piece.subarray(0, end ?? piece.length));
    if (end === null) return NOTHING;
    this.#state = 'body';
    return piece.subarray(end);
  }

  /** The header without its blank line, or null where it is too large. */
  block(): Buffer | null {
    if (this.#isTooLarge) return null;
    const all = Buffer.concat(this.#pieces);
    return this.#state === 'body' ? all.subarray(0, all.length - 2) : all;
  }

  /** The offset in `piece` just after the blank line, or null. */
  #endIn(piece: Buffer): number | null {
    const joint = Buffer.concat([this.#tail, piece.subarray(0, BLANK_LINE.length - 1)]);
    const across = joint.indexOf(BLANK_LINE);
    if (across >= 0) return across + BLANK_LINE.length - this.#tail.length;
    this.#tail = Buffer.concat([this.#tail, piece.subarray(-3)]).subarray(-3);
    const within = piece.indexOf(BLANK_LINE);
    return within < 0 ? null : within + BLANK_LINE.length;
  }

  #keep(piece: Buffer): void {
    this.#sizeBytes += piece.length;
    if (this.#sizeBytes > this.#maxBytes + BLANK_LINE.length) {
      this.#isTooLarge = true;
      this.#pieces = [];
    }
    if (!this.#isTooLarge) this.#pieces.push(Buffer.from(piece)); // the caller may reuse its memory
  }
}
