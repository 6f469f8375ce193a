/** One process per data directory: an exclusive SQLite lock, which the kernel drops when the process dies. */
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { ServerError } from '../base/errors.ts';

/** Holds `directory` for this process until disposed. Throws ServerError 'not-allowed' while another process has it. */
export function lockDirectory(directory: string): Disposable {
  const sqlite = new SqliteDatabase(join(directory, 'lock.db'), { timeout: 0 });
  try {
    sqlite.pragma('locking_mode = EXCLUSIVE');
    sqlite.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    sqlite.close();
    throw new ServerError('not-allowed', {
      clientText: `${directory} is in use by another sealpost process; stop that one first.`,
      cause: error,
    });
  }
  return {
    [Symbol.dispose]: () => {
      sqlite.close();
    },
  };
}
