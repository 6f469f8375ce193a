/** Changing flags (RFC 9051 §6.4.6, RFC 7162 §3.1.3). */
import type { FolderId, ModSeq, Uid } from '../base/ids.ts';
import type { UidRange } from '../store/message-rows.ts';
import { flagBits, namedRows } from './keyword-names.ts';
import type { MessageRow } from './model.ts';
import { withKeys, type MailboxSession } from './session.ts';

export type FlagRequest = Readonly<{
  mode: 'add' | 'remove' | 'replace';
  flags: readonly string[];
  /** Rows changed later than this stay as they are and come back as `modified`. */
  unchangedSince?: ModSeq;
}>;
export type FlagResult = Readonly<{ changed: readonly MessageRow[]; modified: readonly Uid[] }>;

/** Committed when it resolves, on disk soon after. Throws ServerError 'key-*' for keywords, 'limit-exceeded'. */
export async function setFlags(
  session: MailboxSession,
  target: Readonly<{ folder: FolderId; ranges: readonly UidRange[] }>,
  request: FlagRequest,
  signal?: AbortSignal,
): Promise<FlagResult> {
  const keyUse = { purpose: 'store-flags', signal };
  const bits = await withKeys(session, keyUse, (ring) => flagBits(session, request.flags, ring));
  const { messages } = session.store;
  const done = await messages.setFlags(target.folder, target.ranges, {
    mode: request.mode,
    ...bits,
    unchangedSince: request.unchangedSince ?? null,
  });
  const state = messages.state(target.folder);
  if (state) session.notifier.notify({ folder: target.folder, highestModSeq: state.highestModSeq });
  const changed = await withKeys(session, keyUse, (ring) => namedRows(session, done.changed, ring));
  return { changed, modified: done.modified };
}
