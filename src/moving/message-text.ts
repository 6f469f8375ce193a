/** What importing needs to know of a message's text: line ends, dates, whether it is a message at all. */
import { isUtf8 } from 'node:buffer';
import type { InternalDate } from '../mailbox/model.ts';
import { parseMessageDate } from '../mime/date.ts';
import { binaryString, fieldValue, parseHeaderFields } from '../mime/headers.ts';

const LF = 10;
const CR = 13;
const HEADER_MAX_BYTES = 256 * 1024;
const FIELDS_MAX_COUNT = 1000;
const FIRST_LINE_MAX_BYTES = 998;
const FIELD_LINE = /^[!-9;-~]+[ \t]*:/;

/**
 * The message with CRLF for every line end, if its first line ends in a bare LF: so stores keep mail that they got with
 * CRLF. A message whose first line ends in CRLF stays as it is. The mail that IMAP gives out has CRLF (RFC 9051 §2.3).
 */
export function withCrlf(bytes: Buffer): Buffer {
  const first = bytes.indexOf(LF);
  if (first < 0 || (first > 0 && bytes[first - 1] === CR)) return bytes;
  let count = 0;
  for (let at = first; at >= 0; at = bytes.indexOf(LF, at + 1)) if (at === 0 || bytes[at - 1] !== CR) count += 1;
  const whole = Buffer.allocUnsafe(bytes.length + count);
  let [from, to] = [0, 0];
  for (let at = first; at >= 0; at = bytes.indexOf(LF, at + 1)) {
    to += bytes.copy(whole, to, from, at);
    if (at === 0 || bytes[at - 1] !== CR) {
      whole[to] = CR;
      to += 1;
    }
    from = at;
  }
  bytes.copy(whole, to, from);
  return whole;
}

/** The header of a message, as a binary string. */
export function headerText(bytes: Buffer): string {
  const end = bytes.indexOf('\r\n\r\n');
  return binaryString(bytes.subarray(0, Math.min(end < 0 ? bytes.length : end + 2, HEADER_MAX_BYTES)));
}

/** The unfolded values of the header fields of these names (lower case), in order. */
export function headerValues(header: string, names: ReadonlySet<string>): { name: string; value: string }[] {
  return parseHeaderFields(header, FIELDS_MAX_COUNT)
    .filter((field) => names.has(field.name))
    .map((field) => ({ name: field.name, value: fieldValue(header, field) }));
}

const DATE_FIELDS = new Set(['received', 'date']);

/** When the message arrived, as its newest Received field says, or else when it was written; null when neither is told. */
export function dateOf(header: string): InternalDate | null {
  const values = headerValues(header, DATE_FIELDS);
  const received = values.find(({ name }) => name === 'received')?.value;
  const arrived = received === undefined ? null : parseMessageDate(received.slice(received.lastIndexOf(';') + 1));
  const written = values.find(({ name }) => name === 'date')?.value;
  return arrived ?? (written === undefined ? null : parseMessageDate(written));
}

/** Why these bytes are no message, or null when they are one: RFC 5322 §2.1 wants header fields first. */
export function notMail(bytes: Buffer): string | null {
  if (bytes.length === 0) return 'it is empty';
  const end = bytes.subarray(0, FIRST_LINE_MAX_BYTES).indexOf(LF);
  const first = bytes.subarray(0, end < 0 ? Math.min(bytes.length, FIRST_LINE_MAX_BYTES) : end);
  if (FIELD_LINE.test(binaryString(first))) return null;
  if (first.length <= 1 && bytes.length > 2) return null; // a message without a header is one (its first line is blank)
  return isUtf8(first) && !first.includes(0) ? 'it does not begin with header fields' : 'it is no text';
}
