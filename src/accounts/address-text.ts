/**
 * Addresses as text: taken apart, folded for lookup, checked before they are created. Pure.
 *
 * T1  Local parts that differ only in case, or in Unicode composition, fold to the same text; no others do.
 * T2  `user+tag` is `user` only when the whole is not an address itself: the caller looks up the whole first.
 * T3  What is created is printable and needs no quoting: what is looked up may be any peer's text.
 */
import { normalizeDomain } from './domain-name.ts';

/** RFC 5321 §4.5.3.1.1, in octets. */
const LOCAL_MAX_BYTES = 64;
/** RFC 5321 §4.5.3.1.3 allows a path of 256 octets; UTF-8 (RFC 6531) text is longer than it looks. */
const ADDRESS_MAX_CHARS = 320;

/** `local` unquoted, as the peer spelled it; `domain` normalised. */
export type ParsedAddress = Readonly<{ local: string; domain: string }>;

/** Takes `local@domain` apart (RFC 5321 §4.1.2 Mailbox, RFC 6531 §3.3); null for anything else. */
export function parseAddress(text: string): ParsedAddress | null {
  if (text.length > ADDRESS_MAX_CHARS || !text.isWellFormed()) return null;
  const at = text.lastIndexOf('@');
  if (at < 1) return null;
  const local = unquote(text.slice(0, at));
  const domain = normalizeDomain(text.slice(at + 1));
  if (local === null || domain === null || Buffer.byteLength(local) > LOCAL_MAX_BYTES) return null;
  return { local, domain };
}

/** True when `local` may be created: a Dot-string of atext and non-ASCII letters, RFC 5321 §4.1.2, RFC 6531 §3.3. */
export function isCreatableLocal(local: string): boolean {
  return /^[a-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\u{10ffff}-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\u{10ffff}-]+)*$/iu.test(
    local,
  );
}

/**
 * The form under which a local part is looked up. RFC 5321 §2.4 leaves its meaning to the receiving host; here case
 * does not matter, and `postmaster` is thereby matched in any case (RFC 5321 §4.5.1).
 */
export function foldLocal(local: string): string {
  return local.normalize('NFC').toLowerCase().normalize('NFC');
}

/** The part before the first `+` of a folded local part, or null when it carries no tag (RFC 5233 §1 sub-addresses). */
export function withoutTag(folded: string): string | null {
  const plus = folded.indexOf('+');
  return plus > 0 ? folded.slice(0, plus) : null;
}

/** The content of a Quoted-string local part, a plain one as it is, null when neither. RFC 5321 §4.1.2. */
function unquote(text: string): string | null {
  if (!text.startsWith('"')) return /[\s\0-\x1f\x7f"<>]/.test(text) ? null : text;
  if (!/^"(?:[^"\\\0-\x1f\x7f]|\\[ -~])*"$/.test(text) || text.length < 3) return null;
  return text.slice(1, -1).replaceAll(/\\(.)/g, '$1');
}
