/** Waiting that can be given up: every wait in this project takes an optional AbortSignal. */

/** Waits for `promise`, or throws `signal.reason` as soon as the signal fires; the promise goes on for others. */
export async function raceAbort<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  signal.throwIfAborted();
  const gate = Promise.withResolvers<never>();
  const onAbort = (): void => {
    gate.reject(signal.reason as Error);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  promise.catch(() => undefined); // when the race is lost, its failure belongs to the other waiters
  try {
    return await Promise.race([promise, gate.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Gives other work on the event loop a turn. Long loops call it at least every 10 ms. */
export function yieldTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Tells a loop when to yield: `due()` is true once `sliceMs` have passed since the last yield. */
export class Slice {
  readonly #sliceMs: number;
  #startedMs = performance.now();

  constructor(sliceMs = 8) {
    this.#sliceMs = sliceMs;
  }

  /** Yields when the slice is used up. */
  async pause(): Promise<void> {
    if (performance.now() - this.#startedMs < this.#sliceMs) return;
    await yieldTurn();
    this.#startedMs = performance.now();
  }

  /** True when `pause` would yield; lets a hot loop skip the await. */
  get due(): boolean {
    return performance.now() - this.#startedMs >= this.#sliceMs;
  }
}
