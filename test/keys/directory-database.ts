/** A directory database of its own for a test file of this folder. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { Database } from '../../src/db/database.ts';
import type { OrganizationId } from '../../src/base/ids.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const MIGRATIONS = join(import.meta.dirname, '../../migrations/directory');

export function directoryDatabases(): (organizations: readonly OrganizationId[]) => Promise<Database> {
  const directory = temporaryDirectory();
  const onFailure = (error: Error): void => {
    throw error;
  };
  const checkpointer = new Checkpointer({ intervalMs: 1000, onFailure });
  const opened: Database[] = [];
  afterAll(async () => {
    for (const database of opened) await database.close();
    await checkpointer.close();
  });
  return async (organizations) => {
    const file = join(directory, `${randomUUID()}.db`);
    const database = await Database.open({ file, migrations: MIGRATIONS, checkpointer, onFailure });
    opened.push(database);
    const insert = database.prepare(
      `INSERT INTO organizations (id, state, provider, root_key, sealed_name, created_at_ms)
       VALUES (?, 'active', 'local-keyring', 'local:default', x'00', 0)`,
    );
    database.transaction(() => {
      for (const each of organizations) insert.run(each);
    });
    return database;
  };
}
