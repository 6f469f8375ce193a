/**
 * Mail for a mailbox whose key cannot be had: kept sealed, and put into the INBOX, or the Junk folder, when the key is back.
 *
 * WM1  What is kept is whole and durable: `keepWaiting` resolves when it is on disk. It is sealed like all mail, and its
 *      message key to the public half of the mailbox key's pair (crypto/key-pair.ts).
 * WM2  Each message is adopted once, in the order of arrival, and before any that is delivered later.
 * WM3  A message that does not open stays where it is, and holds up no other.
 *
 * Called by delivery/ and jobs/, and by rotate.ts before it takes an epoch away.
 */
import { ServerError } from '../base/errors.ts';
import { messageId, randomHexId, type Epoch, type FolderId } from '../base/ids.ts';
import { KeyPairOpener, sealMessageKey } from '../crypto/key-pair.ts';
import { wrapMessageKey } from '../crypto/record.ts';
import type { AdoptedRow } from '../store/messages.ts';
import type { WaitingMessage } from '../store/waiting.ts';
import { MessageWriter, type NewMessageOptions, type PreparedMessage } from './append.ts';
import { INBOX, findFolder, junkFolder } from './folders.ts';
import { anew, keyUse, withKeys, type KeyRing, type MailboxSession } from './session.ts';

/** A message on its way in, begun without the mailbox key. Throws ServerError 'key-*', 'limit-exceeded', 'storage-full'. */
export async function newWaitingMessage(
  session: MailboxSession,
  options: NewMessageOptions,
  signal?: AbortSignal,
): Promise<MessageWriter> {
  await publicKey(session, signal);
  checkRoom(session);
  await session.space.check();
  session.store.checkRoom(session.quota());
  return new MessageWriter(session, options);
}

/** Keeps a prepared message (WM1); on failure it is discarded. Throws ServerError 'key-*', 'limit-exceeded', 'storage-*'. */
export async function keepWaiting(
  session: MailboxSession,
  prepared: PreparedMessage,
  { isJunk }: Readonly<{ isJunk: boolean }>,
): Promise<void> {
  const { staged, commitment, sizeBytes, messageKey } = prepared;
  try {
    checkRoom(session);
    const message = messageId(randomHexId());
    await anew(async () => {
      const { epoch, key } = await publicKey(session);
      const context = { kind: 'message-key', ...session.ref, epoch, message, body: staged.body, commitment } as const;
      const sealedKey = await sealMessageKey(key, context, messageKey, sizeBytes);
      await session.store.waiting.insert({ ...prepared, message, epoch, sealedKey, isJunk }, session.quota());
    });
    messageKey[Symbol.dispose]();
  } catch (error) {
    const undecided = error instanceof ServerError && error.code === 'storage-failed';
    if (!undecided) await prepared.discard();
    throw error;
  }
}

/**
 * Puts what waits into its folder (WM2). `leftCount`: messages that do not open (WM3).
 * Throws ServerError 'key-*', 'storage-*'.
 */
export async function adoptWaiting(
  session: MailboxSession,
  signal?: AbortSignal,
): Promise<Readonly<{ adoptedCount: number; leftCount: number }>> {
  const { waiting } = session.store;
  let [adoptedCount, leftCount, last] = [0, 0, 0];
  if (waiting.isEmpty()) return { adoptedCount, leftCount };
  for (let rows = waiting.after(last); rows.length > 0; rows = waiting.after(last)) {
    last = rows.at(-1)?.id ?? last;
    const openedCount = await adoptBatch(session, rows, signal);
    adoptedCount += openedCount;
    leftCount += rows.length - openedCount;
  }
  return { adoptedCount, leftCount };
}

async function adoptBatch(
  session: MailboxSession,
  rows: readonly WaitingMessage[],
  signal?: AbortSignal,
): Promise<number> {
  const junk = rows.filter(({ isJunk }) => isJunk);
  const other = rows.filter(({ isJunk }) => !isJunk);
  let adoptedCount = 0;
  if (other.length > 0) {
    const inbox = await findFolder(session, INBOX, signal);
    if (!inbox) throw new ServerError('not-found', { clientText: 'Mailbox not available', detail: 'no INBOX' });
    adoptedCount += await adoptInto(session, inbox.id, other, signal);
  }
  if (junk.length > 0) adoptedCount += await adoptInto(session, (await junkFolder(session, signal)).id, junk, signal);
  return adoptedCount;
}

function adoptInto(
  session: MailboxSession,
  folder: FolderId,
  rows: readonly WaitingMessage[],
  signal?: AbortSignal,
): Promise<number> {
  return withKeys(session, { purpose: 'adopt', signal }, async (ring) => {
    const adopted = await wrapped(session, rows, ring);
    if (adopted.length === 0) return 0;
    const state = await session.store.messages.adopt(folder, adopted);
    if (state) session.notifier.notify({ folder, highestModSeq: state.highestModSeq });
    return state ? adopted.length : 0;
  });
}

async function wrapped(
  session: MailboxSession,
  rows: readonly WaitingMessage[],
  ring: KeyRing,
): Promise<readonly AdoptedRow[]> {
  const { keys, epoch } = await ring.current();
  await ring.load(rows.map((row) => row.epoch));
  const openers = new Map<Epoch, KeyPairOpener>();
  const adopted: AdoptedRow[] = [];
  for (const row of rows) {
    const opener = openers.get(row.epoch) ?? new KeyPairOpener(ring.of(row.epoch).pairSeed);
    openers.set(row.epoch, opener);
    const { message, body, commitment } = row;
    const context = { kind: 'message-key', ...session.ref, message, body, commitment } as const;
    const opened = await opener.open({ ...context, epoch: row.epoch }, row.sealedKey).catch(nullIfDamaged);
    if (!opened) continue;
    using messageKey = opened.key;
    const wrappedKey = wrapMessageKey(keys.wrap, { ...context, epoch }, messageKey, opened.sizeBytes);
    adopted.push({ ...row, sizeBytes: opened.sizeBytes, epoch, wrappedKey });
  }
  return adopted;
}

/** Messages that wait and do not open (WM3). Throws ServerError 'key-*'. */
export async function damagedWaiting(session: MailboxSession, signal?: AbortSignal): Promise<readonly number[]> {
  const damaged: number[] = [];
  const { waiting } = session.store;
  for (let rows = waiting.after(0); rows.length > 0; rows = waiting.after(rows.at(-1)?.id ?? 0)) {
    const opened = await withKeys(session, { purpose: 'examine', signal }, (ring) => wrapped(session, rows, ring));
    damaged.push(...rows.map(({ id }) => id).filter((id) => !opened.some((row) => row.id === id)));
  }
  return damaged;
}

function nullIfDamaged(error: unknown): null {
  if (error instanceof ServerError && error.code === 'content-damaged') return null;
  throw error;
}

async function publicKey(
  session: MailboxSession,
  signal?: AbortSignal,
): Promise<Readonly<{ epoch: Epoch; key: Uint8Array }>> {
  const epoch = session.store.folders.epoch();
  const options = { use: keyUse(session, 'keep-waiting'), ...(signal ? { signal } : {}) };
  return { epoch, key: await session.keys.publicKey({ ...session.ref, epoch }, options) };
}

function checkRoom({ store, limits }: MailboxSession): void {
  if (store.waiting.count() < limits.waitingMessagesCount) return;
  throw new ServerError('limit-exceeded', {
    clientText: 'Too much mail waits for this mailbox.',
    detail: 'waiting messages',
    retryable: true,
  });
}
