/**
 * The collation of sorted lists: i;unicode-casemap (RFC 5051 §2), each character in titlecase, then decomposed; and the
 * order of its results, which is that of their UTF-8 bytes.
 *
 * Called by base-subject.ts and mailbox/sort.ts. Searches compare a little more widely: text.ts, normaliseForSearch.
 */

/** The digraphs whose titlecase is not their upper case, and that. */
const TITLECASE: ReadonlyMap<string, string> = new Map(
  ['Ǆǅǆ', 'Ǉǈǉ', 'Ǌǋǌ', 'Ǳǲǳ'].flatMap(([upper = '', title = '', lower = '']) => [
    [upper, title],
    [title, title],
    [lower, title],
  ]),
);
const ASCII = /^[\x00-\x7f]*$/;

/** A text as it is compared. */
export function casemap(text: string): string {
  if (ASCII.test(text)) return text.toUpperCase();
  let mapped = '';
  for (const char of text) mapped += titlecase(char);
  return mapped.normalize('NFKD');
}

/** The simple mapping: a character whose titlecase would be several stays (RFC 5051 reads UnicodeData.txt only). */
function titlecase(char: string): string {
  const upper = TITLECASE.get(char) ?? char.toUpperCase();
  return upper.length === char.length ? upper : char;
}

/** From where on the order of UTF-16 units is not that of characters. */
const SURROGATES_AND_ABOVE = /[\ud800-\uffff]/;

/** The mapped text in a form whose code units order as the UTF-8 bytes of the text do: to be compared with `<` only. */
export function orderKey(mapped: string): string {
  if (!SURROGATES_AND_ABOVE.test(mapped)) return mapped;
  let key = '';
  for (let at = 0; at < mapped.length; at += 1) {
    const unit = mapped.charCodeAt(at);
    // surrogates, which stand for characters beyond U+FFFF, go above all others
    if (unit >= 0xe000) key += String.fromCharCode(unit - 0x800);
    else key += String.fromCharCode(unit >= 0xd800 ? unit + 0x2000 : unit);
  }
  return key;
}
