/**
 * Moves committed pages from the logs into the database files, on one worker thread, so that the
 * sync and the copying never hold up the event loop.
 *
 * C1  A 'now' or 'shrink' request runs as soon as the thread is free, 'later' and 'truncate' within `intervalMs`.
 * C2  'truncate' empties the log file, so that deleted content is gone from it; so does 'shrink'.
 * C3  A failed checkpoint is a storage failure: `onFailure` is told, the process stops.
 */
import { Worker } from 'node:worker_threads';

type CheckpointUrgency = keyof typeof RANK;
type Answer = Readonly<{ file: string; error: string | null; done: boolean }>;

/** A request is never replaced by a lesser one. */
const RANK = { later: 0, now: 1, truncate: 2, shrink: 3 } as const;

export class Checkpointer {
  readonly #worker: Worker;
  readonly #timer: NodeJS.Timeout;
  readonly #onFailure: (error: Error) => void;
  readonly #pending = new Map<string, CheckpointUrgency>();
  readonly #running = new Set<string>();
  readonly #idle = Promise.withResolvers<void>();
  #isClosing = false;

  constructor(options: Readonly<{ intervalMs: number; onFailure(error: Error): void }>) {
    this.#onFailure = options.onFailure;
    this.#worker = new Worker(new URL('./checkpoint-worker.ts', import.meta.url));
    this.#worker.on('message', (answer: Answer) => {
      this.#finished(answer);
    });
    this.#worker.on('error', (error: Error) => {
      this.#onFailure(error);
    });
    this.#worker.unref();
    this.#timer = setInterval(() => {
      for (const file of this.#pending.keys()) this.#start(file);
    }, options.intervalMs);
    this.#timer.unref();
  }

  request(file: string, urgency: CheckpointUrgency): void {
    const asked = this.#pending.get(file);
    if (asked === undefined || RANK[urgency] > RANK[asked]) this.#pending.set(file, urgency);
    if (urgency === 'now' || urgency === 'shrink') this.#start(file);
  }

  /** Forgets a database that is being closed; closing checkpoints by itself. */
  forget(file: string): void {
    this.#pending.delete(file);
  }

  /** Ends the thread when it has finished what it is at. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#isClosing = true;
    this.#worker.ref(); // it alone may be what this process still waits for
    if (this.#running.size > 0) await this.#idle.promise;
    await this.#worker.terminate();
  }

  #start(file: string): void {
    const urgency = this.#pending.get(file);
    if (!urgency || this.#isClosing || this.#running.has(file)) return;
    this.#pending.delete(file);
    this.#running.add(file);
    this.#worker.postMessage({ file, mode: RANK[urgency] >= RANK.truncate ? 'TRUNCATE' : 'PASSIVE' });
  }

  #finished({ file, error, done }: Answer): void {
    this.#running.delete(file);
    if (error !== null) this.#onFailure(new Error(`checkpoint of ${file}: ${error}`));
    else if (!done) this.request(file, 'truncate'); // a writer was in the way: the next round tries again
    const next = this.#pending.get(file);
    if (error === null && done && (next === 'now' || next === 'shrink')) this.#start(file);
    if (this.#isClosing && this.#running.size === 0) this.#idle.resolve();
  }
}
