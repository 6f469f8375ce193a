/**
 * Looks at a data directory from outside, through copies of its databases, so that looking changes nothing.
 */
import { copyFileSync, existsSync, globSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';

/** Every fault found: damaged databases, rows without their blob, UIDs at or above UIDNEXT, counters that lie. */
export function faultsOnDisk(data: string): string[] {
  const scratch = mkdtempSync(join(tmpdir(), 'sealpost-look-'));
  try {
    const files = globSync('**/*.db', { cwd: data }).filter((file) => basename(file) !== 'lock.db');
    if (files.length < 2) return ['no mailbox database'];
    return files.flatMap((file) => faultsOf(join(data, file), scratch).map((fault) => `${file}: ${fault}`));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function faultsOf(file: string, scratch: string): string[] {
  const copy = join(scratch, 'copy.db');
  for (const end of ['', '-wal', '-shm']) rmSync(`${copy}${end}`, { force: true });
  copyFileSync(file, copy);
  if (existsSync(`${file}-wal`)) copyFileSync(`${file}-wal`, `${copy}-wal`);
  const database = new SqliteDatabase(copy);
  try {
    const integrity = database.pragma('integrity_check', { simple: true });
    if (integrity !== 'ok') return [`integrity_check: ${String(integrity)}`];
    const dangling = database.pragma('foreign_key_check') as unknown[];
    const faults = dangling.length > 0 ? [`foreign_key_check: ${JSON.stringify(dangling)}`] : [];
    if (basename(file) === 'mailbox.db') faults.push(...mailboxFaults(database, dirname(file)));
    return faults;
  } finally {
    database.close();
  }
}

function mailboxFaults(database: SqliteDatabase.Database, folder: string): string[] {
  const faults: string[] = [];
  const all = <Row>(sql: string): Row[] => database.prepare(sql).all() as Row[];
  for (const { name } of all<{ name: string }>(
    `SELECT lower(hex(b.body)) AS name FROM bodies b LEFT JOIN inline_bodies i ON i.id = b.id WHERE i.id IS NULL`,
  )) {
    const blob = join(folder, 'blobs', name.slice(0, 2), name);
    if (!existsSync(blob) || statSync(blob).size === 0) faults.push(`row without its blob ${name}`);
  }
  if (
    all('SELECT 1 FROM messages m JOIN folders f ON f.id = m.folder WHERE m.uid >= f.uid_next OR m.uid < 1').length > 0
  ) {
    faults.push('a UID at or above UIDNEXT');
  }
  if (
    all(`SELECT 1 FROM folders f
      WHERE f.message_count <> (SELECT count(*) FROM messages m WHERE m.folder = f.id)
         OR f.size_bytes <> (SELECT coalesce(sum(size_bytes), 0) FROM messages m WHERE m.folder = f.id)`).length > 0
  ) {
    faults.push('a counter of a folder is wrong');
  }
  if (all('SELECT 1 FROM bodies b WHERE b.row_count <> (SELECT count(*) FROM messages m WHERE m.body = b.id)').length) {
    faults.push('a body is counted wrong');
  }
  return faults;
}
