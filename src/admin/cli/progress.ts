/** Progress of long work on a terminal's standard error: one line, written over and over. */
import type { Terminal } from './terminal.ts';

type ProgressState = Readonly<{
  phase: string;
  messagesCount: number;
  sizeBytes: number;
  total: Readonly<{ messagesCount: number | null; sizeBytes: number | null }>;
}>;

const EVERY_MS = 250;
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

class ProgressLine implements Disposable {
  readonly #terminal: Terminal;
  #phase = '';
  #phaseStartedMs = 0;
  #shownAtMs = -EVERY_MS;
  #width = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(state: ProgressState): void {
    if (this.#terminal.showsProgress !== true) return;
    const nowMs = performance.now();
    if (state.phase !== this.#phase) [this.#phase, this.#phaseStartedMs] = [state.phase, nowMs];
    else if (nowMs - this.#shownAtMs < EVERY_MS) return;
    this.#shownAtMs = nowMs;
    this.#write(progressText(state, nowMs - this.#phaseStartedMs));
  }

  [Symbol.dispose](): void {
    if (this.#width > 0) this.#write('');
    if (this.#width > 0) this.#terminal.writeError('\r');
  }

  #write(text: string): void {
    this.#terminal.writeError(`\r${text.padEnd(this.#width)}`);
    this.#width = Math.max(this.#width, text.length);
  }
}

/** Runs `work`, which shows how far it is. */
export async function withProgress<T>(
  terminal: Terminal,
  work: (show: ProgressLine['show']) => Promise<T>,
): Promise<T> {
  using line = new ProgressLine(terminal);
  return await work((state) => {
    line.show(state);
  });
}

/** `reading 1,200 of 5,000 messages, 24%, 12.0 MiB, 812 messages/s, 0:05 left` */
function progressText({ phase, messagesCount, sizeBytes, total }: ProgressState, elapsedMs: number): string {
  const seconds = Math.max(elapsedMs / 1000, 0.001);
  const of = total.messagesCount === null ? '' : ` of ${total.messagesCount.toLocaleString('en')}`;
  const parts = [`${phase} ${messagesCount.toLocaleString('en')}${of} messages`];
  const done =
    total.messagesCount !== null
      ? messagesCount / Math.max(total.messagesCount, 1)
      : total.sizeBytes !== null
        ? sizeBytes / Math.max(total.sizeBytes, 1)
        : null;
  if (done !== null) parts.push(`${String(Math.min(Math.floor(done * 100), 100))}%`);
  parts.push(sizeText(sizeBytes), `${Math.round(messagesCount / seconds).toLocaleString('en')} messages/s`);
  if (done !== null && done > 0 && done < 1) parts.push(`${clock((seconds / done) * (1 - done))} left`);
  return parts.join(', ');
}

export function sizeText(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < UNITS.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit === 0 ? String(value) : value.toFixed(1)} ${UNITS[unit] ?? ''}`;
}

function clock(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  return hours > 0 ? `${String(hours)}:${two(minutes)}:${two(rest)}` : `${String(minutes)}:${two(rest)}`;
}
