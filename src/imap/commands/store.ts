/** STORE and UID STORE. RFC 9051 §6.4.6; RFC 7162 §3.1.3. Called by dispatch.ts. */
import { numberSet } from '../../base/uid-set.ts';
import type { MessageRow } from '../../mailbox/model.ts';
import { ok, type Answer } from '../answer.ts';
import type { StoreCommand } from '../proto/commands/store.ts';
import * as print from '../proto/responses.ts';
import type { Session, SessionState } from '../session.ts';
import type { FolderView } from '../view.ts';

type Selected = Extract<SessionState, { kind: 'selected' }>;

const BATCH_COUNT = 1_000;

/** Throws SyntaxFault, ServerError 'key-*', 'limit-exceeded'. */
export async function storeFlags(
  session: Session,
  { mailbox, view }: Selected,
  command: StoreCommand,
): Promise<Answer> {
  const { out, enabled, signal } = session;
  const ranges = view.resolve(command.messages, command.byUid ? 'uid' : 'sequence');
  const { change: mode, flags, unchangedSince } = command;
  if (unchangedSince !== null) session.enableCondStore();
  const request = { mode, flags, ...(unchangedSince === null ? {} : { unchangedSince }) };
  const result = await mailbox.setFlags({ folder: view.folder.id, ranges }, request, signal);
  view.noteTold(result.changed);
  if (view.showsNewKeywords(result.changed)) await session.writeFlagNames(view);
  // RFC 7162 §3.1.3: who knows of modification sequences is told the new ones even by .SILENT.
  if (!command.silent || enabled.condStore) {
    for (let at = 0; at < result.changed.length; at += BATCH_COUNT) {
      const rows = result.changed.slice(at, at + BATCH_COUNT);
      out.write(changedText(view, rows, { silent: command.silent, withModSeq: enabled.condStore }));
      await out.room();
    }
  }
  if (result.modified.length > 0) {
    const numbers = command.byUid ? numberSet(result.modified) : view.sequencesOf(result.modified);
    return ok('Some messages were changed meanwhile', { kind: 'MODIFIED', numbers });
  }
  const isShort = !command.byUid && result.changed.length < view.countIn(ranges);
  return isShort ? ok('Some messages are gone', 'EXPUNGEISSUED') : ok('Done');
}

function changedText(
  view: FolderView,
  rows: readonly MessageRow[],
  how: Readonly<{ silent: boolean; withModSeq: boolean }>,
): string {
  let text = '';
  for (const row of rows) {
    if (view.sequenceOf(row.uid) === 0) continue;
    const items = view.isUidOnly ? [] : [`UID ${String(row.uid)}`];
    if (!how.silent) items.push(`FLAGS (${print.flagsText(row.flags)})`);
    if (how.withModSeq) items.push(`MODSEQ (${String(row.modSeq)})`);
    text += print.fetchLine(view.responseHead(row.uid), items);
  }
  return text;
}
