/**
 * The checkpointer's thread: for each message `{ file, mode }` one checkpoint of that database.
 *
 * A truncating checkpoint holds the writer's lock, so a passive one goes first and leaves it little to do.
 */
import { existsSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import SqliteDatabase from 'better-sqlite3';

type Request = Readonly<{ file: string; mode: 'PASSIVE' | 'TRUNCATE' }>;

/** True when the mode's work is done; false when another connection was in the way. */
function checkpoint({ file, mode }: Request): boolean {
  if (!existsSync(file)) return true; // erased meanwhile
  const sqlite = new SqliteDatabase(file, { timeout: 0 });
  try {
    sqlite.pragma('synchronous = NORMAL');
    sqlite.pragma('wal_autocheckpoint = 0');
    sqlite.pragma('secure_delete = ON');
    sqlite.pragma('wal_checkpoint(PASSIVE)');
    if (mode === 'PASSIVE') return true;
    const [result] = sqlite.pragma('wal_checkpoint(TRUNCATE)') as { busy: number }[];
    return result?.busy === 0;
  } finally {
    sqlite.close();
  }
}

parentPort?.on('message', (request: Request) => {
  let answer = { file: request.file, error: null as string | null, done: true };
  try {
    answer = { ...answer, done: checkpoint(request) };
  } catch (error) {
    // without space, or over a damaged file, the log keeps what is committed, and a later round may succeed
    const later = error instanceof SqliteDatabase.SqliteError && /^SQLITE_(BUSY|FULL|CORRUPT|NOTADB)/.test(error.code);
    answer = { ...answer, done: false, error: later ? null : error instanceof Error ? error.message : 'unknown' };
  }
  parentPort?.postMessage(answer);
});
