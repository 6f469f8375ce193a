/**
 * Results that a client follows (RFC 5267 §4.3): which messages of the selected folder they hold, and how that changes.
 *
 * SC1  What a result is told to hold is what the search would find, once all news of the folder were told.
 * SC2  Numbers are valid where they are sent: messages leave a result before their EXPUNGE, and join it after EXISTS.
 * SC3  A message that could not be looked at, for want of a key, is looked at the next time.
 *
 * Owned by view.ts, so that they end with it; session.ts writes the changes.
 */
import type { FolderId } from '../base/ids.ts';
import { intersectSets, normaliseRanges, numberSet, setHas, subtractSets, type NumberSet } from '../base/uid-set.ts';
import type { Mailbox } from '../mailbox/mailbox.ts';
import { mapKey, type MessageSet, type SearchKey } from '../mailbox/search-key.ts';
import * as print from './proto/responses.ts';

type Resolve = (set: MessageSet, of: 'sequence' | 'uid') => NumberSet;
/** What is followed: a search, and what it found. */
type Followed = Readonly<{ byUid: boolean; key: SearchKey; resolve: Resolve; uids: NumberSet }>;
type Context = { readonly byUid: boolean; readonly key: SearchKey; readonly resolve: Resolve; uids: NumberSet };
/** The number of a message by its UID; 0 when the client does not know it. */
type NumberOf = (uid: number) => number;

const MAX_CONTEXTS_COUNT = 16;

export class SearchContexts {
  readonly #contexts = new Map<string, Context>();
  /** Messages that were not looked at (SC3). */
  #pending: NumberSet = [];

  get isEmpty(): boolean {
    return this.#contexts.size === 0;
  }

  has(tag: string): boolean {
    return this.#contexts.has(tag);
  }

  /** Follows a result; false when there are too many. Sequence numbers mean what they mean now (RFC 5267 §4.3). */
  add(tag: string, { byUid, key, resolve, uids }: Followed): boolean {
    if (this.#contexts.size >= MAX_CONTEXTS_COUNT) return false;
    const fixed = mapKey(key, (leaf) => {
      if (leaf.kind === 'sequence') return { kind: 'known', uids: resolve(leaf.numbers, 'sequence') };
      if (leaf.kind === 'uid' && leaf.uids.kind === 'saved') return { kind: 'known', uids: resolve(leaf.uids, 'uid') };
      return leaf;
    });
    this.#contexts.set(tag, { byUid, key: fixed, resolve, uids });
    return true;
  }

  /** False when a tag names no result. RFC 5267 §4.3.5. */
  cancel(tag: string): boolean {
    return this.#contexts.delete(tag);
  }

  /** Takes what is expunged out of the results. `expunged`: UIDs and the numbers that they still have. */
  removalText(expunged: readonly Readonly<{ uid: number; sequence: number }>[]): string {
    let text = '';
    for (const [tag, context] of this.#contexts) {
      const gone = expunged.filter(({ uid }) => setHas(context.uids, uid));
      if (gone.length === 0) continue;
      context.uids = subtractSets(context.uids, numberSet(gone.map(({ uid }) => uid)));
      const numbers = numberSet(gone.map(({ uid, sequence }) => (context.byUid ? uid : sequence)));
      text += print.contextLine(tag, { byUid: context.byUid, change: 'REMOVEFROM', numbers });
    }
    return text;
  }

  /** How the results change with these messages, new or changed. Throws ServerError 'key-*' and the like; nothing is lost. */
  async changeText(
    mailbox: Mailbox,
    of: Readonly<{ folder: FolderId; touched: Iterable<number>; numberOf: NumberOf }>,
    signal?: AbortSignal,
  ): Promise<string> {
    if (this.isEmpty) return '';
    const within = normaliseRanges([...this.#pending, ...numberSet(of.touched)]);
    this.#pending = within;
    let text = '';
    if (within.length === 0) return text;
    for (const [tag, context] of this.#contexts) {
      const { key, resolve } = context;
      const matches = await mailbox.search({ folder: of.folder, key, within, resolve }, signal);
      const now = numberSet(matches.map(({ uid }) => uid).filter((uid) => of.numberOf(uid) > 0));
      text += this.#change(tag, context, { within, now, numberOf: of.numberOf });
    }
    this.#pending = [];
    return text;
  }

  #change(
    tag: string,
    context: Context,
    { within, now, numberOf }: Readonly<{ within: NumberSet; now: NumberSet; numberOf: NumberOf }>,
  ): string {
    const { byUid } = context;
    const before = intersectSets(context.uids, within);
    const [added, removed] = [subtractSets(now, before), subtractSets(before, now)];
    context.uids = normaliseRanges([...subtractSets(context.uids, within), ...now]);
    const numbersOf = (uids: NumberSet): NumberSet => numberSet(each(uids, byUid ? null : numberOf));
    let text = '';
    if (removed.length > 0) {
      text += print.contextLine(tag, { byUid, change: 'REMOVEFROM', numbers: numbersOf(removed) });
    }
    if (added.length > 0) text += print.contextLine(tag, { byUid, change: 'ADDTO', numbers: numbersOf(added) });
    return text;
  }
}

/** The messages of a set, which are there: by UID, or by their numbers. */
function* each(uids: NumberSet, numberOf: NumberOf | null): Generator<number> {
  for (const { first, last } of uids) {
    for (let uid = first; uid <= last; uid += 1) {
      const number = numberOf ? numberOf(uid) : uid;
      if (number > 0) yield number;
    }
  }
}
