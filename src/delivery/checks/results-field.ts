/**
 * The Authentication-Results field: ours as text, and forged ones of our name taken away. RFC 8601.
 *
 * RF1  What a sender chose cannot end a value or start a field: domains and selectors are written only if they are plain.
 * RF2  A field that speaks in our name, or cannot be read, does not pass: readers trust it. RFC 8601 §5.
 *
 * Called by authentication.ts and incoming.ts. Pure.
 */
import { binaryString, type HeaderField } from '../../mime/headers.ts';

/** One method's result, with the properties that were checked: `header.d`, and so on. */
export type MethodResult = Readonly<{
  method: 'spf' | 'dkim' | 'arc' | 'dmarc';
  result: string;
  /** Ours, never a sender's. */
  reason?: string | null;
  properties?: Readonly<Record<string, string | null>>;
}>;

const NAME = 'authentication-results';
const PLAIN = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?$/;
/** A longer one is taken away unread. */
const MAX_READ_CHARS = 16_384;

/** The field with its line end. RFC 8601 §2.2. */
export function resultsField(hostname: string, results: readonly MethodResult[]): Buffer {
  const lines = results.map(({ method, result, reason, properties }) => {
    const checked = Object.entries(properties ?? {}).flatMap(([name, value]) =>
      value !== null && PLAIN.test(value) ? [`${name}=${value}`] : [],
    );
    return [`${method}=${result}`, ...(reason ? [`reason="${reason}"`] : []), ...checked].join(' ');
  });
  return Buffer.from(`Authentication-Results: ${[hostname, ...lines].join(';\r\n\t')}\r\n`, 'latin1');
}

/** The header without the fields that claim to be results of `hostname` (RF2), and without those of the names `others`. */
export function withoutForged(
  block: Buffer,
  fields: readonly HeaderField[],
  { hostname, others }: Readonly<{ hostname: string; others: readonly string[] }>,
): Buffer {
  const text = binaryString(block);
  const forged = fields.filter(
    (field) => (field.name === NAME && speaksFor(hostname, text, field)) || others.includes(field.name),
  );
  if (forged.length === 0) return block;
  const kept: Buffer[] = [];
  let at = 0;
  for (const { start, end } of forged) {
    kept.push(block.subarray(at, start));
    at = end;
  }
  return Buffer.concat([...kept, block.subarray(at)]);
}

/** Whether the authserv-id of a field is `hostname`, or is not to be made out. */
function speaksFor(hostname: string, block: string, { valueStart, end }: HeaderField): boolean {
  if (end - valueStart > MAX_READ_CHARS) return true;
  const value = withoutComments(block.slice(valueStart, end));
  const quoted = /^\s*"((?:[^"\\]|\\.)*)"/s.exec(value)?.[1]?.replaceAll(/\\(.)/gs, '$1');
  const id = (quoted ?? /^\s*([^\s;]*)/.exec(value)?.[1] ?? '').toLowerCase().replace(/\.$/, '');
  return id === '' || id === hostname.toLowerCase();
}

function withoutComments(value: string): string {
  let [bare, depth, isQuoted] = ['', 0, false];
  for (let at = 0; at < value.length; at += 1) {
    const char = value[at] ?? '';
    if (char === '\\') {
      if (depth === 0) bare += char + (value[at + 1] ?? '');
      at += 1;
    } else if (char === '"' && depth === 0) {
      isQuoted = !isQuoted;
      bare += char;
    } else if (!isQuoted && char === '(') {
      depth += 1;
    } else if (!isQuoted && char === ')' && depth > 0) {
      depth -= 1;
    } else if (depth === 0) {
      bare += char;
    }
  }
  return bare;
}
