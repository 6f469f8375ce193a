/**
 * Takes the content of a message out of what follows DATA, in pieces of any size. RFC 5321 §4.5.2.
 *
 * C1  Only CRLF.CRLF, or .CRLF at the very start, ends the data, wherever the pieces are cut. RFC 5321 §4.1.1.4.
 * C2  What comes out holds CR and LF only as CRLF: each bare LF becomes CRLF, and so does each bare CR, except that
 *     CRCRLF is one line end. `hasBareNewlines` tells that something had to be changed. RFC 5321 §2.3.8.
 * C3  A dot is taken away at the start of a line that follows CRLF, and nowhere else: one after a bare LF or CR is text.
 * C4  Its work is linear in the bytes, whatever they are. Pieces without anything to change are passed on uncopied.
 *
 * Called by listener.ts. Pure.
 */

/** `endOffset`: where in the piece the end mark was complete, or null when the data goes on. */
type Decoded = Readonly<{ content: readonly Uint8Array[]; endOffset: number | null }>;

const CR = 0x0d;
const LF = 0x0a;
const DOT = 0x2e;

// States, as numbers: this is the loop that every byte of every message goes through.
const LINE_START = 0; // after CRLF
const TEXT = 1;
const AFTER_CR = 2;
const AFTER_CRS = 3; // after more than one CR; two of them are still to come out
const AFTER_DOT = 4; // at the start of a line
const AFTER_DOT_CR = 5;
const ENDED = 6;

export class DataDecoder {
  #state = LINE_START;
  #hasBareNewlines = false;

  get hasBareNewlines(): boolean {
    return this.#hasBareNewlines;
  }

  /** Takes the next piece. After the end mark nothing more may be pushed. */
  push(piece: Uint8Array): Decoded {
    const untouched = this.#scan(piece);
    if (untouched === piece.length) return { content: untouched === 0 ? [] : [piece], endOffset: null };
    return this.#rewrite(piece, untouched);
  }

  /** Passes over what needs no change; gives the offset of the first byte that may. */
  #scan(piece: Uint8Array): number {
    if (this.#state > TEXT) return 0;
    let state = this.#state;
    const end = piece.length;
    let at = 0;
    while (at < end) {
      const byte = piece[at] ?? 0;
      if (byte > DOT) {
        state = TEXT;
        at += 1;
      } else if (byte === CR) {
        if (piece[at + 1] !== LF) break;
        state = LINE_START;
        at += 2;
      } else if (byte === LF || (byte === DOT && state === LINE_START)) {
        break;
      } else {
        state = TEXT;
        at += 1;
      }
    }
    this.#state = state;
    return at;
  }

  #rewrite(piece: Uint8Array, from: number): Decoded {
    const out = Buffer.allocUnsafe(2 * (piece.length - from) + 4); // each byte at most doubles; two CRs may be pending
    const end = piece.length;
    let length = 0;
    let state = this.#state;
    let at = from;
    for (; at < end && state !== ENDED; at += 1) {
      const byte = piece[at] ?? 0;
      if (byte === LF) {
        if (state === AFTER_DOT_CR) {
          state = ENDED;
          continue;
        }
        if (state !== AFTER_CR) this.#hasBareNewlines = true;
        out[length++] = CR;
        out[length++] = LF;
        state = state === AFTER_CR || state === AFTER_CRS ? LINE_START : TEXT;
      } else if (byte === CR) {
        if (state === AFTER_CRS) {
          out[length++] = CR;
          out[length++] = LF;
        }
        if (state === AFTER_DOT) state = AFTER_DOT_CR;
        else state = state <= TEXT ? AFTER_CR : AFTER_CRS;
      } else if (byte === DOT && state === LINE_START) {
        state = AFTER_DOT;
      } else {
        if (state === AFTER_CR || state === AFTER_CRS || state === AFTER_DOT_CR) {
          this.#hasBareNewlines = true;
          for (let count = state === AFTER_CRS ? 2 : 1; count > 0; count -= 1) {
            out[length++] = CR;
            out[length++] = LF;
          }
        }
        out[length++] = byte;
        state = TEXT;
      }
    }
    this.#state = state;
    const content = [piece.subarray(0, from), out.subarray(0, length)].filter((part) => part.length > 0);
    return { content, endOffset: state === ENDED ? at : null };
  }
}
