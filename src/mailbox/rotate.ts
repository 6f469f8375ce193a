/**
 * Rotating a mailbox's key: everything under the old key goes over to a fresh one, while the mailbox is used.
 *
 * T1  First the names and their indexes, in one transaction with the mailbox's epoch; from then on nothing new is
 *     under the old key (store/epoch.ts), so one walk over the messages finds all that is left.
 * T2  Of a message only its key is wrapped anew: no body, summary or search text is touched, no UID and no MODSEQ
 *     changes, and sessions notice nothing. Rows say which epoch wraps them and open at every moment.
 * T3  The old key is removed only when nothing under it is left, and that is on disk.
 * T4  A kill at any point leaves a state from which the next run goes on; nothing is done twice that was on disk.
 *
 * Called by jobs/, one rotation of a mailbox at a time.
 */
import { Slice, yieldTurn } from '../base/abort.ts';
import { ServerError } from '../base/errors.ts';
import type { Epoch } from '../base/ids.ts';
import { wrapMessageKey } from '../crypto/record.ts';
import type { RootKeyName } from '../keys/key-changes.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { RowPlace } from '../store/message-keys.ts';
import { goOverTo } from './folders.ts';
import { unwrapRow, type WrappedMessageKey } from './read.ts';
import { KeyRing, keyUse, type MailboxSession } from './session.ts';
import { adoptWaiting } from './waiting.ts';

export type RotationRequest = Readonly<{
  /** Wraps the fresh key. */
  rootKey: RootKeyName;
  /** Called with message keys looked at, of how many; at first with none, at last with all. */
  onProgress(progress: Readonly<{ doneCount: number; totalCount: number }>): void;
  /**
   * Takes in what is held outside the mailbox under its older keys, when nothing more comes under them; absent where
   * nothing is. Throws ServerError 'key-unavailable' while that cannot be known: then the rotation is not ended.
   */
  takeInRest?: ((newest: MailboxRef & Readonly<{ epoch: Epoch }>, signal?: AbortSignal) => Promise<void>) | undefined;
}>;
/** `messagesCount`: message keys that this run wrapped anew. */
export type Rotation = Readonly<{ epoch: Epoch; messagesCount: number }>;

const PURPOSE = 'rotate-key';

/**
 * Rotates, or ends a rotation that was begun. Throws ServerError 'key-*', 'storage-*'; 'content-damaged' when message
 * keys do not open: then all the others are under the new key, and the old one is kept for them.
 */
export async function rotateKey(
  session: MailboxSession,
  request: RotationRequest,
  signal?: AbortSignal,
): Promise<Rotation> {
  const { ref, store } = session;
  const { changes } = session.keys;
  if (!changes) throw new ServerError('not-allowed', { clientText: 'The keys of this mailbox are not here.' });
  const epoch = await changes.beginRotation(ref, request.rootKey, { use: keyUse(session, PURPOSE), signal });
  await goOver(session, epoch, signal);
  await request.takeInRest?.({ ...ref, epoch }, signal);
  const { leftCount } = await adoptWaiting(session, signal); // from now on none is kept under the old key
  const { messagesCount, damagedCount } = await rewrapMessages(session, { epoch, request }, signal);
  const damagedRetainedCount = await rewrapRetained(session, epoch, signal); // after the folders: rows go this way only
  store.messageKeys.truncateLogSoon();
  const lostCount = damagedCount + damagedRetainedCount + leftCount;
  if (lostCount > 0) throw someDamaged(lostCount);
  const isAllOver =
    store.folders.epoch() === epoch &&
    (await store.messageKeys.areAllUnder(epoch)) &&
    store.retained.areAllUnder(epoch);
  if (!isAllOver) throw new TypeError('a row of an older epoch appeared after the rotation'); // T1, T3
  await changes.endRotation(ref, epoch);
  return { epoch, messagesCount };
}

/** T1. */
async function goOver(session: MailboxSession, epoch: Epoch, signal?: AbortSignal): Promise<void> {
  const before = session.store.folders.epoch();
  if (before === epoch) return;
  using ring = new KeyRing(session, PURPOSE, signal);
  await ring.load([before, epoch]);
  await goOverTo(session, { epoch, keys: ring.of(epoch) }, ring);
}

async function rewrapMessages(
  session: MailboxSession,
  to: Readonly<{ epoch: Epoch; request: RotationRequest }>,
  signal?: AbortSignal,
): Promise<{ messagesCount: number; damagedCount: number }> {
  const { messageKeys } = session.store;
  const { epoch, request } = to;
  const startCount = messageKeys.count();
  let [doneCount, messagesCount, damagedCount] = [0, 0, 0];
  request.onProgress({ doneCount, totalCount: startCount });
  let place: RowPlace | undefined = { folder: 0, uid: 0 };
  while (place) {
    signal?.throwIfAborted();
    const rows = messageKeys.rowsAfter(place);
    place = rows.at(-1);
    const old = rows.filter((row) => row.epoch !== epoch);
    if (old.length > 0) {
      const wrapped = await rewrapBatch(session, { epoch, rows: old }, signal);
      await messageKeys.replace(epoch, wrapped);
      messagesCount += wrapped.length;
      damagedCount += old.length - wrapped.length;
    }
    doneCount += rows.length;
    if (rows.length > 0) request.onProgress({ doneCount, totalCount: Math.max(startCount, doneCount) });
    await yieldTurn();
  }
  return { messagesCount, damagedCount };
}

/** Gives how many do not open. */
async function rewrapRetained(session: MailboxSession, epoch: Epoch, signal?: AbortSignal): Promise<number> {
  const { retained } = session.store;
  let damagedCount = 0;
  for (let rows = retained.after(0); rows.length > 0; rows = retained.after(rows.at(-1)?.id ?? 0)) {
    signal?.throwIfAborted();
    const old = rows.filter((row) => row.epoch !== epoch);
    const wrapped = await rewrapBatch(session, { epoch, rows: old }, signal);
    await retained.replace(epoch, wrapped);
    damagedCount += old.length - wrapped.length;
    await yieldTurn();
  }
  return damagedCount;
}

/** The rows' keys under the new one; those that do not open are left out. */
async function rewrapBatch<Row extends WrappedMessageKey>(
  session: MailboxSession,
  to: Readonly<{ epoch: Epoch; rows: readonly Row[] }>,
  signal?: AbortSignal,
): Promise<{ row: Row; wrappedKey: Uint8Array }[]> {
  const { epoch, rows } = to;
  using ring = new KeyRing(session, PURPOSE, signal);
  await ring.load([epoch, ...rows.map((row) => row.epoch)]);
  const { wrap } = ring.of(epoch);
  const wrapped: { row: Row; wrappedKey: Uint8Array }[] = [];
  const slice = new Slice();
  for (const row of rows) {
    const { message, body, commitment, sizeBytes } = row;
    using key = openedOrNull(session, row, ring);
    if (key) {
      const context = { kind: 'message-key', ...session.ref, epoch, message, body, commitment } as const;
      wrapped.push({ row, wrappedKey: wrapMessageKey(wrap, context, key, sizeBytes) });
    }
    if (slice.due) await slice.pause();
  }
  return wrapped;
}

function openedOrNull(
  session: MailboxSession,
  row: WrappedMessageKey,
  ring: KeyRing,
): ReturnType<typeof unwrapRow> | null {
  try {
    return unwrapRow(session, row, ring);
  } catch (error) {
    if (error instanceof ServerError && error.code === 'content-damaged') return null;
    throw error;
  }
}

function someDamaged(count: number): ServerError {
  return new ServerError('content-damaged', {
    clientText:
      `${String(count)} messages are damaged: their keys do not open. All others are under the new key; ` +
      'the old one is kept until the damaged messages are deleted and the rotation is run again.',
    detail: `${String(count)} wrapped message keys do not open`,
  });
}
