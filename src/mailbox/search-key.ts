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
import type { SequenceSet } from '../base/uid-set.ts';

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
  /** RFC 7162 §3.1.5: modification sequence at least this. */
  | Readonly<{ kind: 'modseq'; atLeast: ModSeq }>;
