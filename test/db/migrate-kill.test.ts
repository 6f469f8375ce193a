import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect, test } from 'vitest';
import { migrationsOf } from '../../src/db/migrate.ts';
import { ROOT } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const golden = join(ROOT, 'test/golden/data-0001');
const STEPS = ['after BEGIN', 'after the statements', 'before COMMIT', 'after COMMIT'];

test.for(['directory', 'mailbox'].flatMap((kind) => STEPS.map((step) => [kind, step] as const)))(
  'G1 F23 a kill while a %s is migrated, %s, leaves all of a migration or none, and the next start ends it',
  ([kind, step]) => {
    const [source = ''] = globSync(kind === 'directory' ? 'directory.db' : 'mailboxes/*/mailbox.db', { cwd: golden });
    const file = join(directory, `${kind} ${step}.db`);
    cpSync(join(golden, source), file);
    const folder = join(ROOT, 'migrations', kind);
    const run = (at: string) =>
      spawnSync(process.execPath, [join(import.meta.dirname, 'migrate-child.ts'), file, folder, at], {
        encoding: 'utf8',
      });
    expect(run(step).signal).toBe('SIGKILL');
    expect(existsSync(`${file}.reached`)).toBe(true);
    const count = migrationsOf(folder).length;
    const state = () => {
      const sqlite = new SqliteDatabase(file, { readonly: true });
      const applied = sqlite.prepare('SELECT version FROM schema_migrations').all().length;
      const rows = sqlite
        .prepare(`SELECT count(*) AS count FROM ${kind === 'directory' ? 'addresses' : 'bodies'}`)
        .get();
      const tables = sqlite.prepare(`SELECT count(*) AS count FROM sqlite_schema`).get();
      const integrity = sqlite.pragma('integrity_check', { simple: true });
      sqlite.close();
      return { applied, rows, tables, integrity };
    };
    const killed = state();
    expect(killed).toMatchObject({ applied: step === 'after COMMIT' ? count : count - 1, integrity: 'ok' });
    expect([run('never').status, run('never').status]).toEqual([0, 0]);
    expect(state()).toMatchObject({ applied: count, integrity: 'ok', rows: killed.rows });
  },
);
