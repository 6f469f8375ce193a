/**
 * COMPRESS=DEFLATE: both directions of a connection through raw deflate. RFC 4978.
 *
 * Z1  Everything that was written is flushed to the client at once: nothing waits in the compressor.
 * Z2  What is inflated is pulled: while nobody reads `input`, neither it nor the socket is read on. So a small packet
 *     that inflates to gigabytes costs no memory, and the reader's limits count what it inflates to (I12).
 * Z3  A stream that is not deflate ends the connection.
 *
 * Made by connection.ts.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { constants, createDeflateRaw, createInflateRaw, type DeflateRaw, type InflateRaw } from 'node:zlib';

/** 64 KiB for each connection instead of 256, for a few percent of size. RFC 1951 allows any window. */
const WINDOW_BITS = 13;
const MEMORY_LEVEL = 6;
const PIECE_BYTES = 16 * 1024;

export class Compression {
  readonly #socket: Socket;
  readonly #inflate: InflateRaw;
  readonly #deflate: DeflateRaw;

  /** `received`: bytes that came after the command; they are compressed already. */
  constructor(socket: Socket, received: readonly Uint8Array[]) {
    this.#socket = socket;
    this.#inflate = createInflateRaw({ chunkSize: PIECE_BYTES });
    this.#deflate = createDeflateRaw({
      flush: constants.Z_SYNC_FLUSH,
      windowBits: WINDOW_BITS,
      memLevel: MEMORY_LEVEL,
      chunkSize: PIECE_BYTES,
    });
    const fail = (): void => {
      socket.destroy();
    };
    this.#inflate.on('error', fail);
    this.#deflate.on('error', fail);
    socket.once('close', () => {
      this.#inflate.destroy();
      this.#deflate.destroy();
    });
    for (const bytes of received) this.#inflate.write(bytes);
    socket.pipe(this.#inflate);
    this.#deflate.pipe(socket);
  }

  get input(): InflateRaw {
    return this.#inflate;
  }

  get output(): DeflateRaw {
    return this.#deflate;
  }

  /** Drops both streams, the last flush being the end of ours; the socket stays, paused. What was said has been taken. */
  async stop(): Promise<void> {
    while (this.#deflate.readableLength > 0 && !this.#socket.destroyed) {
      await Promise.race([once(this.#socket, 'drain'), once(this.#socket, 'close')]);
    }
    this.#deflate.unpipe(this.#socket);
    this.#socket.unpipe(this.#inflate);
    this.#socket.pause();
    this.#inflate.destroy();
    this.#deflate.destroy();
  }
}
