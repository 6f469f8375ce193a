/**
 * The canonical text under DKIM signatures: forms of header fields and bodies, and tag lists. RFC 6376.
 *
 * K1  What is hashed does not depend on how the bytes are cut into pieces; nothing is held back but counts.
 *
 * In what comes in, CR and LF stand only as CRLF. Called by delivery/. Pure.
 */
import type { HeaderField } from './headers.ts';

const [TAB, LF, CR, SPACE] = [0x09, 0x0a, 0x0d, 0x20] as const;
const CRLF = Buffer.from('\r\n');
const CRLF_RUN = Buffer.from('\r\n'.repeat(1024));
const MAX_TAGS_COUNT = 64;

/** The body in its relaxed form, given to `take` in pieces. RFC 6376 §3.4.4. */
export class RelaxedBody {
  readonly #take: (bytes: Uint8Array) => void;
  #isEmpty = true;
  #lineEndsCount = 0; // not given yet: they may be empty lines at the end
  #hasSpace = false; // not given yet: it may be at the end of its line

  constructor(take: (bytes: Uint8Array) => void) {
    this.#take = take;
  }

  push(bytes: Uint8Array): void {
    let carriedCount = this.#lineEndsCount; // from earlier pieces: there may be more of them than this one is long
    const out = Buffer.allocUnsafe(bytes.length + 1);
    let length = 0;
    for (const byte of bytes) {
      if (byte === LF) {
        this.#lineEndsCount += 1;
        this.#hasSpace = false;
      } else if (byte === SPACE || byte === TAB) {
        this.#hasSpace = true;
      } else if (byte !== CR) {
        if (carriedCount > 0) {
          giveLineEnds(carriedCount, this.#take);
          this.#lineEndsCount -= carriedCount;
        }
        carriedCount = 0;
        for (; this.#lineEndsCount > 0; this.#lineEndsCount -= 1) {
          out[length++] = CR;
          out[length++] = LF;
        }
        if (this.#hasSpace) out[length++] = SPACE;
        this.#hasSpace = false;
        out[length++] = byte;
      }
    }
    if (length === 0) return;
    this.#isEmpty = false;
    this.#take(out.subarray(0, length));
  }

  /** A body that is not empty ends with one CRLF. */
  end(): void {
    if (!this.#isEmpty) this.#take(CRLF);
  }
}

/** The body in its simple form: as it is, but for empty lines at its end. RFC 6376 §3.4.3. */
export class SimpleBody {
  readonly #take: (bytes: Uint8Array) => void;
  #lineEndsCount = 0; // not given yet
  #endedInCr = false; // the piece before: then a line end is at the start of the next one

  constructor(take: (bytes: Uint8Array) => void) {
    this.#take = take;
  }

  push(bytes: Uint8Array): void {
    const start = this.#endedInCr && bytes[0] === LF ? 1 : 0;
    this.#lineEndsCount += start;
    let end = bytes.length;
    while (end > start && (bytes[end - 1] === CR || bytes[end - 1] === LF)) end -= 1;
    if (end > start) {
      giveLineEnds(this.#lineEndsCount, this.#take);
      this.#lineEndsCount = 0;
      this.#take(bytes.subarray(start, end));
    }
    for (let at = end; at < bytes.length; at += 1) if (bytes[at] === LF) this.#lineEndsCount += 1;
    if (bytes.length > 0) this.#endedInCr = bytes[bytes.length - 1] === CR;
  }

  /** Also a body that is empty ends with one CRLF. */
  end(): void {
    this.#take(CRLF);
  }
}

function giveLineEnds(count: number, take: (bytes: Uint8Array) => void): void {
  for (let left = 2 * count; left > 0; left -= CRLF_RUN.length) {
    take(CRLF_RUN.subarray(0, Math.min(left, CRLF_RUN.length)));
  }
}

/** A field in its relaxed form, without its line end. RFC 6376 §3.4.2. */
export function relaxedField(block: string, { name, valueStart, end }: HeaderField): string {
  return `${name}:${relaxedValue(block.slice(valueStart, end))}`;
}

/** A field in its simple form, without its line end. RFC 6376 §3.4.1. */
export function simpleField(block: string, { start, end }: HeaderField): string {
  return block.slice(start, end).replace(/\r\n$/, '');
}

/** The text of a signature field with an empty `b=`, for its own signature. RFC 6376 §3.7. */
export function withoutSignature(text: string): string {
  return text.replace(/((?:^[^:]*:|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*/, '$1');
}

/** A list of `tag=value`; null where it is none, or names a tag twice. RFC 6376 §3.2. */
export function parseTags(text: string): ReadonlyMap<string, string> | null {
  const tags = new Map<string, string>();
  const parts = text.split(';', MAX_TAGS_COUNT + 1);
  if (parts.length > MAX_TAGS_COUNT) return null;
  for (const [at, part] of parts.entries()) {
    const trimmed = part.trim();
    if (trimmed === '' && at === parts.length - 1) continue;
    const equals = trimmed.indexOf('=');
    const name = trimmed.slice(0, Math.max(equals, 0)).trimEnd();
    if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(name) || tags.has(name)) return null;
    tags.set(name, trimmed.slice(equals + 1).trim());
  }
  return tags;
}

/** The value of a field in its relaxed form. */
function relaxedValue(raw: string): string {
  return raw
    .replaceAll('\r\n', '')
    .replaceAll(/[ \t]+/g, ' ')
    .replace(/^ /, '')
    .replace(/ $/, '');
}
