/**
 * The reader's thread: for each request the queries of one database, in one read transaction, or a compacted copy of it.
 */
import { parentPort } from 'node:worker_threads';
import SqliteDatabase from 'better-sqlite3';
import type { ReaderAnswer, ReaderRequest } from './reader.ts';

const BUSY_TIMEOUT_MS = 5000;

function serve({ id, file, work }: ReaderRequest): ReaderAnswer {
  const sqlite = new SqliteDatabase(file, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
  try {
    sqlite.pragma('temp_store = MEMORY');
    sqlite.pragma('trusted_schema = OFF');
    if (work.kind === 'copy') {
      sqlite.prepare('VACUUM INTO ?').run(work.to);
      return { id, error: null, rows: [] };
    }
    sqlite.exec('BEGIN');
    const rows = work.queries.map(({ sql, values = [] }) => sqlite.prepare(sql).all(...values));
    return { id, error: null, rows };
  } finally {
    sqlite.close();
  }
}

parentPort?.on('message', (request: ReaderRequest) => {
  let answer: ReaderAnswer;
  try {
    answer = serve(request);
  } catch (error) {
    answer = { id: request.id, error: error instanceof Error ? error.message : 'unknown', rows: [] };
  }
  parentPort?.postMessage(answer);
});
