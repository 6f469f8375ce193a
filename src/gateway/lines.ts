/**
 * What passes between a gateway and its main server, as lines of JSON, and how it is read: by hand, strictly, since neither
 * trusts the other's bytes. Pure.
 *
 * LN1  A line that is not exactly what it should be is refused; so is one that is too long.
 *
 * Called by the other files of this folder.
 */
import { ServerError } from '../base/errors.ts';
import { bodyId, epoch, mailboxId, messageId, organizationId } from '../base/ids.ts';
import type { Epoch, MailboxId, OrganizationId } from '../base/ids.ts';
import type { HandedMessage } from '../store/waiting.ts';

/** One line of a roster; the last is `end`. `index`: of the folded local part, under the gateway's key. */
export type RosterLine =
  | Readonly<{ kind: 'domain'; name: string; isSuspended: boolean }>
  | Readonly<{
      kind: 'mailbox';
      organization: OrganizationId;
      mailbox: MailboxId;
      epoch: Epoch;
      publicKey: Uint8Array;
    }>
  | Readonly<{ kind: 'recipient'; domain: string; index: Uint8Array; mailbox: MailboxId; isSuspended: boolean }>
  | Readonly<{ kind: 'end'; linesCount: number }>;
/** A message that waits at a gateway; `id` says its place in the order of arrival. */
export type HeldMessage = HandedMessage & Readonly<{ id: number }>;

/** A summary holds the headers of a message, which are bounded far below. */
const LINE_MAX_BYTES = 32 << 20;
const LF = 0x0a;

/** A line with its LF. Bytes are written in base64. */
export function lineOf(value: RosterLine | HeldMessage): string {
  const fields: Fields = { ...value };
  const written = Object.entries(fields).map(
    ([name, of]) => [name, of instanceof Uint8Array ? base64(of) : of] as const,
  );
  return `${JSON.stringify(Object.fromEntries(written))}\n`;
}

/** Cuts a stream into lines, without their LF, and gives the bytes after the last one asked for. */
export class LineReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Null at the end. Throws ServerError 'invalid-argument' for a line that is too long or not ended (LN1). */
  async line(): Promise<string | null> {
    const pieces: Buffer[] = [];
    let sizeBytes = 0;
    for (;;) {
      const end = this.#rest.indexOf(LF);
      const piece = end < 0 ? this.#rest : this.#rest.subarray(0, end);
      this.#rest = end < 0 ? Buffer.alloc(0) : this.#rest.subarray(end + 1);
      pieces.push(piece);
      sizeBytes += piece.length;
      if (sizeBytes > LINE_MAX_BYTES) throw malformed('a line is too long');
      if (end >= 0) return Buffer.concat(pieces).toString('utf8');
      const next = await this.#source.next();
      if (next.done && sizeBytes > 0) throw malformed('the last line is not ended');
      if (next.done) return null;
      this.#rest = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
  }

  /** What follows the lines that were read. */
  async *bytes(): AsyncGenerator<Uint8Array> {
    if (this.#rest.length > 0) yield this.#rest;
    for (let next = await this.#source.next(); !next.done; next = await this.#source.next()) yield next.value;
  }
}

/** Throws ServerError 'invalid-argument' (LN1). */
export function rosterLine(text: string): RosterLine {
  const value = fieldsOf(text);
  return checked(() => {
    switch (value['kind']) {
      case 'domain':
        return { kind: 'domain', name: textOf(value, 'name'), isSuspended: flagOf(value, 'isSuspended') };
      case 'mailbox':
        return {
          kind: 'mailbox',
          organization: organizationId(textOf(value, 'organization')),
          mailbox: mailboxId(textOf(value, 'mailbox')),
          epoch: epoch(numberOf(value, 'epoch')),
          publicKey: bytesOf(value, 'publicKey'),
        };
      case 'recipient':
        return {
          kind: 'recipient',
          domain: textOf(value, 'domain'),
          index: bytesOf(value, 'index'),
          mailbox: mailboxId(textOf(value, 'mailbox')),
          isSuspended: flagOf(value, 'isSuspended'),
        };
      case 'end':
        return { kind: 'end', linesCount: numberOf(value, 'linesCount') };
      default:
        throw new TypeError('kind');
    }
  });
}

/** Throws ServerError 'invalid-argument' (LN1). */
export function heldMessage(text: string): HeldMessage {
  const value = fieldsOf(text);
  return checked(() => ({
    id: numberOf(value, 'id'),
    message: messageId(textOf(value, 'message')),
    epoch: epoch(numberOf(value, 'epoch')),
    body: bodyId(textOf(value, 'body')),
    sizeBytes: numberOf(value, 'sizeBytes'),
    savedAtMs: numberOf(value, 'savedAtMs'),
    isJunk: flagOf(value, 'isJunk'),
    sealedKey: bytesOf(value, 'sealedKey'),
    commitment: bytesOf(value, 'commitment'),
    sealedSummary: bytesOf(value, 'sealedSummary'),
  }));
}

export function malformed(detail: string): ServerError {
  return new ServerError('invalid-argument', { clientText: 'This is not what it should be.', detail });
}

type Fields = Readonly<Record<string, unknown>>;

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

function fieldsOf(text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed('a line is not JSON');
  }
  if (typeof value !== 'object' || value === null) throw malformed('a line is no object');
  return value as Fields;
}

function checked<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw malformed(`a line has a wrong field: ${error instanceof Error ? error.message : ''}`);
  }
}

function textOf(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string') throw new TypeError(name);
  return value;
}

function numberOf(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new TypeError(name);
  return value;
}

function flagOf(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value !== 'boolean') throw new TypeError(name);
  return value;
}

function bytesOf(fields: Fields, name: string): Buffer {
  const text = textOf(fields, name);
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new TypeError(name);
  return bytes;
}
