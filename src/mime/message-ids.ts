/**
 * Message identifiers of Message-ID, In-Reply-To and References (RFC 5322 §3.6.4), normalised so that two spellings of
 * one id are the same text (RFC 5256 §3, REFERENCES). Binary strings, as all raw text of headers.
 *
 * MI1  No input throws; the time is linear in the length of the value.
 * MI2  What is kept of a message's references is bounded: the first id, which begins the thread, and the last ones.
 */
import { fieldValue, type HeaderField } from './headers.ts';

const MAX_REFERENCES_COUNT = 200;
const MAX_REFERENCES_CHARS = 16_384;

/** The ids of the first References field of a header block. */
export function parseReferences(block: string, fields: readonly HeaderField[]): string[] {
  const field = fields.find(({ name }) => name === 'references');
  if (!field) return [];
  const ids = parseMessageIds(fieldValue(block, field), MAX_REFERENCES_COUNT);
  let chars = ids.reduce((sum, id) => sum + id.length, 0);
  while (chars > MAX_REFERENCES_CHARS) chars -= ids.splice(ids.length > 1 ? 1 : 0, 1)[0]?.length ?? 0;
  return ids;
}

/** The ids in a field's value, in order: at most the first and the last `maxCount - 1` of them. */
export function parseMessageIds(value: string, maxCount = Infinity): string[] {
  const ids: string[] = [];
  for (let at = value.indexOf('<'); at >= 0; at = value.indexOf('<', at)) {
    const found = readId(value, at + 1);
    at = found.end;
    if (found.id === null) continue;
    if (ids.length >= maxCount) ids.splice(1, 1);
    if (ids.length < maxCount) ids.push(found.id);
  }
  return ids;
}

type Read = Readonly<{ id: string | null; end: number }>;

const PLAIN = /[^\s<>"([\\]*/y;

/** Reads what follows a `<`; `end` is where to look for the next one. */
function readId(value: string, start: number): Read {
  let id = '';
  let hasAt = false;
  for (let at = start; at < value.length;) {
    PLAIN.lastIndex = at;
    const plain = PLAIN.exec(value)?.[0] ?? '';
    id += plain;
    hasAt ||= plain.includes('@');
    at += plain.length;
    const char = value.charAt(at);
    switch (char) {
      case '>':
        return { id: hasAt && !id.startsWith('@') && !id.endsWith('@') ? id : null, end: at + 1 };
      case '<':
        return { id: null, end: at };
      case '"': {
        const quoted = readQuoted(value, at + 1);
        id += quoted.text;
        at = quoted.end;
        break;
      }
      case '[': {
        const close = value.indexOf(']', at);
        const end = close < 0 ? value.length : close + 1;
        id += value.slice(at, end);
        at = end;
        break;
      }
      case '(':
        at = skipComment(value, at);
        break;
      case '\\':
        id += value.charAt(at + 1);
        at += 2;
        break;
      default: // white space
        at += 1;
    }
  }
  return { id: null, end: value.length };
}

function readQuoted(value: string, start: number): Readonly<{ text: string; end: number }> {
  let text = '';
  let at = start;
  for (; at < value.length && value.charAt(at) !== '"'; at += 1) {
    if (value.charAt(at) === '\\') at += 1;
    text += value.charAt(at);
  }
  return { text, end: at + 1 };
}

/** Where a comment that begins at `start` ends; comments nest. */
function skipComment(value: string, start: number): number {
  let depth = 0;
  for (let at = start; at < value.length; at += 1) {
    const char = value.charAt(at);
    if (char === '\\') at += 1;
    else if (char === '(') depth += 1;
    else if (char === ')') {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return value.length;
}
