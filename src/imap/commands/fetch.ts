/**
 * FETCH and UID FETCH. RFC 9051 §6.4.5; RFC 7162 §3.1.4, §3.2.6; RFC 3516; RFC 8970; RFC 8474 §5.3. Called by dispatch.ts.
 *
 * F1  Flags, UIDs, sizes and modification sequences come from rows: no key is asked for and nothing is opened.
 * F2  What is held for the client is bounded: a batch is written, then there must be room for the next.
 * F3  A message is flagged \Seen when its bodies were sent, not before.
 * F4  A damaged message does not hide the others: they are sent, and the command ends with NO [CORRUPTION].
 */
import { Slice } from '../../base/abort.ts';
import { ServerError } from '../../base/errors.ts';
import { intersectSets, numberSet, type NumberSet } from '../../base/uid-set.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import type { MessageRow } from '../../mailbox/model.ts';
import { no, ok, type Answer } from '../answer.ts';
import type { FetchCommand, FetchItem } from '../proto/commands/fetch.ts';
import * as print from '../proto/responses.ts';
import type { Session, SessionState } from '../session.ts';
import type { FolderView } from '../view.ts';
import { isOfRow, rowItemText, textItemText } from './fetch-items.ts';
import { MessageResponse, type ResponseTarget } from './fetch-response.ts';

type Selected = Extract<SessionState, { kind: 'selected' }>;
type Work = Readonly<{ session: Session; mailbox: Mailbox; view: FolderView; items: readonly FetchItem[] }>;

const UID_ITEM: FetchItem = { kind: 'uid', label: 'UID' };
const MODSEQ_ITEM: FetchItem = { kind: 'modseq', label: 'MODSEQ' };
/** Written at once at the latest. */
const BATCH_BYTES = 32 * 1024;

/** Throws SyntaxFault, ServerError 'key-*', 'storage-*'. */
export async function fetchMessages(
  session: Session,
  { mailbox, view }: Selected,
  command: FetchCommand,
): Promise<Answer> {
  const named = view.resolve(command.messages, command.byUid ? 'uid' : 'sequence');
  const ranges = command.range ? view.resultsIn(named, command.range) : named;
  const items = completeItems(command, view.isUidOnly);
  if (items.some((item) => item.kind === 'modseq')) session.enableCondStore();
  if (command.vanished && !session.enabled.qresync) return { status: 'BAD', code: null, text: 'Enable QRESYNC first' };
  const work: Work = { session, mailbox, view, items };
  let wanted: NumberSet = ranges;
  if (command.changedSince !== null) {
    const changes = await mailbox.changesSince(view.folder.id, command.changedSince, session.signal);
    if (command.vanished) {
      const vanished = intersectSets(numberSet(changes.vanished), askedUids(command, view));
      if (vanished.length > 0) session.out.write(print.vanishedLine(vanished, 'earlier'));
    }
    wanted = intersectSets(ranges, numberSet(changes.changed.map((row) => row.uid)));
  }
  const done = items.every(isOfRow) ? await sendRows(work, wanted) : await sendMessages(work, wanted);
  if (done.damagedCount > 0) return no('Some of the messages are damaged on the server', 'CORRUPTION');
  if (done.hasUnknownEncoding) return no('The encoding of a part is unknown', 'UNKNOWN-CTE');
  const isShort = !command.byUid && done.sentCount < view.countIn(wanted);
  return isShort ? ok('Some messages are gone', 'EXPUNGEISSUED') : ok('Done');
}

type Done = { sentCount: number; damagedCount: number; hasUnknownEncoding: boolean };

/** UID is in every answer to UID FETCH (RFC 9051 §6.4.9) but UIDFETCH, which begins with it; MODSEQ where CHANGEDSINCE was asked for (RFC 7162 §3.1.4.1). */
function completeItems(command: FetchCommand, isUidOnly: boolean): readonly FetchItem[] {
  const rest = command.items.filter((item) => item.kind !== 'uid');
  const hasUid = (command.byUid && !isUidOnly) || rest.length < command.items.length;
  const items = hasUid ? [UID_ITEM, ...rest] : rest;
  const needsModSeq = command.changedSince !== null && !items.some((item) => item.kind === 'modseq');
  return needsModSeq ? [...items, MODSEQ_ITEM] : items;
}

/** The UIDs that the client wrote: what vanished is no longer in the view. */
function askedUids(command: FetchCommand, view: FolderView): NumberSet {
  if (command.messages.kind === 'saved') return view.saved;
  const { ranges, openFrom } = command.messages.set;
  return openFrom === null ? ranges : [...ranges, { first: openFrom, last: 0xffff_ffff }];
}

async function sendRows({ session, mailbox, view, items }: Work, ranges: NumberSet): Promise<Done> {
  const { out } = session;
  const slice = new Slice();
  let sentCount = 0;
  for await (const rows of mailbox.rows(view.folder.id, ranges, session.signal)) {
    if (view.showsNewKeywords(rows)) await session.writeFlagNames(view);
    let text = '';
    for (const row of rows) {
      if (view.sequenceOf(row.uid) === 0) continue;
      sentCount += 1;
      text += view.responseHead(row.uid);
      for (let at = 0; at < items.length; at += 1) {
        const item = items[at];
        if (item) text += at === 0 ? rowItemText(item, row) : ` ${rowItemText(item, row)}`;
      }
      text += ')\r\n';
    }
    out.write(text);
    await out.room();
    await slice.pause();
  }
  return { sentCount, damagedCount: 0, hasUnknownEncoding: false };
}

async function sendMessages(work: Work, ranges: NumberSet): Promise<Done> {
  const { session, mailbox, view, items } = work;
  const { out, signal } = session;
  const slice = new Slice();
  const setsSeen = !view.isReadOnly && items.some((item) => 'peek' in item && !item.peek);
  const done: Done = { sentCount: 0, damagedCount: 0, hasUnknownEncoding: false };
  let text = '';
  for await (const batch of mailbox.messages(view.folder.id, ranges, signal)) {
    for (const message of batch) {
      if (view.sequenceOf(message.row.uid) === 0) continue;
      if (message.isStale) await message.renew(signal); // the client may have taken long over those before
      const isUnseen = setsSeen && !message.row.flags.includes('\\Seen');
      const markSeen = isUnseen ? (): Promise<MessageRow | null> => flagSeen(work, message.row) : null;
      const target: ResponseTarget = { message, head: view.responseHead(message.row.uid), markSeen };
      try {
        if (items.every((item) => isOfRow(item) || isOfSummary(item))) text += summaryLine(session, items, target);
        else {
          out.write(text);
          text = '';
          const response = new MessageResponse(session, target);
          await response.send(items);
          done.hasUnknownEncoding ||= response.hasUnknownEncoding;
        }
        done.sentCount += 1;
      } catch (error) {
        if (!(error instanceof ServerError) || error.code !== 'content-damaged') throw error;
        session.logger.error('damaged message', { detail: error.detail });
        done.damagedCount += 1;
      }
      if (text.length >= BATCH_BYTES) {
        out.write(text);
        text = '';
        await out.room();
      }
      if (slice.due) await slice.pause();
    }
    out.write(text);
    text = '';
    await out.room();
  }
  return done;
}

const SUMMARY_KINDS: ReadonlySet<FetchItem['kind']> = new Set(['internal-date', 'envelope', 'body', 'body-structure']);
const isOfSummary = (item: FetchItem): boolean => SUMMARY_KINDS.has(item.kind);

/** The whole line of a message of which no body is asked for. */
function summaryLine(session: Session, items: readonly FetchItem[], { message, head }: ResponseTarget): string {
  const { summary, row } = message;
  let text = head;
  let gap = '';
  for (const item of items) {
    text += gap + (isOfRow(item) ? rowItemText(item, row) : textItemText(item, summary, session.context));
    gap = ' ';
  }
  return `${text})\r\n`;
}

/** Flags a message \Seen; gives its row as it is then, null when it is gone. RFC 9051 §6.4.5 (BODY[]). */
async function flagSeen({ session, mailbox, view }: Work, { uid }: MessageRow): Promise<MessageRow | null> {
  const request = { mode: 'add', flags: ['\\Seen'] } as const;
  const ranges = [{ first: uid, last: uid }];
  const { changed } = await mailbox.setFlags({ folder: view.folder.id, ranges }, request, session.signal);
  view.noteTold(changed);
  return changed[0] ?? null;
}
