/**
 * Group commit: one asynchronous fdatasync of the write-ahead log serves every commit that waits.
 *
 * D1  `durable()` resolves only after an fdatasync that began after the call.
 * D2  At most one fdatasync of a log is under way; all that wait meanwhile share the next.
 * D3  After a failed fdatasync nothing is ever called durable again: the kernel may have dropped the
 *     dirty pages, so a second try would lie. `onFailure` is told once; the process has to stop.
 */
import { fdatasync } from 'node:fs';
import { ServerError } from '../base/errors.ts';
import { happened } from '../observe/events.ts';

type Waiter = Readonly<{ resolve: () => void; reject: (error: Error) => void }>;

export class DurableCommit {
  readonly #descriptor: number;
  readonly #onFailure: (error: Error) => void;
  #waiting: Waiter[] = [];
  #running = false;
  #failure: ServerError | null = null;

  constructor(descriptor: number, onFailure: (error: Error) => void) {
    this.#descriptor = descriptor;
    this.#onFailure = onFailure;
  }

  /** Resolves when all that was written to the log so far is on disk. Throws ServerError 'storage-failed'. */
  durable(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      this.#waiting.push({ resolve, reject });
      if (!this.#running) this.#sync();
    });
  }

  #sync(): void {
    const served = this.#waiting;
    this.#waiting = [];
    this.#running = true;
    const startedMs = performance.now();
    fdatasync(this.#descriptor, (error) => {
      this.#running = false;
      happened('commit', { durationMs: performance.now() - startedMs, waitersCount: served.length });
      if (error) {
        this.#fail(error, served);
        return;
      }
      for (const waiter of served) waiter.resolve();
      if (this.#waiting.length > 0) this.#sync();
    });
  }

  #fail(cause: Error, served: readonly Waiter[]): void {
    this.#failure = new ServerError('storage-failed', {
      clientText: 'The server could not write to its disk.',
      detail: `fdatasync of a write-ahead log failed: ${cause.message}`,
      cause,
    });
    this.#onFailure(this.#failure);
    for (const waiter of [...served, ...this.#waiting]) waiter.reject(this.#failure);
    this.#waiting = [];
  }
}
