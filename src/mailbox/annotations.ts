/**
 * Annotations: what clients note of a folder, or of the mailbox, under a name. RFC 5464 §3.
 *
 * N1  Name and value are one sealed record; a name is found by its blind index, without regard to case.
 * N2  A folder's annotations go where it goes: renamed with it, deleted with it, sealed anew with its name.
 */
import { ServerError } from '../base/errors.ts';
import type { FolderId } from '../base/ids.ts';
import { blindIndex } from '../crypto/blind-index.ts';
import type { MailboxKeys } from '../crypto/derive.ts';
import { openRecord, sealRecord } from '../crypto/record.ts';
import type { AnnotationRow } from '../store/annotations.ts';
import { noSuchFolder } from './faults.ts';
import { withKeys, type KeyRing, type MailboxSession } from './session.ts';

/** `name` as the client spelt it last: `/private/comment`. */
export type Annotation = Readonly<{ name: string; value: Buffer }>;
/** `value` null: removed. */
export type AnnotationChange = Readonly<{ name: string; value: Buffer | null }>;
type Current = Awaited<ReturnType<KeyRing['current']>>;

/** The mailbox itself. */
const NO_FOLDER = 0;
const NAME_LENGTH_BYTES = 2;

/** All annotations of a folder, or with null of the mailbox, by name. Throws ServerError 'key-*', 'content-damaged'. */
export async function listAnnotations(
  session: MailboxSession,
  folder: FolderId | null,
  signal?: AbortSignal,
): Promise<readonly Annotation[]> {
  const rows = session.store.annotations.of(folder ?? NO_FOLDER);
  if (rows.length === 0) return [];
  return withKeys(session, { purpose: 'list', signal }, async (ring) => {
    const current = session.store.annotations.of(folder ?? NO_FOLDER);
    await ring.load(current.map((row) => row.epoch));
    return current.map((row) => opened(session, row, ring.of(row.epoch))).sort((a, b) => (a.name < b.name ? -1 : 1));
  });
}

/** Makes all changes or none; false when the mailbox would have too many. Throws ServerError 'not-found' (folder), 'key-*'. */
export async function changeAnnotations(
  session: MailboxSession,
  target: Readonly<{ folder: FolderId | null; changes: readonly AnnotationChange[] }>,
  signal?: AbortSignal,
): Promise<boolean> {
  const { folder, changes } = target;
  const { store, limits } = session;
  return withKeys(session, { purpose: 'annotate', signal }, async (ring) => {
    const current = await ring.current();
    if (folder !== null && !(await store.folders.byId(folder))) throw noSuchFolder();
    const sealed = changes.map((change) => sealedChange(session, current, { ...change, folder: folder ?? NO_FOLDER }));
    return store.annotations.change(sealed, { count: limits.annotationCount, totalBytes: limits.annotationTotalBytes });
  });
}

/** A row as it is under another key. */
export function resealedAnnotation(
  session: MailboxSession,
  row: AnnotationRow,
  { from, to }: Readonly<{ from: MailboxKeys; to: Current }>,
): Pick<AnnotationRow, 'nameIndex' | 'sealed'> {
  const { name, value } = opened(session, row, from);
  const { nameIndex, sealed } = sealedChange(session, to, { folder: row.folder, name, value });
  if (sealed === null) throw new TypeError('an annotation without a value');
  return { nameIndex, sealed };
}

/** Annotations that do not open, or are not found by their index. */
export async function damagedAnnotations(session: MailboxSession, ring: KeyRing): Promise<readonly string[]> {
  const rows = session.store.annotations.all();
  await ring.load(rows.map((row) => row.epoch));
  const isDamaged = (row: AnnotationRow): boolean => {
    try {
      const { name } = opened(session, row, ring.of(row.epoch));
      return !Buffer.from(indexOf(session, ring.of(row.epoch), { folder: row.folder, name })).equals(row.nameIndex);
    } catch (error) {
      if (error instanceof ServerError && error.code === 'content-damaged') return true;
      throw error;
    }
  };
  return rows.filter(isDamaged).map(({ folder }) => `annotation of folder ${String(folder)}`);
}

function indexOf(
  session: MailboxSession,
  keys: MailboxKeys,
  { folder, name }: Readonly<{ folder: number; name: string }>,
): Buffer {
  return blindIndex(keys.blindIndex, { kind: 'annotation', ...session.ref }, `${String(folder)} ${name.toLowerCase()}`);
}

function sealedChange(
  session: MailboxSession,
  { keys, epoch }: Current,
  { folder, name, value }: AnnotationChange & Readonly<{ folder: number }>,
) {
  const nameIndex = indexOf(session, keys, { folder, name });
  if (value === null) return { folder, nameIndex, epoch, sealed: null };
  const nameBytes = Buffer.from(name);
  const length = Buffer.alloc(NAME_LENGTH_BYTES);
  length.writeUInt16BE(nameBytes.length);
  const context = { kind: 'annotation', ...session.ref, epoch, folder, index: nameIndex } as const;
  return {
    folder,
    nameIndex,
    epoch,
    sealed: sealRecord(keys.record, context, Buffer.concat([length, nameBytes, value])),
  };
}

function opened(session: MailboxSession, row: AnnotationRow, keys: MailboxKeys): Annotation {
  const { folder, nameIndex: index, epoch, sealed } = row;
  const bytes = openRecord(keys.record, { kind: 'annotation', ...session.ref, epoch, folder, index }, sealed);
  const valueAt = NAME_LENGTH_BYTES + bytes.readUInt16BE(0);
  return { name: bytes.toString('utf8', NAME_LENGTH_BYTES, valueAt), value: bytes.subarray(valueAt) };
}
