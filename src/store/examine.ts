/**
 * Looks through one mailbox on disk for what should not be: everything that can be told without a key.
 *
 * EX1  Looking changes nothing, and is done on the reader's thread; a fault that a change going on made appear is looked
 *      at once more before it is told.
 * EX2  A blob without a row is garbage only when it is old: a young one may still get its row (bodies.ts, O1).
 *
 * Called by mailbox/. mend.ts mends what can be mended; what a key is needed for is mailbox/scrub.ts.
 */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Slice } from '../base/abort.ts';
import { FAULTS_MAX_COUNT, type Fault } from '../base/fault.ts';
import { sealedBodySizeBytes } from '../crypto/sealed-body.ts';
import { checkDatabase, type Check } from '../db/checks.ts';
import type { DatabaseReader } from '../db/reader.ts';
import { blobFolders, TEMPORARY } from './bodies.ts';

export type MailboxPlace = Readonly<{
  /** Of the mailbox. */
  directory: string;
  reader: DatabaseReader;
  nowMs(): number;
}>;
/** `isOld`: for more than an hour. */
type Blob = Readonly<{ name: string; sizeBytes: number; isOld: boolean }>;

/** Bodies that some row of the mailbox shares, one line for each such row. */
export const BODY_USES =
  'SELECT body FROM messages UNION ALL SELECT body FROM waiting_messages UNION ALL SELECT body FROM retained';
/** What a folder's counters have to be. */
export const COUNTED = `SELECT folder, count(*) AS message_count, sum(flags & 1 = 0) AS unseen_count,
  sum(flags & 8 <> 0) AS deleted_count, sum(iif(flags & 8 <> 0, size_bytes, 0)) AS deleted_bytes,
  sum(size_bytes) AS size_bytes FROM messages GROUP BY folder`;
const ORPHAN_AGE_MS = 3_600_000;

const CHECKS: readonly Check[] = [
  {
    what: 'the counters of a folder are wrong',
    remedy: 'mendable',
    sql: `SELECT 'folder ' || f.id AS place FROM folders f LEFT JOIN (${COUNTED}) c ON c.folder = f.id
      WHERE (f.message_count, f.unseen_count, f.deleted_count, f.deleted_bytes, f.size_bytes) IS NOT
        (ifnull(c.message_count, 0), ifnull(c.unseen_count, 0), ifnull(c.deleted_count, 0), ifnull(c.deleted_bytes, 0),
         ifnull(c.size_bytes, 0))`,
  },
  {
    what: 'the messages that share a body are miscounted',
    remedy: 'mendable',
    sql: `SELECT 'body ' || lower(hex(b.body)) AS place FROM bodies b
      JOIN (SELECT body, count(*) AS uses FROM (${BODY_USES}) GROUP BY body) u ON u.body = b.id
      WHERE b.row_count <> u.uses`,
  },
  {
    what: 'a sealed body has no message, and no key any more',
    remedy: 'kept',
    sql: `SELECT 'body ' || lower(hex(body)) AS place FROM bodies WHERE id NOT IN (${BODY_USES})`,
  },
  {
    what: 'a message row has no body',
    remedy: 'kept',
    sql: `SELECT 'folder ' || folder || ', UID ' || uid AS place FROM messages WHERE body NOT IN (SELECT id FROM bodies)`,
  },
  {
    what: 'a message and its body have different sizes',
    remedy: 'kept',
    sql: `SELECT 'folder ' || m.folder || ', UID ' || m.uid AS place FROM messages m JOIN bodies b ON b.id = m.body
      WHERE m.size_bytes <> b.size_bytes`,
  },
  {
    what: 'UIDNEXT is not above all UIDs',
    remedy: 'mendable',
    sql: `SELECT 'folder ' || id AS place FROM folders f
      WHERE uid_next <= max(ifnull((SELECT max(uid) FROM messages WHERE folder = f.id), 0),
                            ifnull((SELECT max(uid) FROM vanished WHERE folder = f.id), 0))`,
  },
  {
    what: 'a modification sequence is above that of its folder',
    remedy: 'mendable',
    sql: `SELECT 'folder ' || id AS place FROM folders f
      WHERE highest_mod_seq < max(ifnull((SELECT max(mod_seq) FROM messages WHERE folder = f.id), 0),
                                  ifnull((SELECT max(mod_seq) FROM vanished WHERE folder = f.id), 0))`,
  },
  {
    what: 'the counter of modification sequences is behind',
    remedy: 'mendable',
    sql: `SELECT 'mailbox' AS place WHERE (SELECT max(highest_mod_seq) FROM folders) >
      ifnull((SELECT value FROM counters WHERE name = 'mod_seq'), 0)`,
  },
  {
    what: 'the counter of UIDVALIDITY is behind',
    remedy: 'mendable',
    sql: `SELECT 'mailbox' AS place WHERE (SELECT max(uid_validity) FROM folders) >
      ifnull((SELECT value FROM counters WHERE name = 'uid_validity'), 0)`,
  },
  {
    what: 'a UID is there and counts as vanished',
    remedy: 'mendable',
    sql: `SELECT DISTINCT 'folder ' || v.folder || ', UID ' || v.uid AS place FROM vanished v
      JOIN messages m ON m.folder = v.folder AND m.uid = v.uid`,
  },
  {
    what: 'a name is under another epoch than its mailbox',
    remedy: 'by-hand',
    sql: `WITH mailbox AS (SELECT value AS epoch FROM counters WHERE name = 'epoch')
      SELECT 'folder ' || id AS place FROM folders, mailbox WHERE folders.epoch <> mailbox.epoch
      UNION ALL SELECT 'keyword ' || bit FROM keywords, mailbox WHERE keywords.epoch <> mailbox.epoch
      UNION ALL SELECT 'a subscription' FROM subscriptions, mailbox WHERE subscriptions.epoch <> mailbox.epoch
      UNION ALL SELECT 'annotation of folder ' || folder FROM annotations, mailbox WHERE annotations.epoch <> mailbox.epoch`,
  },
];

/** Blobs that the rows ask for, by shard: `<hex>:<size of the plaintext>`, one after the other. */
const BLOBS = `SELECT lower(hex(substr(body, 1, 1))) AS shard, group_concat(lower(hex(body)) || ':' || size_bytes, ' ') AS blobs
  FROM bodies WHERE id NOT IN (SELECT id FROM inline_bodies) GROUP BY substr(body, 1, 1)`;
const KEYWORD_SETS = 'SELECT DISTINCT keywords FROM messages WHERE keywords IS NOT NULL LIMIT 10000';
const KEYWORD_BITS = 'SELECT bit FROM keywords';

/** Every fault found. Throws ServerError 'storage-failed' where the files cannot be listed. */
export async function examineMailbox(place: MailboxPlace, signal?: AbortSignal): Promise<readonly Fault[]> {
  const file = join(place.directory, 'mailbox.db');
  const { faults, isReadable } = await checkDatabase(place.reader, file, CHECKS);
  signal?.throwIfAborted();
  if (!isReadable) return faults;
  return [...faults, ...(await keywordFaults(place, file)), ...(await blobFaults(place, signal))];
}

/** Blobs that no row asks for, and old leavings in `tmp/`: what mend.ts removes. */
export async function orphanBlobs(place: MailboxPlace, signal?: AbortSignal): Promise<readonly string[]> {
  return (await lookAtBlobs(place, signal)).orphans;
}

/** A keyword bit set without the bits that no keyword has; null when it has none of those. */
export function knownBits(bits: Uint8Array, known: ReadonlySet<number>): Uint8Array | null {
  const kept = Uint8Array.from(bits, (byte, index) => {
    let mask = 0;
    for (let bit = 0; bit < 8; bit += 1) if (known.has(index * 8 + bit)) mask |= 1 << bit;
    return byte & mask;
  });
  return kept.some((byte, index) => byte !== bits[index]) ? kept : null;
}

async function keywordFaults({ reader }: MailboxPlace, file: string): Promise<Fault[]> {
  const [sets = [], bits = []] = await reader.read(file, [{ sql: KEYWORD_SETS }, { sql: KEYWORD_BITS }]);
  const known = new Set((bits as Readonly<{ bit: number }>[]).map(({ bit }) => bit));
  const isUnknown = (sets as Readonly<{ keywords: Uint8Array }>[]).some(({ keywords }) => knownBits(keywords, known));
  if (!isUnknown) return [];
  return [{ what: 'messages have keywords without a name', where: 'mailbox', remedy: 'mendable' }];
}

async function blobFaults(place: MailboxPlace, signal?: AbortSignal): Promise<Fault[]> {
  const look = await lookAtBlobs(place, signal);
  const again = look.missing.length === 0 ? look : await lookAtBlobs(place, signal); // expunged meanwhile: EX1
  const missing = look.missing.filter((blob) => again.missing.includes(blob));
  return [
    ...missing.map(
      (name) =>
        ({ what: 'the file of a body is missing or has another size', where: `body ${name}`, remedy: 'kept' }) as const,
    ),
    ...look.orphans.map((name) => ({ what: 'a file has no message', where: name, remedy: 'mendable' }) as const),
    ...look.strays.map((name) => ({ what: 'a file is of another kind', where: name, remedy: 'by-hand' }) as const),
  ].slice(0, FAULTS_MAX_COUNT);
}

type BlobLook = Readonly<{ missing: readonly string[]; orphans: readonly string[]; strays: readonly string[] }>;

/** Files are listed before rows are read, so that a file whose row comes meanwhile is none without one. */
async function lookAtBlobs(place: MailboxPlace, signal?: AbortSignal): Promise<BlobLook> {
  const folder = join(place.directory, 'blobs');
  const { shards, strays } = await blobFolders(folder);
  const files = new Map<string, readonly Blob[]>();
  const orphans: string[] = [];
  for (const shard of shards) {
    signal?.throwIfAborted();
    files.set(shard, await blobsIn(folder, { shard, nowMs: place.nowMs() }));
  }
  const [rows = []] = await place.reader.read(join(place.directory, 'mailbox.db'), [{ sql: BLOBS }]);
  const missing: string[] = [];
  const slice = new Slice();
  for (const { shard, blobs } of rows as Readonly<{ shard: string; blobs: string }>[]) {
    const there = new Map(files.get(shard)?.map((blob) => [blob.name, blob]));
    files.delete(shard);
    for (const wanted of blobs.split(' ')) {
      const [name = '', size] = wanted.split(':');
      if (there.get(name)?.sizeBytes !== sealedBodySizeBytes(Number(size))) missing.push(name);
      there.delete(name);
    }
    orphans.push(...namesOfOld([...there.values()], shard));
    await slice.pause();
  }
  for (const [shard, left] of files) orphans.push(...namesOfOld(left, shard));
  orphans.push(...namesOfOld(await blobsIn(folder, { shard: TEMPORARY, nowMs: place.nowMs() }), TEMPORARY));
  return { missing, orphans, strays };
}

function namesOfOld(blobs: readonly Blob[], shard: string): string[] {
  return blobs.filter((blob) => blob.isOld).map(({ name }) => `${shard}/${name}`);
}

async function blobsIn(folder: string, { shard, nowMs }: Readonly<{ shard: string; nowMs: number }>): Promise<Blob[]> {
  const blobs: Blob[] = [];
  for (const name of await readdir(join(folder, shard)).catch(noneWhenGone)) {
    const stats = await lstat(join(folder, shard, name)).catch(() => null); // gone since it was listed
    if (stats) blobs.push({ name, sizeBytes: stats.size, isOld: nowMs - stats.mtimeMs > ORPHAN_AGE_MS });
  }
  return blobs;
}

function noneWhenGone(error: unknown): string[] {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
  throw error;
}
