/**
 * Checks of a database by queries that find what should not be. Called by store/ and accounts/, which know what that is.
 */
import { ServerError } from '../base/errors.ts';
import { FAULTS_MAX_COUNT, type Fault, type Remedy } from '../base/fault.ts';
import type { DatabaseReader } from './reader.ts';

/** `sql` gives one row with a column `place` for each fault. */
export type Check = Readonly<{ what: string; remedy: Remedy; sql: string }>;

const INTEGRITY: readonly Check[] = [
  {
    what: 'the database is damaged',
    remedy: 'by-hand',
    sql: `SELECT integrity_check AS place FROM pragma_integrity_check WHERE integrity_check <> 'ok'`,
  },
];
const REFERENCES: Check = {
  what: 'a row points to one that is not there',
  remedy: 'by-hand',
  sql: `SELECT "table" || ' to ' || parent || ifnull(', row ' || rowid, '') AS place FROM pragma_foreign_key_check`,
};

/** Faults of the file, and where it has none, of its rows: first of references, then of `checks`. Does not throw for damage. */
export async function checkDatabase(
  reader: DatabaseReader,
  file: string,
  checks: readonly Check[],
): Promise<Readonly<{ faults: readonly Fault[]; isReadable: boolean }>> {
  try {
    const broken = await run(reader, file, INTEGRITY);
    if (broken.length > 0) return { faults: broken, isReadable: false };
    return { faults: await run(reader, file, [REFERENCES, ...checks]), isReadable: true };
  } catch (error) {
    if (!(error instanceof ServerError) || error.code !== 'content-damaged') throw error;
    return {
      faults: [{ what: 'the database cannot be read', where: error.detail, remedy: 'by-hand' }],
      isReadable: false,
    };
  }
}

async function run(reader: DatabaseReader, file: string, checks: readonly Check[]): Promise<Fault[]> {
  const queries = checks.map(({ sql }) => ({ sql: `SELECT place FROM (${sql}) LIMIT ${String(FAULTS_MAX_COUNT)}` }));
  const results = await reader.read(file, queries);
  return checks.flatMap(({ what, remedy }, index) =>
    ((results[index] ?? []) as Readonly<{ place: string }>[]).map((row) => ({ what, where: row.place, remedy })),
  );
}
