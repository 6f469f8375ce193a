/**
 * Whether the server is well, as its parts report it.
 *
 * H1  A part that has never reported is not well: a listener that did not start is not forgotten.
 * H2  The event loop is degraded when its delay, 99th percentile since the last look, passes a limit.
 * H3  Reasons are constant texts without content or addresses: they are shown to monitoring.
 *
 * Parts report to it; the admin `status` command and through it the container's health check read it.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

type PartState = Readonly<{ kind: 'starting' } | { kind: 'ok' } | { kind: 'degraded'; reason: string }>;
type HealthReport = Readonly<{
  isOk: boolean;
  parts: Readonly<Record<string, PartState>>;
  eventLoopDelayMs: number;
}>;

/** How one part speaks about itself. */
type HealthReporter = Readonly<{ ok(): void; degraded(reason: string): void }>;

const EVENT_LOOP_RESOLUTION_MS = 20;
const MAX_EVENT_LOOP_DELAY_MS = 500;
const NANOSECONDS_PER_MS = 1e6;

export class Health implements Disposable {
  readonly #parts = new Map<string, PartState>();
  readonly #delays = monitorEventLoopDelay({ resolution: EVENT_LOOP_RESOLUTION_MS });

  constructor() {
    this.#delays.enable();
  }

  /** Adds a part under a name of its own, for example `imap-listener` (H1). Throws TypeError if it exists. */
  part(name: string): HealthReporter {
    if (this.#parts.has(name)) throw new TypeError(`part ${name} reports twice`);
    this.#parts.set(name, { kind: 'starting' });
    return {
      ok: () => this.#parts.set(name, { kind: 'ok' }),
      degraded: (reason) => this.#parts.set(name, { kind: 'degraded', reason }),
    };
  }

  /** The state now; the event loop is measured anew from here (H2). */
  report(): HealthReport {
    // the interval between two turns of a timer, which includes the timer's own period
    const turnMs = this.#delays.percentile(99) / NANOSECONDS_PER_MS;
    const eventLoopDelayMs = Math.max(0, turnMs - EVENT_LOOP_RESOLUTION_MS);
    this.#delays.reset();
    const parts = Object.fromEntries(this.#parts);
    const isOk =
      Object.values(parts).every((part) => part.kind === 'ok') && eventLoopDelayMs <= MAX_EVENT_LOOP_DELAY_MS;
    return { isOk, parts, eventLoopDelayMs };
  }

  [Symbol.dispose](): void {
    this.#delays.disable();
  }
}
