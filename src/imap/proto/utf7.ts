/**
 * Folder names on the wire: the modified UTF-7 of IMAP4rev1, and what a name may be.
 *
 * N1  The codec is strict: it takes exactly what it gives. No encoded printable ASCII, no padding bits,
 *     no lone surrogates, no empty or needlessly split shifts; so no folder has two spellings.
 * N2  A folder name inside the server is Unicode in NFC, levels joined by `/`, `INBOX` in upper case.
 *
 * Called by grammar.ts (names from clients) and responses.ts (names to clients).
 */

/** Joins the levels of a name. RFC 9051 §5.1.1. */
export const HIERARCHY_SEPARATOR = '/';

const MAX_LEVEL_BYTES = 255;
const MAX_DEPTH = 32;

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,';
const SEXTETS = new Int8Array(128).fill(-1);
for (let value = 0; value < ALPHABET.length; value += 1) SEXTETS[ALPHABET.charCodeAt(value)] = value;

const AMPERSAND = 0x26;
const MINUS = 0x2d;

function isPrintableAscii(code: number): boolean {
  return code >= 0x20 && code <= 0x7e;
}

/** The text in modified UTF-7: printable ASCII only. `name` is well-formed Unicode. RFC 3501 §5.1.3. */
export function encodeUtf7(name: string): string {
  let encoded = '';
  for (let at = 0; at < name.length;) {
    const code = name.charCodeAt(at);
    if (isPrintableAscii(code)) {
      encoded += code === AMPERSAND ? '&-' : name.charAt(at);
      at += 1;
      continue;
    }
    encoded += '&';
    let bits = 0;
    let bitCount = 0;
    for (; at < name.length && !isPrintableAscii(name.charCodeAt(at)); at += 1) {
      bits = (bits << 16) | name.charCodeAt(at);
      for (bitCount += 16; bitCount >= 6; bitCount -= 6) encoded += ALPHABET.charAt((bits >>> (bitCount - 6)) & 63);
      bits &= (1 << bitCount) - 1;
    }
    if (bitCount > 0) encoded += ALPHABET.charAt((bits << (6 - bitCount)) & 63);
    encoded += '-';
  }
  return encoded;
}

/** The Unicode text of strict modified UTF-7; null when `encoded` is anything else. RFC 3501 §5.1.3. */
export function decodeUtf7(encoded: string): string | null {
  let name = '';
  for (let at = 0; at < encoded.length;) {
    const code = encoded.charCodeAt(at);
    if (!isPrintableAscii(code)) return null;
    at += 1;
    if (code !== AMPERSAND) {
      name += String.fromCharCode(code);
      continue;
    }
    if (encoded.charCodeAt(at) === MINUS) {
      name += '&';
      at += 1;
      continue;
    }
    const shifted = decodeShift(encoded, at);
    if (shifted === null) return null;
    name += shifted.text;
    at = shifted.end;
    // `&...-&...-` says in two shifts what one can: not canonical.
    if (encoded.charCodeAt(at) === AMPERSAND && encoded.charCodeAt(at + 1) !== MINUS) return null;
  }
  return name.isWellFormed() ? name : null;
}

/** The base64 from `start` to its `-`; `end` is past that. */
function decodeShift(encoded: string, start: number): { text: string; end: number } | null {
  let text = '';
  let bits = 0;
  let bitCount = 0;
  for (let at = start; at < encoded.length; at += 1) {
    const code = encoded.charCodeAt(at);
    if (code === MINUS) {
      // What is left must be the zero bits that fill the last sextet, fewer than six.
      return text !== '' && bitCount < 6 && bits === 0 ? { text, end: at + 1 } : null;
    }
    const sextet = SEXTETS[code] ?? -1;
    if (sextet === -1) return null;
    bits = (bits << 6) | sextet;
    bitCount += 6;
    if (bitCount < 16) continue;
    bitCount -= 16;
    const unit = bits >>> bitCount;
    if (isPrintableAscii(unit)) return null;
    text += String.fromCharCode(unit);
    bits &= (1 << bitCount) - 1;
  }
  return null;
}

/** The one spelling of a name: NFC, and INBOX (alone or as the first level) in upper case. RFC 9051 §5.1. */
export function canonicalFolderName(name: string): string {
  const composed = name.normalize('NFC');
  if (!/^inbox(?:\/|$)/i.test(composed)) return composed;
  return `INBOX${composed.slice(5)}`;
}

/**
 * Why a folder of this (canonical) name cannot be created, as text for the client; null when it can.
 * RFC 9051 §5.1, RFC 5198 §2.
 */
export function folderNameFault(name: string): string | null {
  if (name === '') return 'A folder name must not be empty';
  const levels = name.split(HIERARCHY_SEPARATOR);
  if (levels.length > MAX_DEPTH) return 'A folder name has too many levels';
  for (const level of levels) {
    if (level === '') return 'A folder name must not have an empty level';
    if (level === '.' || level === '..') return 'A level of a folder name must not be a dot or two';
    if (Buffer.byteLength(level) > MAX_LEVEL_BYTES) return 'A level of a folder name is too long';
  }
  if (/[*%]/.test(name)) return 'A folder name must not hold wildcards';
  // C0, DEL, C1, and the line and paragraph separators that RFC 5198 §2 rules out.
  if (/[\p{Cc}\u2028\u2029\p{Cs}]/u.test(name)) return 'A folder name must not hold control characters';
  return null;
}
