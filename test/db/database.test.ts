import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { Database } from '../../src/db/database.ts';
import { lockDirectory } from '../../src/db/lock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const failures: Error[] = [];
const onFailure = (error: Error): void => {
  failures.push(error);
};
const checkpointer = new Checkpointer({ intervalMs: 20, onFailure });
afterAll(() => checkpointer.close());

const migrations = join(directory, 'migrations');
mkdirSync(migrations);
writeFileSync(join(migrations, '0001-first.sql'), 'CREATE TABLE words (word TEXT) STRICT;');

let count = 0;
function open(folder = migrations, file = join(directory, `${String((count += 1))}.db`)): Promise<Database> {
  return Database.open({ file, migrations: folder, checkpointer, onFailure });
}
const words = (database: Database): string[] =>
  database
    .prepare<{ word: string }>('SELECT word FROM words ORDER BY word')
    .all()
    .map((row) => row.word);

async function until(what: () => boolean): Promise<void> {
  for (let tries = 0; !what(); tries += 1) {
    if (tries > 500) throw new Error('it did not happen');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('B3 what a transaction throws undoes all of it', async () => {
  const database = await open();
  const insert = database.prepare('INSERT INTO words VALUES (?)');
  expect(() =>
    database.transaction(() => {
      insert.run('half');
      throw new Error('no');
    }),
  ).toThrow('no');
  expect(words(database)).toEqual([]);
  database.transaction(() => insert.run('whole'));
  await database.durable();
  expect(words(database)).toEqual(['whole']);
  await database.close();
});

test('B5 deleted content is in neither file after a truncating checkpoint', async () => {
  const file = join(directory, 'secret.db');
  const database = await open(migrations, file);
  database.prepare('INSERT INTO words VALUES (?)').run('xyzzy-canary');
  await database.durable();
  expect(readFileSync(`${file}-wal`).includes('xyzzy-canary')).toBe(true);
  database.prepare('DELETE FROM words').run();
  await database.durable();
  database.truncateLogSoon();
  await until(() => statSync(`${file}-wal`).size === 0);
  expect(readFileSync(file).includes('xyzzy-canary')).toBe(false);
  expect(words(database)).toEqual([]);
  await database.close();
});

test('C1 a large backlog is checkpointed without being asked for', async () => {
  const file = join(directory, 'backlog.db');
  const database = await open(migrations, file);
  const before = statSync(file).size;
  const insert = database.prepare('INSERT INTO words VALUES (?)');
  for (let index = 0; index < 1200; index += 1) insert.run('x'.repeat(4000));
  await database.durable();
  await until(() => statSync(file).size > before + 1_000_000);
  await database.close();
});

test('G1 a failing migration leaves nothing; G2 a changed one and G3 a newer schema are refused', async () => {
  const folder = join(directory, 'more-migrations');
  mkdirSync(folder);
  writeFileSync(join(folder, '0001-first.sql'), 'CREATE TABLE words (word TEXT) STRICT;');
  writeFileSync(join(folder, '0002-broken.sql'), 'CREATE TABLE extra (a TEXT) STRICT; CREATE TABLE words (a TEXT);');
  const file = join(directory, 'migrated.db');
  await expect(open(folder, file)).rejects.toThrow('already exists');
  const database = await open(migrations, file); // the first migration stands, the second left nothing
  expect(() => database.prepare('SELECT * FROM extra')).toThrow('no such table');
  await database.close();

  const changed = join(directory, 'changed-migrations');
  mkdirSync(changed);
  writeFileSync(join(changed, '0001-first.sql'), 'CREATE TABLE words (word TEXT, more TEXT) STRICT;');
  await expect(open(changed, file)).rejects.toThrow('was changed after it was applied');

  const empty = join(directory, 'no-migrations');
  mkdirSync(empty);
  await expect(open(empty, file)).rejects.toThrow('newer');
});

test('a full disk is a retryable answer, not a failure of the process', async () => {
  const database = await open();
  const before = failures.length;
  database.prepare('PRAGMA max_page_count = 8').get();
  const insert = database.prepare('INSERT INTO words VALUES (?)');
  expect(() => {
    for (let index = 0; index < 100; index += 1) insert.run('x'.repeat(4000));
  }).toThrow(expect.objectContaining({ code: 'storage-full', retryable: true }) as Error);
  expect(failures).toHaveLength(before);
  await database.close();
});

test('B4 after damage was seen, the database refuses and the process is told', async () => {
  const file = join(directory, 'damaged.db');
  const first = await open(migrations, file);
  const insert = first.prepare('INSERT INTO words VALUES (?)');
  for (let index = 0; index < 100; index += 1) insert.run('x'.repeat(1000));
  await first.close();
  const bytes = readFileSync(file);
  bytes.fill(0xff, 8192);
  writeFileSync(file, bytes);
  const before = failures.length;
  const database = await open(migrations, file);
  expect(() => words(database)).toThrow(expect.objectContaining({ code: 'storage-failed' }) as Error);
  expect(failures).toHaveLength(before + 1);
  await expect(database.durable()).rejects.toMatchObject({ code: 'storage-failed' });
  await database.close();
});

test('one process per directory, until it dies', async () => {
  const place = join(directory, 'locked');
  mkdirSync(place);
  const script = join(directory, 'holder.mjs');
  const lock = new URL('../../src/db/lock.ts', import.meta.url).href;
  writeFileSync(
    script,
    `import { lockDirectory } from ${JSON.stringify(lock)};
     globalThis.held = lockDirectory(${JSON.stringify(place)}); process.send('locked'); setInterval(() => {}, 1000);`,
  );
  const holder = fork(script);
  await once(holder, 'message');
  expect(() => lockDirectory(place)).toThrow('in use by another');
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  using _ = lockDirectory(place);
});

test('a process that only waits for the checkpointer to close does not end before', async () => {
  const script = join(directory, 'closer.mjs');
  const modules = (name: string): string => JSON.stringify(new URL(`../../src/db/${name}.ts`, import.meta.url).href);
  writeFileSync(
    script,
    `import { Checkpointer } from ${modules('checkpointer')};
     import { Database } from ${modules('database')};
     const onFailure = () => {};
     const checkpointer = new Checkpointer({ intervalMs: 60_000, onFailure });
     const file = ${JSON.stringify(join(directory, 'closing.db'))};
     const database = await Database.open({ file, migrations: ${JSON.stringify(migrations)}, checkpointer, onFailure });
     database.prepare("INSERT INTO words VALUES ('x')").run();
     checkpointer.request(file, 'now');
     await database.close();
     checkpointer.request(file, 'now');
     await checkpointer.close();
     process.exitCode = 42;`,
  );
  const closer = fork(script);
  const [code] = (await once(closer, 'exit')) as [number];
  expect(code).toBe(42);
});

test('a database that nobody asks gives its memory back, once, and answers as before', async () => {
  const database = await open();
  const memory = (): number =>
    database.prepare<{ n: number }>('SELECT count(*) AS n FROM schema_migrations').get()?.n ?? 0;
  const before = memory();
  for (let look = 0; look < 4; look += 1) database.restIfIdle();
  expect(memory()).toBe(before);
  database.transaction(() => {
    expect(memory()).toBe(before);
  });
  database.restIfIdle();
  expect(memory()).toBe(before);
  await database.close();
  database.restIfIdle();
});
