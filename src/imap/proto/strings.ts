/**
 * Values to IMAP strings: the one place where text of messages, names and peers becomes part of a response.
 *
 * P1  Everything printed is a byte string (one char per byte), to be written as latin1.
 * P2  Only printable ASCII is printed bare or quoted, and UTF-8 where the client enabled it; everything else
 *     goes into a literal whose size is counted here. So no value can end a line or open a list.
 * P3  A string never holds a NUL: it is removed (RFC 9051 §9: CHAR8 excludes it).
 */
import { isAtom } from './lexer.ts';

/** What the client has enabled. */
export type PrintContext = Readonly<{
  /** ENABLE IMAP4rev2 or UTF8=ACCEPT: quoted strings and folder names may be UTF-8. RFC 9051 §4.3, RFC 6855 §3. */
  utf8: boolean;
}>;

const ASCII_ONLY: PrintContext = { utf8: false };

/** Longer strings are literals: clients have line buffers. */
const MAX_QUOTED_LENGTH = 1024;

const CLEAN = 0;
const NEEDS_ESCAPE = 1;
const NEEDS_LITERAL = 2;
const IS_UNICODE = 3;

/** A byte string as a quoted string or literal. RFC 9051 §4.3. */
export function imapString(bytes: string, context: PrintContext = ASCII_ONLY): string {
  switch (classOf(bytes)) {
    case CLEAN:
      return `"${bytes}"`;
    case NEEDS_ESCAPE:
      return quoted(bytes);
    case IS_UNICODE: // not a byte string after all: as latin1 its chars could turn into line ends
      return imapString(utf8Bytes(bytes), context);
    default:
      return unsafeString(bytes, context);
  }
}

/** As imapString; null gives NIL. RFC 9051 §9 (nstring). */
export function imapNstring(bytes: string | null, context: PrintContext = ASCII_ONLY): string {
  return bytes === null ? 'NIL' : imapString(bytes, context);
}

/** Unicode text as a string. */
export function imapText(text: string, context: PrintContext = ASCII_ONLY): string {
  return imapString(utf8Bytes(text), context);
}

/** Bare where that is allowed, else as imapString. RFC 9051 §9 (astring). */
export function imapAstring(bytes: string, context: PrintContext = ASCII_ONLY): string {
  return isAtom(bytes) && bytes.toUpperCase() !== 'NIL' ? bytes : imapString(bytes, context);
}

/** Unicode text as UTF-8 bytes, one char each. */
export function utf8Bytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** What stands before the bytes of a string of known size; `binary` marks content that may hold a NUL. RFC 9051 §4.3, §4.4. */
export function literalPrefix(sizeBytes: number, content: 'text' | 'binary' = 'text'): string {
  return `${content === 'binary' ? '~' : ''}{${String(sizeBytes)}}\r\n`;
}

/** The worst thing about the string; one pass. */
function classOf(bytes: string): number {
  let found = bytes.length > MAX_QUOTED_LENGTH ? NEEDS_LITERAL : CLEAN;
  for (let at = 0; at < bytes.length; at += 1) {
    const code = bytes.charCodeAt(at);
    if (code > 0xff) return IS_UNICODE;
    if (code < 0x20 || code > 0x7e) found = NEEDS_LITERAL;
    else if (found === CLEAN && (code === 0x22 || code === 0x5c)) found = NEEDS_ESCAPE;
  }
  return found;
}

function quoted(bytes: string): string {
  return `"${bytes.replace(/["\\]/g, '\\$&')}"`;
}

/** Bytes that are not printable ASCII, or too many. */
function unsafeString(bytes: string, context: PrintContext): string {
  const clean = bytes.replaceAll('\0', '');
  if (context.utf8 && clean.length <= MAX_QUOTED_LENGTH && isQuotableUtf8(clean)) return quoted(clean);
  return literalPrefix(clean.length) + clean;
}

function isQuotableUtf8(bytes: string): boolean {
  for (let at = 0; at < bytes.length; at += 1) {
    const code = bytes.charCodeAt(at);
    if (code < 0x20 || code === 0x7f) return false;
  }
  const text = Buffer.from(bytes, 'latin1').toString('utf8');
  return !text.includes('\uFFFD');
}
