/**
 * Search text of messages, made on a worker thread: decoding the MIME of a stranger takes unbounded time and
 * must not hold up the event loop.
 *
 * T1  At most one message is at the worker; its plaintext travels by transfer, in memory only. Those that wait are
 *     not opened before their turn, so that none outlives its key in the queue.
 * T2  A message that takes longer than `timeoutMs` ends the worker; the next gets a new one.
 */
import { Worker } from 'node:worker_threads';
import { ServerError } from '../base/errors.ts';
import type { SearchText as ExtractedText } from '../mime/text.ts';

/** Normalised for comparison: the header, and the text of all parts. */
export type SearchText = Pick<ExtractedText, 'header' | 'body'>;

type Job = Readonly<{ open(): Promise<Uint8Array>; resolve(text: SearchText): void; reject(error: Error): void }>;

export class TextExtractor {
  readonly #timeoutMs: number;
  readonly #queue: Job[] = [];
  #running: Job | null = null;
  #worker: Worker | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: Readonly<{ timeoutMs: number }>) {
    this.#timeoutMs = options.timeoutMs;
  }

  /**
   * The normalised search text of the message that `open` gives when its turn comes.
   * Throws ServerError 'limit-exceeded' past the time limit, and what `open` throws.
   */
  extract(open: () => Promise<Uint8Array>): Promise<SearchText> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ open, resolve, reject });
      this.#next();
    });
  }

  async close(): Promise<void> {
    const error = new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true });
    for (const job of this.#queue.splice(0)) job.reject(error);
    this.#finish()?.reject(error);
    await this.#worker?.terminate();
    this.#worker = null;
  }

  #next(): void {
    if (this.#running) return;
    const job = this.#queue.shift();
    if (!job) return;
    this.#running = job;
    job.open().then(
      (raw) => {
        if (this.#running === job) this.#post(raw); // else closed meanwhile
      },
      (error: unknown) => {
        if (this.#running !== job) return;
        this.#finish()?.reject(error instanceof Error ? error : new Error('the message could not be opened'));
        this.#next();
      },
    );
  }

  #post(raw: Uint8Array): void {
    this.#worker ??= this.#start();
    this.#worker.ref();
    this.#timer = setTimeout(() => {
      this.#drop(new ServerError('limit-exceeded', { clientText: 'A message is too complex to be searched.' }));
    }, this.#timeoutMs);
    // A copy of its own memory: transferring a view of a shared pool would take the pool away.
    const bytes = new Uint8Array(raw);
    this.#worker.postMessage(bytes, [bytes.buffer]);
  }

  #start(): Worker {
    const worker = new Worker(new URL('./text-worker.ts', import.meta.url));
    worker.on('message', (answer: SearchText) => {
      this.#finish()?.resolve(answer);
      worker.unref();
      this.#next();
    });
    worker.on('error', (error) => {
      if (this.#worker === worker) this.#drop(error);
    });
    return worker;
  }

  #finish(): Job | null {
    const job = this.#running;
    this.#running = null;
    if (this.#timer) clearTimeout(this.#timer);
    return job;
  }

  #drop(error: unknown): void {
    const worker = this.#worker;
    this.#worker = null;
    void worker?.terminate();
    this.#finish()?.reject(error instanceof Error ? error : new Error('the text worker failed'));
    this.#next();
  }
}
