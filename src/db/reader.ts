/**
 * Reads databases on a thread of its own, so that a look at everything in them never holds up the event loop.
 *
 * RD1  The queries of one request see one moment of the database, whatever is written meanwhile.
 * RD2  It never writes to a database; a copy is a new file.
 * RD3  One request at a time: what waits, waits its turn.
 *
 * Called by store/, accounts/ and backup/.
 */
import { Worker } from 'node:worker_threads';
import { ServerError } from '../base/errors.ts';

type Query = Readonly<{ sql: string; values?: readonly (string | number | Uint8Array)[] }>;
type Work = Readonly<{ kind: 'read'; queries: readonly Query[] }> | Readonly<{ kind: 'copy'; to: string }>;
export type ReaderRequest = Readonly<{ id: number; file: string; work: Work }>;
export type ReaderAnswer = Readonly<{ id: number; error: string | null; rows: readonly (readonly unknown[])[] }>;

type Waiter = Readonly<{ resolve(answer: ReaderAnswer): void; reject(error: Error): void }>;

export class DatabaseReader implements AsyncDisposable {
  readonly #waiters = new Map<number, Waiter>();
  #worker: Worker | null = null;
  #lastId = 0;

  /**
   * The rows of each query, all of one moment (RD1); blobs come as Uint8Arrays.
   * Throws ServerError 'content-damaged' for a database that cannot be read.
   */
  async read(file: string, queries: readonly Query[]): Promise<readonly (readonly unknown[])[]> {
    return (await this.#ask(file, { kind: 'read', queries })).rows;
  }

  /** Writes a compacted copy of one moment to the new file `to`; not synced. Throws ServerError 'content-damaged'. */
  async copy(file: string, to: string): Promise<void> {
    await this.#ask(file, { kind: 'copy', to });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
    this.#failAll(new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true }));
  }

  async #ask(file: string, work: Work): Promise<ReaderAnswer> {
    const id = (this.#lastId += 1);
    const answered = Promise.withResolvers<ReaderAnswer>();
    this.#waiters.set(id, answered);
    this.#worker ??= this.#start();
    this.#worker.ref();
    this.#worker.postMessage({ id, file, work } satisfies ReaderRequest);
    const answer = await answered.promise;
    if (answer.error === null) return answer;
    throw new ServerError('content-damaged', {
      clientText: 'A database cannot be read.',
      detail: `${file}: ${answer.error}`,
    });
  }

  #start(): Worker {
    const worker = new Worker(new URL('./reader-worker.ts', import.meta.url));
    worker.on('message', (answer: ReaderAnswer) => {
      this.#waiters.get(answer.id)?.resolve(answer);
      this.#waiters.delete(answer.id);
      if (this.#waiters.size === 0) worker.unref();
    });
    worker.on('error', (error: Error) => {
      if (this.#worker === worker) this.#worker = null;
      this.#failAll(error);
    });
    return worker;
  }

  #failAll(error: Error): void {
    for (const waiter of this.#waiters.values()) waiter.reject(error);
    this.#waiters.clear();
  }
}
