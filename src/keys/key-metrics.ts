/**
 * Counters of the key service since the start of the process: what calls there were, how long they took, how they
 * ended, and how many were spared. Written by provider-calls.ts; `sealpost status` shows them.
 */
import type { KeyOperation } from './audit-log.ts';
import type { KeyFailure } from './provider.ts';

type OperationCounts = { callsCount: number; failuresCount: number; latencySumMs: number; latencyMaxMs: number };
export type CallCounts = Readonly<{
  /** Every try counts. */
  operations: Readonly<Partial<Record<KeyOperation, Readonly<OperationCounts>>>>;
  /** Tries that failed, by kind; calls without a grant count as 'denied'. */
  failures: Readonly<Partial<Record<KeyFailure, number>>>;
  /** Not asked, because the root key had just failed. */
  pausedCount: number;
  /** Not asked, for want of a grant. */
  ungrantedCount: number;
}>;

export class KeyMetrics {
  readonly #operations = new Map<KeyOperation, OperationCounts>();
  readonly #failures = new Map<KeyFailure, number>();
  #pausedCount = 0;
  #ungrantedCount = 0;

  called(operation: KeyOperation, latencyMs: number, outcome: 'ok' | KeyFailure): void {
    const counts = this.#operations.get(operation) ?? {
      callsCount: 0,
      failuresCount: 0,
      latencySumMs: 0,
      latencyMaxMs: 0,
    };
    counts.callsCount += 1;
    counts.latencySumMs += latencyMs;
    counts.latencyMaxMs = Math.max(counts.latencyMaxMs, latencyMs);
    if (outcome !== 'ok') {
      counts.failuresCount += 1;
      this.#failed(outcome);
    }
    this.#operations.set(operation, counts);
  }

  paused(): void {
    this.#pausedCount += 1;
  }

  ungranted(): void {
    this.#ungrantedCount += 1;
    this.#failed('denied');
  }

  counts(): CallCounts {
    return {
      operations: Object.fromEntries([...this.#operations].map(([operation, counts]) => [operation, { ...counts }])),
      failures: Object.fromEntries(this.#failures),
      pausedCount: this.#pausedCount,
      ungrantedCount: this.#ungrantedCount,
    };
  }

  #failed(failure: KeyFailure): void {
    this.#failures.set(failure, (this.#failures.get(failure) ?? 0) + 1);
  }
}
