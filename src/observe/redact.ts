/**
 * What may stand in a log line.
 *
 * R1  A member with the name of a secret is replaced, at any depth.
 * R2  Bytes are never written, only their number: they may be keys or content.
 * R3  Depth, number of members and length of texts are bounded, whatever a caller passes.
 * R4  An address, wherever it stands, becomes a pseudonym: equal within one process, so that lines
 *     can be matched, and meaningless outside it. Message-IDs have the same shape and fare the same.
 *
 * Called by logger.ts for every line.
 */
import { createHmac, randomBytes } from 'node:crypto';

const SECRET_NAME =
  /pass(word|phrase)|secret|token|credential|authorization|plaintext|private.?key|mailbox.?key$|message.?key$|^key$|^(content|body|subject|headers?|text|html)$/i;
const MAX_DEPTH = 4;
const MAX_MEMBERS_COUNT = 32;
const MAX_TEXT_LENGTH = 1024;
const MAX_STACK_LENGTH = 4096;

export type LogFields = Readonly<Record<string, unknown>>;

/** A copy of `fields` that is safe to write (R1, R2, R3). */
export function redactFields(fields: LogFields): Record<string, unknown> {
  return redactMembers(Object.entries(fields), MAX_DEPTH);
}

function redactMembers(members: readonly (readonly [string, unknown])[], depth: number): Record<string, unknown> {
  const safe = members
    .slice(0, MAX_MEMBERS_COUNT)
    .map(([name, value]): [string, unknown] => [
      name,
      SECRET_NAME.test(name) ? '[redacted]' : redactValue(value, depth),
    ]);
  if (members.length > MAX_MEMBERS_COUNT) safe.push(['omittedCount', members.length - MAX_MEMBERS_COUNT]);
  return Object.fromEntries(safe);
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return shortened(value, MAX_TEXT_LENGTH);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (ArrayBuffer.isView(value)) return `[${String(value.byteLength)} bytes]`;
  if (value instanceof ArrayBuffer) return `[${String(value.byteLength)} bytes]`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '[no date]' : value.toISOString();
  if (depth === 0) return '[deeper]';
  if (value instanceof Error) return redactError(value, depth - 1);
  if (Array.isArray(value)) return redactList(value, depth - 1);
  return redactMembers(Object.entries(value), depth - 1);
}

function redactList(list: readonly unknown[], depth: number): unknown[] {
  const safe = list.slice(0, MAX_MEMBERS_COUNT).map((value) => redactValue(value, depth));
  if (list.length > MAX_MEMBERS_COUNT) safe.push(`[${String(list.length - MAX_MEMBERS_COUNT)} more]`);
  return safe;
}

/** Only the members named here: errors of libraries carry requests, responses and input. */
function redactError(error: Error, depth: number): Record<string, unknown> {
  const { code, failure, requestId } = error as { code?: unknown; failure?: unknown; requestId?: unknown };
  const safe: Record<string, unknown> = { name: error.name, message: shortened(error.message, MAX_TEXT_LENGTH) };
  if (code !== undefined) safe['code'] = redactValue(code, 0);
  if (failure !== undefined) safe['failure'] = redactValue(failure, 0);
  if (requestId !== undefined) safe['requestId'] = redactValue(requestId, 0);
  if (error.stack !== undefined) safe['stack'] = shortened(error.stack, MAX_STACK_LENGTH);
  if (error.cause !== undefined) safe['cause'] = redactValue(error.cause, depth);
  return safe;
}

function shortened(text: string, maxLength: number): string {
  const cut = text.slice(0, maxLength).replace(ADDRESS, pseudonymOf);
  return text.length <= maxLength ? cut : `${cut}[${String(text.length - maxLength)} more]`;
}

/** Without `/`, so that paths of scoped packages in stack traces stay readable. */
const ADDRESS = /(?:"[^"]{1,64}"|[^\s<>"'(),:;@/[\]]{1,64})@(?:[\p{L}\p{N}_-]|\.(?=[\p{L}\p{N}])){1,253}/gu;
/** Never written anywhere. */
const pseudonymKey = randomBytes(32);
const PSEUDONYM_LENGTH = 12;

/** For example `addr-6f1c0c7b9d2e`. Case is ignored, so that one address has one pseudonym. */
function pseudonymOf(address: string): string {
  const mac = createHmac('sha256', pseudonymKey).update(address.toLowerCase()).digest('hex');
  return `addr-${mac.slice(0, PSEUDONYM_LENGTH)}`;
}
