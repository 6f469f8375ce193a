/**
 * SEARCH over sealed mail (RFC 9051 §6.4.4): a key is evaluated with as little opened as possible.
 *
 * H1  Facts come in stages: the row, the summary, the object ids, the header, the text. A key that is decided by one stage
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
import { fuzzyScore } from './fuzzy.ts';
import type { MessageRow, MessageSummary } from './model.ts';
import { emailObjectId, threadObjectId } from './object-ids.ts';
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
/** `score`: 1 to 100, below 100 only where a fuzzy key matched tolerantly (fuzzy.ts). */
export type SearchMatch = Readonly<{ uid: Uid; modSeq: number; score: number }>;

/** What is known of one message; a stage that was not opened is undefined. */
type Facts = Readonly<{
  row: MessageRow;
  summary?: MessageSummary;
  emailId?: string;
  threadId?: string;
  header?: ReadonlyMap<string, string>;
  text?: SearchText;
}>;
type Stage = 'summary' | 'ids' | 'header' | 'text';
type Test = (facts: Facts) => boolean | undefined;

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const FULL_SCORE = 100;

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
  const take = (facts: Facts): void => {
    const { uid, modSeq } = facts.row;
    found.push({ uid, modSeq, score: scoreOf(request.key, facts) ?? FULL_SCORE });
  };
  const undecided: Uid[] = [];
  const slice = new Slice();
  for await (const rows of rowsOf(session, request.folder, request.within, signal)) {
    for (const row of rows) {
      const verdict = test({ row });
      if (verdict === true) take({ row });
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
      const facts = await decide(session, message, { test, stages });
      if (facts) take(facts);
      await slice.pause();
    }
  }
  return found.sort((a, b) => a.uid - b.uid);
}

/** What is known of a message that matches; null when it does not. */
async function decide(
  session: MailboxSession,
  message: OpenMessage,
  how: Readonly<{ test: Test; stages: ReadonlySet<Stage> }>,
): Promise<Facts | null> {
  let facts: Facts = { row: message.row };
  let verdict: boolean | undefined;
  if (how.stages.has('summary')) {
    facts = { ...facts, summary: message.summary };
    verdict = how.test(facts);
  }
  if (verdict === undefined && how.stages.has('ids')) {
    facts = { ...facts, emailId: emailObjectId(message.body), threadId: await threadObjectId(message) };
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
  return verdict ? facts : null;
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
    case 'fuzzy':
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
    case 'email-id':
    case 'thread-id':
      into.add('ids');
      return;
    default:
  }
}

type Compilation = Pick<SearchRequest, 'resolve'> & Readonly<{ isFuzzy?: boolean }>;

function compile(key: SearchKey, request: Compilation): Test {
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
    case 'fuzzy':
      return compile(key.key, { ...request, isFuzzy: true });
    case 'known':
      return inSet(key.uids);
    case 'sequence':
      return inSet(request.resolve(key.numbers, 'sequence'));
    case 'uid':
      return inSet(request.resolve(key.uids, 'uid'));
    case 'flag':
      return hasFlag(key.flag.toLowerCase());
    case 'header':
    case 'body':
    case 'text':
      return textTest(key, request.isFuzzy ?? false);
    case 'larger':
      return ({ row }) => row.sizeBytes > key.sizeBytes;
    case 'smaller':
      return ({ row }) => row.sizeBytes < key.sizeBytes;
    case 'date':
      return dateTest(key.of, comparison(key.relation, key.date));
    case 'age':
      return ageTest(key.relation, Date.now() - key.seconds * 1000);
    case 'email-id':
      return ({ emailId }) => (emailId === undefined ? undefined : emailId === key.id);
    case 'thread-id':
      return ({ threadId }) => (threadId === undefined ? undefined : threadId === key.id);
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

type TextKey = Extract<SearchKey, { kind: 'header' | 'body' | 'text' }>;

function textTest(key: TextKey, isFuzzy: boolean): Test {
  const needle = normaliseForSearch(key.text);
  return (facts) => {
    const texts = textsOf(key, facts);
    if (!texts) return undefined;
    return isFuzzy ? fuzzyScore(needle, texts) > 0 : texts.some((text) => text.includes(needle));
  };
}

/** What a key looks at; undefined while it is not known. */
function textsOf(key: TextKey, { header, text }: Facts): readonly string[] | undefined {
  switch (key.kind) {
    case 'header': {
      const value = header?.get(key.name);
      return header && (value === undefined ? [] : [value]);
    }
    case 'body':
      return text && [text.body];
    case 'text':
      return text && [text.header, text.body];
    default:
      return assertNever(key);
  }
}

/** How well a message that matches does so by its fuzzy keys; null where none of them had a say. */
function scoreOf(key: SearchKey, facts: Facts, isFuzzy = false): number | null {
  switch (key.kind) {
    case 'fuzzy':
      return scoreOf(key.key, facts, true);
    case 'and':
    case 'or': {
      const keys = key.kind === 'and' ? key.keys : [key.left, key.right];
      const scores = keys.map((each) => scoreOf(each, facts, isFuzzy)).filter((score) => score !== null);
      if (scores.length === 0) return null;
      return key.kind === 'and' ? Math.min(...scores) : Math.max(...scores);
    }
    case 'header':
    case 'body':
    case 'text': {
      const texts = isFuzzy ? textsOf(key, facts) : undefined;
      const score = texts ? fuzzyScore(normaliseForSearch(key.text), texts) : 0;
      return score > 0 ? score : null;
    }
    default:
      return null;
  }
}

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
