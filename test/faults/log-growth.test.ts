/** Writing that never pauses: a checkpoint is never complete, so that the log would grow as long as it goes on. */
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { Database } from '../../src/db/database.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const LOG_MAX_BYTES = 96 * 2 ** 20;
const WRITERS_COUNT = 4;
const ROUNDS_COUNT = 400;
const ROW_BYTES = 128 * 1024; // 200 MiB in all

test('the write-ahead log is bounded', { timeout: 60_000 }, async () => {
  const folder = temporaryDirectory();
  const migrations = join(folder, 'migrations');
  mkdirSync(migrations);
  writeFileSync(join(migrations, '0001-rows.sql'), 'CREATE TABLE rows (id INTEGER PRIMARY KEY, content BLOB) STRICT;');
  const failures: Error[] = [];
  const onFailure = (error: Error): void => void failures.push(error);
  const checkpointer = new Checkpointer({ intervalMs: 60_000, onFailure });
  const file = join(folder, 'test.db');
  const database = await Database.open({ file, migrations, checkpointer, onFailure });
  let longestBytes = 0;
  const write = async (): Promise<void> => {
    const insert = database.prepare('INSERT INTO rows (content) VALUES (?)');
    for (let round = 0; round < ROUNDS_COUNT; round += 1) {
      database.transaction(() => insert.run(Buffer.alloc(ROW_BYTES, round)));
      await database.durable();
      longestBytes = Math.max(longestBytes, statSync(`${file}-wal`).size);
    }
  };
  await Promise.all(Array.from({ length: WRITERS_COUNT }, write));
  const [row] = database.prepare<{ count: number }>('SELECT count(*) AS count FROM rows').all();
  expect(row?.count).toBe(WRITERS_COUNT * ROUNDS_COUNT);
  expect(longestBytes).toBeLessThan(LOG_MAX_BYTES);
  await database.close();
  await checkpointer.close();
  expect(failures).toEqual([]);
});
