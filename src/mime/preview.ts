/**
 * The preview of a message (RFC 8970): the beginning of what its first text part says, as one line of plain text.
 *
 * PV1  No input throws; the time is linear in the length of the bytes given.
 * PV2  A preview has at most 200 characters (RFC 8970 §3.3), is well-formed, and holds no control character.
 *
 * Called by mailbox/preview.ts.
 */
import type { Part } from './body-structure.ts';
import { decodeCharset, decodeTransfer, transferEncoding } from './decode.ts';
import { parameterValue } from './params.ts';

const MAX_CHARS = 200;
/** How much of the part is looked at: HTML has much in front of its text. */
export const PREVIEW_SOURCE_BYTES = 32 * 1024;

/** The part that a preview is made from; null when there is none. */
export function previewPart(part: Part): Part | null {
  if (part.disposition?.type.toLowerCase() === 'attachment') return null;
  if (part.children.length > 0) {
    const isChoice = part.subtype.toLowerCase() === 'alternative';
    let first: Part | null = null;
    for (const child of part.children) {
      const found = previewPart(child);
      if (found && (!isChoice || isPlain(found))) return found;
      first ??= found;
    }
    return first;
  }
  return part.type.toLowerCase() === 'text' && (isPlain(part) || isHtml(part)) ? part : null;
}

/** The preview of the part from its first bytes, at most `PREVIEW_SOURCE_BYTES`. */
export function previewText(part: Part, bytes: Uint8Array): string {
  const decoded = decodeTransfer(bytes, transferEncoding(part.encoding) ?? 'identity');
  const text = decodeCharset(decoded, parameterValue(part.parameters, 'charset'));
  return shortened(isHtml(part) ? textOfHtml(text) : unquoted(text));
}

function isPlain(part: Part): boolean {
  return part.subtype.toLowerCase() === 'plain';
}

function isHtml(part: Part): boolean {
  return part.subtype.toLowerCase() === 'html';
}

/** Without the lines that quote another message, unless there are no others. */
function unquoted(text: string): string {
  const own = text
    .split('\n')
    .filter((line) => !line.startsWith('>'))
    .join('\n');
  return own.trim() === '' ? text : own;
}

/** Characters that show nothing: controls, fillers between a hidden beginning and the rest, direction marks. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufffd]/gu;

function shortened(text: string): string {
  const line = text.toWellFormed().replace(/\s+/g, ' ').replace(INVISIBLE, '').replace(/ +/g, ' ').trim();
  if (line.length <= MAX_CHARS) return line;
  return Array.from(line.slice(0, 2 * MAX_CHARS))
    .slice(0, MAX_CHARS)
    .join('')
    .toWellFormed()
    .trim();
}

/** Elements whose content is not shown. */
const HIDDEN = /^<(head|style|script|title|template|noscript|svg)(?![\w-])/i;
const TAG_NAME_CHARS = 12;

/** The text between the tags. */
function textOfHtml(html: string): string {
  const lower = html.toLowerCase();
  if (lower.length !== html.length) return textOfHtml(lower); // places would not be the same
  let text = '';
  for (let at = 0; at < html.length;) {
    const tag = html.indexOf('<', at);
    if (tag < 0) {
      text += html.slice(at);
      break;
    }
    text += html.slice(at, tag);
    at = afterTag(lower, tag);
    text += ' ';
  }
  return decodeReferences(text);
}

/** Where the text goes on after the tag or comment at `start`, or after the element when it is hidden. */
function afterTag(lower: string, start: number): number {
  if (lower.startsWith('<!--', start)) return afterNext(lower, '-->', start);
  const hidden = HIDDEN.exec(lower.slice(start, start + TAG_NAME_CHARS))?.[1];
  if (hidden === undefined) return afterNext(lower, '>', start);
  const end = lower.indexOf(`</${hidden}`, start);
  return end < 0 ? lower.length : afterNext(lower, '>', end);
}

function afterNext(text: string, mark: string, from: number): number {
  const found = text.indexOf(mark, from);
  return found < 0 ? text.length : found + mark.length;
}

const NAMED: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
  ['nbsp', ' '],
  ['zwnj', ''],
  ['shy', ''],
  ['mdash', '\u2014'],
  ['ndash', '\u2013'],
  ['hellip', '\u2026'],
  ['rsquo', '\u2019'],
  ['lsquo', '\u2018'],
  ['rdquo', '\u201d'],
  ['ldquo', '\u201c'],
  ['copy', '\u00a9'],
  ['reg', '\u00ae'],
  ['euro', '\u20ac'],
  ['auml', 'ä'],
  ['ouml', 'ö'],
  ['uuml', 'ü'],
  ['Auml', 'Ä'],
  ['Ouml', 'Ö'],
  ['Uuml', 'Ü'],
  ['szlig', 'ß'],
  ['eacute', 'é'],
  ['egrave', 'è'],
  ['agrave', 'à'],
]);
const REFERENCE = /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/gi;

function decodeReferences(text: string): string {
  return text.replace(REFERENCE, (whole, decimal?: string, hex?: string, name?: string) => {
    if (name !== undefined) return NAMED.get(name) ?? whole;
    const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '';
  });
}
