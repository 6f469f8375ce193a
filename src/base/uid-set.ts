/**
 * Sets of UIDs or message sequence numbers, as immutable sorted ranges.
 *
 * U1  A NumberSet is sorted, its ranges neither overlap nor touch, every number is in 1..2^32-1.
 * U2  `*` stays symbolic until `resolveSet`, because its meaning depends on the folder (RFC 9051 §9, seq-number).
 * U3  Cost follows the length of the text, never the numbers in it: `1:4294967295` is one range.
 *
 * Called by imap/proto (parsing, printing) and by everything that walks messages.
 */

/** Both ends belong to the range; `first <= last`. */
export type NumberRange = Readonly<{ first: number; last: number }>;

/** Normalised: see U1. */
export type NumberSet = readonly NumberRange[];

/**
 * A set as a client wrote it. `openFrom` is the smallest n of all its `n:*` items (`*` alone counts as
 * STAR), or null without any: however many there are, together they mean one range up to the maximum.
 */
export type SequenceSet = Readonly<{ ranges: NumberSet; openFrom: number | null }>;

/** The largest UID and sequence number. */
export const MAX_SET_NUMBER = 0xffff_ffff;

/** Stands for `*` in `openFrom`: above every number. */
const STAR = MAX_SET_NUMBER + 1;

const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
const COLON = 0x3a;
const COMMA = 0x2c;
const ASTERISK = 0x2a;

/**
 * Parses a whole sequence set (`1:5,7,*`); at most `maxItems` comma-separated items.
 * Null when the text is not one, or has more items. RFC 9051 §9 (sequence-set).
 */
export function parseSequenceSet(text: string, maxItems: number): SequenceSet | null {
  const ranges: NumberRange[] = [];
  let openFrom: number | null = null;
  let at = 0;
  let sorted = true;
  let itemCount = 0;
  let previousLast = 0;

  const number = (): number => {
    if (text.charCodeAt(at) === ASTERISK) {
      at += 1;
      return STAR;
    }
    const start = at;
    let value = 0;
    for (; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code < DIGIT_0 || code > DIGIT_9) break;
      value = value * 10 + (code - DIGIT_0);
      if (value > MAX_SET_NUMBER) return -1;
    }
    return at === start || value === 0 ? -1 : value;
  };

  for (;;) {
    itemCount += 1;
    if (itemCount > maxItems) return null;
    const one = number();
    let other = one;
    if (one > 0 && text.charCodeAt(at) === COLON) {
      at += 1;
      other = number();
    }
    if (one < 0 || other < 0) return null;
    const first = Math.min(one, other);
    const last = Math.max(one, other);
    if (last === STAR) openFrom = openFrom === null ? first : Math.min(openFrom, first);
    else {
      sorted &&= first > previousLast + 1;
      previousLast = last;
      ranges.push({ first, last });
    }
    if (at === text.length) break;
    if (text.charCodeAt(at) !== COMMA) return null;
    at += 1;
  }
  return { ranges: sorted ? ranges : normaliseRanges(ranges), openFrom };
}

/** The set of exactly these ranges, in any order, overlapping or not; an empty range (`first > last`) is dropped. */
export function normaliseRanges(ranges: readonly NumberRange[]): NumberSet {
  const sorted = ranges.filter((range) => range.first <= range.last).sort((a, b) => a.first - b.first);
  const merged: NumberRange[] = [];
  let open: { first: number; last: number } | undefined;
  for (const range of sorted) {
    if (open && range.first <= open.last + 1) open.last = Math.max(open.last, range.last);
    else {
      open = { first: range.first, last: range.last };
      merged.push(open);
    }
  }
  return merged;
}

/** The set of exactly these numbers, in any order, repeated or not. */
export function numberSet(numbers: Iterable<number>): NumberSet {
  const ranges: { first: number; last: number }[] = [];
  let open: { first: number; last: number } | undefined;
  let sorted = true;
  for (const number of numbers) {
    if (open && number === open.last + 1) open.last = number;
    else {
      if (open && number <= open.last) sorted = false;
      open = { first: number, last: number };
      ranges.push(open);
    }
  }
  return sorted ? ranges : normaliseRanges(ranges);
}

/**
 * What a client's set means in a folder whose largest UID (or message count) is `maximum`; 0 for an
 * empty folder, where `*` means nothing. `n:*` with n above the maximum means the maximum. RFC 9051 §9.
 */
export function resolveSet(set: SequenceSet, maximum: number): NumberSet {
  if (set.openFrom === null || maximum === 0) return set.ranges;
  return normaliseRanges([...set.ranges, { first: Math.min(set.openFrom, maximum), last: maximum }]);
}

/** Whether `number` is in the set; takes the logarithm of the number of ranges. */
export function setHas(set: NumberSet, number: number): boolean {
  const range = set[firstRangeEndingFrom(set, number)];
  return range !== undefined && range.first <= number;
}

/** The part of the set within `bounds`. */
export function clampSet(set: NumberSet, bounds: NumberRange): NumberSet {
  const clamped: NumberRange[] = [];
  for (let index = firstRangeEndingFrom(set, bounds.first); index < set.length; index += 1) {
    const range = set[index];
    if (range === undefined || range.first > bounds.last) break;
    clamped.push({ first: Math.max(range.first, bounds.first), last: Math.min(range.last, bounds.last) });
  }
  return clamped;
}

/** The numbers in both sets. */
export function intersectSets(a: NumberSet, b: NumberSet): NumberSet {
  const common: NumberRange[] = [];
  let atA = 0;
  let atB = 0;
  for (;;) {
    const left = a[atA];
    const right = b[atB];
    if (left === undefined || right === undefined) return common;
    const first = Math.max(left.first, right.first);
    const last = Math.min(left.last, right.last);
    if (first <= last) common.push({ first, last });
    if (left.last < right.last) atA += 1;
    else atB += 1;
  }
}

/** The numbers of `a` that are not in `b`. */
export function subtractSets(a: NumberSet, b: NumberSet): NumberSet {
  const left: NumberRange[] = [];
  let atB = 0;
  for (const range of a) {
    let { first } = range;
    for (let gone = b[atB]; gone && gone.first <= range.last; gone = b[atB]) {
      if (gone.first > first) left.push({ first, last: gone.first - 1 });
      first = Math.max(first, gone.last + 1);
      if (gone.last > range.last) break; // it reaches into the next range
      atB += 1;
    }
    if (first <= range.last) left.push({ first, last: range.last });
  }
  return left;
}

/** `1:5,7`; the empty set gives the empty text, which no response may carry: callers leave it out. */
export function formatSet(set: NumberSet): string {
  let text = '';
  for (const { first, last } of set) {
    if (text !== '') text += ',';
    text += first === last ? String(first) : `${String(first)}:${String(last)}`;
  }
  return text;
}

/** `5,3:4,9`: numbers in their order, with ranges only where they ascend one by one. RFC 5267 §3.2. */
export function formatInOrder(numbers: readonly number[]): string {
  let text = '';
  for (let at = 0; at < numbers.length; at += 1) {
    const first = numbers[at] ?? 0;
    let last = first;
    while (numbers[at + 1] === last + 1) {
      last += 1;
      at += 1;
    }
    if (text !== '') text += ',';
    text += first === last ? String(first) : `${String(first)}:${String(last)}`;
  }
  return text;
}

/** Index of the first range whose last number is at least `number`; the length of the set when there is none. */
function firstRangeEndingFrom(set: NumberSet, number: number): number {
  let low = 0;
  let high = set.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = set[middle];
    if (range !== undefined && range.last < number) low = middle + 1;
    else high = middle;
  }
  return low;
}
