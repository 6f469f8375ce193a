/**
 * IMAP section specifications against a scanned message (RFC 9051 §6.4.5): which bytes of the
 * stored message a section is. Filtering header fields is `filterHeader` in headers.ts, on the bytes
 * of the range that a header-fields section resolves to.
 */
import { isEmptyMultipart, type Part, type ScannedMessage } from './body-structure.ts';

/**
 * `part` holds the part numbers, from 1; empty for the message itself. `mime` needs a part number.
 * The header-fields kinds resolve to the whole header block that is to be filtered.
 */
export type SectionSpec =
  | Readonly<{ kind: 'all' | 'header' | 'text' | 'mime'; part: readonly number[] }>
  | Readonly<{ kind: 'header-fields' | 'header-fields-not'; part: readonly number[]; fields: readonly string[] }>;

/** Byte offsets in the message, `end` exclusive. */
export type ByteRange = Readonly<{ start: number; end: number }>;

/** The bytes of a section, or null when the message has no such section. */
export function resolveSection(message: ScannedMessage, spec: SectionSpec): ByteRange | null {
  if (spec.part.length === 0) {
    if (spec.kind === 'mime') return null;
    return spec.kind === 'all' ? { start: 0, end: message.sizeBytes } : headerOrText(message.root, spec.kind);
  }
  const part = findPart(message.root, spec.part);
  if (!part) return null;
  switch (spec.kind) {
    case 'all':
      return { start: part.bodyStart, end: part.bodyEnd };
    case 'mime':
      return { start: part.headerStart, end: part.bodyStart };
    default:
      return part.message && headerOrText(part.message.root, spec.kind);
  }
}

function headerOrText(part: Part, kind: 'header' | 'text' | 'header-fields' | 'header-fields-not'): ByteRange {
  return kind === 'text'
    ? { start: part.bodyStart, end: part.bodyEnd }
    : { start: part.headerStart, end: part.bodyStart };
}

/**
 * The part with these numbers, or null. Each number counts among the parts of a multipart; in a
 * message that is no multipart, 1 is its only part.
 */
export function findPart(root: Part, numbers: readonly number[]): Part | null {
  let inside: Part = root; // what the next number counts in: a multipart, or the root of a message
  let isMessageRoot = true;
  let found: Part | null = null;
  for (const number of numbers) {
    if (found?.message) {
      inside = found.message.root;
      isMessageRoot = true;
    } else if (found) {
      inside = found;
      isMessageRoot = false;
    }
    if (inside.children.length > 0) found = inside.children[number - 1] ?? null;
    else if (isEmptyMultipart(inside)) found = number === 1 ? emptyPart(inside) : null;
    else found = isMessageRoot && number === 1 ? inside : null;
    if (!found) return null;
  }
  return found;
}

/** The part that BODYSTRUCTURE shows of a multipart without parts: empty, at the end of its body. */
function emptyPart(multipart: Part): Part {
  const at = multipart.bodyEnd;
  return { ...multipart, type: 'text', subtype: 'plain', headerStart: at, bodyStart: at, bodyEnd: at, lineCount: 0 };
}
