/**
 * Forward-only schema migrations: `NNNN-name.sql` files of one folder, applied in order.
 *
 * G1  Each migration runs once, in one transaction with its own record; a kill leaves all of it or none.
 * G2  An applied file may not change: its SHA-256 is recorded and compared.
 * G3  A database from a newer version is refused, never touched.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ServerError } from '../base/errors.ts';

type Migration = Readonly<{ version: number; name: string; sql: string; checksum: string }>;

/** What migrating needs of a database; `database.ts` gives it. */
type MigrationTarget = Readonly<{
  exec(sql: string): void;
  applied(): readonly Readonly<{ version: number; name: string; checksum: string }>[];
  record(migration: Migration): void;
}>;

const FILE_NAME = /^(\d{4})-([a-z0-9-]+)\.sql$/;
const loaded = new Map<string, readonly Migration[]>();

/** The migrations of `folder`, lowest version first; read once per process. Throws TypeError on a stray file. */
export function migrationsOf(folder: string): readonly Migration[] {
  const known = loaded.get(folder);
  if (known) return known;
  const list = readdirSync(folder)
    .toSorted()
    .map((file, index) => {
      const match = FILE_NAME.exec(file);
      if (!match || Number(match[1]) !== index + 1)
        throw new TypeError(`${join(folder, file)}: not the next NNNN-name.sql`);
      const sql = readFileSync(join(folder, file), 'utf8');
      return {
        version: index + 1,
        name: match[2] ?? '',
        sql,
        checksum: createHash('sha256').update(sql).digest('hex'),
      };
    });
  loaded.set(folder, list);
  return list;
}

/** Brings `target` to the newest schema. Throws ServerError 'storage-failed' where it may not (G2, G3). */
export function migrate(target: MigrationTarget, migrations: readonly Migration[]): void {
  const applied = target.applied();
  if (applied.length > migrations.length) {
    throw new ServerError('storage-failed', {
      clientText: 'The data directory was written by a newer version of this server.',
      detail: `schema ${String(applied.length)} is newer than ${String(migrations.length)}`,
    });
  }
  for (const migration of migrations) {
    const before = applied[migration.version - 1];
    if (!before) {
      target.exec('BEGIN IMMEDIATE');
      try {
        target.exec(migration.sql);
        target.record(migration);
        target.exec('COMMIT');
      } catch (error) {
        target.exec('ROLLBACK');
        throw error;
      }
    } else if (before.checksum !== migration.checksum) {
      throw new ServerError('storage-failed', {
        clientText: 'The data directory does not match this server.',
        detail: `migration ${String(migration.version)} (${migration.name}) was changed after it was applied`,
      });
    }
  }
}
