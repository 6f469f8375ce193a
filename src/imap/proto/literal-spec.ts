/** The `{n}`, `{n+}` or `~{n}` at the end of a line. Called by command-reader.ts. */

/** `at` is where the spec starts in its line. */
export type LiteralSpec = Readonly<{ at: number; sizeBytes: number; synchronising: boolean; isBinary: boolean }>;

/** The end of a line that shows its spec whole: `~{4294967295+}` and a CR fit well. */
export const LITERAL_TAIL_BYTES = 32;

/** RFC 9051 §9 (number64) would allow more; no single literal of that size is ever taken. */
const MAX_LITERAL_BYTES = 0xffff_ffff;

/**
 * The literal that a line announces at its end; null without one; 'malformed' when its size is missing,
 * signed or above 2^32-1. RFC 9051 §4.3, RFC 7888.
 */
export function parseLiteralSpec(line: string): LiteralSpec | 'malformed' | null {
  if (line.charCodeAt(line.length - 1) !== 0x7d) return null;
  const brace = line.lastIndexOf('{');
  if (brace === -1) return null;
  let at = brace + 1;
  let sizeBytes = 0;
  for (; at < line.length; at += 1) {
    const digit = line.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) break;
    sizeBytes = sizeBytes * 10 + digit;
    sizeBytes = Math.min(sizeBytes, MAX_LITERAL_BYTES + 1);
  }
  const hasDigits = at > brace + 1;
  const synchronising = line.charAt(at) !== '+';
  if (!synchronising) at += 1;
  if (!hasDigits || at !== line.length - 1 || sizeBytes > MAX_LITERAL_BYTES) {
    // Other text in braces is no literal at all, as in a password: `"x{y" z}`.
    for (at = brace + 1; at < line.length - 1; at += 1) if (!'0123456789+-'.includes(line.charAt(at))) return null;
    return 'malformed';
  }
  const isBinary = line.charCodeAt(brace - 1) === 0x7e;
  return { at: isBinary ? brace - 1 : brace, sizeBytes, synchronising, isBinary };
}
