/**
 * Fuzzy matching (RFC 6203): all words of what is searched for, in any order, as parts of words, marks and case aside.
 * Modest on purpose: without an index that would tell about the mail, each candidate is looked at in full.
 */

/** RFC 6203 §4: the text as it was given, or only its words. */
const EXACT_SCORE = 100;
const WORDS_SCORE = 50;

const MARKS = /\p{M}+/gu;
const ASCII = /^[\x00-\x7f]*$/;

/** How well texts match a needle, all normalised for search: 1 to 100, or 0 for not at all. */
export function fuzzyScore(needle: string, texts: readonly string[]): number {
  if (texts.some((text) => text.includes(needle))) return EXACT_SCORE;
  const words = unmarked(needle).split(/\s+/);
  const candidates = texts.map(unmarked);
  const hasAll = words.every((word) => candidates.some((text) => text.includes(word)));
  return hasAll ? WORDS_SCORE : 0;
}

function unmarked(text: string): string {
  return ASCII.test(text) ? text : text.replace(MARKS, '');
}
