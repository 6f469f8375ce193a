/**
 * What an mbox says of a message beside its text: flags, folder, date. Status and X-Status as mutt and Dovecot write them,
 * X-Mozilla-Status of Thunderbird, X-Gmail-Labels of Google Takeout, and the block that our own export puts first.
 */
import type { InternalDate } from '../mailbox/model.ts';
import { decodeHeaderText } from '../mime/encoded-word.ts';
import { headerText, headerValues } from './message-text.ts';
import type { SourceFolder } from './source.ts';
import type { ExportedMessage } from './target.ts';

type MboxMarks = Readonly<{ flags: readonly string[]; folder: SourceFolder | null; bytes: Buffer }>;

/** First of the lines that our export adds: how many there are, itself among them. They are taken off again. */
const EXPORT_FIELD = 'X-Sealpost-Export';

const FIELDS = new Set([
  'status',
  'x-status',
  'x-keywords',
  'x-mozilla-status',
  'x-mozilla-keys',
  'x-gmail-labels',
  EXPORT_FIELD.toLowerCase(),
]);
const STATUS: Readonly<Record<string, string>> = {
  R: '\\Seen',
  A: '\\Answered',
  F: '\\Flagged',
  D: '\\Deleted',
  T: '\\Draft',
};
const MOZILLA: readonly (readonly [number, string])[] = [
  [0x1, '\\Seen'],
  [0x2, '\\Answered'],
  [0x4, '\\Flagged'],
  [0x8, '\\Deleted'],
];
const LINES_MAX_COUNT = 10;
const CRLF = Buffer.from('\r\n');
/** The message did not end in a line end; an mbox needs one. */
const OPEN_END = 'open end';

/** The marks of a message with CRLF. */
export function mboxMarks(bytes: Buffer): MboxMarks {
  const values = headerValues(headerText(bytes), FIELDS);
  const value = (name: string): string => values.find((field) => field.name === name)?.value ?? '';
  const flags = new Set<string>();
  for (const letter of value('status') + value('x-status')) {
    const flag = STATUS[letter];
    if (flag !== undefined) flags.add(flag);
  }
  const bits = Number.parseInt(value('x-mozilla-status') || '0', 16);
  for (const [bit, flag] of MOZILLA) if ((bits & bit) !== 0) flags.add(flag);
  for (const word of `${value('x-keywords')} ${value('x-mozilla-keys')}`.split(/\s+/)) {
    const keyword = keywordOf(word);
    if (keyword !== null) flags.add(keyword);
  }
  const labels = value('x-gmail-labels');
  const gmail = labels === '' ? null : gmailMarks(decodeHeaderText(labels));
  for (const flag of gmail?.flags ?? []) flags.add(flag);
  const stated = value(EXPORT_FIELD.toLowerCase());
  const ours =
    values[0]?.name === EXPORT_FIELD.toLowerCase() &&
    bytes.subarray(0, EXPORT_FIELD.length).equals(Buffer.from(EXPORT_FIELD));
  const added = ours ? Math.min(Number.parseInt(stated, 10) || 0, LINES_MAX_COUNT) : 0;
  const whole = withoutLines(bytes, added);
  const isOpen = ours && stated.endsWith(OPEN_END) && whole.subarray(-2).equals(CRLF);
  return { flags: [...flags], folder: gmail?.folder ?? null, bytes: isOpen ? whole.subarray(0, -2) : whole };
}

const NOT_FOLDERS = new Set([
  'opened',
  'unread',
  'starred',
  'important',
  'archived',
  'inbox',
  'sent',
  'drafts',
  'draft',
  'trash',
  'spam',
]);
const PLACES: readonly (readonly [string, SourceFolder])[] = [
  ['trash', { path: ['Trash'], specialUse: 'Trash' }],
  ['spam', { path: ['Junk'], specialUse: 'Junk' }],
  ['drafts', { path: ['Drafts'], specialUse: 'Drafts' }],
  ['draft', { path: ['Drafts'], specialUse: 'Drafts' }],
  ['inbox', { path: ['INBOX'], specialUse: null }],
  ['sent', { path: ['Sent'], specialUse: 'Sent' }],
];

/**
 * A message with several labels is one message here, too: it goes to the folder of the first that is one, and keeps the
 * others as keywords. Without any it was archived.
 */
function gmailMarks(labels: string): Readonly<{ flags: readonly string[]; folder: SourceFolder }> {
  const names = splitLabels(labels);
  const lower = new Set(names.map((name) => name.toLowerCase()));
  const flags: string[] = [];
  if (!lower.has('unread')) flags.push('\\Seen');
  if (lower.has('starred')) flags.push('\\Flagged');
  if (lower.has('drafts') || lower.has('draft')) flags.push('\\Draft');
  if (lower.has('important')) flags.push('$Important');
  const own = names.filter((name) => !NOT_FOLDERS.has(name.toLowerCase()) && !/^category /i.test(name));
  const place = PLACES.find(([label]) => lower.has(label))?.[1];
  const [first] = own;
  const folder = place ?? (first === undefined ? ARCHIVE : { path: first.split('/'), specialUse: null });
  for (const name of place ? own : own.slice(1)) {
    const keyword = keywordOf(name);
    if (keyword !== null) flags.push(keyword);
  }
  return { flags, folder };
}

const ARCHIVE: SourceFolder = { path: ['Archive'], specialUse: 'Archive' };

/** Separated by commas; a label that has one is quoted. */
function splitLabels(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|([^,"]+)/g)]
    .map(([, quoted, plain]) => (quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? '').trim())
    .filter((name) => name !== '');
}

/** A name as a keyword, RFC 9051 §9 (an atom), or null when nothing of it can stay. */
function keywordOf(name: string): string | null {
  const atom = name
    .trim()
    .replaceAll(/[\x00-\x20\x7f-\uffff(){%*"\\\]]+/g, '_')
    .slice(0, 100);
  return /[^_]/.test(atom) ? atom : null;
}

/** The date of a From line, in asctime's form and some others; times without a zone are UTC. */
export function fromLineDate(line: string): InternalDate | null {
  const found =
    /([A-Z][a-z]{2})\s+(\d{1,2})\s+(\d{1,2}):(\d{2})(?::(\d{2}))?\s+(?:([+-]\d{4}|[A-Z]{1,5})\s+)?(\d{4})(?:\s+([+-]\d{4}))?\s*$/.exec(
      line,
    );
  if (!found) return null;
  const [, month = '', day, hour, minute, second = '0', before, year, after] = found;
  const at = MONTHS.indexOf(month);
  if (at < 0) return null;
  const zone = /^[+-]/.test(before ?? '') ? before : after;
  const zoneMinutes = zone
    ? Math.sign(Number(`${zone[0] ?? ''}1`)) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3)))
    : 0;
  const local = Date.UTC(Number(year), at, Number(day), Number(hour), Number(minute), Number(second));
  return { atMs: local - zoneMinutes * 60_000, zoneMinutes };
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/**
 * A message as our export writes it into an mbox: quoted as mboxrd, with LF where it had nothing but CRLF, and with its
 * flags in lines that importing takes off again.
 */
export function mboxText({ flags, atMs, bytes }: ExportedMessage): Buffer {
  const text = bytes.toString('latin1');
  const isCanonical = !/\r(?!\n)|(?<!\r)\n/.test(text);
  const isOpen = !text.endsWith('\n');
  const lineEnd = isCanonical ? '\n' : '\r\n';
  const body = (isCanonical ? text.replaceAll('\r\n', '\n') : text).replaceAll(/^(>*From )/gm, '>$1');
  const status = flags.some((flag) => /^\\seen$/i.test(flag)) ? 'RO' : 'O';
  const others = STATUS_LETTERS.filter(([, flag]) => flags.some((each) => each.toLowerCase() === flag)).map(
    ([letter]) => letter,
  );
  const keywords = flags.filter((flag) => !flag.startsWith('\\'));
  const lines = [
    ...(status === 'RO' ? [`Status: ${status}`] : []),
    ...(others.length > 0 ? [`X-Status: ${others.join('')}`] : []),
    ...(keywords.length > 0 ? [`X-Keywords: ${keywords.join(' ')}`] : []),
  ];
  const marked =
    lines.length > 0 || isOpen ? [`${EXPORT_FIELD}: ${String(lines.length + 1)}${isOpen ? ` ${OPEN_END}` : ''}`] : [];
  const head = [...marked, ...lines].map((line) => line + lineEnd).join('');
  return Buffer.from(
    `From MAILER-DAEMON ${asctime(atMs)}${lineEnd}${head}${body}${isOpen ? lineEnd : ''}${lineEnd}`,
    'latin1',
  );
}

const STATUS_LETTERS: readonly (readonly [string, string])[] = [
  ['A', '\\answered'],
  ['F', '\\flagged'],
  ['D', '\\deleted'],
  ['T', '\\draft'],
];

function asctime(atMs: number): string {
  const [weekday = '', day = '', month = '', year = '', time = ''] = new Date(atMs)
    .toUTCString()
    .replace(',', '')
    .split(' ');
  return `${weekday} ${month} ${day} ${time} ${year}`;
}

function withoutLines(bytes: Buffer, count: number): Buffer {
  let start = 0;
  for (let line = 0; line < count; line += 1) start = bytes.indexOf('\n', start) + 1;
  return bytes.subarray(start);
}
