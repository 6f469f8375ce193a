/**
 * Printers of whole response lines, each with its line end. RFC 9051 §7.
 *
 * S1  The result is a byte string (strings.ts, P1): the connection writes it as latin1.
 * S2  No argument can add a line or change its structure: strings go through strings.ts, flags and other atoms
 *     are left out unless they are atoms, status texts lose what is not printable ASCII.
 */
import type { NumberSet } from '../../base/uid-set.ts';
import { formatInOrder, formatSet } from '../../base/uid-set.ts';
import type { InternalDate } from '../../mailbox/model.ts';
import type { ResponseCode } from './codes.ts';
import type { StatusItem } from './commands/folders.ts';
import { isAtom, isTag } from './lexer.ts';
import type { PrintContext } from './strings.ts';
import { imapAstring, imapString, imapText, literalPrefix, utf8Bytes } from './strings.ts';
import { encodeUtf7, HIERARCHY_SEPARATOR } from './utf7.ts';

const MAX_URL_CHARS = 500;
const MONTH_NAMES = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `a1 OK [CODE] text`. RFC 9051 §7.1. */
export function taggedLine(tag: string, status: 'OK' | 'NO' | 'BAD', code: ResponseCode | null, text: string): string {
  return `${isTag(tag) ? tag : '*'} ${status} ${codeText(code)}${statusText(text)}\r\n`;
}

/** `* OK [CODE] text`. RFC 9051 §7.1. */
export function untaggedLine(status: 'OK' | 'NO' | 'BAD' | 'BYE', code: ResponseCode | null, text: string): string {
  return `* ${status} ${codeText(code)}${statusText(text)}\r\n`;
}

/** `+ text`: go on. RFC 9051 §7.6. For AUTHENTICATE, `text` is base64. */
export function continuationLine(text: string): string {
  return `+ ${text === '' ? '' : statusText(text)}\r\n`;
}

/** Printable ASCII; what would read as a response code does not start the text. */
function statusText(text: string): string {
  const clean = text.replace(/[^\x20-\x7e]/g, '?');
  return clean === '' || clean.startsWith('[') ? `- ${clean}` : clean;
}

function codeText(code: ResponseCode | null): string {
  if (code === null) return '';
  if (typeof code === 'string') return `[${code}] `;
  switch (code.kind) {
    case 'APPENDUID':
      return `[APPENDUID ${String(code.uidValidity)} ${formatSet(code.uids)}] `;
    case 'BADURL': {
      const url = code.url.replace(/[^\x21-\x5c\x5e-\x7e]/g, '?').slice(0, MAX_URL_CHARS);
      return `[BADURL ${url === '' ? '?' : url}] `;
    }
    case 'BADCHARSET':
      return `[BADCHARSET (${atoms(code.charsets)})] `;
    case 'CAPABILITY':
      return `[CAPABILITY ${atoms(code.names)}] `;
    case 'COPYUID':
      return `[COPYUID ${String(code.uidValidity)} ${formatSet(code.source)} ${formatSet(code.destination)}] `;
    case 'HIGHESTMODSEQ':
      return `[HIGHESTMODSEQ ${String(code.modSeq)}] `;
    case 'INPROGRESS':
      return `[INPROGRESS (${imapText(code.tag)} NIL NIL)] `;
    case 'METADATA':
      return `[METADATA ${code.what}${code.bytes === null ? '' : ` ${String(code.bytes)}`}] `;
    case 'MAILBOXID':
      return `[MAILBOXID (${atoms([code.id])})] `;
    case 'MODIFIED':
      return `[MODIFIED ${formatSet(code.numbers)}] `;
    case 'NOUPDATE':
      return `[NOUPDATE ${imapText(code.tag)}] `;
    case 'PERMANENTFLAGS': {
      const flags = flagsText(code.flags);
      return `[PERMANENTFLAGS (${flags}${code.acceptsNew ? `${flags === '' ? '' : ' '}\\*` : ''})] `;
    }
    case 'UIDNEXT':
      return `[UIDNEXT ${String(code.uid)}] `;
    case 'UIDVALIDITY':
      return `[UIDVALIDITY ${String(code.uidValidity)}] `;
    case 'UNSEEN':
      return `[UNSEEN ${String(code.sequence)}] `;
  }
}

function atoms(names: readonly string[]): string {
  return names.filter((name) => isAtom(name)).join(' ');
}

/** Flags and attributes without their parentheses; what is neither an atom nor `\` and an atom is left out. */
export function flagsText(flags: readonly string[]): string {
  let text = '';
  for (const flag of flags) {
    if (!isAtom(flag.startsWith('\\') ? flag.slice(1) : flag)) continue;
    text += text === '' ? flag : ` ${flag}`;
  }
  return text;
}

/** RFC 9051 §7.2.2. */
export function capabilityLine(names: readonly string[]): string {
  return `* CAPABILITY ${atoms(names)}\r\n`;
}

/** RFC 9051 §7.2.1. */
export function enabledLine(names: readonly string[]): string {
  const text = atoms(names);
  return `* ENABLED${text === '' ? '' : ` ${text}`}\r\n`;
}

/** What the server says about itself. RFC 2971 §3.2. */
export function idLine(fields: readonly (readonly [name: string, value: string | null])[]): string {
  const text = fields.map(([name, value]) => `${imapText(name)} ${value === null ? 'NIL' : imapText(value)}`).join(' ');
  return `* ID ${text === '' ? 'NIL' : `(${text})`}\r\n`;
}

/** One personal namespace, nothing shared. RFC 9051 §7.3.2. */
export function namespaceLine(): string {
  return `* NAMESPACE (("" "${HIERARCHY_SEPARATOR}")) NIL NIL\r\n`;
}

/** `usage` and `limit` in the units of RFC 9208 §5. */
export type QuotaResource = Readonly<{ name: 'STORAGE' | 'MESSAGE'; usage: number; limit: number }>;

/** RFC 9208 §4.2.1. */
export function quotaLine(root: string, resources: readonly QuotaResource[]): string {
  const list = resources.map(({ name, usage, limit }) => `${name} ${String(usage)} ${String(limit)}`).join(' ');
  return `* QUOTA ${imapAstring(root)} (${list})\r\n`;
}

/** RFC 9208 §4.2.2. */
export function quotaRootLine(folder: string, roots: readonly string[], context: PrintContext): string {
  const names = [folderNameText(folder, context), ...roots.map((root) => imapAstring(root))];
  return `* QUOTAROOT ${names.join(' ')}\r\n`;
}

/** A folder name as the client reads it. RFC 9051 §5.1, RFC 3501 §5.1.3. */
function folderNameText(name: string, context: PrintContext): string {
  return context.utf8 ? imapAstring(utf8Bytes(name), context) : imapAstring(encodeUtf7(name));
}

/** `name` '' asks for the separator only (RFC 9051 §6.3.9). */
type ListEntry = Readonly<{
  name: string;
  attributes: readonly string[];
  /** Selection options that a child meets: CHILDINFO of RFC 9051 §6.3.9.6. */
  childInfo?: readonly string[];
}>;

/** RFC 9051 §7.3.1. */
export function listLine(keyword: 'LIST' | 'LSUB', entry: ListEntry, context: PrintContext): string {
  const name = entry.name === '' ? '""' : folderNameText(entry.name, context);
  const info = entry.childInfo ?? [];
  const extended = info.length > 0 ? ` ("CHILDINFO" (${info.map((option) => imapText(option)).join(' ')}))` : '';
  return `* ${keyword} (${flagsText(entry.attributes)}) "${HIERARCHY_SEPARATOR}" ${name}${extended}\r\n`;
}

/** Values in the order given; null gives NIL (APPENDLIMIT), text an object id (RFC 8474 §4.3). RFC 9051 §7.3.3. */
export function statusLine(
  folder: string,
  values: readonly (readonly [item: StatusItem, value: number | string | null])[],
  context: PrintContext,
): string {
  const text = values.map(([item, value]) => `${item} ${statusValueText(value)}`).join(' ');
  return `* STATUS ${folderNameText(folder, context)} (${text})\r\n`;
}

/** Name and value of an entry; null: there is none. */
export type MetadataValue = readonly [name: string, value: Buffer | null];

/** `folder` '' is the server. Values that are no text go as literal8. RFC 5464 §4.4.1. */
export function metadataLine(folder: string, values: readonly MetadataValue[], context: PrintContext): string {
  const list = values.map(([name, value]) => `${imapAstring(utf8Bytes(name))} ${metadataValue(value)}`).join(' ');
  return `* METADATA ${folder === '' ? '""' : folderNameText(folder, context)} (${list})\r\n`;
}

function metadataValue(value: Buffer | null): string {
  if (value === null) return 'NIL';
  if (value.includes(0)) return literalPrefix(value.length, 'binary') + value.toString('latin1');
  return imapString(value.toString('latin1'));
}

function statusValueText(value: number | string | null): string {
  if (value === null) return 'NIL';
  return typeof value === 'number' ? String(value) : `(${atoms([value])})`;
}

/** The flags of a folder. RFC 9051 §7.3.5. */
export function flagsLine(flags: readonly string[]): string {
  return `* FLAGS (${flagsText(flags)})\r\n`;
}

/** RFC 9051 §7.4.1, §7.5.1; RFC 3501 §7.3.2. */
export function countLine(count: number, keyword: 'EXISTS' | 'RECENT' | 'EXPUNGE'): string {
  return `* ${String(count)} ${keyword}\r\n`;
}

/** Expunged UIDs, at least one; `earlier`: before this session. RFC 7162 §3.2.10. */
export function vanishedLine(uids: NumberSet, when: 'now' | 'earlier'): string {
  return `* VANISHED ${when === 'earlier' ? '(EARLIER) ' : ''}${formatSet(uids)}\r\n`;
}

/** RFC 3501 §7.2.5; with the highest modification sequence, RFC 7162 §3.1.5. */
export function searchLine(numbers: readonly number[], highestModSeq: number | null): string {
  return `* SEARCH${numbersText(numbers, highestModSeq)}`;
}

/** RFC 5256 §4 (SORT response); RFC 7162 §3.1.9. */
export function sortLine(numbers: readonly number[], highestModSeq: number | null): string {
  return `* SORT${numbersText(numbers, highestModSeq)}`;
}

function numbersText(numbers: readonly number[], highestModSeq: number | null): string {
  const text = numbers.length === 0 ? '' : ` ${numbers.join(' ')}`;
  return `${text}${highestModSeq === null ? '' : ` (MODSEQ ${String(highestModSeq)})`}\r\n`;
}

/** What is undefined or empty is left out. */
type SearchResult = Readonly<{
  byUid: boolean;
  /** More about what was searched: `sourceText`. */
  source?: string;
  min?: number;
  max?: number;
  /** In the order of the result. */
  all?: readonly number[];
  /** RFC 9394 §3.1: the range as it was asked for. */
  partial?: Readonly<{ range: string; numbers: readonly number[] }>;
  count?: number;
  /** RFC 6203 §4: scores of the results in their order. */
  relevancy?: readonly number[];
  highestModSeq?: number;
}>;

/** RFC 9051 §7.3.4 (esearch-response), RFC 7162 §3.1.10. */
export function esearchLine(tag: string, result: SearchResult): string {
  let text = `* ESEARCH (TAG ${imapText(tag)}${result.source ?? ''})`;
  if (result.byUid) text += ' UID';
  if (result.min !== undefined) text += ` MIN ${String(result.min)}`;
  if (result.max !== undefined) text += ` MAX ${String(result.max)}`;
  if (result.all && result.all.length > 0) text += ` ALL ${formatInOrder(result.all)}`;
  if (result.partial) {
    const { range, numbers } = result.partial;
    text += ` PARTIAL (${range} ${numbers.length > 0 ? formatInOrder(numbers) : 'NIL'})`;
  }
  if (result.count !== undefined) text += ` COUNT ${String(result.count)}`;
  if (result.relevancy) text += ` RELEVANCY (${result.relevancy.join(' ')})`;
  if (result.highestModSeq !== undefined) text += ` MODSEQ ${String(result.highestModSeq)}`;
  return `${text}\r\n`;
}

/** Which folder an ESEARCH response is about, for `esearchLine`. RFC 7377 §2.1. */
export function sourceText(folder: Readonly<{ name: string; uidValidity: number }>, context: PrintContext): string {
  return ` MAILBOX ${folderNameText(folder.name, context)} UIDVALIDITY ${String(folder.uidValidity)}`;
}

/** A result that the client follows changes; the client finds the places itself (position 0). RFC 5267 §4.3.3, §4.3.4. */
export function contextLine(
  tag: string,
  { byUid, change, numbers }: Readonly<{ byUid: boolean; change: 'ADDTO' | 'REMOVEFROM'; numbers: NumberSet }>,
): string {
  return `* ESEARCH (TAG ${imapText(tag)})${byUid ? ' UID' : ''} ${change} (0 ${formatSet(numbers)})\r\n`;
}

/** `head` up to the parenthesis, as in `* 5 FETCH (`; `items` are item name and value, as in `UID 5`. RFC 9051 §7.5.2. */
export function fetchLine(head: string, items: readonly string[]): string {
  return `${head}${items.join(' ')})\r\n`;
}

/** `"17-Jul-1996 02:44:25 -0700"`, in the zone it was written in. RFC 9051 §9 (date-time). */
export function dateTimeText({ atMs, zoneMinutes }: InternalDate): string {
  const date = new Date(atMs + zoneMinutes * 60_000); // its UTC fields are the local ones
  const day = date.getUTCDate();
  const month = MONTH_NAMES[date.getUTCMonth()] ?? 'Jan';
  const year = String(date.getUTCFullYear()).padStart(4, '0');
  const clock = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
  const zone = Math.abs(zoneMinutes);
  const offset = `${zoneMinutes < 0 ? '-' : '+'}${two(Math.trunc(zone / 60))}${two(zone % 60)}`;
  return `"${day < 10 ? ' ' : ''}${String(day)}-${month}-${year} ${clock} ${offset}"`;
}

function two(value: number): string {
  return value < 10 ? `0${String(value)}` : String(value);
}
