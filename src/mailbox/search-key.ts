/**
 * What a SEARCH asks for, as a tree of values: made by imap/proto/commands/search.ts (and later by
 * filters and the admin API), evaluated by mailbox/search.ts.
 *
 * Q1  Strings are Unicode, already decoded from the client's charset; matching is on substrings,
 *     case-insensitive (RFC 9051 §6.4.4). An empty string matches every message that has the field.
 * Q2  Depth and number of keys were bounded by the parser.
 * Q3  `*` and `$` are still symbolic: the session resolves them against its snapshot.
 */
import type { ModSeq } from '../base/ids.ts';
import type { NumberSet, SequenceSet } from '../base/uid-set.ts';

/** A calendar day without a time zone; month 1..12, day 1..31. */
export type SearchDate = Readonly<{ year: number; month: number; day: number }>;

/** A set that the client wrote, or `$`: the result that SEARCH RETURN (SAVE) left (RFC 9051 §6.4.4.1). */
export type MessageSet = Readonly<{ kind: 'set'; set: SequenceSet }> | Readonly<{ kind: 'saved' }>;

/** `on` is the whole day, `before` excludes it, `since` includes it. */
export type DateRelation = 'before' | 'on' | 'since';

export type SearchKey =
  | Readonly<{ kind: 'all' }>
  | Readonly<{ kind: 'and'; keys: readonly SearchKey[] }>
  | Readonly<{ kind: 'or'; left: SearchKey; right: SearchKey }>
  | Readonly<{ kind: 'not'; key: SearchKey }>
  | Readonly<{ kind: 'sequence'; numbers: MessageSet }>
  | Readonly<{ kind: 'uid'; uids: MessageSet }>
  /** `\Seen` etc. in that spelling (`\Recent` too), or a keyword: keywords compare without case. */
  | Readonly<{ kind: 'flag'; flag: string }>
  /** Any header field: `name` in lower case; FROM, TO, CC, BCC and SUBJECT come as their fields. */
  | Readonly<{ kind: 'header'; name: string; text: string }>
  | Readonly<{ kind: 'body'; text: string }>
  | Readonly<{ kind: 'text'; text: string }>
  | Readonly<{ kind: 'larger'; sizeBytes: number }>
  | Readonly<{ kind: 'smaller'; sizeBytes: number }>
  /** `internal`: INTERNALDATE, `sent`: the Date field, `saved`: when it came into this folder (RFC 8514). */
  | Readonly<{ kind: 'date'; of: 'internal' | 'sent' | 'saved'; relation: DateRelation; date: SearchDate }>
  /** RFC 8514 §4.3: true in every folder that records save dates. */
  | Readonly<{ kind: 'save-date-supported' }>
  /** RFC 5032: INTERNALDATE at most (`younger`) or at least (`older`) this long ago. */
  | Readonly<{ kind: 'age'; relation: 'older' | 'younger'; seconds: number }>
  /** RFC 8474 §6: the object id of the message or of its thread, case counts. */
  | Readonly<{ kind: 'email-id' | 'thread-id'; id: string }>
  /** RFC 6203: may match tolerantly what it holds. */
  | Readonly<{ kind: 'fuzzy'; key: SearchKey }>
  /** Exactly these messages: what a set meant at an earlier moment. */
  | Readonly<{ kind: 'known'; uids: NumberSet }>
  /** RFC 7162 §3.1.5: modification sequence at least this. */
  | Readonly<{ kind: 'modseq'; atLeast: ModSeq }>;

/** Whether one of the keys in the tree is as wanted. */
export function someKey(key: SearchKey, isWanted: (key: SearchKey) => boolean): boolean {
  if (isWanted(key)) return true;
  switch (key.kind) {
    case 'and':
      return key.keys.some((each) => someKey(each, isWanted));
    case 'or':
      return someKey(key.left, isWanted) || someKey(key.right, isWanted);
    case 'not':
    case 'fuzzy':
      return someKey(key.key, isWanted);
    default:
      return false;
  }
}

/** The tree with some of its leaves replaced. */
export function mapKey(key: SearchKey, replaced: (leaf: SearchKey) => SearchKey): SearchKey {
  switch (key.kind) {
    case 'and':
      return { kind: 'and', keys: key.keys.map((each) => mapKey(each, replaced)) };
    case 'or':
      return { kind: 'or', left: mapKey(key.left, replaced), right: mapKey(key.right, replaced) };
    case 'not':
    case 'fuzzy':
      return { kind: key.kind, key: mapKey(key.key, replaced) };
    default:
      return replaced(key);
  }
}
