/**
 * The argument types that several commands share: folder names, flags, sets, dates. RFC 9051 §9.
 * Called by commands/*.ts.
 */
import type { SequenceSet } from '../../base/uid-set.ts';
import { parseSequenceSet } from '../../base/uid-set.ts';
import type { InternalDate } from '../../mailbox/model.ts';
import type { MessageSet, SearchDate } from '../../mailbox/search-key.ts';
import { SyntaxFault } from './codes.ts';
import type { Lexer } from './lexer.ts';
import { text } from './lexer.ts';
import { canonicalFolderName, decodeUtf7, folderNameFault } from './utf7.ts';

/** What the state of the connection changes in the grammar. */
export type ParseContext = Readonly<{
  /** ENABLE IMAP4rev2 or UTF8=ACCEPT was given: folder names are UTF-8, not modified UTF-7 (RFC 9051 §5.1, RFC 6855 §3). */
  utf8: boolean;
}>;

const MAX_SET_ITEMS = 20_000;
const MAX_FLAGS = 256;
const MAX_KEYWORD_BYTES = 64;

const SYSTEM_FLAGS: ReadonlyMap<string, string> = new Map(
  ['\\Seen', '\\Answered', '\\Flagged', '\\Deleted', '\\Draft'].map((flag) => [flag.toUpperCase(), flag]),
);

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];

/** Text of a folder name or pattern; null when it is in no valid encoding. */
export function decodeFolderText(bytes: string, context: ParseContext): string | null {
  return context.utf8 ? text(bytes) : decodeUtf7(bytes);
}

/** The name of a folder that may exist, canonical. Throws SyntaxFault: NO [CANNOT] when the encoding is not valid. */
export function folderName(lexer: Lexer, context: ParseContext): string {
  const name = decodeFolderText(lexer.astringBytes(), context);
  if (name === null)
    throw new SyntaxFault('The folder name is not valid modified UTF-7', { status: 'NO', code: 'CANNOT' });
  return canonicalFolderName(name);
}

/** The name of a folder to be made, canonical. Throws SyntaxFault: NO [CANNOT] when no folder may have it. */
export function newFolderName(lexer: Lexer, context: ParseContext): string {
  const name = folderName(lexer, context);
  // RFC 9051 §6.3.4: a separator at the end only declares that children will follow.
  const bare = name.endsWith('/') ? name.slice(0, -1) : name;
  const fault = folderNameFault(bare);
  if (fault !== null) throw new SyntaxFault(fault, { status: 'NO', code: 'CANNOT' });
  return bare;
}

/** A flag that a client may set: a system flag in its usual spelling, or a keyword as written. Throws SyntaxFault. */
function settableFlag(lexer: Lexer): string {
  const written = lexer.flag();
  if (!written.startsWith('\\')) return checkedKeyword(written);
  const flag = SYSTEM_FLAGS.get(written.toUpperCase());
  if (flag === undefined) throw new SyntaxFault('A system flag is unknown or may not be set');
  return flag;
}

/** A keyword, for SEARCH. Throws SyntaxFault. */
export function keyword(lexer: Lexer): string {
  return checkedKeyword(lexer.atom());
}

function checkedKeyword(written: string): string {
  if (written.length > MAX_KEYWORD_BYTES)
    throw new SyntaxFault('A keyword is too long', { status: 'NO', code: 'LIMIT' });
  return written;
}

/** A parenthesised flag list, each flag once (first spelling). Throws SyntaxFault. RFC 9051 §9 (flag-list). */
export function flagList(lexer: Lexer): readonly string[] {
  const flags = new Map<string, string>();
  lexer.list(MAX_FLAGS, () => {
    addFlag(flags, settableFlag(lexer));
  });
  return [...flags.values()];
}

/** STORE's flags, with or without parentheses. Throws SyntaxFault. RFC 9051 §9 (store-att-flags). */
export function storeFlags(lexer: Lexer): readonly string[] {
  if (lexer.isAtList) return flagList(lexer);
  const flags = new Map<string, string>();
  do addFlag(flags, settableFlag(lexer));
  while (!lexer.isAtEnd && lexer.skipSpace());
  if (flags.size > MAX_FLAGS) throw new SyntaxFault('Too many flags', { status: 'NO', code: 'LIMIT' });
  return [...flags.values()];
}

function addFlag(flags: Map<string, string>, flag: string): void {
  const key = flag.toUpperCase();
  if (!flags.has(key)) flags.set(key, flag);
}

/** A sequence set, or `$`. Throws SyntaxFault. RFC 9051 §9 (sequence-set, seq-last-command). */
export function messageSet(lexer: Lexer): MessageSet {
  const written = lexer.setText();
  return written === '$' ? { kind: 'saved' } : { kind: 'set', set: checkedSet(written) };
}

/** A sequence set without `*`, as in QRESYNC. Throws SyntaxFault. */
export function knownSet(lexer: Lexer): SequenceSet['ranges'] {
  const set = checkedSet(lexer.setText());
  if (set.openFrom !== null) throw new SyntaxFault('A set of known numbers must not hold *');
  return set.ranges;
}

function checkedSet(written: string): SequenceSet {
  const set = parseSequenceSet(written, MAX_SET_ITEMS);
  if (set === null) throw new SyntaxFault('A message set is malformed or too long');
  return set;
}

/** `1-Feb-1994`, quoted or not. Throws SyntaxFault. RFC 9051 §9 (date). */
export function searchDate(lexer: Lexer): SearchDate {
  const written = lexer.astringBytes();
  const [day, month, year, ...rest] = written.split('-');
  const date = calendarDate(day ?? '', month ?? '', year ?? '');
  if (date === null || rest.length > 0) throw new SyntaxFault('A date like 1-Feb-1994 was expected');
  return date;
}

/** `"17-Jul-1996 02:44:25 -0700"`: the instant, and its zone as written. Throws SyntaxFault. RFC 9051 §9 (date-time). */
export function dateTime(lexer: Lexer): InternalDate {
  const written = lexer.stringBytes().trimStart(); // a day below 10 has a space for its first digit
  const match =
    /^([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})$/.exec(written);
  const [, day = '', month = '', year = '', ...time] = match ?? [];
  const date = match === null ? null : calendarDate(day, month, year);
  const [hour, minute, second, sign, zoneHour, zoneMinute] = time;
  const clock = [Number(hour), Number(minute), Number(second)] as const;
  const zoneMinutes = Number(zoneHour) * 60 + Number(zoneMinute);
  if (
    date === null ||
    clock[0] > 23 ||
    clock[1] > 59 ||
    clock[2] > 60 ||
    Number(zoneMinute) > 59 ||
    zoneMinutes > 24 * 60
  ) {
    throw new SyntaxFault('A date and time like "17-Jul-1996 02:44:25 -0700" was expected');
  }
  const local = new Date(0);
  local.setUTCFullYear(date.year, date.month - 1, date.day); // Date.UTC would take year 50 for 1950
  local.setUTCHours(...clock);
  const signedMinutes = sign === '-' && zoneMinutes > 0 ? -zoneMinutes : zoneMinutes;
  return { atMs: local.getTime() - signedMinutes * 60_000, zoneMinutes: signedMinutes };
}

function calendarDate(day: string, month: string, year: string): SearchDate | null {
  if (!/^[0-9]{1,2}$/.test(day) || !/^[0-9]{4}$/.test(year)) return null;
  const date = { year: Number(year), month: MONTHS.indexOf(month.toUpperCase()) + 1, day: Number(day) };
  const isLeap = date.year % 4 === 0 && (date.year % 100 !== 0 || date.year % 400 === 0);
  const dayCount = [0, 31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][date.month] ?? 0;
  return date.day >= 1 && date.day <= dayCount ? date : null;
}
