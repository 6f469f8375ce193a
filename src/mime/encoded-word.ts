/**
 * Non-ASCII text of header fields: encoded-words (RFC 2047), extended parameters (RFC 2231) and raw
 * 8-bit text (RFC 6532, or a guess). Binary strings in, Unicode out. For showing and searching only:
 * decoded text never decides on routing, access or paths.
 *
 * E1  No input throws; the time is linear in the length of the value.
 */
import type { Parameter } from './body-structure.ts';
import { decodeCharset } from './decode.ts';
import { parameterValue } from './params.ts';

// tolerated beyond RFC 2047 §2: white space within the text, words of any length, words without space between
const ENCODED_WORD = /=\?([^?*\s]{1,60})(?:\*[^?\s]{0,60})?\?([bBqQ])\?([^?]*)\?=/g;

/** Words of one charset that follow each other: a character may be split between them. */
type Run = Readonly<{ charset: string; bytes: Buffer[] }>;

/** The text of an unstructured value (or of any other: words are decoded wherever they occur). RFC 2047 §6. */
export function decodeHeaderText(value: string): string {
  if (!value.includes('=?')) return decodeRaw(value);
  const pieces: (string | Run)[] = [];
  let at = 0;
  for (const match of value.matchAll(ENCODED_WORD)) {
    const between = value.slice(at, match.index);
    at = match.index + match[0].length;
    let last = pieces.at(-1);
    // white space between words is not shown
    if (last === undefined || between.trim() !== '') {
      pieces.push(decodeRaw(between));
      last = undefined;
    }
    const charset = (match[1] ?? '').toLowerCase();
    const bytes = decodeWord(match[2] ?? '', match[3] ?? '');
    if (typeof last === 'object' && last.charset === charset) last.bytes.push(bytes);
    else pieces.push({ charset, bytes: [bytes] });
  }
  pieces.push(decodeRaw(value.slice(at)));
  return pieces
    .map((piece) => (typeof piece === 'string' ? piece : decodeCharset(Buffer.concat(piece.bytes), piece.charset)))
    .join('');
}

function decodeWord(encoding: string, text: string): Buffer {
  if (encoding === 'b' || encoding === 'B') return Buffer.from(text, 'base64');
  return Buffer.from(decodeEscapes(text.replaceAll('_', ' '), '='), 'latin1');
}

/** Replaces `=41` (or `%41`) by the byte; leaves what is no escape. */
function decodeEscapes(text: string, mark: '=' | '%'): string {
  const pattern = mark === '=' ? /=([0-9A-Fa-f]{2})/g : /%([0-9A-Fa-f]{2})/g;
  return text.replace(pattern, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function decodeRaw(value: string): string {
  return /^[\x00-\x7f]*$/.test(value) ? value : decodeCharset(Buffer.from(value, 'latin1'), null);
}

/** The text of the parameter `name` (lower case), from its extended form where it has one; null when there is none. RFC 2231 §4. */
export function decodeParameter(parameters: readonly Parameter[], name: string): string | null {
  const extended = parameterValue(parameters, `${name}*`);
  if (extended !== null) return decodeExtended(extended);
  const plain = parameterValue(parameters, name);
  return plain === null ? null : decodeHeaderText(plain);
}

function decodeExtended(value: string): string {
  const [charset = '', , ...rest] = value.split("'");
  const hasCharset = rest.length > 0;
  const bytes = Buffer.from(decodeEscapes(hasCharset ? rest.join("'") : value, '%'), 'latin1');
  return decodeCharset(bytes, hasCharset ? charset : null);
}
