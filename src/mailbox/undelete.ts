/**
 * Bringing back expunged messages that are still kept, and shredding those whose time is over.
 *
 * UD1  A message comes back into a folder of its own, `Undeleted`, with a new UID and its flags but `\Deleted`; its key is
 *      wrapped anew, no body is sealed again.
 * UD2  One that does not open stays where it is, and holds up no other.
 *
 * Called by admin/ and jobs/.
 */
import { ServerError } from '../base/errors.ts';
import { messageId, randomHexId } from '../base/ids.ts';
import { wrapMessageKey } from '../crypto/record.ts';
import type { WrappedRow } from '../store/messages.ts';
import type { RetainedRow } from '../store/retained.ts';
import { createFolder, findFolder } from './folders.ts';
import { noSuchFolder } from './faults.ts';
import { unwrapRow } from './read.ts';
import { withKeys, type KeyRing, type MailboxSession } from './session.ts';

const FOLDER = 'Undeleted';

export type Undeletion = Readonly<{ folder: string; messagesCount: number; damagedCount: number }>;

/** Brings back what was expunged at `sinceMs` or later. Throws ServerError 'key-*', 'over-quota', 'storage-*'. */
export async function undelete(session: MailboxSession, sinceMs: number, signal?: AbortSignal): Promise<Undeletion> {
  const { retained, messages } = session.store;
  let [messagesCount, damagedCount] = [0, 0];
  for (let rows = retained.after(0, sinceMs); rows.length > 0; rows = retained.after(rows.at(-1)?.id ?? 0, sinceMs)) {
    signal?.throwIfAborted();
    const batch = rows;
    const name = { name: FOLDER };
    const folder = (await findFolder(session, FOLDER, signal)) ?? (await createFolder(session, name, signal));
    const { done, openedCount } = await withKeys(session, { purpose: 'undelete', signal }, async (ring) => {
      const wrapped = await rewrapped(session, batch, ring);
      return { done: await messages.undelete(folder.id, wrapped, session.quota()), openedCount: wrapped.length };
    });
    if (!done) throw noSuchFolder();
    session.notifier.notify({ folder: folder.id, highestModSeq: done.highestModSeq });
    messagesCount += done.count;
    damagedCount += batch.length - openedCount;
  }
  return { folder: FOLDER, messagesCount, damagedCount };
}

async function rewrapped(
  session: MailboxSession,
  rows: readonly RetainedRow[],
  ring: KeyRing,
): Promise<readonly (WrappedRow & { id: number })[]> {
  const { keys, epoch } = await ring.current();
  await ring.load(rows.map((row) => row.epoch));
  const wrapped: (WrappedRow & { id: number })[] = [];
  for (const row of rows) {
    const { id, body, commitment, sizeBytes } = row;
    const message = messageId(randomHexId());
    try {
      using key = unwrapRow(session, row, ring);
      const context = { kind: 'message-key', ...session.ref, epoch, message, body, commitment } as const;
      wrapped.push({ id, message, epoch, wrappedKey: wrapMessageKey(keys.wrap, context, key, sizeBytes) });
    } catch (error) {
      if (!(error instanceof ServerError) || error.code !== 'content-damaged') throw error; // UD2
    }
  }
  return wrapped;
}
