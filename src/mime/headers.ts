/**
 * Header blocks: from raw text to fields with byte ranges.
 *
 * Text here is a "binary string": one character per byte, code points 0-255, so that 8-bit headers
 * keep their bytes and positions in the string are byte offsets.
 *
 * H1  Every byte of a block belongs to exactly one field or to the blank line at its end.
 * H2  No input throws; a line that is no field (no colon, a continuation of nothing) becomes a field
 *     with an empty name, so that it is kept by filters and ignored by parsers.
 */

/** `start`..`end` is the whole field with its line ends; `valueStart` is just after the colon. Name in lower case. */
export type HeaderField = Readonly<{ name: string; start: number; valueStart: number; end: number }>;

const LF = 10;
const CR = 13;
const SPACE = 32;
const TAB = 9;

/** A binary string of bytes. */
export function binaryString(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** Whether the line of `block` from `start` to just after its LF (or to the end) is empty but for its line end. */
function isBlankLine(block: string, start: number, end: number): boolean {
  const first = block.charCodeAt(start);
  if (first === LF) return true;
  return first === CR && end === start + 2 && block.charCodeAt(start + 1) === LF;
}

/**
 * The fields of a raw header block, in order; stops at the blank line or after `maxCount` fields.
 * RFC 5322 §2.2, §4.2 (white space before the colon).
 */
export function parseHeaderFields(block: string, maxCount = Infinity): HeaderField[] {
  const fields: HeaderField[] = [];
  let position = 0;
  let colon = -1; // the first at or after the current line, looked for only once past it
  while (position < block.length && fields.length < maxCount) {
    const start = position;
    let end = lineEnd(block, start);
    if (isBlankLine(block, start, end)) break;
    const firstEnd = end;
    while (end < block.length && isFoldingSpace(block.charCodeAt(end))) end = lineEnd(block, end);
    if (colon < start) colon = nextColon(block, start);
    fields.push(
      colon >= firstEnd || isFoldingSpace(block.charCodeAt(start))
        ? { name: '', start, valueStart: start, end }
        : { name: block.slice(start, colon).trimEnd().toLowerCase(), start, valueStart: colon + 1, end },
    );
    position = end;
  }
  return fields;
}

function nextColon(block: string, start: number): number {
  const colon = block.indexOf(':', start);
  return colon < 0 ? block.length : colon;
}

function lineEnd(block: string, start: number): number {
  const lf = block.indexOf('\n', start);
  return lf < 0 ? block.length : lf + 1;
}

function isFoldingSpace(code: number): boolean {
  return code === SPACE || code === TAB;
}

/** The value of a field, unfolded (RFC 5322 §2.2.3) and without white space around it. */
export function fieldValue(block: string, field: HeaderField): string {
  return unfold(block.slice(field.valueStart, field.end));
}

/** Takes the line ends out of a folded value and the white space off its ends. */
function unfold(raw: string): string {
  const joined = raw.includes('\n') ? raw.replace(/\r?\n/g, '') : raw;
  return trimSpace(joined);
}

/** Like String.trim for the white space of RFC 5322 only: a no-break space byte (0xA0) is content. */
function trimSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isTrimmed(text.charCodeAt(start))) start += 1;
  while (end > start && isTrimmed(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isTrimmed(code: number): boolean {
  return code === SPACE || code === TAB || code === CR || code === LF;
}

/** Which fields a filter lets through. `fields` in any case. */
type HeaderFilter = Readonly<{ kind: 'only' | 'all-but'; fields: readonly string[] }>;

/**
 * The chosen fields of a raw header block, byte for byte and in their order, then a blank line:
 * RFC 9051 §6.4.5 has it in every header fetch. Lines that are no fields are chosen by `all-but` only.
 */
export function filterHeader(block: Uint8Array, filter: HeaderFilter): Buffer {
  const text = binaryString(block);
  const wanted = new Set(filter.fields.map((name) => name.toLowerCase()));
  wanted.delete('');
  const keepListed = filter.kind === 'only';
  const pieces: string[] = [];
  let endsInLine = true;
  for (const field of parseHeaderFields(text)) {
    if (wanted.has(field.name) !== keepListed) continue;
    pieces.push(text.slice(field.start, field.end));
    endsInLine = text.charCodeAt(field.end - 1) === LF;
  }
  if (!endsInLine) pieces.push('\r\n');
  pieces.push('\r\n');
  return Buffer.from(pieces.join(''), 'latin1');
}
