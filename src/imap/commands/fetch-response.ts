/**
 * The answer to FETCH for one message with bodies: literals of known size, their bytes streamed from the store.
 *
 * B1  A literal's size is known before its first byte is asked for, and exactly so many bytes follow.
 * B2  Up to `HELD_BYTES` an answer is written only when it is complete, so that damage found in it is an ordinary
 *     failure. A larger one is streamed; if it fails after its begin was sent, the connection ends: the client could
 *     not find the end of the literal.
 * B3  Where \Seen is set, that comes after the bodies, and FLAGS last. RFC 9051 §6.4.5.
 * B4  A message of which several sections are asked for is read once, if it is small.
 *
 * Called by fetch.ts.
 */
import { assertNever } from '../../base/errors.ts';
import type { MessageRow } from '../../mailbox/model.ts';
import { emailObjectId, threadObjectId } from '../../mailbox/object-ids.ts';
import { previewOf } from '../../mailbox/preview.ts';
import type { OpenMessage } from '../../mailbox/read.ts';
import { TransferDecoder, transferEncoding } from '../../mime/decode.ts';
import { filterHeader } from '../../mime/headers.ts';
import { findPart, resolveSection, type ByteRange } from '../../mime/section.ts';
import type { FetchItem, PartialRange } from '../proto/commands/fetch.ts';
import { imapText, literalPrefix } from '../proto/strings.ts';
import type { Session } from '../session.ts';
import { flagsItemText, isOfRow, rowItemText, textItemText } from './fetch-items.ts';

export type ResponseTarget = Readonly<{
  message: OpenMessage;
  /** `* 5 FETCH (`. */
  head: string;
  /** Sets \Seen and gives the row as it is then; null where that is not to be done. */
  markSeen: (() => Promise<MessageRow | null>) | null;
}>;

type SectionItem = Extract<FetchItem, { kind: 'section' }>;
type TransferEncoding = NonNullable<ReturnType<typeof transferEncoding>>;
type BinaryItem = Extract<FetchItem, { kind: 'binary' | 'binary-size' }>;

const HELD_BYTES = 256 * 1024;
const WHOLE_BYTES = 256 * 1024;

export class MessageResponse {
  readonly #session: Session;
  readonly #target: ResponseTarget;
  #held: (string | Uint8Array)[] = [];
  #heldBytes = 0;
  #isBegun = false;
  #whole: Buffer | null = null;
  #keepsWhole = false;
  /** A part was asked for in decoded form whose encoding is not known. RFC 3516. */
  hasUnknownEncoding = false;

  constructor(session: Session, target: ResponseTarget) {
    this.#session = session;
    this.#target = target;
  }

  /** Sends the answer. Throws ServerError; then nothing was sent, or the connection is gone (B2). */
  async send(items: readonly FetchItem[]): Promise<void> {
    const { message, head, markSeen } = this.#target;
    const { out } = this.#session;
    const bodies = items.filter((item) => item.kind === 'section' || item.kind === 'binary');
    this.#keepsWhole = bodies.length > 1 && message.row.sizeBytes <= WHOLE_BYTES;
    try {
      let gap = head;
      for (const item of items) {
        if (markSeen && item.kind === 'flags') continue; // they follow
        await this.#write(gap);
        gap = ' ';
        if (message.isStale) await this.#renew();
        await this.#item(item);
      }
      if (markSeen) await this.#write(gap + flagsItemText((await markSeen()) ?? message.row));
      await this.#write(')\r\n');
    } catch (error) {
      if (this.#isBegun) this.#session.wire.destroy();
      throw error;
    }
    for (const piece of this.#held) out.write(piece);
    await out.room();
  }

  async #item(item: FetchItem): Promise<void> {
    const { message } = this.#target;
    switch (item.kind) {
      case 'section':
        return this.#section(item);
      case 'binary':
      case 'binary-size':
        return this.#binary(item);
      case 'preview': // never NIL: it takes no undue time (RFC 8970 §4.1)
        return this.#write(`${item.label} ${imapText(await previewOf(message), this.#session.context)}`);
      case 'email-id':
        return this.#write(`${item.label} (${emailObjectId(message.body)})`);
      case 'thread-id':
        return this.#write(`${item.label} (${await threadObjectId(message)})`);
      default:
        if (isOfRow(item)) return this.#write(rowItemText(item, message.row));
        return this.#write(textItemText(item, message.summary, this.#session.context));
    }
  }

  /** The client took long over what came before: what is held of the message goes with its key. */
  async #renew(): Promise<void> {
    this.#whole = null;
    await this.#target.message.renew(this.#session.signal);
  }

  async #section({ label, section, partial }: SectionItem): Promise<void> {
    const { message } = this.#target;
    const isWholeMessage = section.kind === 'all' && section.part.length === 0;
    const range = isWholeMessage
      ? { start: 0, end: message.row.sizeBytes }
      : resolveSection(message.summary.scanned, section);
    if (!range) {
      await this.#write(`${label} NIL`);
      return;
    }
    if (section.kind === 'header-fields' || section.kind === 'header-fields-not') {
      const kind = section.kind === 'header-fields' ? 'only' : 'all-but';
      const header = filterHeader(await this.#bytes(range), { kind, fields: section.fields });
      const { start, end } = cut({ start: 0, end: header.length }, partial);
      await this.#write(`${label} ${literalPrefix(end - start)}`);
      await this.#write(header.subarray(start, end));
      return;
    }
    const { start, end } = cut(range, partial);
    await this.#write(`${label} ${literalPrefix(end - start)}`);
    await this.#stream({ start, end });
  }

  /** Content without its transfer encoding: once over it for the size, once more for the bytes. RFC 3516. */
  async #binary(item: BinaryItem): Promise<void> {
    const { message } = this.#target;
    const { row } = message;
    const part = item.part.length === 0 ? null : findPart(message.summary.scanned.root, item.part);
    if (item.part.length > 0 && !part) {
      await this.#write(item.kind === 'binary' ? `${item.label} NIL` : `${item.label} 0`);
      return;
    }
    const range = part ? { start: part.bodyStart, end: part.bodyEnd } : { start: 0, end: row.sizeBytes };
    const encoding = part && part.children.length === 0 && !part.message ? transferEncoding(part.encoding) : 'identity';
    if (encoding === null) {
      this.hasUnknownEncoding = true;
      await this.#write(item.kind === 'binary' ? `${item.label} NIL` : `${item.label} 0`);
      return;
    }
    let sizeBytes = 0;
    let hasNul = false;
    for await (const piece of this.#decoded(range, encoding)) {
      sizeBytes += piece.length;
      hasNul ||= piece.includes(0);
    }
    switch (item.kind) {
      case 'binary-size':
        await this.#write(`${item.label} ${String(sizeBytes)}`);
        return;
      case 'binary': {
        const { start, end } = cut({ start: 0, end: sizeBytes }, item.partial);
        await this.#write(`${item.label} ${literalPrefix(end - start, hasNul ? 'binary' : 'text')}`);
        let at = 0;
        for await (const piece of this.#decoded(range, encoding)) {
          await this.#write(piece.subarray(Math.max(0, start - at), Math.max(0, end - at)));
          at += piece.length;
          if (at >= end) break;
        }
        return;
      }
      default:
        assertNever(item);
    }
  }

  async *#decoded(range: ByteRange, encoding: TransferEncoding): AsyncGenerator<Buffer> {
    const decoder = new TransferDecoder(encoding);
    for await (const piece of this.#target.message.range(range.start, range.end)) yield decoder.push(piece);
    yield decoder.end();
  }

  async #stream({ start, end }: ByteRange): Promise<void> {
    if (this.#keepsWhole) {
      await this.#write(await this.#bytes({ start, end }));
      return;
    }
    for await (const piece of this.#target.message.range(start, end)) await this.#write(piece);
  }

  async #bytes({ start, end }: ByteRange): Promise<Buffer> {
    const { message } = this.#target;
    if (!this.#keepsWhole) return message.bytes(start, end);
    this.#whole ??= await message.bytes(0, message.row.sizeBytes);
    return this.#whole.subarray(start, end);
  }

  async #write(bytes: string | Uint8Array): Promise<void> {
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    if (this.#heldBytes <= HELD_BYTES) return;
    this.#isBegun = true;
    for (const piece of this.#held) this.#session.out.write(piece);
    this.#held = [];
    this.#heldBytes = 0;
    await this.#session.out.room();
    this.#session.signal.throwIfAborted();
  }
}

/** The part of a range that a partial fetch asks for. RFC 9051 §6.4.5: past the end it is empty. */
function cut({ start, end }: ByteRange, partial: PartialRange | null): ByteRange {
  if (!partial) return { start, end };
  const from = Math.min(start + partial.start, end);
  return { start: from, end: Math.min(from + partial.count, end) };
}
