/**
 * Work that comes round again and again in the background: never twice at a time, and ended when the process stops.
 *
 * Called by the other files of this folder.
 */
import { ServerError } from '../base/errors.ts';

type RoundsOptions = Readonly<{
  everyMs: number;
  /** One round; gives up when the signal fires. What it throws is told to `onFailure`. */
  round(signal: AbortSignal): Promise<void>;
  onFailure(error: unknown): void;
}>;

export class Rounds implements AsyncDisposable {
  readonly #options: RoundsOptions;
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | null = null;

  constructor(options: RoundsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      void this.run();
    }, options.everyMs).unref();
  }

  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  /** Runs a round, or waits for the one that runs. Does not throw. */
  run(): Promise<void> {
    this.#running ??= this.#round().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort(new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true }));
    await this.#running;
  }

  async #round(): Promise<void> {
    try {
      await this.#options.round(this.signal);
    } catch (error) {
      if (!this.signal.aborted) this.#options.onFailure(error);
    }
  }
}
