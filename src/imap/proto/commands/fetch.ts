/**
 * FETCH and UID FETCH. RFC 9051 §6.4.5; RFC 3501 §6.4.5 (RFC822...); RFC 3516 (BINARY); RFC 7162 §3.1.4, §3.2.6;
 * RFC 8970 (PREVIEW); RFC 8514 (SAVEDATE); RFC 8474 §5.3 (EMAILID, THREADID).
 */
import type { ModSeq } from '../../../base/ids.ts';
import { modSeq } from '../../../base/ids.ts';
import { MAX_SET_NUMBER } from '../../../base/uid-set.ts';
import type { MessageSet } from '../../../mailbox/search-key.ts';
import type { SectionSpec } from '../../../mime/section.ts';
import { messageSet } from '../arguments.ts';
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';
import { parseResultRange, type ResultRange } from '../result-range.ts';
import { isAtom } from '../lexer.ts';

export type FetchCommand = Readonly<{
  kind: 'fetch';
  byUid: boolean;
  messages: MessageSet;
  /** Each item once, in the order of the client. */
  items: readonly FetchItem[];
  changedSince: ModSeq | null;
  /** Report what was expunged since `changedSince` too (UID FETCH only). */
  vanished: boolean;
  /** Which of the messages (UID FETCH only). RFC 9394 §3.3. */
  range: ResultRange | null;
}>;

/** Bytes of a section; the answer has fewer where the section ends before. */
export type PartialRange = Readonly<{ start: number; count: number }>;

/** `label` is the item's name in the answer, safe to print; what is not `peek` sets \Seen. */
export type FetchItem =
  | Readonly<{ kind: PlainFetchItem; label: string }>
  /** `isLazy`: only if the server has it at hand. */
  | Readonly<{ kind: 'preview'; label: 'PREVIEW'; isLazy: boolean }>
  | Readonly<{ kind: 'section'; label: string; section: SectionSpec; partial: PartialRange | null; peek: boolean }>
  /** Content of a part, its transfer encoding removed. */
  | Readonly<{ kind: 'binary'; label: string; part: readonly number[]; partial: PartialRange | null; peek: boolean }>
  | Readonly<{ kind: 'binary-size'; label: string; part: readonly number[] }>;

type PlainFetchItem =
  | 'flags'
  | 'uid'
  | 'internal-date'
  | 'size'
  | 'envelope'
  | 'body'
  | 'body-structure'
  | 'modseq'
  | 'save-date'
  | 'email-id'
  | 'thread-id';

const PLAIN_ITEMS: ReadonlyMap<string, PlainFetchItem> = new Map([
  ['FLAGS', 'flags'],
  ['UID', 'uid'],
  ['INTERNALDATE', 'internal-date'],
  ['RFC822.SIZE', 'size'],
  ['ENVELOPE', 'envelope'],
  ['BODY', 'body'],
  ['BODYSTRUCTURE', 'body-structure'],
  ['MODSEQ', 'modseq'],
  ['SAVEDATE', 'save-date'],
  ['EMAILID', 'email-id'],
  ['THREADID', 'thread-id'],
]);

const FAST = ['FLAGS', 'INTERNALDATE', 'RFC822.SIZE'];
const MACROS: ReadonlyMap<string, readonly string[]> = new Map([
  ['FAST', FAST],
  ['ALL', [...FAST, 'ENVELOPE']],
  ['FULL', [...FAST, 'ENVELOPE', 'BODY']],
]);

/** How many items a client may write, and how many different ones are answered. */
const MAX_WRITTEN_ITEMS = 1_000;
const MAX_ITEMS = 100;
const MAX_SECTION_DEPTH = 100;
const MAX_PART_NUMBER = 100_000;
const MAX_HEADER_FIELDS = 256;
const MAX_MODIFIERS = 8;

export function parseFetch(lexer: Lexer, numbering: 'uid' | 'sequence'): FetchCommand {
  lexer.space();
  const messages = messageSet(lexer);
  lexer.space();
  const items = new Map<string, FetchItem>();
  if (lexer.isAtList) {
    lexer.list(MAX_WRITTEN_ITEMS, () => {
      parseItem(lexer, items);
    });
  } else parseItem(lexer, items);
  if (items.size === 0) throw new SyntaxFault('An item to fetch was expected');

  const modifiers: { -readonly [Name in 'changedSince' | 'vanished' | 'range']: FetchCommand[Name] } = {
    changedSince: null,
    vanished: false,
    range: null,
  };
  if (!lexer.isAtEnd) {
    lexer.space();
    lexer.list(MAX_MODIFIERS, () => {
      const name = lexer.keyword();
      if (name === 'CHANGEDSINCE' && modifiers.changedSince === null) {
        lexer.space();
        modifiers.changedSince = modSeq(lexer.saturatedNumber());
      } else if (name === 'PARTIAL' && modifiers.range === null) {
        lexer.space();
        modifiers.range = parseResultRange(lexer);
      } else if (name === 'VANISHED') modifiers.vanished = true;
      else throw new SyntaxFault('Unknown or repeated modifier');
    });
  }
  // RFC 7162 §3.2.6: both restrictions are the client's to keep.
  if (modifiers.vanished && (numbering !== 'uid' || modifiers.changedSince === null)) {
    throw new SyntaxFault('VANISHED needs UID FETCH and CHANGEDSINCE');
  }
  if (modifiers.range && numbering !== 'uid') throw new SyntaxFault('PARTIAL needs UID FETCH');
  return { kind: 'fetch', byUid: numbering === 'uid', messages, items: [...items.values()], ...modifiers };
}

function parseItem(lexer: Lexer, items: Map<string, FetchItem>): void {
  const name = lexer.word();
  const macro = MACROS.get(name);
  if (macro) {
    for (const item of macro) addPlain(item, items);
    return;
  }
  if (name.startsWith('BODY') && lexer.peek() === '[') addSection(name, lexer, items);
  else if (name.startsWith('BINARY')) addBinary(name, lexer, items);
  else if (name === 'PREVIEW') add({ kind: 'preview', label: 'PREVIEW', isLazy: takesLazy(lexer) }, items);
  else if (name === 'RFC822') add(wholeSection(name, { kind: 'all', peek: false }), items);
  else if (name === 'RFC822.HEADER') add(wholeSection(name, { kind: 'header', peek: true }), items);
  else if (name === 'RFC822.TEXT') add(wholeSection(name, { kind: 'text', peek: false }), items);
  else addPlain(name, items);
}

function addPlain(name: string, items: Map<string, FetchItem>): void {
  const kind = PLAIN_ITEMS.get(name);
  if (kind === undefined) throw new SyntaxFault('Unknown item to fetch');
  add({ kind, label: name }, items);
}

/** Adds an item; of two with one label, the one that sets \Seen decides. */
function add(item: FetchItem, items: Map<string, FetchItem>): void {
  const known = items.get(item.label);
  if (known && !(('peek' in known && known.peek) || ('isLazy' in known && known.isLazy))) return;
  items.set(item.label, item);
  if (items.size > MAX_ITEMS) throw new SyntaxFault('Too many items to fetch', { status: 'NO', code: 'LIMIT' });
}

function wholeSection(label: string, { kind, peek }: { kind: 'all' | 'header' | 'text'; peek: boolean }): FetchItem {
  return { kind: 'section', label, section: { kind, part: [] }, partial: null, peek };
}

/** RFC 8970 §3.1: `PREVIEW (LAZY)`. */
function takesLazy(lexer: Lexer): boolean {
  let isLazy = false;
  // `(FLAGS PREVIEW (LAZY))`, but `PREVIEW (CHANGEDSINCE 1)` has modifiers of the command.
  lexer.attempt(() => {
    if (!lexer.skipSpace() || !lexer.take('(') || !lexer.takeKeyword('LAZY')) return false;
    lexer.expect(')');
    isLazy = true;
    return true;
  });
  return isLazy;
}

function addSection(name: string, lexer: Lexer, items: Map<string, FetchItem>): void {
  if (name !== 'BODY' && name !== 'BODY.PEEK') throw new SyntaxFault('Unknown item to fetch');
  lexer.expect('[');
  const { section, spec } = parseSection(lexer);
  lexer.expect(']');
  const partial = parsePartial(lexer);
  const label = `BODY[${spec}]${partialLabel(partial)}`;
  // Two partials of one start and different counts have one label: only the longer is of use.
  const known = items.get(label);
  if (known?.kind === 'section' && known.partial && partial && known.partial.count < partial.count) items.delete(label);
  add({ kind: 'section', label, section, partial, peek: name === 'BODY.PEEK' }, items);
}

function addBinary(name: string, lexer: Lexer, items: Map<string, FetchItem>): void {
  if (name !== 'BINARY' && name !== 'BINARY.PEEK' && name !== 'BINARY.SIZE')
    throw new SyntaxFault('Unknown item to fetch');
  lexer.expect('[');
  const part = lexer.peek() === ']' ? [] : parsePart(lexer).numbers;
  lexer.expect(']');
  if (name === 'BINARY.SIZE') {
    add({ kind: 'binary-size', label: `BINARY.SIZE[${part.join('.')}]`, part }, items);
    return;
  }
  const partial = parsePartial(lexer);
  const label = `BINARY[${part.join('.')}]${partialLabel(partial)}`;
  add({ kind: 'binary', label, part, partial, peek: name === 'BINARY.PEEK' }, items);
}

/** RFC 9051 §9 (section-spec): the value, and its text for the answer. */
export function parseSection(lexer: Lexer): { section: SectionSpec; spec: string } {
  if (lexer.peek() === ']') return { section: { kind: 'all', part: [] }, spec: '' };
  const { numbers: part, isOpen } = lexer.isAtSet ? parsePart(lexer) : { numbers: [], isOpen: true };
  const path = part.join('.');
  if (!isOpen) return { section: { kind: 'all', part }, spec: path };
  const prefix = part.length > 0 ? `${path}.` : '';
  const name = lexer.sectionName();
  switch (name) {
    case 'HEADER':
      return { section: { kind: 'header', part }, spec: `${prefix}HEADER` };
    case 'TEXT':
      return { section: { kind: 'text', part }, spec: `${prefix}TEXT` };
    case 'MIME':
      if (part.length === 0) break;
      return { section: { kind: 'mime', part }, spec: `${prefix}MIME` };
    case 'HEADER.FIELDS':
    case 'HEADER.FIELDS.NOT': {
      lexer.space();
      const names = fieldNames(lexer);
      const fields = names.map((field) => field.toLowerCase());
      const kind = name === 'HEADER.FIELDS' ? 'header-fields' : 'header-fields-not';
      const written = names.map((field) => (isAtom(field) ? field : `"${field}"`)).join(' ');
      return { section: { kind, part, fields }, spec: `${prefix}${name} (${written})` };
    }
    default:
  }
  throw new SyntaxFault('Unknown section');
}

/** Header field names, each once, as written: the answer repeats them. RFC 5322 §2.2 says what they are made of. */
function fieldNames(lexer: Lexer): string[] {
  const names = new Map<string, string>();
  lexer.list(MAX_HEADER_FIELDS, () => {
    const name = lexer.astringBytes();
    if (!/^[!#-9;-[\]-~]+$/.test(name)) throw new SyntaxFault('A header field name was expected'); // no `"`, `:`, `\`
    const key = name.toLowerCase();
    if (!names.has(key)) names.set(key, name);
  });
  if (names.size === 0) throw new SyntaxFault('A header field name was expected');
  return [...names.values()];
}

/** `1.2.3`; `isOpen` when a dot follows the last number, and so a name. */
function parsePart(lexer: Lexer): { numbers: number[]; isOpen: boolean } {
  const numbers: number[] = [];
  for (;;) {
    const number = lexer.number(MAX_PART_NUMBER);
    if (number === 0) throw new SyntaxFault('Part numbers start at 1');
    if (numbers.length === MAX_SECTION_DEPTH) throw new SyntaxFault('The section is nested too deep');
    numbers.push(number);
    if (!lexer.take('.')) return { numbers, isOpen: false };
    if (!lexer.isAtSet) return { numbers, isOpen: true };
  }
}

/** `<start.count>`. RFC 9051 §9 (partial: the count is above 0). */
function parsePartial(lexer: Lexer): PartialRange | null {
  if (!lexer.take('<')) return null;
  const start = lexer.number(Number.MAX_SAFE_INTEGER);
  lexer.expect('.');
  const count = lexer.number(MAX_SET_NUMBER);
  if (count === 0) throw new SyntaxFault('A partial fetch wants at least one byte');
  lexer.expect('>');
  return { start, count };
}

function partialLabel(partial: PartialRange | null): string {
  return partial ? `<${String(partial.start)}>` : '';
}
