/**
 * Cuts the bytes of one peer into commands and message content, in the place of the library's own parser.
 *
 * B1  A command line ends with CRLF and nothing else; one that does not, or is too long, ends the connection.
 * B2  One command or one piece of content is at work at a time; the socket waits meanwhile.
 * B3  Nothing is read before the greeting, and nothing after the connection was closed.
 *
 * Called by listener-connection.ts.
 */
import { SMTPStream } from 'smtp-server/lib/smtp-stream.js';
import { DataDecoder } from './data-decoder.ts';
import { REPLIES, type Reply } from './replies.ts';

const EMPTY = Buffer.alloc(0);
const [CR, LF] = [0x0d, 0x0a] as const;

/** What the parser tells its connection. */
type ParserEvents = Readonly<{
  maxCommandBytes(): number;
  isReady(): boolean;
  onViolation(reply: Reply): void;
  onCommand(command: Buffer, done: () => void): void;
}>;
/** Where the content of a message goes; `write` false: stop reading. */
type MessageSink = Readonly<{
  write(content: Uint8Array): Promise<boolean>;
  end(hasBareNewlines: boolean): Promise<void>;
}>;

export class MailParser extends SMTPStream {
  readonly #events: ParserEvents;
  #line: Buffer = EMPTY; // the start of a command whose end has not come yet
  #sink: MessageSink | null = null;
  #decoder = new DataDecoder();
  #unreadBytes = 0; // of the chunk at work
  #chunkBytes = 0;

  constructor(events: ParserEvents) {
    super();
    this.#events = events;
  }

  /** True when the peer has sent more than what was worked on so far. */
  get hasUnread(): boolean {
    return this.#unreadBytes > 0 || this.writableLength > this.#chunkBytes;
  }

  /** From the next byte on it is a message. */
  startMessage(sink: MessageSink): void {
    this.#sink = sink;
    this.#decoder = new DataDecoder();
    this._dataMode = true;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding | 'buffer', next: (error?: Error | null) => void): void {
    this.#chunkBytes = chunk.length;
    this.#consume(chunk).then(
      () => {
        next();
      },
      (error: unknown) => {
        next(error instanceof Error ? error : new Error('parser failed', { cause: error }));
      },
    );
  }

  /** The library would take a last line without its end for a command. */
  override _flushData(): void {
    this.#line = EMPTY;
  }

  async #consume(chunk: Buffer): Promise<void> {
    let rest = chunk;
    while (rest.length > 0 && !this.isClosed) {
      if (!this.#events.isReady()) {
        this.#events.onViolation(REPLIES.earlyTalker); // B3
        return;
      }
      rest = this.#sink ? await this.#takeContent(this.#sink, rest) : await this.#takeLine(rest);
    }
  }

  async #takeContent(sink: MessageSink, chunk: Buffer): Promise<Buffer> {
    const { content, endOffset } = this.#decoder.push(chunk);
    for (const piece of content) {
      if (!(await sink.write(piece)) || this.isClosed) return EMPTY;
    }
    if (endOffset === null) return EMPTY;
    this.#sink = null;
    this._dataMode = false;
    await sink.end(this.#decoder.hasBareNewlines);
    return chunk.subarray(endOffset);
  }

  async #takeLine(chunk: Buffer): Promise<Buffer> {
    const lineFeed = chunk.indexOf(LF);
    const part = lineFeed < 0 ? chunk : chunk.subarray(0, lineFeed + 1);
    const line = this.#line.length === 0 ? part : Buffer.concat([this.#line, part]);
    if (line.length > this.#events.maxCommandBytes()) {
      this.#events.onViolation(REPLIES.lineTooLong);
      return EMPTY;
    }
    if (lineFeed < 0) {
      this.#line = line;
      return EMPTY;
    }
    this.#line = EMPTY;
    if (line[line.length - 2] !== CR) {
      this.#events.onViolation(REPLIES.badLineEnd); // B1
      return EMPTY;
    }
    const rest = chunk.subarray(lineFeed + 1);
    this.#unreadBytes = rest.length;
    await new Promise<void>((resolve) => {
      this.#events.onCommand(line.subarray(0, -2), resolve);
    });
    return rest;
  }
}
