/**
 * A message as it goes over the wire after DATA. Pure.
 *
 * MD1  No CR or LF stands alone, whatever is in the message and however it is cut into pieces: what another server could
 *      take for an end of the message never leaves this one (S2, P9).
 * MD2  A line that begins with a dot begins with two; the message ends with CRLF.CRLF and nowhere else.
 *      RFC 5321 §4.5.2, §4.1.1.4.
 * MD3  A message that follows the rules goes through unchanged but for the dots, so that its signatures hold.
 */
const [CR, LF, DOT] = [0x0d, 0x0a, 0x2e] as const;

type Place = 'line-start' | 'after-cr' | 'in-line';

export class DataEncoder {
  #place: Place = 'line-start';

  /** The bytes to send for the next piece of the message. */
  push(piece: Uint8Array): Buffer {
    const out = Buffer.allocUnsafe(2 * piece.length + 1); // every byte may gain one, and a CR may be left from before
    let [place, size] = [this.#place, 0];
    for (const byte of piece) {
      if (place === 'after-cr') {
        out[size++] = LF;
        place = 'line-start';
        if (byte === LF) continue;
      }
      if (byte === LF) {
        out[size++] = CR;
        out[size++] = LF;
        place = 'line-start';
        continue;
      }
      if (place === 'line-start' && byte === DOT) out[size++] = DOT;
      out[size++] = byte;
      place = byte === CR ? 'after-cr' : 'in-line';
    }
    this.#place = place;
    return out.subarray(0, size);
  }

  /** What ends the message. */
  end(): Buffer {
    const missing = { 'line-start': '', 'after-cr': '\n', 'in-line': '\r\n' }[this.#place];
    return Buffer.from(`${missing}.\r\n`);
  }
}
