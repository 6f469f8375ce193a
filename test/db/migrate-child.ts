/** Migrates the database `argv[2]` by the folder `argv[3]`, and is killed at the step `argv[4]` of the last migration. */
import { appendFileSync } from 'node:fs';
import SqliteDatabase from 'better-sqlite3';
import { migrate, migrationsOf } from '../../src/db/migrate.ts';

const [, , file = '', folder = '', step = ''] = process.argv;
const sqlite = new SqliteDatabase(file);
sqlite.pragma('journal_mode = WAL');
sqlite.exec(`CREATE TABLE IF NOT EXISTS schema_migrations (
  version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at_ms INTEGER NOT NULL) STRICT`);
const migrations = migrationsOf(folder);
let lastSql = '';

function at(reached: string): void {
  if (reached !== step || lastSql !== migrations.at(-1)?.sql) return;
  appendFileSync(`${file}.reached`, reached);
  process.kill(process.pid, 'SIGKILL');
}

migrate(
  {
    exec: (sql) => {
      if (/^COMMIT/.test(sql)) at('before COMMIT');
      else if (!/^BEGIN/.test(sql)) {
        lastSql = sql;
        at('after BEGIN');
      }
      sqlite.exec(sql);
      if (/^COMMIT/.test(sql)) at('after COMMIT');
      else if (!/^BEGIN/.test(sql)) at('after the statements');
    },
    applied: () =>
      sqlite.prepare('SELECT version, name, checksum FROM schema_migrations ORDER BY version').all() as {
        version: number;
        name: string;
        checksum: string;
      }[],
    record: ({ version, name, checksum }) => {
      sqlite.prepare('INSERT INTO schema_migrations VALUES (?, ?, ?, 0)').run(version, name, checksum);
    },
  },
  migrations,
);
