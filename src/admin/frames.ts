/**
 * Messages as they go over the admin socket, in both directions: frames of
 * `length of the header (u32) | header, JSON with sizeBytes | that many bytes`.
 * No header is longer than 64 KiB; bytes are passed on in pieces as they come.
 */
import { ServerError } from '../base/errors.ts';

const HEADER_MAX_BYTES = 65_536;

/** The header of a frame; the caller sends `sizeBytes` bytes after it. */
export function frameHeader(header: Readonly<{ sizeBytes: number }>): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const bytes = Buffer.allocUnsafe(4 + json.length);
  bytes.writeUInt32BE(json.length);
  bytes.set(json, 4);
  return bytes;
}

/** Reads frames from a stream of bytes: `header`, then its `body` to the end, then the next `header`. */
export class FrameReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #held: Buffer = Buffer.alloc(0);
  #bodyBytes = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next header as parsed JSON, or null at the end. Throws ServerError 'invalid-argument'. */
  async header(): Promise<unknown> {
    if (this.#bodyBytes > 0) throw new TypeError('the body was not read');
    if (this.#held.length === 0 && !(await this.#more())) return null;
    const lengthBytes = (await this.#exactly(4)).readUInt32BE();
    if (lengthBytes > HEADER_MAX_BYTES) throw broken();
    try {
      const header = JSON.parse((await this.#exactly(lengthBytes)).toString('utf8')) as { sizeBytes?: unknown };
      if (!Number.isSafeInteger(header.sizeBytes) || Number(header.sizeBytes) < 0) throw broken();
      this.#bodyBytes = Number(header.sizeBytes);
      return header;
    } catch {
      throw broken();
    }
  }

  /** The bytes after a header, in pieces. Throws ServerError 'invalid-argument' when they end too early. */
  async *body(): AsyncGenerator<Buffer> {
    while (this.#bodyBytes > 0) {
      if (this.#held.length === 0 && !(await this.#more())) throw broken();
      const piece = this.#held.subarray(0, this.#bodyBytes);
      this.#held = this.#held.subarray(piece.length);
      this.#bodyBytes -= piece.length;
      yield piece;
    }
  }

  /** Reads what is left and forgets it, so that the other side gets to read the answer. */
  async drain(): Promise<void> {
    this.#held = Buffer.alloc(0);
    while (await this.#more()) this.#held = Buffer.alloc(0);
  }

  async #exactly(countBytes: number): Promise<Buffer> {
    while (this.#held.length < countBytes) if (!(await this.#more())) throw broken();
    const bytes = this.#held.subarray(0, countBytes);
    this.#held = this.#held.subarray(countBytes);
    return bytes;
  }

  async #more(): Promise<boolean> {
    const next = await this.#source.next();
    if (next.done === true) return false;
    const { buffer, byteOffset, byteLength } = next.value;
    const bytes = Buffer.from(buffer, byteOffset, byteLength);
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    return true;
  }
}

const broken = (): ServerError =>
  new ServerError('invalid-argument', { clientText: 'The stream of messages is broken.' });
