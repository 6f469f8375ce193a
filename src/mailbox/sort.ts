/**
 * SORT over sealed mail (RFC 5256 §3, RFC 5957): what is compared comes from rows and summaries, never from bodies.
 *
 * O1  Strings are compared by i;unicode-casemap over their decoded text (RFC 5255 §4.6), dates by the second.
 * O2  What compares as equal stays in the order of the folder, also under REVERSE.
 * O3  Nothing of it holds up the event loop, however many messages there are.
 */
import { Slice } from '../base/abort.ts';
import { assertNever } from '../base/errors.ts';
import type { FolderId, Uid } from '../base/ids.ts';
import { sortInTurns } from '../base/sorting.ts';
import { numberSet } from '../base/uid-set.ts';
import { baseSubject } from '../mime/base-subject.ts';
import type { Address } from '../mime/body-structure.ts';
import { casemap, orderKey } from '../mime/casemap.ts';
import { parseMessageDate } from '../mime/date.ts';
import { decodeHeaderText } from '../mime/encoded-word.ts';
import type { MessageRow, MessageSummary } from './model.ts';
import { messagesOf, rowsOf } from './read.ts';
import type { MailboxSession } from './session.ts';

/** `relevancy`: the score of a search with fuzzy keys, the best first (RFC 6203 §6). */
export type SortKey =
  'relevancy' | 'arrival' | 'cc' | 'date' | 'display-from' | 'display-to' | 'from' | 'size' | 'subject' | 'to';
export type SortCriterion = Readonly<{ key: SortKey; isReverse: boolean }>;

type SortValue = number | string;
/** `scores`: for `relevancy`. */
export type SortedMessages = Readonly<{ folder: FolderId; uids: readonly Uid[]; scores?: ReadonlyMap<Uid, number> }>;
type Entry = Readonly<{ uid: Uid; values: readonly SortValue[] }>;

const MS_PER_SECOND = 1000;

/** The messages of `uids` that are still there, in the order of the criteria. Throws ServerError 'key-*', 'content-damaged'. */
export async function sortMessages(
  session: MailboxSession,
  of: SortedMessages,
  criteria: readonly SortCriterion[],
  signal?: AbortSignal,
): Promise<readonly Uid[]> {
  const entries = await (criteria.every(({ key }) => key === 'size' || key === 'relevancy')
    ? entriesOfRows(session, of, criteria, signal)
    : entriesOfMessages(session, of, criteria, signal));
  const signs = criteria.map(({ isReverse }) => (isReverse ? -1 : 1));
  const sorted = await sortInTurns(entries, (a, b) => {
    for (let at = 0; at < signs.length; at += 1) {
      const order = compareValues(a.values[at] ?? 0, b.values[at] ?? 0);
      if (order !== 0) return order * (signs[at] ?? 1);
    }
    return a.uid - b.uid;
  });
  return sorted.map(({ uid }) => uid);
}

/** When a message was sent, as far as it says so: the Date field, or else the internal date. RFC 5256 §2.2. */
export function sentSeconds({ internalDate, scanned }: MessageSummary): number {
  const { date } = scanned.envelope;
  const sent = date === null ? null : parseMessageDate(date);
  return Math.floor((sent ?? internalDate).atMs / MS_PER_SECOND);
}

function compareValues(a: SortValue, b: SortValue): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

async function entriesOfRows(
  session: MailboxSession,
  { folder, uids, scores }: SortedMessages,
  criteria: readonly SortCriterion[],
  signal?: AbortSignal,
): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const rows of rowsOf(session, folder, numberSet(uids), signal)) {
    for (const { uid, sizeBytes } of rows) {
      entries.push({ uid, values: criteria.map(({ key }) => (key === 'size' ? sizeBytes : -(scores?.get(uid) ?? 0))) });
    }
  }
  return entries;
}

async function entriesOfMessages(
  session: MailboxSession,
  { folder, uids, scores }: SortedMessages,
  criteria: readonly SortCriterion[],
  signal?: AbortSignal,
): Promise<Entry[]> {
  const entries: Entry[] = [];
  const slice = new Slice();
  for await (const batch of messagesOf(session, folder, numberSet(uids), signal)) {
    for (const message of batch) {
      signal?.throwIfAborted();
      if (message.isStale) await message.renew(signal);
      const { row, summary } = message;
      const score = scores?.get(row.uid) ?? 0;
      entries.push({ uid: row.uid, values: criteria.map(({ key }) => valueOf(key, { row, summary, score })) });
      if (slice.due) await slice.pause();
    }
  }
  return entries;
}

type Sorted = Readonly<{ row: MessageRow; summary: MessageSummary; score: number }>;

function valueOf(key: SortKey, { row, summary, score }: Sorted): SortValue {
  const { envelope } = summary.scanned;
  switch (key) {
    case 'arrival':
      return Math.floor(summary.internalDate.atMs / MS_PER_SECOND);
    case 'relevancy':
      return -score;
    case 'date':
      return sentSeconds(summary);
    case 'size':
      return row.sizeBytes;
    case 'subject':
      return orderKey(baseSubject(envelope.subject).text);
    case 'from':
    case 'to':
    case 'cc':
      return orderKey(casemap(decodeHeaderText(envelope[key]?.[0]?.mailbox ?? '')));
    case 'display-from':
      return orderKey(casemap(displayValue(envelope.from?.[0])));
    case 'display-to':
      return orderKey(casemap(displayValue(envelope.to?.[0])));
    default:
      return assertNever(key);
  }
}

/** What a client shows of an address. RFC 5957 §3. */
function displayValue(address: Address | undefined): string {
  if (!address) return '';
  const name = address.name === null ? '' : decodeHeaderText(address.name);
  if (name !== '') return name;
  const { mailbox, host } = address;
  if (mailbox === null) return '';
  return decodeHeaderText(host === null ? mailbox : `${mailbox}@${host}`);
}
