/**
 * What one session knows of its selected folder: the UIDs behind its sequence numbers, and how far it has caught up.
 *
 * V1  Sequence numbers change in `sync` only, so never in the middle of a command (RFC 9051 §7.5.1); what vanished
 *     while EXPUNGE may not be sent keeps its number until it may.
 * V2  A UID that the client was not told of is in no set: `1:*` ends with the last message that it knows.
 * V3  `sync` asks the store what happened; a notice only says that it is worth asking.
 * V4  Nothing opened is kept: not the folder's name, and of keywords only which bits the client was told of. A session
 *     that idles for hours holds no content.
 *
 * Made by commands/select.ts; used by the commands of the selected state.
 */
import type { ModSeq } from '../base/ids.ts';
import { clampSet, normaliseRanges, numberSet, resolveSet, type NumberRange, type NumberSet } from '../base/uid-set.ts';
import type { Mailbox } from '../mailbox/mailbox.ts';
import type { Folder, FolderChanges, MessageRow } from '../mailbox/model.ts';
import type { MessageSet } from '../mailbox/search-key.ts';
import { SyntaxFault } from './proto/codes.ts';
import { resultsIn, type ResultRange } from './proto/result-range.ts';
import { SearchContexts } from './search-contexts.ts';

/** What the client must be told, in this order. */
type ViewUpdate = Readonly<{
  /** Sequence numbers, descending, so that each is right when it is sent. */
  expunged: readonly number[];
  expungedUids: NumberSet;
  /** Null: no new messages. */
  exists: number | null;
  /** There are keywords that the client was not told of. */
  hasNewKeywords: boolean;
  changed: readonly MessageRow[];
  /** UIDs of all messages that are new or changed, also by what the client was told of before. */
  touched: readonly number[];
}>;

type ViewedFolder = Omit<Folder, 'name'>;

const MIN_CAPACITY = 64;

export class FolderView implements Disposable {
  readonly folder: ViewedFolder;
  readonly isReadOnly: boolean;
  readonly uidNext: number;
  /** What `$` means: UIDs. RFC 9051 §6.4.4.1. */
  saved: NumberSet = [];
  /** Results that the client follows. */
  readonly contexts = new SearchContexts();
  /** ENABLE UIDONLY: sequence numbers are neither taken nor told. RFC 9586 §3. */
  isUidOnly = false;
  readonly #mailbox: Mailbox;
  /** Bits of the keywords that the client was told of. */
  #knownKeywords: ReadonlySet<number> = new Set();
  #uids: Uint32Array;
  #count: number;
  /** The largest UID that was ever in the view. */
  #lastUid: number;
  #modSeq: ModSeq;
  #gone = new Set<number>();
  /** Changes that the client was told of by the command that made them: UID and modification sequence. */
  readonly #told = new Map<number, ModSeq>();
  #isStale = true;
  readonly #listening: Disposable;
  #onStale: (() => void) | null = null;

  constructor(
    mailbox: Mailbox,
    folder: ViewedFolder,
    options: Readonly<{ isReadOnly: boolean; listening: ViewListener }>,
  ) {
    this.#mailbox = mailbox;
    const { id, specialUse, uidValidity } = folder;
    this.folder = { id, specialUse, uidValidity };
    this.isReadOnly = options.isReadOnly;
    const { snapshot } = options.listening;
    this.#uids = snapshot.uids;
    this.#count = snapshot.uids.length;
    this.#lastUid = snapshot.uids.at(-1) ?? 0;
    this.#modSeq = snapshot.highestModSeq;
    this.uidNext = snapshot.uidNext;
    this.#isStale = options.listening.takeStale(() => {
      this.#isStale = true;
      this.#onStale?.();
    });
    this.#listening = options.listening;
  }

  /** Opens a folder. Throws ServerError 'not-found'. */
  static async open(
    mailbox: Mailbox,
    folder: ViewedFolder,
    options: Readonly<{ isReadOnly: boolean }>,
  ): Promise<FolderView> {
    const listening = await listenFirst(mailbox, folder);
    return new FolderView(mailbox, folder, { ...options, listening });
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    this.#onStale = null;
  }

  /** How a response about a message begins: by its number, or where only UIDs are spoken of by its UID. RFC 9586 §3. */
  responseHead(uid: number): string {
    return this.isUidOnly ? `* ${String(uid)} UIDFETCH (` : `* ${String(this.sequenceOf(uid))} FETCH (`;
  }

  /** How many messages the client knows. */
  get count(): number {
    return this.#count;
  }

  get modSeq(): ModSeq {
    return this.#modSeq;
  }

  /** The whole view as one range of UIDs; none when it is empty. */
  get all(): NumberSet {
    const first = this.#uids[0];
    return this.#count === 0 || first === undefined ? [] : [{ first, last: this.#lastKnown }];
  }

  /** The sequence number of a UID; 0 when the client does not know it. Logarithmic. */
  sequenceOf(uid: number): number {
    const at = this.#placeOf(uid);
    return this.#uids[at] === uid && at < this.#count ? at + 1 : 0;
  }

  /** How many of the client's messages lie in a set of UIDs. */
  countIn(uids: NumberSet): number {
    let count = 0;
    for (const { first, last } of uids) count += this.#placeOf(last + 1) - this.#placeOf(first);
    return count;
  }

  /**
   * The UIDs that a client's set means, clamped to the view. Throws SyntaxFault for sequence numbers that are not
   * there (RFC 9051 §6.4.9: unknown UIDs are no fault).
   */
  resolve(set: MessageSet, of: 'sequence' | 'uid'): NumberSet {
    if (set.kind === 'saved') return this.#clamped(this.saved);
    if (of === 'sequence' && this.isUidOnly) throw new SyntaxFault('Only UIDs are taken', { code: 'UIDREQUIRED' });
    if (of === 'uid') return this.#clamped(resolveSet(set.set, this.#lastKnown));
    const written = set.set.ranges.at(-1)?.last ?? 0;
    if (written > this.#count) throw new SyntaxFault('There is no message of that sequence number');
    const uids: NumberRange[] = [];
    for (const { first, last } of resolveSet(set.set, this.#count)) {
      const [from, to] = [this.#uids[first - 1], this.#uids[last - 1]];
      if (from !== undefined && to !== undefined && last <= this.#count) uids.push({ first: from, last: to });
    }
    return normaliseRanges(uids);
  }

  /** Those of the client's messages in a set of UIDs that are in a range of them. RFC 9394 §3.3. */
  resultsIn(uids: NumberSet, range: ResultRange): NumberSet {
    const known: number[] = [];
    for (const { first, last } of uids) {
      for (let at = this.#placeOf(first), end = this.#placeOf(last + 1); at < end; at += 1)
        known.push(this.#uids[at] ?? 0);
    }
    return numberSet(resultsIn(known, range));
  }

  /** Sequence numbers of UIDs that are known. */
  sequencesOf(uids: Iterable<number>): NumberSet {
    const sequences: number[] = [];
    for (const uid of uids) {
      const sequence = this.sequenceOf(uid);
      if (sequence > 0) sequences.push(sequence);
    }
    return numberSet(sequences);
  }

  /** Notes that the client is told of these states of messages. */
  noteTold(rows: readonly MessageRow[]): void {
    for (const row of rows) this.#told.set(row.uid, row.modSeq);
  }

  /** All keywords, for the client to be told of now. Throws ServerError 'key-*'. */
  async tellKeywords(signal?: AbortSignal): Promise<readonly string[]> {
    const names = await this.#mailbox.keywords(signal);
    this.#knownKeywords = new Set(names.keys());
    return [...names.values()];
  }

  /** Whether `rows` have keywords that the client was not told of. */
  showsNewKeywords(rows: readonly MessageRow[]): boolean {
    return rows.some(({ keywords }) => keywords !== null && this.#isNews(keywords));
  }

  /** Whether `sync` may have something to tell. */
  isStale(mayExpunge: boolean): boolean {
    return this.#isStale || (mayExpunge && this.#gone.size > 0);
  }

  /** Calls `listener` at each change of the folder, until null is given. */
  onStale(listener: (() => void) | null): void {
    this.#onStale = listener;
  }

  /** Catches up with the store. Throws ServerError 'not-found' when the folder is gone, 'key-*'. */
  async sync(options: Readonly<{ mayExpunge: boolean }>, signal?: AbortSignal): Promise<ViewUpdate> {
    this.#isStale = false;
    let changes: FolderChanges;
    try {
      changes = await this.#mailbox.changesSince(this.folder.id, this.#modSeq, signal);
    } catch (error) {
      this.#isStale = true;
      throw error;
    }
    const vanished = new Set<number>(changes.vanished);
    const latest = new Map<number, MessageRow>();
    for (const row of changes.changed) {
      const known = latest.get(row.uid);
      if (!vanished.has(row.uid) && (!known || known.modSeq < row.modSeq)) latest.set(row.uid, row);
    }
    for (const uid of vanished) if (this.sequenceOf(uid) > 0) this.#gone.add(uid);
    const { expunged, expungedUids } = options.mayExpunge ? this.#removeGone() : { expunged: [], expungedUids: [] };
    const changed: MessageRow[] = [];
    const fresh: MessageRow[] = [];
    for (const row of latest.values()) {
      if (row.uid > this.#lastUid) fresh.push(row);
      else if (this.#told.get(row.uid) !== row.modSeq && this.sequenceOf(row.uid) > 0) changed.push(row);
    }
    this.#add(fresh);
    this.#told.clear();
    this.#modSeq = changes.highestModSeq;
    const hasNewKeywords = this.showsNewKeywords([...latest.values()]);
    const exists = fresh.length > 0 ? this.#count : null;
    return { expunged, expungedUids, exists, hasNewKeywords, changed, touched: [...latest.keys()] };
  }

  #isNews(keywords: Uint8Array): boolean {
    for (let at = 0; at < keywords.length; at += 1) {
      for (let bits = keywords[at] ?? 0, bit = at * 8; bits !== 0; bits >>= 1, bit += 1) {
        if ((bits & 1) !== 0 && !this.#knownKeywords.has(bit)) return true;
      }
    }
    return false;
  }

  get #lastKnown(): number {
    return this.#count === 0 ? 0 : (this.#uids[this.#count - 1] ?? 0);
  }

  #clamped(uids: NumberSet): NumberSet {
    const [whole] = this.all;
    return whole ? clampSet(uids, whole) : [];
  }

  /** Index of the first UID that is at least `uid`. */
  #placeOf(uid: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#uids[middle] ?? 0) < uid) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #removeGone(): { expunged: number[]; expungedUids: NumberSet } {
    if (this.#gone.size === 0) return { expunged: [], expungedUids: [] };
    const expunged: number[] = [];
    let kept = 0;
    for (let at = 0; at < this.#count; at += 1) {
      const uid = this.#uids[at] ?? 0;
      if (this.#gone.has(uid)) expunged.push(at + 1);
      else {
        this.#uids[kept] = uid;
        kept += 1;
      }
    }
    this.#count = kept;
    const expungedUids = numberSet(this.#gone);
    this.#gone = new Set();
    return { expunged: expunged.reverse(), expungedUids };
  }

  /** Rows of larger UIDs than all before. */
  #add(fresh: readonly MessageRow[]): void {
    if (this.#count + fresh.length > this.#uids.length) {
      const larger = new Uint32Array(Math.max(MIN_CAPACITY, (this.#count + fresh.length) * 2));
      larger.set(this.#uids.subarray(0, this.#count));
      this.#uids = larger;
    }
    const uids = fresh.map((row) => row.uid).sort((a, b) => a - b);
    this.#uids.set(uids, this.#count);
    this.#count += uids.length;
    this.#lastUid = uids.at(-1) ?? this.#lastUid;
  }
}

type ViewListener = Disposable &
  Readonly<{
    snapshot: Awaited<ReturnType<Mailbox['snapshot']>>;
    /** Whether something changed since the snapshot; from now on `onChange` is called instead. */
    takeStale(onChange: () => void): boolean;
  }>;

/** Listens, and then takes the snapshot, so that no change falls in between. */
async function listenFirst(mailbox: Mailbox, folder: ViewedFolder): Promise<ViewListener> {
  let isStale = false;
  let onChange = (): void => {
    isStale = true;
  };
  const listening = mailbox.listen(folder.id, () => {
    onChange();
  });
  try {
    const snapshot = await mailbox.snapshot(folder.id);
    return {
      snapshot,
      takeStale: (listener) => {
        onChange = listener;
        return isStale;
      },
      [Symbol.dispose]: () => {
        listening[Symbol.dispose]();
      },
    };
  } catch (error) {
    listening[Symbol.dispose]();
    throw error;
  }
}
