/**
 * The URLs of CATENATE: a message or a part of one in this account. RFC 4469 §3; RFC 5092 §11 (imessagepart).
 *
 * `/folder[;UIDVALIDITY=n]/;UID=n[/;SECTION=spec][/;PARTIAL=start[.count]]`; without a folder the selected one is meant.
 */
import { MAX_SET_NUMBER } from '../../base/uid-set.ts';
import type { SectionSpec } from '../../mime/section.ts';
import { SyntaxFault } from './codes.ts';
import { parseSection } from './commands/fetch.ts';
import { Lexer } from './lexer.ts';

export type MessageUrl = Readonly<{
  /** '' for the selected folder. */
  folder: string;
  uidValidity: number | null;
  uid: number;
  section: SectionSpec;
  /** Bytes of the section; `count` null: to its end. */
  partial: Readonly<{ start: number; count: number | null }> | null;
}>;

const MAX_URL_CHARS = 8_192;
const SCHEME_OR_SERVER = /^(?:[a-z][a-z0-9+.-]*:|\/\/)/i;
const SHAPE =
  /^\/?([^;]*?)(?:;UIDVALIDITY=(\d{1,10}))?\/?;UID=(\d{1,10})(?:\/?;SECTION=([^;]*?))?(?:\/?;PARTIAL=(\d{1,15})(?:\.(\d{1,15}))?)?$/i;

/** The parts of a URL (a byte string); null when it is none of ours, or names another server. */
export function parseMessageUrl(url: string): MessageUrl | null {
  if (url.length > MAX_URL_CHARS || SCHEME_OR_SERVER.test(url)) return null;
  const match = SHAPE.exec(url);
  if (!match) return null;
  const [, path = '', uidValidity, uid, section, start, count] = match;
  const folder = decoded(path.replace(/\/$/, ''));
  const spec = section === undefined ? WHOLE : sectionOf(section);
  if (folder === null || spec === null || folder.includes('\0')) return null;
  if (Number(uid) === 0 || Number(uid) > MAX_SET_NUMBER || Number(uidValidity ?? 1) === 0) return null;
  const partial =
    start === undefined ? null : { start: Number(start), count: count === undefined ? null : Number(count) };
  return {
    folder,
    uidValidity: uidValidity === undefined ? null : Number(uidValidity),
    uid: Number(uid),
    section: spec,
    partial,
  };
}

const WHOLE: SectionSpec = { kind: 'all', part: [] };

/** RFC 5092 §4: UTF-8, percent-encoded. */
function decoded(text: string): string | null {
  try {
    return decodeURIComponent(Buffer.from(text, 'latin1').toString('utf8'));
  } catch {
    return null;
  }
}

function sectionOf(written: string): SectionSpec | null {
  const text = decoded(written);
  if (text === null || /[^\x20-\x7e]/.test(text)) return null;
  try {
    const lexer = new Lexer({ text: `${text}]`, literals: [] });
    const { section } = parseSection(lexer);
    lexer.expect(']');
    lexer.end();
    return section;
  } catch (error) {
    if (error instanceof SyntaxFault) return null;
    throw error;
  }
}
