/**
 * Content decoding: transfer encodings (RFC 2045 §6) to bytes, and charsets to text.
 *
 * D1  No input throws. What does not decode is skipped (base64) or kept as it is (quoted-printable).
 * D2  The output is never longer than the input; a streaming decoder holds at most `MAX_HELD_BYTES`.
 * D3  A streamed result does not depend on how the input is cut into chunks, save that trailing
 *     white space of lines longer than `MAX_HELD_BYTES` may be kept.
 */
import { TextDecoder } from 'node:util';
import iconv from 'iconv-lite';

/** `identity` is 7bit, 8bit and binary. */
type TransferEncoding = 'identity' | 'base64' | 'quoted-printable';

/** A longer line than mail may have (RFC 5322 §2.1.1: 998), so that only broken input is cut. */
const MAX_HELD_BYTES = 65_536;
const EMPTY = Buffer.alloc(0);
const LF = 10;

/** The kind of a Content-Transfer-Encoding as written; null when it is none we know. */
export function transferEncoding(written: string): TransferEncoding | null {
  switch (written.trim().toLowerCase()) {
    case '':
    case '7bit':
    case '8bit':
    case 'binary':
      return 'identity';
    case 'base64':
      return 'base64';
    case 'quoted-printable':
      return 'quoted-printable';
    default:
      return null;
  }
}

/** Decodes a body that is in memory. */
export function decodeTransfer(bytes: Uint8Array, encoding: TransferEncoding): Buffer {
  const decoder = new TransferDecoder(encoding);
  const head = decoder.push(bytes);
  const tail = decoder.end();
  return tail.length === 0 ? head : Buffer.concat([head, tail]);
}

/** Decodes a body that comes in chunks. */
export class TransferDecoder {
  readonly #encoding: TransferEncoding;
  #held = ''; // base64: up to 3 digits; quoted-printable: the line so far (binary string)

  constructor(encoding: TransferEncoding) {
    this.#encoding = encoding;
  }

  /** What the next bytes decode to, as far as it is known; may be the input itself. */
  push(chunk: Uint8Array): Buffer {
    const bytes = asBuffer(chunk);
    switch (this.#encoding) {
      case 'identity':
        return bytes;
      case 'base64':
        return this.#pushBase64(bytes);
      case 'quoted-printable':
        return this.#pushQuotedPrintable(bytes);
    }
  }

  /** What is left at the end of the body. */
  end(): Buffer {
    const held = this.#held;
    this.#held = '';
    if (held === '') return EMPTY;
    return this.#encoding === 'base64' ? Buffer.from(held, 'base64') : decodeLines(held);
  }

  #pushBase64(bytes: Buffer): Buffer {
    const digits = bytes.toString('latin1').replace(/[^A-Za-z0-9+/=]+/g, '');
    const out: Buffer[] = [];
    // padding ends a run of digits; more may follow where encoded texts were put together
    const runs = digits.split(/=+/);
    for (const [place, run] of runs.entries()) {
      const all = this.#held + run;
      const isLast = place === runs.length - 1;
      const whole = isLast ? all.length - (all.length % 4) : all.length;
      if (whole > 0) out.push(Buffer.from(all.slice(0, whole), 'base64'));
      this.#held = all.slice(whole);
    }
    return out.length === 1 ? (out[0] ?? EMPTY) : Buffer.concat(out);
  }

  #pushQuotedPrintable(bytes: Buffer): Buffer {
    const end = bytes.lastIndexOf(LF) + 1;
    const rest = bytes.toString('latin1', end);
    if (end === 0) {
      this.#held += rest;
      if (this.#held.length < MAX_HELD_BYTES) return EMPTY;
      const whole = this.#held.length - 3; // an escape may be cut
      const done = decodeLines(this.#held.slice(0, whole));
      this.#held = this.#held.slice(whole);
      return done;
    }
    const lines = this.#held + bytes.toString('latin1', 0, end);
    this.#held = rest;
    return decodeLines(lines);
  }
}

/** Decodes quoted-printable lines (RFC 2045 §6.7); what is no escape stays as it is. */
function decodeLines(text: string): Buffer {
  const clean = /[ \t]\r?(?:\n|$)/.test(text) ? trimLineEnds(text) : text;
  const out = Buffer.allocUnsafe(clean.length);
  let length = 0;
  let at = 0;
  for (;;) {
    const escape = clean.indexOf('=', at);
    const end = escape < 0 ? clean.length : escape;
    length += out.write(clean.slice(at, end), length, 'latin1');
    if (escape < 0) return out.subarray(0, length);
    const softEnd = softLineEnd(clean, escape);
    if (softEnd > 0) {
      at = softEnd;
      continue;
    }
    const high = hexDigit(clean.charCodeAt(escape + 1));
    const low = hexDigit(clean.charCodeAt(escape + 2));
    const isEscape = high >= 0 && low >= 0;
    out[length] = isEscape ? high * 16 + low : 61;
    length += 1;
    at = isEscape ? escape + 3 : escape + 1;
  }
}

/** Where the line after the soft line end at `escape` begins; 0 when there is none. */
function softLineEnd(text: string, escape: number): number {
  const lineEnd = text.charAt(escape + 1) === '\r' ? escape + 2 : escape + 1;
  return lineEnd >= text.length || text.charAt(lineEnd) === '\n' ? lineEnd + 1 : 0;
}

function trimLineEnds(text: string): string {
  return text
    .split('\n')
    .map((line) => {
      const hasCr = line.endsWith('\r');
      let end = hasCr ? line.length - 1 : line.length;
      while (end > 0 && (line.charCodeAt(end - 1) === 32 || line.charCodeAt(end - 1) === 9)) end -= 1;
      return line.slice(0, end) + (hasCr ? '\r' : '');
    })
    .join('\n');
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/** Names that say nothing about 8-bit bytes; what they are is guessed. */
const VAGUE_CHARSETS = new Set(['', 'us-ascii', 'ascii', 'unknown-8bit', 'x-unknown', 'unknown', 'default']);

/** The text of bytes in a charset as named in a message; null when it names none. */
export function decodeCharset(bytes: Uint8Array, charset: string | null): string {
  const name = (charset ?? '').trim().toLowerCase();
  if (VAGUE_CHARSETS.has(name)) return guessText(bytes);
  const standard = standardDecoder(name, bytes);
  if (standard) return decodeStandard(standard, bytes);
  try {
    if (iconv.encodingExists(name)) return iconv.decode(asBuffer(bytes), name);
  } catch {
    // a broken decoder is like an unknown charset
  }
  return guessText(bytes);
}

/** The decoder of a charset that the Encoding standard has; null for others. */
function standardDecoder(name: string, bytes: Uint8Array): TextDecoder | null {
  // RFC 2781 §4.3: without a byte order mark UTF-16 is big-endian; the Encoding standard says little
  const isLittle = name === 'utf-16' && bytes[0] === 0xff && bytes[1] === 0xfe;
  try {
    return new TextDecoder(name === 'utf-16' && !isLittle ? 'utf-16be' : name, { fatal: true });
  } catch {
    return null;
  }
}

/** Decodes; bytes that are not in the charset named but are in one that is often meant by it are taken as that. */
function decodeStandard(decoder: TextDecoder, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    // what does not fit becomes U+FFFD below
  }
  if (decoder.encoding === 'iso-2022-jp') return decodeJapanese(bytes);
  const text = decodeStrictly(bytes, 'utf-8');
  if (text !== null) return text;
  return new TextDecoder(decoder.encoding).decode(bytes);
}

/** ISO-2022-JP as found in mail: with needless escape sequences, or in truth another Japanese charset. */
function decodeJapanese(bytes: Uint8Array): string {
  if (bytes.some((byte) => byte > 127)) {
    for (const name of ['utf-8', 'euc-jp', 'shift_jis']) {
      const text = decodeStrictly(bytes, name);
      if (text !== null) return text;
    }
  }
  // the Encoding standard makes an error of an escape sequence that follows another
  const clean = asBuffer(bytes)
    .toString('latin1')
    .replace(/\x1b(?:\([BJI]|\$[@B])(?=\x1b)/g, '');
  return new TextDecoder('iso-2022-jp').decode(Buffer.from(clean, 'latin1'));
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function decodeStrictly(bytes: Uint8Array, name: string): string | null {
  try {
    return new TextDecoder(name, { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** UTF-8 where the bytes are that, else Windows-1252 (which decodes anything). */
function guessText(bytes: Uint8Array): string {
  return decodeStrictly(bytes, 'utf-8') ?? new TextDecoder('windows-1252').decode(bytes);
}
