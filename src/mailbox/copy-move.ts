/**
 * COPY and MOVE inside a mailbox: no body is sealed again; the message key is wrapped anew for each new row.
 * RFC 9051 §6.4.7, RFC 6851.
 */
import { messageId, randomHexId, type FolderId, type Uid } from '../base/ids.ts';
import { wrapMessageKey } from '../crypto/record.ts';
import type { SealedRow, UidRange } from '../store/message-rows.ts';
import type { WrappedRow } from '../store/messages.ts';
import { noSuchFolder } from './faults.ts';
import type { CopyResult } from './model.ts';
import { unwrapRow } from './read.ts';
import { KeyRing, withKeys, type MailboxSession } from './session.ts';

export type CopyRequest = Readonly<{ source: FolderId; target: FolderId; ranges: readonly UidRange[] }>;

/** Copies, all or none. Throws ServerError 'not-found' (target), 'key-*', 'content-damaged', 'storage-*', 'over-quota'. */
export function copy(session: MailboxSession, request: CopyRequest, signal?: AbortSignal): Promise<CopyResult> {
  return transfer(session, { ...request, removeSource: false }, signal);
}

/** Moves; each message is in one of the two folders at any time. Throws as `copy`. */
export function move(session: MailboxSession, request: CopyRequest, signal?: AbortSignal): Promise<CopyResult> {
  return transfer(session, { ...request, removeSource: true }, signal);
}

async function transfer(
  session: MailboxSession,
  request: CopyRequest & Readonly<{ removeSource: boolean }>,
  signal?: AbortSignal,
): Promise<CopyResult> {
  const { source, target } = request;
  const { messages } = session.store;
  const pairs: CopyResult['pairs'][number][] = [];
  let uidValidity = 0;
  for (let isComplete = false; !isComplete;) {
    const done = await withKeys(session, { purpose: 'copy', signal }, () => wrapAndCopy(session, request, signal));
    if (!done) throw noSuchFolder();
    pairs.push(...done.pairs);
    ({ uidValidity, isComplete } = done);
  }
  for (const folder of request.removeSource ? [target, source] : [target]) {
    const state = messages.state(folder);
    if (state) session.notifier.notify({ folder, highestModSeq: state.highestModSeq });
  }
  return { uidValidity, pairs };
}

async function wrapAndCopy(
  session: MailboxSession,
  request: CopyRequest & Readonly<{ removeSource: boolean }>,
  signal?: AbortSignal,
): ReturnType<MailboxSession['store']['messages']['copy']> {
  const { messages } = session.store;
  const wrapped: (WrappedRow & { from: Uid })[] = [];
  for await (const rows of messages.sealedRows(request.source, request.ranges)) {
    using ring = new KeyRing(session, 'copy', signal); // one for each batch: N1
    await ring.load(rows.map((row) => row.epoch));
    await ring.current();
    for (const row of rows) wrapped.push(await rewrap(session, row, ring));
  }
  return messages.copy(wrapped, { ...request, quota: session.quota() });
}

async function rewrap(session: MailboxSession, row: SealedRow, ring: KeyRing): Promise<WrappedRow & { from: Uid }> {
  const { keys, epoch } = await ring.current();
  const message = messageId(randomHexId());
  const { body, commitment, sizeBytes } = row;
  const context = { kind: 'message-key', ...session.ref, epoch, message, body, commitment } as const;
  using key = unwrapRow(session, row, ring);
  return { from: row.uid, message, epoch, wrappedKey: wrapMessageKey(keys.wrap, context, key, sizeBytes) };
}
