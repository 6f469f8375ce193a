/**
 * Cuts the byte stream of a client into commands, without I/O and without waiting.
 *
 * R1  The events depend on the bytes only, not on how packets split them (chunks of a streamed literal excepted).
 * R2  Memory grows with bytes received, up to the limits; a literal's announced size allocates nothing.
 * R3  A literal's size is checked before `literal-wanted`, so that no `+` invites what will be refused (I1).
 * R4  The bytes of a refused non-synchronising literal are swallowed exactly, or the connection ends:
 *     they are never read as commands (I2). The same holds for the rest of a refused command.
 * R5  The message literals of APPEND and REPLACE are handed out as they come, never gathered.
 *
 * Owned by imap/connection.ts, which calls `push`, then `next` until it gives null, and answers each event
 * before it asks for the next one.
 */
import { ByteBuilder } from './byte-builder.ts';
import type { CommandLiteral, CommandText } from './lexer.ts';
import { isAtom, isTag } from './lexer.ts';
import type { LiteralSpec } from './literal-spec.ts';
import { LITERAL_TAIL_BYTES, parseLiteralSpec } from './literal-spec.ts';
import type { ReaderEvent, ReaderLimits } from './reader-events.ts';

const MAX_TAG_BYTES = 128;
const MAX_NAME_BYTES = 32;

const LF = 0x0a;
const CR = 0x0d;
const NOTHING = Buffer.alloc(0);

type State =
  | { kind: 'line' }
  | { kind: 'deciding'; spec: LiteralSpec; isMessage: boolean }
  | { kind: 'gathering'; spec: LiteralSpec; bytes: ByteBuilder }
  | { kind: 'streaming'; leftBytes: number }
  | { kind: 'swallowing'; leftBytes: number }
  | { kind: 'skipping-line' }
  | { kind: 'closed' };

export class CommandReader {
  #limits: ReaderLimits;
  #input: Uint8Array = NOTHING;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #state: State = { kind: 'line' };
  #wantsBareLine = false;
  /** The current line so far, when it did not come whole. */
  readonly #line = new ByteBuilder();
  /** The command so far: lines without their ends, joined; a literal's `{n}` stays in the text. */
  #text = '';
  #textBytes = 0;
  #literals: CommandLiteral[] = [];
  #literalBytes = 0;
  #head: { tag: string; name: string } | null = null;
  #argsAt = 0;
  #streamedCount = 0;
  #discardedBytes = 0;

  constructor(limits: ReaderLimits) {
    this.#limits = limits;
  }

  /** Applies from the next byte on. */
  setLimits(limits: ReaderLimits): void {
    this.#limits = limits;
  }

  /** Received and not yet consumed: the connection stops reading the socket while this is large. */
  get bufferedBytes(): number {
    return this.#input.length + this.#queuedBytes;
  }

  /** Takes ownership of `chunk`. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0 || this.#state.kind === 'closed') return;
    if (this.#input.length === 0) this.#input = chunk;
    else {
      this.#queue.push(chunk);
      this.#queuedBytes += chunk.length;
    }
  }

  /** The next line comes as a `line` event, whatever it holds: the reply to a `+` (AUTHENTICATE, IDLE). */
  expectLine(): void {
    this.#wantsBareLine = true;
  }

  /**
   * Forgets everything received and starts anew: what a client sent together with STARTTLS
   * must not be read after the handshake (RFC 9051 §11.1).
   */
  reset(): void {
    this.#input = NOTHING;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#wantsBareLine = false;
    this.#startCommand();
  }

  /** Hands out what was received and not consumed, and forgets it: it is in another coding. */
  takeReceived(): readonly Uint8Array[] {
    const received = [this.#input, ...this.#queue].filter((bytes) => bytes.length > 0);
    this.reset();
    return received;
  }

  /** After `literal-wanted`: its bytes are welcome. */
  acceptLiteral(): void {
    const state = this.#state;
    if (state.kind !== 'deciding') throw new TypeError('no literal is waiting');
    if (state.isMessage) this.#state = { kind: 'streaming', leftBytes: state.spec.sizeBytes };
    else this.#state = { kind: 'gathering', spec: state.spec, bytes: new ByteBuilder() };
  }

  /**
   * After `literal-wanted`, or amid a streamed literal: the command has been answered, none of the rest of it
   * is wanted. A synchronising literal that was not accepted will not come (RFC 9051 §4.3).
   */
  refuseLiteral(): void {
    const state = this.#state;
    if (state.kind === 'streaming') this.#swallow(state.leftBytes);
    else if (state.kind !== 'deciding') throw new TypeError('no literal is waiting');
    else if (state.spec.synchronising) this.#startCommand();
    else this.#swallow(state.spec.sizeBytes);
  }

  /** The next event, or null when more bytes (or a decision on a literal) are needed. */
  next(): ReaderEvent | null {
    for (;;) {
      const state = this.#state;
      switch (state.kind) {
        case 'deciding':
        case 'closed':
          return null;
        case 'line': {
          const line = this.#takeLine();
          if (line === null) return null;
          const event = typeof line === 'string' ? this.#onLine(line) : line;
          if (event) return event;
          break;
        }
        case 'gathering': {
          const wanted = state.spec.sizeBytes - state.bytes.length;
          if (wanted > 0) {
            const bytes = this.#takeBytes(wanted);
            if (bytes === null) return null;
            state.bytes.append(bytes);
            break;
          }
          this.#literals.push({
            at: state.spec.at - this.#argsAt,
            specLength: this.#text.length - state.spec.at,
            bytes: state.bytes.take(),
            isBinary: state.spec.isBinary,
          });
          this.#state = { kind: 'line' };
          break;
        }
        case 'streaming': {
          if (state.leftBytes === 0) {
            this.#state = { kind: 'line' };
            this.#streamedCount += 1;
            this.#forgetText();
            return { kind: 'literal-end' };
          }
          const bytes = this.#takeBytes(state.leftBytes);
          if (bytes === null) return null;
          state.leftBytes -= bytes.length;
          return { kind: 'literal-chunk', bytes };
        }
        case 'swallowing': {
          if (this.#discardedBytes + state.leftBytes > this.#limits.discardBytes) return this.#fatal();
          if (state.leftBytes === 0) {
            this.#state = { kind: 'skipping-line' };
            break;
          }
          const bytes = this.#takeBytes(state.leftBytes);
          if (bytes === null) return null;
          state.leftBytes -= bytes.length;
          this.#discardedBytes += bytes.length;
          break;
        }
        case 'skipping-line': {
          const event = this.#skipLine();
          if (event === 'more') return null;
          if (event) return event;
          break;
        }
      }
    }
  }

  /** One line without its end; null when it is not whole yet; an event when it is past the limits. */
  #takeLine(): string | ReaderEvent | null {
    const room = this.#limits.lineBytes - this.#textBytes;
    for (;;) {
      if (this.#input.length === 0 && !this.#nextChunk()) return null;
      const end = this.#input.indexOf(LF);
      const taken = end === -1 ? this.#input.length : end;
      // Without its line end, of which the CR may be the last byte here.
      if (this.#line.length + taken > room + 1) return this.#lineTooLong();
      if (end === -1) {
        this.#line.append(this.#input);
        this.#input = NOTHING;
        continue;
      }
      let line: string;
      if (this.#line.length === 0) line = latin1(this.#input, end);
      else {
        this.#line.append(this.#input.subarray(0, end));
        line = this.#line.bytes.toString('latin1');
        this.#line.clear();
      }
      this.#input = this.#input.subarray(end + 1);
      if (line.charCodeAt(line.length - 1) === CR) line = line.slice(0, -1);
      if (line.length > room) return this.#lineTooLong(line);
      return line;
    }
  }

  /** `whole`: the line, when its end has been taken already. */
  #lineTooLong(whole?: string): ReaderEvent {
    let tag = this.#head?.tag ?? null;
    if (tag === null && !this.#wantsBareLine) {
      // Bytes that have come by now however packets split them.
      const length = Math.min(MAX_TAG_BYTES + 1, this.#limits.lineBytes);
      const begin = (whole ?? latin1(this.#line.bytes, length) + latin1(this.#input, length)).slice(0, length);
      tag = begin.includes(' ') ? leadingTag(begin) : null;
    }
    this.#wantsBareLine = false;
    if (whole === undefined) {
      const held = this.#line.take(); // its tail decides whether a literal follows
      this.#discardedBytes += held.length;
      this.#line.append(held.subarray(Math.max(0, held.length - LITERAL_TAIL_BYTES)));
      this.#state = { kind: 'skipping-line' };
    } else this.#afterSkipped(whole);
    return { kind: 'bad-line', tag, reason: 'line-too-long', text: 'Command line too long' };
  }

  /** Drops bytes up to the line end, keeping only the tail, which may announce a literal. */
  #skipLine(): ReaderEvent | 'more' | null {
    for (;;) {
      if (this.#input.length === 0 && !this.#nextChunk()) return 'more';
      const end = this.#input.indexOf(LF);
      const taken = end === -1 ? this.#input : this.#input.subarray(0, end);
      this.#discardedBytes += taken.length;
      if (this.#discardedBytes > this.#limits.discardBytes) return this.#fatal();
      const held = this.#line.take();
      const tail = Buffer.concat([held, taken.subarray(Math.max(0, taken.length - LITERAL_TAIL_BYTES))]);
      if (end === -1) {
        this.#line.append(tail.subarray(Math.max(0, tail.length - LITERAL_TAIL_BYTES)));
        this.#input = NOTHING;
        continue;
      }
      this.#input = this.#input.subarray(end + 1);
      let line = tail.toString('latin1');
      if (line.endsWith('\r')) line = line.slice(0, -1);
      this.#afterSkipped(line);
      return null;
    }
  }

  /** The end of a line that nobody wants: only a non-synchronising literal continues its command. */
  #afterSkipped(line: string): void {
    const spec = parseLiteralSpec(line.slice(-LITERAL_TAIL_BYTES));
    if (spec === 'malformed') this.#afterMalformed(line);
    else if (spec === null || spec.synchronising) this.#startCommand();
    else this.#swallow(spec.sizeBytes);
  }

  /** Nobody can tell how long the literal is: the stream is lost, unless the client waits for our `+`. */
  #afterMalformed(line: string): void {
    if (line.endsWith('+}')) this.#swallow(Number.MAX_SAFE_INTEGER);
    else this.#startCommand();
  }

  #onLine(line: string): ReaderEvent | null {
    if (this.#wantsBareLine) {
      this.#wantsBareLine = false;
      return { kind: 'line', text: line };
    }
    const spec = parseLiteralSpec(line);
    if (this.#head === null) {
      const fault = this.#readHead(line);
      if (fault) {
        this.#afterSkipped(line);
        return fault;
      }
    }
    const { tag, name } = this.#head ?? { tag: '', name: '' };
    if (line.includes('\0') || line.includes('\r')) {
      this.#afterSkipped(line);
      return { kind: 'bad-line', tag, reason: 'malformed', text: 'Control characters in the command' };
    }
    const lineAt = this.#text.length;
    this.#text += line;
    this.#textBytes += line.length;
    if (spec === 'malformed') {
      this.#afterMalformed(line);
      return { kind: 'bad-line', tag, reason: 'literal-too-large', text: 'Malformed or oversized literal' };
    }
    if (spec === null) {
      const event: ReaderEvent = { kind: 'command', tag, name, args: this.#args(), streamedCount: this.#streamedCount };
      this.#startCommand();
      return event;
    }
    if (!spec.synchronising && spec.sizeBytes > (this.#limits.nonSyncLiteralBytes ?? Infinity)) {
      this.#swallow(spec.sizeBytes);
      return { kind: 'bad-line', tag, reason: 'literal-too-large', text: 'A literal of that size must synchronise' };
    }
    const absolute: LiteralSpec = { ...spec, at: lineAt + spec.at };
    const isMessage =
      this.#limits.streamsAppend &&
      STREAMED.has(name) &&
      (this.#streamedCount > 0 || isPastFolder(name, this.#text.slice(this.#argsAt, absolute.at), this.#literals));
    if (!isMessage) {
      this.#literalBytes += spec.sizeBytes;
      if (this.#textBytes + this.#literalBytes > this.#limits.commandBytes) {
        if (spec.synchronising) this.#startCommand();
        else this.#swallow(spec.sizeBytes);
        return { kind: 'bad-line', tag, reason: 'literal-too-large', text: 'Literal too large' };
      }
      if (!spec.synchronising) {
        this.#state = { kind: 'gathering', spec: absolute, bytes: new ByteBuilder() };
        return null;
      }
    }
    this.#state = { kind: 'deciding', spec: absolute, isMessage };
    const { sizeBytes, synchronising, isBinary } = spec;
    const args = { text: this.#text.slice(this.#argsAt, absolute.at), literals: this.#literals };
    const streamedCount = this.#streamedCount;
    return { kind: 'literal-wanted', tag, name, args, sizeBytes, synchronising, isBinary, isMessage, streamedCount };
  }

  /** Reads tag and command name off the first line. RFC 9051 §2.2.1. */
  #readHead(line: string): ReaderEvent | null {
    const tag = leadingTag(line);
    if (tag === null) return { kind: 'bad-line', tag, reason: 'malformed', text: 'A tag was expected' };
    const nameAt = tag.length + 1;
    let nameEnd = nameAt;
    while (nameEnd < line.length && line.charCodeAt(nameEnd) !== 0x20 && nameEnd - nameAt <= MAX_NAME_BYTES)
      nameEnd += 1;
    const name = line.slice(nameAt, nameEnd);
    if (name.length > MAX_NAME_BYTES || !isAtom(name)) {
      return { kind: 'bad-line', tag, reason: 'malformed', text: 'A command name was expected' };
    }
    this.#head = { tag, name: name.toUpperCase() };
    this.#argsAt = nameEnd;
    return null;
  }

  #args(): CommandText {
    return { text: this.#text.slice(this.#argsAt), literals: this.#literals };
  }

  #startCommand(): void {
    this.#state = { kind: 'line' };
    this.#head = null;
    this.#line.clear();
    this.#streamedCount = 0;
    this.#discardedBytes = 0;
    this.#forgetText();
  }

  #forgetText(): void {
    this.#text = '';
    this.#textBytes = 0;
    this.#argsAt = 0;
    this.#literals = [];
    this.#literalBytes = 0;
  }

  #swallow(leftBytes: number): void {
    this.#forgetText();
    this.#line.clear();
    this.#state = { kind: 'swallowing', leftBytes };
  }

  #fatal(): ReaderEvent {
    this.reset();
    this.#state = { kind: 'closed' };
    return { kind: 'fatal', text: 'Too much unwanted input' };
  }

  #nextChunk(): boolean {
    const chunk = this.#queue.shift();
    if (chunk === undefined) return false;
    this.#queuedBytes -= chunk.length;
    this.#input = chunk;
    return true;
  }

  /** At least one and at most `maxBytes` bytes; null when there are none. */
  #takeBytes(maxBytes: number): Uint8Array | null {
    if (this.#input.length === 0 && !this.#nextChunk()) return null;
    const bytes = this.#input.subarray(0, maxBytes);
    this.#input = this.#input.subarray(bytes.length);
    return bytes;
  }
}

function latin1(bytes: Uint8Array, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(end, bytes.length)).toString('latin1');
}

/** The tag before the first space or the end; null when that is not a tag, or too long. */
function leadingTag(line: string): string | null {
  const space = line.indexOf(' ');
  const tag = space === -1 ? line : line.slice(0, space);
  return tag.length <= MAX_TAG_BYTES && isTag(tag) ? tag : null;
}

/** Commands with messages in literals: UID is one if REPLACE follows. */
const STREAMED: ReadonlySet<string> = new Set(['APPEND', 'REPLACE', 'UID']);
/** What stands before the folder. */
const BEFORE_FOLDER: Readonly<Record<string, RegExp>> = { REPLACE: /^ +\S+ /, UID: /^ +REPLACE +\S+ /i };

/**
 * Whether the text of an APPEND or REPLACE up to a literal has its folder name already, so that the literal is a message.
 * `text` starts at the space after the command name.
 */
function isPastFolder(name: string, text: string, literals: readonly CommandLiteral[]): boolean {
  const before = BEFORE_FOLDER[name]?.exec(text)?.[0].length;
  if (name !== 'APPEND' && before === undefined) return false;
  if (literals.length > 0) return true;
  let at = before ?? 0;
  while (text.charCodeAt(at) === 0x20) at += 1;
  const start = at;
  if (text.charAt(at) === '"') {
    for (at += 1; at < text.length && text.charAt(at) !== '"'; at += 1) if (text.charAt(at) === '\\') at += 1;
    return at < text.length;
  }
  return at < text.length && text.indexOf(' ', start) !== -1;
}
