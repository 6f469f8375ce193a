/**
 * Opens everything in a mailbox, to know that it opens: names, and of each message its key, summary, search text and body.
 *
 * SC1  What does not open is named and kept: nothing of it is removed or changed.
 * SC2  No plaintext is held but the piece that was opened last, and no key longer than for a read (read.ts, X4).
 * SC3  It goes no faster than the caller's `pace` lets it, and gives up the event loop between any two messages.
 * SC4  A damaged search text can be made anew from the body, and is dropped where repair is asked for.
 *
 * Called by jobs/ and, for an operator, by the doctor.
 */
import { ServerError } from '../base/errors.ts';
import { FAULTS_MAX_COUNT, type Fault } from '../base/fault.ts';
import type { FolderId, Uid } from '../base/ids.ts';
import { openRecord } from '../crypto/record.ts';
import type { Damage } from '../store/damages.ts';
import { damagedAnnotations } from './annotations.ts';
import { damagedNames } from './folders.ts';
import { damagedKeywords } from './keyword-names.ts';
import { messageOf, type OpenMessage } from './read.ts';
import { withKeys, type MailboxSession } from './session.ts';
import { damagedWaiting } from './waiting.ts';

export type ScrubRequest = Readonly<{
  /** Called with the bytes of each message that was opened; goes on when it resolves. */
  pace(bytes: number): Promise<void>;
  isRepair: boolean;
  nowMs(): number;
}>;
export type ScrubResult = Readonly<{ faults: readonly Fault[]; messagesCount: number }>;

const SIZE_OF_RECORDS_BYTES = 1024;
const SUMMARY = 'the summary of a message does not open';
const TEXT = 'the search text of a message does not open';
const ALL = [{ first: 1, last: 0xffff_ffff }];

/** Names that do not open, or are not found by their index. Throws ServerError 'key-*'. */
export function nameFaults(session: MailboxSession, signal?: AbortSignal): Promise<readonly Fault[]> {
  return withKeys(session, { purpose: 'examine', signal }, async (ring) => {
    const names = [
      ...(await damagedNames(session, ring)),
      ...(await damagedKeywords(session, ring)),
      ...(await damagedAnnotations(session, ring)),
    ];
    return names.map((where) => ({ what: 'a name does not open', where, remedy: 'kept' }));
  });
}

/** What was found when all was opened last, and is still there. */
export function knownDamages({ store }: MailboxSession): readonly Fault[] {
  return store.damages.list().map(({ folder, uid, what }) => ({ what, where: placeOf(folder, uid), remedy: 'kept' }));
}

/** Opens every message, and notes what does not open. Throws ServerError 'key-*', 'storage-*'. */
export async function openEverything(
  session: MailboxSession,
  request: ScrubRequest,
  signal?: AbortSignal,
): Promise<ScrubResult> {
  const { messages, folders, damages } = session.store;
  const faults: Fault[] = [];
  const damaged: Damage[] = [];
  let messagesCount = 0;
  for (const { id: folder } of await folders.list()) {
    for await (const rows of messages.flagRows(folder, ALL)) {
      for (const { uid, sizeBytes } of rows) {
        signal?.throwIfAborted();
        const what = await faultOf(session, { folder, uid, isRepair: request.isRepair }, signal);
        messagesCount += 1;
        if (what) faults.push({ what, where: placeOf(folder, uid), remedy: remedyOf(what, request.isRepair) });
        if (what && what !== TEXT) damaged.push({ folder, uid, what });
        await request.pace(sizeBytes + SIZE_OF_RECORDS_BYTES);
      }
    }
  }
  for (const id of await damagedWaiting(session, signal)) {
    const what = 'a message that waits for its key does not open';
    faults.push({ what, where: `waiting message ${String(id)}`, remedy: 'kept' });
  }
  await damages.replace(damaged.slice(0, FAULTS_MAX_COUNT), request.nowMs());
  return { faults, messagesCount };
}

type MessagePlace = Readonly<{ folder: FolderId; uid: Uid; isRepair: boolean }>;

/** Null for a message that opens, or is gone. */
async function faultOf(session: MailboxSession, place: MessagePlace, signal?: AbortSignal): Promise<string | null> {
  await withKeys(session, { purpose: 'examine', signal }, (ring) => ring.current()); // a key that cannot be had is no damage
  try {
    using message = await messageOf(session, place.folder, place.uid, signal);
    if (!message) return null;
    return (
      recordFault(message) ??
      (await bodyFault(message)) ??
      (isDamaged(() => openedText(session, message, place.isRepair)) ? TEXT : null)
    );
  } catch (error) {
    if (isDamage(error)) return 'the key of a message does not open';
    throw error;
  }
}

function recordFault(message: OpenMessage): string | null {
  return isDamaged(() => message.summary) ? SUMMARY : null;
}

async function bodyFault(message: OpenMessage): Promise<string | null> {
  try {
    let openedBytes = 0;
    for await (const piece of message.range(0, message.row.sizeBytes)) openedBytes += piece.length;
    return openedBytes === message.row.sizeBytes ? null : 'the body of a message has another size';
  } catch (error) {
    if (isDamage(error)) return 'the body of a message does not open';
    throw error;
  }
}

function openedText(session: MailboxSession, message: OpenMessage, isRepair: boolean): void {
  const { sealed, key, forget, row } = message.searchText;
  using textKey = key;
  if (!sealed) return;
  try {
    openRecord(textKey, { kind: 'search-text', organization: session.ref.organization, body: row.body }, sealed);
  } catch (error) {
    if (isRepair && isDamage(error)) forget();
    throw error;
  }
}

function isDamaged(open: () => unknown): boolean {
  try {
    open();
    return false;
  } catch (error) {
    if (isDamage(error)) return true;
    throw error;
  }
}

/** The mailbox key itself was at hand a moment before, so a mismatch is the message's. */
function isDamage(error: unknown): boolean {
  if (error instanceof SyntaxError) return true; // a summary that opens and cannot be read
  return error instanceof ServerError && (error.code === 'content-damaged' || error.code === 'key-mismatch');
}

function remedyOf(what: string, isRepair: boolean): Fault['remedy'] {
  if (what !== TEXT) return 'kept';
  return isRepair ? 'mended' : 'mendable';
}

function placeOf(folder: FolderId, uid: Uid): string {
  return `folder ${String(folder)}, UID ${String(uid)}`;
}
