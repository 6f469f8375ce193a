/**
 * The free-space reserve: mail is refused while less than it is left, so that what is accepted can be finished,
 * and flags, expunges and checkpoints still have room.
 */
import { statfs } from 'node:fs/promises';
import { ServerError } from '../base/errors.ts';

/** How long one look at the file system counts. */
const FRESH_MS = 1000;

export class FreeSpace {
  readonly #directory: string;
  readonly #reserveBytes: number;
  #checkedAtMs = -FRESH_MS;
  #isShort = false;

  constructor(directory: string, reserveBytes: number) {
    this.#directory = directory;
    this.#reserveBytes = reserveBytes;
  }

  /** Throws ServerError 'storage-full', retryable, while the reserve is reached. */
  async check(): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#checkedAtMs >= FRESH_MS) {
      this.#checkedAtMs = nowMs;
      const { bavail, bsize } = await statfs(this.#directory);
      this.#isShort = bavail * bsize < this.#reserveBytes;
    }
    if (!this.#isShort) return;
    throw new ServerError('storage-full', {
      clientText: 'The disk is nearly full.',
      detail: `less than ${String(this.#reserveBytes)} bytes are free`,
      retryable: true,
    });
  }
}
