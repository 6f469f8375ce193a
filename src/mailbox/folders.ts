/**
 * Folders by name: create, delete, rename, list, subscribe.
 *
 * A1  Names are sealed; a name is found by its blind index. INBOX is one name in any case (RFC 9051 §5.1).
 * A2  A folder's parents exist: creating `a/b` makes `a` too (RFC 9051 §6.3.4).
 * A3  INBOX cannot be deleted; renaming it moves its messages and leaves it empty (RFC 9051 §6.3.6).
 * A4  A list is whole or an error, never short.
 */
import { ServerError } from '../base/errors.ts';
import type { FolderId } from '../base/ids.ts';
import { blindIndex } from '../crypto/blind-index.ts';
import type { MailboxKeys } from '../crypto/derive.ts';
import { openRecord, sealRecord } from '../crypto/record.ts';
import type { FolderRow, NewFolder, SealedName } from '../store/folders.ts';
import { resealedAnnotation } from './annotations.ts';
import { move } from './copy-move.ts';
import { expunge } from './expunge.ts';
import { noSuchFolder } from './faults.ts';
import { resealedImportKey } from './import-key.ts';
import { resealedKeyword } from './keyword-names.ts';
import type { Folder, FolderStatus, SpecialUse } from './model.ts';
import { withKeys, type KeyRing, type MailboxSession } from './session.ts';

export const INBOX = 'INBOX';
const JUNK = 'Junk';
const DEFAULT_FOLDERS: readonly (readonly [string, SpecialUse | null])[] = [
  [INBOX, null],
  ['Drafts', 'Drafts'],
  ['Sent', 'Sent'],
  ['Junk', 'Junk'],
  ['Trash', 'Trash'],
  ['Archive', 'Archive'],
];

type Current = Awaited<ReturnType<KeyRing['current']>>;

/** Makes the default folders, subscribed, if the mailbox has none yet. Throws ServerError 'key-*'. */
export async function ensureDefaultFolders(session: MailboxSession, signal?: AbortSignal): Promise<void> {
  if ((await session.store.folders.list()).length > 0) return;
  await withKeys(session, { purpose: 'create-folders', signal }, async (ring) => {
    const current = await ring.current();
    const { folders } = session.store;
    await folders.subscribe(DEFAULT_FOLDERS.map(([name]) => sealedSubscription(session, current, name)));
    await folders.create(DEFAULT_FOLDERS.map(([name, use]) => newFolder(session, current, { name, use })));
  });
}

/** All folders, by name. Throws ServerError 'key-*'. */
export async function listFolders(session: MailboxSession, signal?: AbortSignal): Promise<readonly Folder[]> {
  return withKeys(session, { purpose: 'list', signal }, async (ring) => {
    const rows = await session.store.folders.list();
    await ring.load(rows.map((row) => row.epoch));
    return rows
      .map((row) => toFolder(row, openName(session, row, ring.of(row.epoch))))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  });
}

/** The folder of that name, or null. Throws ServerError 'key-*'. */
export async function findFolder(session: MailboxSession, name: string, signal?: AbortSignal): Promise<Folder | null> {
  const canonical = canonicalName(name);
  return withKeys(session, { purpose: 'open-folder', signal }, async (ring) => {
    const row = await session.store.folders.byIndex(lookup(session, await ring.current(), canonical));
    return row && toFolder(row, canonical);
  });
}

/** Makes a folder and its missing parents. Throws ServerError 'already-exists', 'limit-exceeded', 'key-*'. */
export async function createFolder(
  session: MailboxSession,
  wanted: Readonly<{ name: string; specialUse?: SpecialUse }>,
  signal?: AbortSignal,
): Promise<Folder> {
  const name = canonicalName(wanted.name);
  const { store, limits } = session;
  return withKeys(session, { purpose: 'create-folder', signal }, async (ring) => {
    const current = await ring.current();
    const missing: NewFolder[] = [];
    for (const parent of parentsOf(name)) {
      if (!(await store.folders.byIndex(lookup(session, current, parent)))) {
        missing.push(newFolder(session, current, { name: parent, use: null }));
      }
    }
    if ((await store.folders.list()).length + missing.length >= limits.folderCount) {
      throw new ServerError('limit-exceeded', {
        clientText: `A mailbox can have at most ${String(limits.folderCount)} folders.`,
      });
    }
    const made = await store.folders.create([
      ...missing,
      newFolder(session, current, { name, use: wanted.specialUse ?? null }),
    ]);
    const row = made?.at(-1);
    if (!row) throw alreadyExists();
    return toFolder(row, name);
  });
}

/** The folder for junk, made when there is none. Throws ServerError 'limit-exceeded', 'key-*'. RFC 6154 §2. */
export async function junkFolder(session: MailboxSession, signal?: AbortSignal): Promise<Folder> {
  const marked = (await session.store.folders.list()).some((row) => row.specialUse === JUNK);
  const found = marked ? (await listFolders(session, signal)).find(({ specialUse }) => specialUse === JUNK) : null;
  const named = found ?? (await findFolder(session, JUNK, signal));
  return named ?? (await createFolder(session, { name: JUNK, specialUse: JUNK }, signal));
}

/** Removes a folder and its messages; folders below it stay. Throws ServerError 'not-found', 'not-allowed', 'key-*'. */
export async function deleteFolder(session: MailboxSession, name: string, signal?: AbortSignal): Promise<void> {
  if (canonicalName(name) === INBOX) {
    throw new ServerError('not-allowed', { clientText: 'INBOX cannot be deleted.' });
  }
  const folder = await findFolder(session, name, signal);
  if (!folder) throw noSuchFolder();
  do await expunge(session, folder.id, 'all');
  while (!(await session.store.folders.remove(folder.id))); // mail may arrive in between
}

/** Gives a folder and all below it another name. Throws ServerError 'not-found', 'already-exists', 'not-allowed', 'key-*'. */
export async function renameFolder(
  session: MailboxSession,
  names: Readonly<{ from: string; to: string }>,
  signal?: AbortSignal,
): Promise<void> {
  const [from, to] = [canonicalName(names.from), canonicalName(names.to)];
  if (from === INBOX) {
    await renameInbox(session, to, signal);
    return;
  }
  if (to === from) throw alreadyExists();
  if (to.startsWith(`${from}/`)) {
    throw new ServerError('not-allowed', { clientText: 'A folder cannot be moved below itself.' });
  }
  const all = await listFolders(session, signal);
  const moved = all.filter((folder) => folder.name === from || folder.name.startsWith(`${from}/`));
  if (moved.length === 0) throw noSuchFolder();
  if (all.some((folder) => folder.name === to)) throw alreadyExists();
  const parents = parentsOf(to).filter((parent) => !all.some((folder) => folder.name === parent));
  const { folders } = session.store;
  const renamed = await withKeys(session, { purpose: 'rename-folder', signal }, async (ring) => {
    const current = await ring.current();
    await folders.create(parents.map((parent) => newFolder(session, current, { name: parent, use: null })));
    return folders.rename(
      moved.map((folder) => ({
        id: folder.id,
        ...sealedName(session, current, { id: folder.id, name: to + folder.name.slice(from.length) }),
      })),
    );
  });
  if (!renamed) throw alreadyExists();
}

/** Names that are subscribed, existing or not. Throws ServerError 'key-*'. */
export async function listSubscriptions(session: MailboxSession, signal?: AbortSignal): Promise<ReadonlySet<string>> {
  return withKeys(session, { purpose: 'list', signal }, async (ring) => {
    const rows = await session.store.folders.subscriptions();
    await ring.load(rows.map((row) => row.epoch));
    return new Set(rows.map((row) => openSubscription(session, row, ring.of(row.epoch))));
  });
}

/** Throws ServerError 'limit-exceeded', 'key-*'. */
export async function subscribe(session: MailboxSession, name: string, signal?: AbortSignal): Promise<void> {
  const { store, limits } = session;
  if ((await store.folders.subscriptions()).length >= limits.subscriptionCount) {
    throw new ServerError('limit-exceeded', { clientText: 'The mailbox has too many subscriptions.' });
  }
  await withKeys(session, { purpose: 'subscribe', signal }, async (ring) =>
    store.folders.subscribe([sealedSubscription(session, await ring.current(), canonicalName(name))]),
  );
}

/** Throws ServerError 'key-*'. */
export async function unsubscribe(session: MailboxSession, name: string, signal?: AbortSignal): Promise<void> {
  await withKeys(session, { purpose: 'subscribe', signal }, async (ring) =>
    session.store.folders.unsubscribe(lookup(session, await ring.current(), canonicalName(name))),
  );
}

/** Throws ServerError 'not-found'. Needs no key: the counters are in the clear. */
export async function folderStatus(session: MailboxSession, folder: FolderId): Promise<FolderStatus> {
  const row = await session.store.folders.byId(folder);
  if (!row) throw noSuchFolder();
  const { uidValidity, uidNext, highestModSeq, messageCount, unseenCount, deletedCount, deletedBytes, sizeBytes } = row;
  return { uidValidity, uidNext, highestModSeq, messageCount, unseenCount, deletedCount, deletedBytes, sizeBytes };
}

async function renameInbox(session: MailboxSession, to: string, signal?: AbortSignal): Promise<void> {
  if (to === INBOX) throw alreadyExists();
  const inbox = await findFolder(session, INBOX, signal);
  if (!inbox) throw noSuchFolder();
  const target = await createFolder(session, { name: to }, signal);
  await move(session, { source: inbox.id, target: target.id, ranges: [{ first: 1, last: 0xffff_ffff }] }, signal);
}

/**
 * Seals and indexes every name anew under `to`, with which the mailbox then goes on; `ring` holds both keys.
 * On disk when it resolves.
 */
export async function goOverTo(session: MailboxSession, to: Current, ring: KeyRing): Promise<void> {
  await session.store.folders.goOver(to.epoch, {
    folder: (row) => sealedName(session, to, { id: row.id, name: openName(session, row, ring.of(row.epoch)) }),
    subscription: (row) => sealedSubscription(session, to, openSubscription(session, row, ring.of(row.epoch))),
    keyword: (row) => resealedKeyword(session, row, { from: ring.of(row.epoch), to }),
    importKey: (sealed) => resealedImportKey(session, sealed, { from: ring.of(sealed.epoch), to }),
    annotation: (row) => resealedAnnotation(session, row, { from: ring.of(row.epoch), to }),
  });
}

/** Folders and subscriptions whose names do not open, or are not what their index says, by their ids. */
export async function damagedNames(session: MailboxSession, ring: KeyRing): Promise<readonly string[]> {
  const { folders } = session.store;
  const current = await ring.current();
  const opens = (row: SealedName, open: (keys: MailboxKeys) => string): boolean => {
    if (row.epoch !== current.epoch) return false;
    try {
      return Buffer.from(nameIndex(session, current, open(current.keys))).equals(row.nameIndex);
    } catch (error) {
      if (error instanceof ServerError && error.code === 'content-damaged') return false;
      throw error;
    }
  };
  const damaged = (await folders.list()).filter((row) => !opens(row, (keys) => openName(session, row, keys)));
  const subscriptions = await folders.subscriptions();
  const lost = subscriptions.filter((row) => !opens(row, (keys) => openSubscription(session, row, keys)));
  return [
    ...damaged.map(({ id }) => `folder ${String(id)}`),
    ...lost.map(({ nameIndex: index }) => `subscription ${Buffer.from(index).toString('hex')}`),
  ];
}

const alreadyExists = (): ServerError =>
  new ServerError('already-exists', { clientText: 'A folder of that name exists already.' });

/** NFC; the first level is INBOX in any case. */
function canonicalName(name: string): string {
  const normal = name.normalize('NFC');
  return /^inbox(?=$|\/)/i.test(normal) ? INBOX + normal.slice(INBOX.length) : normal;
}

/** `a/b/c` -> `a`, `a/b`. */
function parentsOf(name: string): readonly string[] {
  const levels = name.split('/');
  return levels.slice(1).map((_, index) => levels.slice(0, index + 1).join('/'));
}

function nameIndex(session: MailboxSession, { keys }: Current, name: string): Uint8Array {
  return blindIndex(keys.blindIndex, { kind: 'folder', ...session.ref }, name);
}

function lookup(session: MailboxSession, current: Current, name: string): Pick<SealedName, 'nameIndex' | 'epoch'> {
  return { nameIndex: nameIndex(session, current, name), epoch: current.epoch };
}

function openName(session: MailboxSession, row: FolderRow, keys: MailboxKeys): string {
  const context = { kind: 'folder-name', ...session.ref, epoch: row.epoch, folder: row.id } as const;
  return openRecord(keys.record, context, row.sealedName).toString('utf8');
}

function sealedName(
  session: MailboxSession,
  current: Current,
  folder: Readonly<{ id: FolderId; name: string }>,
): SealedName {
  const { epoch, keys } = current;
  const context = { kind: 'folder-name', ...session.ref, epoch, folder: folder.id } as const;
  return {
    epoch,
    nameIndex: nameIndex(session, current, folder.name),
    sealedName: sealRecord(keys.record, context, Buffer.from(folder.name)),
  };
}

function openSubscription(session: MailboxSession, row: SealedName, keys: MailboxKeys): string {
  const context = { kind: 'subscription', ...session.ref, epoch: row.epoch, index: row.nameIndex } as const;
  return openRecord(keys.record, context, row.sealedName).toString('utf8');
}

function sealedSubscription(session: MailboxSession, current: Current, name: string): SealedName {
  const index = nameIndex(session, current, name);
  const context = { kind: 'subscription', ...session.ref, epoch: current.epoch, index } as const;
  const sealed = sealRecord(current.keys.record, context, Buffer.from(name));
  return { epoch: current.epoch, nameIndex: index, sealedName: sealed };
}

function newFolder(
  session: MailboxSession,
  current: Current,
  folder: Readonly<{ name: string; use: SpecialUse | null }>,
): NewFolder {
  return {
    epoch: current.epoch,
    nameIndex: nameIndex(session, current, folder.name),
    specialUse: folder.use,
    seal: (id) => sealedName(session, current, { id, name: folder.name }).sealedName,
  };
}

function toFolder(row: FolderRow, name: string): Folder {
  return { id: row.id, name, specialUse: row.specialUse as SpecialUse | null, uidValidity: row.uidValidity };
}
