/** Removing messages for good (RFC 9051 §6.4.3, RFC 4315 §2.1). */
import type { FolderId, Uid } from '../base/ids.ts';
import { FLAG_BITS, type UidRange } from '../store/message-rows.ts';
import type { MailboxSession } from './session.ts';

const ALL: readonly UidRange[] = [{ first: 1, last: 0xffff_ffff }];

/**
 * Removes the messages flagged \Deleted, of `which` if it names UIDs, or all messages; gone from disk when it
 * resolves, or kept sealed where the organization wants that. Gives the UIDs removed. Needs no key: what is sealed is
 * destroyed unread.
 */
export async function expunge(
  session: MailboxSession,
  folder: FolderId,
  which: Readonly<{ deletedOf: readonly UidRange[] }> | 'deleted' | 'all',
): Promise<readonly Uid[]> {
  const { messages } = session.store;
  const ranges = which === 'deleted' || which === 'all' ? ALL : which.deletedOf;
  const doomed: Uid[] = [];
  for await (const rows of messages.flagRows(folder, ranges)) {
    for (const row of rows) if (which === 'all' || (row.flags & FLAG_BITS.deleted) !== 0) doomed.push(row.uid);
  }
  const isRetained = session.retentionMs() > 0;
  const gone = await messages.expunge(folder, doomed, which === 'all' ? 0 : FLAG_BITS.deleted, isRetained);
  const state = messages.state(folder);
  if (state && gone.length > 0) session.notifier.notify({ folder, highestModSeq: state.highestModSeq });
  return gone;
}
