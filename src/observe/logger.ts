/**
 * The log: one JSON object a line, to standard output or a file.
 *
 * G1  What is written went through redact.ts: no secret, no bytes, bounded.
 * G2  A line is one line: JSON escapes control characters.
 * G3  A log that cannot be written does not stop the mail: the failure is counted, not thrown.
 *
 * Made once by app.ts; passed down as the narrow `Logger`. Texts are constant, ids go into fields.
 */
import { destination, pino } from 'pino';
import { type LogFields, redactFields } from './redact.ts';

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each line. */
  child(fields: LogFields): Logger;
}

/**
 * The log itself. Disposed last: it writes what is still buffered. `flushNow` does so at once and
 * blocks, for the moment before a process that cannot go on exits.
 */
type Log = Readonly<{ logger: Logger; failedWritesCount(): number; flushNow(): void }> & AsyncDisposable;
type LogSettings = Readonly<{ level: 'debug' | 'info' | 'warn' | 'error'; file?: string | undefined }>;

type Level = LogSettings['level'];
type LineWriter = Readonly<Record<Level, (fields: LogFields, message: string) => void>> & {
  child(fields: LogFields): LineWriter;
  isLevelEnabled(level: Level): boolean;
};

const STDOUT = 1;
const BUFFER_BYTES = 4096;
const MAX_BUFFER_BYTES = 16 * 1024 * 1024; // beyond it lines are dropped, not memory filled
const FLUSH_INTERVAL_MS = 200;

/** Opens the log. The folder of `settings.file` is made if it is missing. */
export function createLogger(settings: LogSettings): Log {
  const output = destination({
    dest: settings.file ?? STDOUT,
    mkdir: true,
    mode: 0o600,
    sync: false,
    minLength: BUFFER_BYTES,
    maxLength: MAX_BUFFER_BYTES,
    periodicFlush: FLUSH_INTERVAL_MS,
  });
  let failed = 0;
  output.on('error', () => (failed += 1));
  output.on('drop', () => (failed += 1));
  const lines = pino(
    {
      level: settings.level,
      base: { pid: process.pid },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    output,
  );
  return {
    logger: narrow(lines),
    failedWritesCount: () => failed,
    flushNow: () => {
      try {
        output.flushSync();
      } catch {
        failed += 1; // not open yet, or not writable: G3
      }
    },
    [Symbol.asyncDispose]: () => flushed(output),
  };
}

function narrow(lines: LineWriter): Logger {
  const write =
    (level: Level) =>
    (message: string, fields: LogFields = {}): void => {
      if (lines.isLevelEnabled(level)) lines[level](redactFields(fields), message);
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => narrow(lines.child(redactFields(fields))),
  };
}

type Output = ReturnType<typeof destination>;

function flushed(output: Output): Promise<void> {
  return new Promise((resolve) => {
    output.once('close', resolve);
    output.once('error', () => {
      resolve();
    });
    output.end();
  });
}
