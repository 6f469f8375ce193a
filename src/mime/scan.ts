/**
 * The structure scanner: one pass over the bytes of a message, in chunks of any size, to its MIME
 * structure, byte offsets and envelopes. Called when a message is stored; what it finds is kept, so
 * that no fetch parses a message again.
 *
 * S1  No input throws, and none takes more than time linear in its length.
 * S2  The result does not depend on how the bytes are cut into chunks.
 * S3  Memory is bounded by the limits: one header block, the part list and its strings; bodies pass through.
 * S4  Past a limit the structure degrades (a part that may not be divided is application/octet-stream;
 *     after the last part allowed, boundaries are content); offsets stay exact, nothing is refused.
 * S5  Offsets are those of the bytes pushed: line ends are never repaired. A line ends at LF.
 */
import type { EmbeddedMessage, Envelope, Part, ScannedMessage } from './body-structure.ts';
import { BoundaryStack } from './boundaries.ts';
import { buildEnvelope, type AddressBudget } from './envelope.ts';
import { fieldValue, parseHeaderFields, type HeaderField } from './headers.ts';
import { parseReferences } from './message-ids.ts';
import {
  parameterValue,
  parseContentType,
  parseDisposition,
  parseLanguages,
  parseTransferEncoding,
  type ContentType,
} from './params.ts';

/** All counts are per message but `headerBlockBytes`, `fieldCount` (per header block) and the last three (per field). */
type ScanLimits = Readonly<{
  nestingDepth: number;
  partCount: number;
  headerBlockBytes: number;
  fieldCount: number;
  headerTotalBytes: number;
  addressCount: number;
  parameterCount: number;
  continuationCount: number;
  boundaryBytes: number;
}>;

/** Real mail has been seen with over 1,000 parts and 78 levels; what exceeds these is an attack. */
const DEFAULT_SCAN_LIMITS: ScanLimits = {
  nestingDepth: 100,
  partCount: 2_000,
  headerBlockBytes: 1 << 20,
  fieldCount: 10_000,
  headerTotalBytes: 10 << 20,
  addressCount: 1_000,
  parameterCount: 1_000,
  continuationCount: 100,
  boundaryBytes: 250,
};

type MutablePart = { -readonly [K in keyof Part]: Part[K] };
/** An open part: `lines` counts the line ends before its body; `envelope` is set for the root of a message. */
type Frame = {
  readonly part: MutablePart;
  readonly isMessageRoot: boolean;
  readonly isInDigest: boolean;
  readonly children: Part[];
  envelope: Envelope | null;
  lines: number;
};

const LF = 10;
const CR = 13;
const DASH = 45;
/** The bytes after a boundary that decide what it does: `--` and the line end. */
const BOUNDARY_EXTRA_BYTES = 8;
const CANDIDATE = Buffer.from('\n--');
const FIRST_HEADER_BUFFER_BYTES = 8192;
const TEXT_PLAIN: ContentType = { type: 'text', subtype: 'plain', parameters: [] };
const MESSAGE_RFC822: ContentType = { type: 'message', subtype: 'rfc822', parameters: [] };
const OPAQUE = { type: 'application', subtype: 'octet-stream' };
const NO_PARTS: readonly Part[] = [];

export class MessageScanner {
  readonly #limits: ScanLimits;
  readonly #boundaries = new BoundaryStack();
  readonly #addresses: AddressBudget;
  readonly #stack: Frame[] = [];
  #partCount = 0;
  #inHeader = true;
  #header = Buffer.allocUnsafe(FIRST_HEADER_BUFFER_BYTES);
  #headerLength = 0;
  #headerTotalBytes = 0;
  #references: readonly string[] = [];

  #offset = 0; // of the first byte of the current chunk
  #lines = 0; // LFs consumed
  #atLineStart = true;
  #lastByte = 0;
  #isCrLf = false; // whether the last LF consumed had a CR before it
  #structureEnd = 0; // the line end before this offset is that of a blank line or a boundary, not of content
  #lineStart = 0; // offset of the line that is being read in line mode
  readonly #prefix: Buffer; // its first bytes, when it began in an earlier chunk
  #prefixLength = 0;
  #lineBytes = 0; // its length so far, in earlier chunks

  /** Limits that are not given have their defaults. */
  constructor(limits: Partial<ScanLimits> = {}) {
    this.#limits = { ...DEFAULT_SCAN_LIMITS, ...limits };
    this.#addresses = { left: this.#limits.addressCount };
    this.#prefix = Buffer.alloc(this.#limits.boundaryBytes + BOUNDARY_EXTRA_BYTES);
    this.#openPart({ offset: 0, isMessageRoot: true, isInDigest: false });
  }

  /** Takes the next bytes. They are not kept: the caller may reuse the memory. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = 0;
    while (at < bytes.length) {
      const readsLine = this.#inHeader || this.#lineBytes > 0 || (this.#atLineStart && bytes[at] === DASH);
      at =
        readsLine && !(this.#boundaries.isEmpty && !this.#inHeader)
          ? this.#readLine(bytes, at)
          : this.#skipBody(bytes, at);
      this.#lastByte = bytes[at - 1] ?? 0;
    }
    this.#offset += bytes.length;
  }

  /** Ends the message. The scanner must not be used afterwards. */
  end(): ScannedMessage {
    if (this.#lineBytes > 0)
      this.#endLine(this.#prefix.subarray(0, this.#prefixLength), { size: this.#lineBytes, hasLf: false });
    while (this.#inHeader) this.#endHeader(this.#offset, this.#lines);
    this.#closeParts({ level: 0, bodyEnd: this.#offset, lines: this.#lines });
    const root = this.#root;
    const envelope = root.envelope ?? EMPTY_ENVELOPE;
    return { sizeBytes: this.#offset, envelope, root: root.part, references: this.#references };
  }

  get #root(): Frame {
    return this.#frameAt(0);
  }

  #frameAt(level: number): Frame {
    const frame = this.#stack[level];
    if (!frame) throw new RangeError(`no open part at level ${String(level)}`);
    return frame;
  }

  /** Passes body bytes up to the next line that may be a boundary, or to the end of the chunk. Returns where it stopped. */
  #skipBody(bytes: Buffer, start: number): number {
    let end = bytes.length;
    if (!this.#boundaries.isEmpty) {
      const found = bytes.indexOf(CANDIDATE, start);
      if (found >= 0) end = found + 1;
      else if (end - 2 >= start && bytes[end - 1] === DASH && bytes[end - 2] === LF) end -= 1;
    }
    this.#lines += countLineEnds(bytes, start, end);
    this.#atLineStart = bytes[end - 1] === LF;
    if (this.#atLineStart) this.#isCrLf = (end - 2 >= start ? bytes[end - 2] : this.#lastByte) === CR;
    return end;
  }

  /** Reads a header line or a body line that may be a boundary, as far as the chunk goes. Returns where it stopped. */
  #readLine(bytes: Buffer, start: number): number {
    const lf = bytes.indexOf(LF, start);
    const end = lf < 0 ? bytes.length : lf + 1;
    if (this.#inHeader) this.#keepHeader(bytes, start, end);
    if (this.#lineBytes === 0) this.#lineStart = this.#offset + start;
    if (lf >= 0 && this.#lineBytes === 0) {
      this.#finishLine(bytes.subarray(start, end), {
        size: end - start,
        wasCr: end - 2 >= start && bytes[end - 2] === CR,
      });
      return end;
    }
    this.#prefixLength += bytes.copy(this.#prefix, this.#prefixLength, start, end);
    this.#lineBytes += end - start;
    if (lf < 0) return end;
    const size = this.#lineBytes;
    const line = this.#prefix.subarray(0, this.#prefixLength);
    this.#finishLine(line, { size, wasCr: (end - 2 >= start ? bytes[end - 2] : this.#lastByte) === CR });
    return end;
  }

  #finishLine(line: Uint8Array, { size, wasCr }: { size: number; wasCr: boolean }): void {
    this.#endLine(line, { size, hasLf: true });
    this.#isCrLf = wasCr;
    this.#atLineStart = true;
  }

  /** Decides on a whole line, of which `line` holds at least the first bytes. */
  #endLine(line: Uint8Array, { size, hasLf }: { size: number; hasLf: boolean }): void {
    const linesBefore = this.#lines;
    const next = this.#lineStart + size;
    this.#prefixLength = 0;
    this.#lineBytes = 0;
    if (hasLf) this.#lines += 1;
    if (this.#inHeader && hasLf && (size === 1 || (size === 2 && line[0] === CR))) {
      this.#structureEnd = next;
      this.#endHeader(next, this.#lines);
      return;
    }
    if (this.#boundaries.isEmpty || line[0] !== DASH || line[1] !== DASH) return;
    let end = line.length;
    if (line[end - 1] === LF) end -= 1;
    if (line[end - 1] === CR) end -= 1;
    const match = this.#boundaries.find(line, 0, end);
    if (!match) return;
    if (!match.closes && this.#partCount >= this.#limits.partCount) {
      this.#boundaries.popTo(0); // no more parts: the rest is content of the current one
      return;
    }
    const isOwnLineEnd = this.#lineStart > this.#structureEnd;
    const bodyEnd = isOwnLineEnd ? this.#lineStart - (this.#isCrLf ? 2 : 1) : this.#lineStart;
    const lines = isOwnLineEnd ? linesBefore - 1 : linesBefore;
    while (this.#inHeader) this.#endHeader(bodyEnd, lines);
    this.#closeParts({ level: match.level + 1, bodyEnd, lines });
    this.#structureEnd = next;
    this.#boundaries.popTo(match.closes ? match.level : match.level + 1);
    if (match.closes) return;
    const parent = this.#frameAt(match.level);
    this.#openPart({
      offset: next,
      isMessageRoot: false,
      isInDigest: parent.part.subtype.toLowerCase() === 'digest',
    });
  }

  #openPart({
    offset,
    isMessageRoot,
    isInDigest,
  }: {
    offset: number;
    isMessageRoot: boolean;
    isInDigest: boolean;
  }): void {
    this.#partCount += 1;
    const part: MutablePart = {
      headerStart: offset,
      bodyStart: offset,
      bodyEnd: offset,
      lineCount: 0,
      ...TEXT_PLAIN,
      contentId: null,
      description: null,
      encoding: '7bit',
      md5: null,
      disposition: null,
      language: null,
      location: null,
      children: NO_PARTS,
      message: null,
    };
    this.#stack.push({ part, isMessageRoot, isInDigest, children: [], envelope: null, lines: 0 });
    this.#inHeader = true;
    this.#headerLength = 0;
  }

  #keepHeader(bytes: Buffer, start: number, end: number): void {
    const { headerBlockBytes, headerTotalBytes } = this.#limits;
    const room = Math.min(headerBlockBytes - this.#headerLength, headerTotalBytes - this.#headerTotalBytes);
    const size = Math.min(end - start, room);
    if (size <= 0) return;
    if (this.#headerLength + size > this.#header.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#header.length * 2, this.#headerLength + size));
      this.#header.copy(larger, 0, 0, this.#headerLength);
      this.#header = larger;
    }
    bytes.copy(this.#header, this.#headerLength, start, start + size);
    this.#headerLength += size;
    this.#headerTotalBytes += size;
  }

  /** The header of the innermost part is complete; its body starts at `bodyStart`, after `lines` line ends. */
  #endHeader(bodyStart: number, lines: number): void {
    const level = this.#stack.length - 1;
    const frame = this.#frameAt(level);
    const { part } = frame;
    part.bodyStart = bodyStart;
    part.bodyEnd = part.bodyStart;
    frame.lines = lines;
    this.#inHeader = false;
    const block = this.#header.toString('latin1', 0, this.#headerLength);
    this.#headerLength = 0;
    const fields = parseHeaderFields(block, this.#limits.fieldCount);
    if (frame.isMessageRoot) frame.envelope = buildEnvelope(block, fields, this.#addresses);
    if (level === 0) this.#references = parseReferences(block, fields);
    this.#readMimeFields(frame, block, fields);

    const type = part.type.toLowerCase();
    const subtype = part.subtype.toLowerCase();
    const mayDivide = level + 1 < this.#limits.nestingDepth && this.#partCount < this.#limits.partCount;
    if (type === 'multipart') {
      const boundary = parameterValue(part.parameters, 'boundary');
      if (!mayDivide) Object.assign(part, OPAQUE);
      else if (boundary !== null)
        this.#boundaries.push(Buffer.from(boundary.slice(0, this.#limits.boundaryBytes), 'latin1'), level);
    } else if (type === 'message' && (subtype === 'rfc822' || subtype === 'global')) {
      if (mayDivide) this.#openPart({ offset: part.bodyStart, isMessageRoot: true, isInDigest: false });
      else Object.assign(part, OPAQUE);
    }
  }

  /** Reads the MIME fields of a header block into the part; of a repeated field the first counts. */
  #readMimeFields(frame: Frame, block: string, fields: readonly HeaderField[]): void {
    const { part } = frame;
    const limits = this.#limits;
    const seen = new Set<string>();
    for (const field of fields) {
      if (!field.name.startsWith('content-') || seen.has(field.name)) continue;
      seen.add(field.name);
      const value = fieldValue(block, field);
      switch (field.name) {
        case 'content-type':
          Object.assign(part, parseContentType(value, limits) ?? TEXT_PLAIN);
          break;
        case 'content-transfer-encoding':
          part.encoding = parseTransferEncoding(value) ?? '7bit';
          break;
        case 'content-disposition':
          part.disposition = parseDisposition(value, limits);
          break;
        case 'content-language':
          part.language = parseLanguages(value, limits.parameterCount);
          break;
        case 'content-id':
          part.contentId = value;
          break;
        case 'content-description':
          part.description = value;
          break;
        case 'content-md5':
          part.md5 = value;
          break;
        case 'content-location':
          part.location = value;
          break;
        default:
      }
    }
    if (frame.isInDigest && !seen.has('content-type')) Object.assign(part, MESSAGE_RFC822);
  }

  /** Closes the open parts of `level` and above; their bodies end at `bodyEnd`, before which `lines` line ends are. */
  #closeParts({ level, bodyEnd, lines }: { level: number; bodyEnd: number; lines: number }): void {
    while (this.#stack.length > level) {
      const frame = this.#frameAt(this.#stack.length - 1);
      const { part } = frame;
      part.bodyEnd = bodyEnd;
      part.lineCount = lines - frame.lines;
      if (frame.children.length > 0) part.children = frame.children;
      if (this.#stack.length === 1) return; // the root stays, for end()
      this.#stack.pop();
      const parent = this.#frameAt(this.#stack.length - 1);
      if (frame.envelope) parent.part.message = { envelope: frame.envelope, root: part } satisfies EmbeddedMessage;
      else parent.children.push(part);
    }
  }
}

const EMPTY_ENVELOPE: Envelope = {
  date: null,
  subject: null,
  from: null,
  sender: null,
  replyTo: null,
  to: null,
  cc: null,
  bcc: null,
  inReplyTo: null,
  messageId: null,
};

function countLineEnds(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at += 1) if (bytes[at] === LF) count += 1;
  return count;
}

/** Scans a message that is in memory. */
export function scanMessage(raw: Uint8Array, limits: Partial<ScanLimits> = {}): ScannedMessage {
  const scanner = new MessageScanner(limits);
  scanner.push(raw);
  return scanner.end();
}
