/**
 * SEARCH over sealed mail (RFC 9051 §6.4.4): a key is evaluated with as little opened as possible.
 *
 * H1  Facts come in stages: the row, the summary, the header, the text. A key that is decided by one stage
 *     opens nothing of the next; what is not yet known counts as unknown, not as false.
 * H2  Substrings are exact, without case (i;unicode-casemap), over the decoded text of any charset and encoding.
 * H3  The search text of a message is made once, off the event loop, and kept sealed under its message key.
 */
import { Slice } from '../base/abort.ts';
import { assertNever } from '../base/errors.ts';
import type { FolderId, Uid } from '../base/ids.ts';
import { setHas, type NumberSet } from '../base/uid-set.ts';
import { openRecord, sealRecord } from '../crypto/record.ts';
import { decodeHeaderText } from '../mime/encoded-word.ts';
import { parseHeaderFields, fieldValue } from '../mime/headers.ts';
import { normaliseForSearch } from '../mime/text.ts';
import { parseMessageDate } from '../mime/date.ts';
import type { UidRange } from '../store/message-rows.ts';
import type { MessageRow, MessageSummary } from './model.ts';
import { messagesOf, rowsOf, type OpenMessage } from './read.ts';
import type { MessageSet, SearchDate, SearchKey } from './search-key.ts';
import type { MailboxSession } from './session.ts';
import type { SearchText } from './text-extractor.ts';

export type SearchRequest = Readonly<{
  folder: FolderId;
  key: SearchKey;
  /** Where to look: the UIDs that the session sees. */
  within: readonly UidRange[];
  /** What sets of sequence numbers and `$` mean in the session's view, as UIDs. */
  resolve(set: MessageSet, of: 'sequence' | 'uid'): NumberSet;
}>;
export type SearchMatch = Readonly<{ uid: Uid; modSeq: number }>;

/** What is known of one message; a stage that was not opened is undefined. */
type Facts = Readonly<{
  row: MessageRow;
  summary?: MessageSummary;
  header?: ReadonlyMap<string, string>;
  text?: SearchText;
}>;
type Stage = 'row' | 'summary' | 'header' | 'text';
type Test = (facts: Facts) => boolean | undefined;

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** Matches in ascending order of UID. Throws ServerError 'key-*', 'content-damaged', 'limit-exceeded'. */
export async function search(
  session: MailboxSession,
  request: SearchRequest,
  signal?: AbortSignal,
): Promise<readonly SearchMatch[]> {
  const test = compile(request.key, request);
  const stages = new Set<Stage>();
  collectStages(request.key, stages);
  const found: SearchMatch[] = [];
  const take = (row: MessageRow): void => {
    found.push({ uid: row.uid, modSeq: row.modSeq });
  };
  const undecided: Uid[] = [];
  const slice = new Slice();
  for await (const rows of rowsOf(session, request.folder, request.within, signal)) {
    for (const row of rows) {
      const verdict = test({ row });
      if (verdict === true) take(row);
      else if (verdict === undefined) undecided.push(row.uid);
    }
    await slice.pause();
  }
  for await (const batch of messagesOf(
    session,
    request.folder,
    undecided.map((one) => ({ first: one, last: one })),
    signal,
  )) {
    for (const message of batch) {
      signal?.throwIfAborted();
      if (message.isStale) await message.renew(signal);
      if (await decide(session, message, { test, stages })) take(message.row);
      await slice.pause();
    }
  }
  return found.sort((a, b) => a.uid - b.uid);
}

async function decide(
  session: MailboxSession,
  message: OpenMessage,
  how: Readonly<{ test: Test; stages: ReadonlySet<Stage> }>,
): Promise<boolean> {
  let facts: Facts = { row: message.row };
  let verdict: boolean | undefined;
  if (how.stages.has('summary')) {
    facts = { ...facts, summary: message.summary };
    verdict = how.test(facts);
  }
  if (verdict === undefined && how.stages.has('header')) {
    facts = { ...facts, header: await headerOf(message) };
    verdict = how.test(facts);
  }
  if (verdict === undefined && how.stages.has('text')) {
    facts = { ...facts, text: await textOf(session, message) };
    verdict = how.test(facts);
  }
  return verdict ?? false;
}

/** Field name in lower case -> all its decoded values, normalised. */
async function headerOf(message: OpenMessage): Promise<ReadonlyMap<string, string>> {
  const { headerStart, bodyStart } = message.summary.scanned.root;
  const block = (await message.bytes(headerStart, bodyStart)).toString('latin1');
  const fields = new Map<string, string>();
  for (const field of parseHeaderFields(block)) {
    const value = normaliseForSearch(decodeHeaderText(fieldValue(block, field)));
    const before = fields.get(field.name);
    fields.set(field.name, before === undefined ? value : `${before}\n${value}`);
  }
  return fields;
}

async function textOf(session: MailboxSession, message: OpenMessage): Promise<SearchText> {
  const { sealed, key, keep, row } = message.searchText;
  using textKey = key;
  const context = { kind: 'search-text', organization: session.ref.organization, body: row.body } as const;
  if (sealed) return JSON.parse(openRecord(textKey, context, sealed).toString('utf8')) as SearchText;
  const text = await session.texts.extract(() => message.bytes(0, message.row.sizeBytes));
  const plain = Buffer.from(JSON.stringify(text));
  if (plain.length <= session.limits.searchTextBytes) keep(sealRecord(textKey, context, plain));
  return text;
}

/** Which stages a key can ask for. */
function collectStages(key: SearchKey, into: Set<Stage>): void {
  switch (key.kind) {
    case 'and':
      for (const each of key.keys) collectStages(each, into);
      return;
    case 'or':
      collectStages(key.left, into);
      collectStages(key.right, into);
      return;
    case 'not':
      collectStages(key.key, into);
      return;
    case 'header':
      into.add('header');
      return;
    case 'body':
    case 'text':
      into.add('text');
      return;
    case 'date':
      if (key.of !== 'saved') into.add('summary');
      return;
    case 'age':
      into.add('summary');
      return;
    default:
  }
}

function compile(key: SearchKey, request: SearchRequest): Test {
  switch (key.kind) {
    case 'all':
    case 'save-date-supported':
      return () => true;
    case 'and':
      return every(key.keys.map((each) => compile(each, request)));
    case 'or':
      return either(compile(key.left, request), compile(key.right, request));
    case 'not':
      return opposite(compile(key.key, request));
    case 'sequence':
      return inSet(request.resolve(key.numbers, 'sequence'));
    case 'uid':
      return inSet(request.resolve(key.uids, 'uid'));
    case 'flag':
      return hasFlag(key.flag.toLowerCase());
    case 'header':
      return headerContains(key.name, normaliseForSearch(key.text));
    case 'body':
      return textContains(normaliseForSearch(key.text), (text) => [text.body]);
    case 'text':
      return textContains(normaliseForSearch(key.text), (text) => [text.header, text.body]);
    case 'larger':
      return ({ row }) => row.sizeBytes > key.sizeBytes;
    case 'smaller':
      return ({ row }) => row.sizeBytes < key.sizeBytes;
    case 'date':
      return dateTest(key.of, comparison(key.relation, key.date));
    case 'age':
      return ageTest(key.relation, Date.now() - key.seconds * 1000);
    case 'modseq':
      return ({ row }) => row.modSeq >= key.atLeast;
    default:
      return assertNever(key);
  }
}

const every =
  (tests: readonly Test[]): Test =>
  (facts) => {
    let verdict: boolean | undefined = true;
    for (const test of tests) {
      const one = test(facts);
      if (one === false) return false;
      if (one === undefined) verdict = undefined;
    }
    return verdict;
  };

const either =
  (left: Test, right: Test): Test =>
  (facts) => {
    const [a, b] = [left(facts), right(facts)];
    if (a === true || b === true) return true;
    return a === undefined || b === undefined ? undefined : false;
  };

const opposite =
  (test: Test): Test =>
  (facts) => {
    const verdict = test(facts);
    return verdict === undefined ? undefined : !verdict;
  };

const inSet =
  (set: NumberSet): Test =>
  ({ row }) =>
    setHas(set, row.uid);

const hasFlag =
  (flag: string): Test =>
  ({ row }) =>
    row.flags.some((each) => each.toLowerCase() === flag);

const headerContains =
  (name: string, needle: string): Test =>
  ({ header }) =>
    header && (header.get(name)?.includes(needle) ?? false);

const textContains =
  (needle: string, parts: (text: SearchText) => readonly string[]): Test =>
  ({ text }) =>
    text && parts(text).some((part) => part.includes(needle));

/** Days are compared as the date says them, without its time zone (RFC 9051 §6.4.4). */
function dateTest(of: 'internal' | 'sent' | 'saved', compare: (dayMs: number) => boolean): Test {
  switch (of) {
    case 'saved':
      return ({ row }) => compare(startOfDay(row.savedAtMs));
    case 'internal':
      return ({ summary }) => {
        if (!summary) return undefined;
        const { atMs, zoneMinutes } = summary.internalDate;
        return compare(startOfDay(atMs + zoneMinutes * MINUTE_MS));
      };
    case 'sent':
      return ({ summary }) => {
        if (!summary) return undefined;
        const date = parseMessageDate(summary.scanned.envelope.date ?? '');
        return date !== null && compare(startOfDay(date.atMs + date.zoneMinutes * MINUTE_MS));
      };
    default:
      return assertNever(of);
  }
}

const startOfDay = (atMs: number): number => Math.floor(atMs / DAY_MS) * DAY_MS;

function comparison(relation: 'before' | 'on' | 'since', date: SearchDate): (dayMs: number) => boolean {
  const dayMs = Date.UTC(date.year, date.month - 1, date.day);
  switch (relation) {
    case 'before':
      return (given) => given < dayMs;
    case 'on':
      return (given) => given === dayMs;
    case 'since':
      return (given) => given >= dayMs;
    default:
      return assertNever(relation);
  }
}

function ageTest(relation: 'older' | 'younger', momentMs: number): Test {
  return ({ summary }) => {
    if (!summary) return undefined;
    const { atMs } = summary.internalDate;
    return relation === 'older' ? atMs <= momentMs : atMs >= momentMs;
  };
}
