/**
 * The messages of an mbox, as its bytes come: RFC 4155 appendix A, in the dialects mboxo, mboxrd, mboxcl and mboxcl2.
 *
 * MB1  A message begins at a line `From `, with a date in it, at the start or after a blank line; all else is content.
 * MB2  A Content-Length that leads exactly to the next such line, or to the end, is believed: then the content is taken as
 *      it is, without unquoting (mboxcl2). Any other is ignored.
 * MB3  Otherwise one `>` is taken from each line of `>`s and `From ` (mboxrd); with `quoting: 'mboxo'` only from lines with
 *      one `>`; with `'none'` from none.
 * MB4  One message is held at a time, up to `maxBytes`; a larger one is counted and let go.
 */
export type MboxQuoting = 'mboxrd' | 'mboxo' | 'none';
/** `fromLine` without its line end; `offset` is where it begins in the mbox. */
export type MboxMessage = Readonly<{ fromLine: string; offset: number; bytes: Buffer | null; sizeBytes: number }>;

const LF = 10;
const CR = 13;
const FROM = Buffer.from('From ');
const SEPARATOR = Buffer.from('\nFrom ');
/** asctime's date, with a zone before or after the year or none; some writers leave the weekday out. */
const FROM_LINE = /^From .*\b\d{1,2}:\d{2}(:\d{2})?\b.*\b\d{4}\b|^From .*\b\d{4}\b.*\b\d{1,2}:\d{2}(:\d{2})?\b/;
const FROM_LINE_MAX_BYTES = 1000;
const CONTENT_LENGTH = /^content-length:[ \t]*(\d{1,12})[ \t]*\r?$/im;
const HEADER_MAX_BYTES = 256 * 1024;

export class MboxSplitter {
  readonly #quoting: MboxQuoting;
  readonly #maxBytes: number;
  /** What was not given out yet: from the `From ` line of the message that is being read. */
  #held = Buffer.alloc(0);
  #start = 0;
  #lengthBytes = 0;
  /** How far it was searched for the next separator. */
  #searched = 0;
  #offset = 0;
  /** Bytes of a message that is too large and was let go. */
  #lostBytes = 0;

  constructor(options: Readonly<{ quoting: MboxQuoting; maxBytes: number }>) {
    this.#quoting = options.quoting;
    this.#maxBytes = options.maxBytes;
  }

  /** Takes the next bytes; gives the messages that they complete. Throws SyntaxError when this is no mbox. */
  *push(chunk: Uint8Array): Generator<MboxMessage> {
    this.#add(chunk);
    yield* this.#complete(false);
  }

  /** Gives the last message. Throws SyntaxError when this is no mbox. */
  *end(): Generator<MboxMessage> {
    yield* this.#complete(true);
    if (this.#lengthBytes > 0) yield this.#take(this.#lengthBytes);
  }

  *#complete(isEnd: boolean): Generator<MboxMessage> {
    this.#checkStart(isEnd);
    for (;;) {
      const at = this.#nextStart(isEnd);
      if (at === null) return;
      yield this.#take(at);
    }
  }

  #checkStart(isEnd: boolean): void {
    if (this.#offset > 0 || this.#lostBytes > 0 || (this.#lengthBytes < FROM.length && !isEnd)) return;
    if (this.#lengthBytes > 0 && !this.#view().subarray(0, FROM.length).equals(FROM)) {
      throw new SyntaxError('this is no mbox: it does not begin with a From line');
    }
  }

  /** Where the message after the first begins in what is held; null when more has to come. */
  #nextStart(isEnd: boolean): number | null {
    const view = this.#view();
    for (;;) {
      const found = view.indexOf(SEPARATOR, Math.max(this.#searched - SEPARATOR.length, 0));
      if (found < 0) {
        this.#searched = view.length;
        this.#letGo(isEnd);
        return null;
      }
      const start = found + 1;
      const lineEnd = view.indexOf(LF, start);
      if (lineEnd < 0 && !isEnd && view.length - start < FROM_LINE_MAX_BYTES) {
        this.#searched = found;
        return null;
      }
      const line = view.subarray(start, Math.min(lineEnd < 0 ? view.length : lineEnd, start + FROM_LINE_MAX_BYTES));
      if (isBlankBefore(view, found) && FROM_LINE.test(line.toString('latin1'))) {
        const decided = this.#isContent(start, isEnd);
        if (decided === null) {
          this.#searched = found;
          return null;
        }
        if (!decided) return start;
      }
      this.#searched = start + SEPARATOR.length;
    }
  }

  /** Whether a believable Content-Length says that what looks like a separator is content (MB2); null: more has to come. */
  #isContent(start: number, isEnd: boolean): boolean | null {
    const stated = this.#statedEnd();
    if (stated === null || stated <= start || stated > this.#maxBytes) return false;
    const view = this.#view();
    if (stated + FROM.length + 2 > view.length && !isEnd) return null;
    return stated <= view.length && this.#endsWell(stated);
  }

  /** Where the content of the first message ends by its Content-Length. */
  #statedEnd(): number | null {
    const view = this.#view();
    const headerStart = view.indexOf(LF) + 1;
    const headerEnd = endOfHeader(view, headerStart);
    if (headerStart === 0 || headerEnd === null) return null;
    const found = CONTENT_LENGTH.exec(view.subarray(headerStart, headerEnd).toString('latin1'));
    return found ? headerEnd + Number(found[1]) : null;
  }

  #endsWell(end: number): boolean {
    const view = this.#view();
    const rest = view.subarray(end, end + 2 + FROM.length);
    if (isBlank(rest)) return true;
    const blank = rest[0] === LF ? 1 : rest[0] === CR && rest[1] === LF ? 2 : 0;
    return (blank > 0 || view[end - 1] === LF) && rest.subarray(blank, blank + FROM.length).equals(FROM);
  }

  /** Gives out the first message, which ends before `end`. */
  #take(end: number): MboxMessage {
    const view = this.#view();
    const lineEnd = view.indexOf(LF);
    const contentStart = lineEnd < 0 || lineEnd >= end ? end : lineEnd + 1;
    const fromLine = view
      .subarray(0, Math.max(contentStart - 1, 0))
      .toString('latin1')
      .replace(/\r$/, '');
    const stated = this.#statedEnd();
    const isExact = stated !== null && stated <= end && isBlank(view.subarray(stated, end));
    const content = view.subarray(contentStart, isExact ? stated : withoutBlankLine(view, contentStart, end));
    const sizeBytes = content.length + this.#lostBytes;
    const isLost = this.#lostBytes > 0 || sizeBytes > this.#maxBytes;
    const bytes = isLost ? null : isExact ? Buffer.from(content) : this.#unquoted(content);
    const offset = this.#offset;
    this.#offset += end + this.#lostBytes;
    this.#lostBytes = 0;
    this.#start += end;
    this.#lengthBytes -= end;
    this.#searched = 0;
    return { fromLine, offset, bytes, sizeBytes };
  }

  #unquoted(content: Buffer): Buffer {
    if (this.#quoting === 'none' || !content.includes('>From ')) return Buffer.from(content);
    const quoted = this.#quoting === 'mboxrd' ? /^>(>*From )/gm : /^>(From )/gm;
    return Buffer.from(content.toString('latin1').replace(quoted, '$1'), 'latin1');
  }

  /** MB4: keeps the first part, where the From line is, and the last, where a separator may have begun. */
  #letGo(isEnd: boolean): void {
    if (isEnd || this.#lengthBytes <= this.#maxBytes + HEADER_MAX_BYTES) return;
    const end = this.#lengthBytes - FROM_LINE_MAX_BYTES;
    this.#lostBytes += end - HEADER_MAX_BYTES;
    const view = this.#view();
    view.copyWithin(HEADER_MAX_BYTES, end);
    this.#lengthBytes = HEADER_MAX_BYTES + FROM_LINE_MAX_BYTES;
    this.#searched = HEADER_MAX_BYTES;
  }

  #add(chunk: Uint8Array): void {
    const needed = this.#lengthBytes + chunk.length;
    if (this.#start + needed > this.#held.length) {
      const room = needed > this.#held.length / 2 ? Buffer.allocUnsafe(needed * 2) : this.#held;
      this.#view().copy(room); // overlapping places are copied as if by a detour
      this.#held = room;
      this.#start = 0;
    }
    this.#held.set(chunk, this.#start + this.#lengthBytes);
    this.#lengthBytes = needed;
  }

  #view(): Buffer {
    return this.#held.subarray(this.#start, this.#start + this.#lengthBytes);
  }
}

/** Whether the line that ends at `at` (its LF) is blank. */
function isBlankBefore(view: Buffer, at: number): boolean {
  if (view[at - 1] === LF) return true;
  return view[at - 1] === CR && view[at - 2] === LF;
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === LF || byte === CR);
}

/** Where a message ends whose blank line before the next From line, if there is one, is not its own. */
function withoutBlankLine(view: Buffer, start: number, end: number): number {
  if (end - start < 2 || view[end - 1] !== LF) return end;
  if (view[end - 2] === LF) return end - 1;
  return view[end - 2] === CR && view[end - 3] === LF ? end - 2 : end;
}

/** Just after the blank line that ends the header; null when it is not there. */
function endOfHeader(view: Buffer, start: number): number | null {
  const header = view.subarray(start, start + HEADER_MAX_BYTES);
  const [plain, crlf] = [header.indexOf('\n\n'), header.indexOf('\r\n\r\n')];
  if (plain < 0 && crlf < 0) return null;
  return start + (crlf >= 0 && (plain < 0 || crlf < plain) ? crlf + 4 : plain + 2);
}
