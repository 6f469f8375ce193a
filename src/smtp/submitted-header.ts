/**
 * The header of a submitted message: what it says about its author, and what a submission server mends. RFC 6409 §8.
 *
 * SH1  Whom a message says it is from is one From field of readable addresses, and at most one Sender field of one
 *      address; the caller checks that the login owns all of them. Where a field can be read in more than one way, all
 *      addresses in it count. Anything else has no author, and is refused.
 * SH2  Added are Date, Message-ID and From, where they lack: RFC 6409 §8.2, §8.3. Taken out are Bcc (RFC 5322 §3.6.3)
 *      and Return-Path (RFC 5321 §4.4). All else stays byte for byte.
 * SH3  What is held is bounded: a header of more than `MAX_HEADER_BYTES` is refused.
 *
 * Called by session.ts. Pure.
 */
import type { Address } from '../mime/body-structure.ts';
import { parseAddressList } from '../mime/addresses.ts';
import { binaryString, fieldValue, parseHeaderFields, type HeaderField } from '../mime/headers.ts';

/** For what is added. `sender`: the reverse-path, or the login's address where that is empty. */
type HeaderDefaults = Readonly<{ sender: string; nowMs: number; uniqueId: string }>;
type CheckedHeader = Readonly<{
  /** The mended header with the empty line at its end. */
  bytes: Buffer;
  /** All whom it says it is from, as `local@domain`. */
  authors: readonly string[];
  /** A report or an automatic answer: it may have no reverse-path. RFC 3834 §3.1.7, RFC 8098 §3. */
  isAutomatic: boolean;
}>;

const MAX_HEADER_BYTES = 1024 * 1024;
const MAX_AUTHORS_COUNT = 50;
const REMOVED: ReadonlySet<string> = new Set(['bcc', 'resent-bcc', 'return-path']);
const END = Buffer.from('\r\n\r\n');

type SplitMessage = Readonly<{ header: Buffer; rest: Buffer }>;

/** Holds a header back until it is whole. Lines end with CRLF. */
export class HeaderCollector {
  readonly #pieces: Uint8Array[] = [];
  #sizeBytes = 0;
  /** Up to three bytes before the next chunk; at the very start CRLF, so that an empty line there is an end, too. */
  #tail = Buffer.from('\r\n');

  get isTooLarge(): boolean {
    return this.#sizeBytes > MAX_HEADER_BYTES;
  }

  /** Takes the next bytes; gives header and the start of the body once the header is whole. */
  push(chunk: Uint8Array): SplitMessage | null {
    const seen = Buffer.concat([this.#tail, chunk]);
    const at = seen.indexOf(END);
    const before = this.#sizeBytes - this.#tail.length; // where `seen` starts in the message; -2 at the very start
    this.#pieces.push(chunk);
    this.#sizeBytes += chunk.length;
    this.#tail = seen.subarray(-3);
    return at < 0 ? null : this.#split(before + at + 2, before + at + END.length);
  }

  /** The message ended without a body. */
  end(): SplitMessage {
    return this.#split(this.#sizeBytes, this.#sizeBytes);
  }

  #split(headerEnd: number, bodyStart: number): SplitMessage {
    const held = Buffer.concat(this.#pieces);
    return { header: held.subarray(0, headerEnd), rest: held.subarray(bodyStart) };
  }
}

/** Checks and mends a header, given without the empty line at its end. Null where it names no author (SH1). */
export function checkHeader(header: Uint8Array, defaults: HeaderDefaults): CheckedHeader | null {
  const text = binaryString(header);
  const fields = parseHeaderFields(text);
  const authors = authorsOf(text, fields);
  if (authors === null) return null;
  // a line that is no field ends the header: what follows it was meant as the body
  const firstStray = fields.findIndex(({ name }) => name === '' || /[^\x21-\x7e]/.test(name));
  const kept = firstStray < 0 ? fields : fields.slice(0, firstStray);
  const named = (name: string): boolean => kept.some((field) => field.name === name);
  const added = [
    ...(named('date') ? [] : [`Date: ${new Date(defaults.nowMs).toUTCString().replace('GMT', '+0000')}\r\n`]),
    ...(named('message-id') ? [] : [`Message-ID: <${defaults.uniqueId}@${domainOf(defaults.sender)}>\r\n`]),
    ...(named('from') ? [] : [`From: <${utf8AsBinary(defaults.sender)}>\r\n`]),
  ];
  const pieces = kept.filter(({ name }) => !REMOVED.has(name)).map(({ start, end }) => text.slice(start, end));
  const joined = pieces.join('');
  const lineEnd = joined === '' || joined.endsWith('\n') ? '' : '\r\n';
  const stray = firstStray < 0 ? '' : text.slice(fields[firstStray]?.start);
  const body = stray === '' ? '' : `${stray}\r\n`; // the empty line that ended the header is part of it now
  const bytes = Buffer.from(`${added.join('')}${joined}${lineEnd}\r\n${body}`, 'latin1');
  return { bytes, authors: authors.length > 0 ? authors : [defaults.sender], isAutomatic: isAutomatic(text, kept) };
}

/** Empty where there is no From field; null where it cannot be told who the author is. */
function authorsOf(text: string, fields: readonly HeaderField[]): readonly string[] | null {
  const [from, sender] = ['from', 'sender'].map((name) => fields.filter((field) => field.name === name));
  if (!from || !sender || from.length > 1 || sender.length > 1) return null;
  const authors: string[] = [];
  for (const field of [...from, ...sender]) {
    const value = fieldValue(text, field);
    const listed = parseAddressList(value, MAX_AUTHORS_COUNT + 1);
    const readable = listed.map(addressText).filter((address) => address !== null);
    if (readable.length !== listed.length || listed.length === 0 || listed.length > MAX_AUTHORS_COUNT) return null;
    if (field.name === 'sender' && listed.length > 1) return null; // RFC 5322 §3.6.2
    authors.push(...new Set([...readable, ...looksLikeAddresses(value)]));
  }
  return authors;
}

/** What another reader might take for the address: `me@here <you@there>` is either. */
function looksLikeAddresses(value: string): readonly string[] {
  let [bare, depth, isQuoted] = ['', 0, false];
  for (let at = 0; at < value.length; at += 1) {
    const char = value[at] ?? '';
    if (char === '\\') at += 1;
    else if (char === '"' && depth === 0) isQuoted = !isQuoted;
    else if (char === '(' && !isQuoted) depth += 1;
    else if (char === ')' && !isQuoted && depth > 0) depth -= 1;
    else if (!isQuoted && depth === 0) bare += char;
  }
  const found = bare.split(/[\s<>,;:]+/).filter((word) => /^[^@]+@[^@]+$/.test(word));
  return found.map((word) => Buffer.from(word, 'latin1').toString('utf8'));
}

/** Null for a group, or what has no local part or domain. */
function addressText({ mailbox, host }: Address): string | null {
  if (mailbox === null || host === null || mailbox === '' || host === '') return null;
  const [local, domain] = [mailbox, host].map((part) => Buffer.from(part, 'latin1').toString('utf8'));
  const quoted = /[\s"<>@\\]/.test(local ?? '') ? `"${(local ?? '').replaceAll(/["\\]/g, '\\$&')}"` : (local ?? '');
  return `${quoted}@${domain ?? ''}`;
}

function isAutomatic(text: string, fields: readonly HeaderField[]): boolean {
  const valueOf = (name: string): string => {
    const field = fields.find((one) => one.name === name);
    return field ? fieldValue(text, field).toLowerCase() : '';
  };
  const submitted = valueOf('auto-submitted');
  return /^multipart\/report\b/.test(valueOf('content-type')) || (submitted !== '' && !submitted.startsWith('no'));
}

function domainOf(address: string): string {
  return utf8AsBinary(address.slice(address.lastIndexOf('@') + 1));
}

function utf8AsBinary(text: string): string {
  return Buffer.from(text).toString('latin1');
}
