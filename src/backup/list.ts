/** Which backups a target holds, and giving up the oldest. */
import { ServerError } from '../base/errors.ts';
import {
  blobName,
  databaseName,
  fileName,
  indexName,
  MANIFESTS,
  manifestName,
  parseIndex,
  parseManifest,
  type Manifest,
} from './manifest.ts';
import { readObject } from './objects.ts';
import type { BackupTarget } from './target.ts';

const MANIFEST_FILE = /^backups\/(\d{8}T\d{6}Z-[0-9a-f]{8})\.json$/;
/** Objects that no manifest names are removed only when they are so old: others may belong to a backup under way. */
const UNNAMED_AGE_MS = 24 * 3_600_000;
const PRUNED_FOLDERS = ['databases', 'indexes', 'files', 'blobs'];

/** The ids of all backups, the oldest first. */
export async function backupIds(target: BackupTarget, signal?: AbortSignal): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const { name } of target.list(MANIFESTS, signal)) {
    const id = MANIFEST_FILE.exec(name)?.[1];
    if (id !== undefined) ids.push(id);
  }
  return ids.sort();
}

/** The manifest of a backup, of the newest without an id. Throws ServerError 'not-found', 'content-damaged'. */
export async function readManifest(target: BackupTarget, id?: string, signal?: AbortSignal): Promise<Manifest> {
  const wanted = id ?? (await backupIds(target, signal)).at(-1);
  if (wanted === undefined) throw new ServerError('not-found', { clientText: `There is no backup in ${target.text}.` });
  return parseManifest(await readObject(target, { name: manifestName(wanted) }, signal));
}

/** Null where there is no backup yet. Throws ServerError 'content-damaged'. */
export async function newestManifest(target: BackupTarget, signal?: AbortSignal): Promise<Manifest | null> {
  const newest = (await backupIds(target, signal)).at(-1);
  return newest === undefined ? null : readManifest(target, newest, signal);
}

/** Removes all backups but the newest `keepCount`, and what only they needed. Gives the ids removed. */
export async function pruneBackups(
  target: BackupTarget,
  { keepCount, nowMs }: Readonly<{ keepCount: number; nowMs: number }>,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const ids = await backupIds(target, signal);
  const doomed = ids.slice(0, Math.max(0, ids.length - keepCount));
  if (doomed.length === 0) return doomed;
  const needed = new Set<string>();
  for (const id of ids.slice(doomed.length)) await collectNames(target, id, needed); // all readable, or nothing goes
  await target.remove(doomed.map(manifestName), signal); // first: a manifest never names what is gone
  for (const folder of PRUNED_FOLDERS) {
    const unneeded: string[] = [];
    for await (const { name, modifiedAtMs } of target.list(folder, signal))
      if (!needed.has(name) && nowMs - modifiedAtMs > UNNAMED_AGE_MS) unneeded.push(name);
    await target.remove(unneeded, signal);
  }
  return doomed;
}

async function collectNames(target: BackupTarget, id: string, names: Set<string>): Promise<void> {
  const manifest = await readManifest(target, id);
  names.add(databaseName(manifest.directory));
  for (const receipt of manifest.receipts) names.add(fileName(receipt));
  for (const { mailbox, database, index } of manifest.mailboxes) {
    names.add(databaseName(database));
    if (names.has(indexName(index))) continue; // shared with a backup that was looked at
    names.add(indexName(index));
    const blobs = parseIndex(await readObject(target, { name: indexName(index), expected: index }));
    for (const { body } of blobs) names.add(blobName(mailbox, body));
  }
}
