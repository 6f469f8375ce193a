/**
 * Metrics in the text format of Prometheus: what events counted, and what parts say of themselves when they are asked.
 *
 * PM1  Labels come from fixed sets: protocols, commands, outcomes, providers' operations. No address, name or id.
 * PM2  A part that cannot be asked leaves its own metrics out, and no others.
 *
 * Made by app.ts where a listener for them is configured; web/monitoring.ts serves them.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { listenFor } from './events.ts';

type Labels = Readonly<Record<string, string>>;
/** One value at the time of asking. */
export type Measured = Readonly<{ value: number; labels?: Labels }>;
type Measure = () => readonly Measured[] | Promise<readonly Measured[]>;

const COMMAND_SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30];
const COMMIT_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1];

export class Metrics implements Disposable {
  readonly #registry = new Registry();
  readonly #listening = new DisposableStack();

  constructor() {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    const commands = new Histogram({
      name: 'sealpost_imap_command_seconds',
      help: 'IMAP commands by kind and status.',
      labelNames: ['command', 'status'],
      buckets: COMMAND_SECONDS,
      registers,
    });
    const deliveries = new Counter({
      name: 'sealpost_deliveries_total',
      help: 'Messages by recipient: stored, waiting for their key, queued to go out, failed or looping.',
      labelNames: ['protocol', 'outcome'],
      registers,
    });
    const commits = new Histogram({
      name: 'sealpost_commit_seconds',
      help: 'How long a sync of a write-ahead log took: what acknowledgements wait for.',
      buckets: COMMIT_SECONDS,
      registers,
    });
    const committed = new Counter({
      name: 'sealpost_commit_waiters_total',
      help: 'Acknowledgements that syncs served: several for each under load.',
      registers,
    });
    this.#listening.use(
      listenFor('imap-command', ({ command, status, durationMs }) => {
        commands.observe({ command, status }, durationMs / 1000);
      }),
    );
    this.#listening.use(
      listenFor('delivery', ({ protocol, outcome }) => {
        deliveries.inc({ protocol, outcome });
      }),
    );
    this.#listening.use(
      listenFor('commit', ({ durationMs, waitersCount }) => {
        commits.observe(durationMs / 1000);
        committed.inc(waitersCount);
      }),
    );
  }

  /** Adds a metric that is measured when it is asked for (PM2). `labelNames` are all that its values have. */
  measure(name: string, of: Readonly<{ help: string; labelNames?: readonly string[] }>, measure: Measure): void {
    const gauge = new Gauge({
      name,
      help: of.help,
      labelNames: [...(of.labelNames ?? [])],
      registers: [this.#registry],
      collect: async () => {
        gauge.reset();
        const values = await Promise.resolve()
          .then(measure)
          .catch((): readonly Measured[] => []);
        if (values.length === 0 && (of.labelNames ?? []).length === 0) gauge.remove(); // reset left a 0
        for (const { value, labels = {} } of values) gauge.set(labels, value);
      },
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  [Symbol.dispose](): void {
    this.#listening.dispose();
    this.#registry.clear();
  }
}
