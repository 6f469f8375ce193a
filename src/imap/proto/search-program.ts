/**
 * The criteria of SEARCH, SORT, THREAD and ESEARCH: a charset and keys. RFC 9051 §6.4.4; RFC 3501 §6.4.4 (NEW, OLD,
 * RECENT); RFC 5032 (OLDER, YOUNGER); RFC 7162 §3.1.5 (MODSEQ); RFC 8514 (SAVED...); RFC 8474 §6
 * (EMAILID, THREADID); RFC 6203 §3 (FUZZY).
 *
 * Depth and number of keys are bounded; the tree is src/mailbox/search-key.ts.
 */
import { modSeq } from '../../base/ids.ts';
import type { DateRelation, SearchKey } from '../../mailbox/search-key.ts';
import { keyword, messageSet, searchDate } from './arguments.ts';
import { SyntaxFault } from './codes.ts';
import type { Lexer } from './lexer.ts';
import { text } from './lexer.ts';

const MAX_DEPTH = 32;
const MAX_KEYS = 1_000;
const MAX_SIZE_BYTES = Number.MAX_SAFE_INTEGER;
const MAX_AGE_SECONDS = 0xffff_ffff;

/** What the strings of a search are written in. */
export type Charset = 'US-ASCII' | 'UTF-8';
type KeyParser = (parser: SearchParser) => SearchKey;

const flag = (name: string): SearchKey => ({ kind: 'flag', flag: name });
const not = (key: SearchKey): SearchKey => ({ kind: 'not', key });
const constant =
  (key: SearchKey): KeyParser =>
  () =>
    key;
const header =
  (name: string): KeyParser =>
  (parser) => ({ kind: 'header', name, text: parser.string() });
const date =
  (of: 'internal' | 'sent' | 'saved', relation: DateRelation): KeyParser =>
  (parser) => ({ kind: 'date', of, relation, date: parser.date() });
const age =
  (relation: 'older' | 'younger'): KeyParser =>
  (parser) => {
    const seconds = parser.number(MAX_AGE_SECONDS);
    if (seconds === 0) throw new SyntaxFault('An interval must be above 0');
    return { kind: 'age', relation, seconds };
  };

const KEYS: ReadonlyMap<string, KeyParser> = new Map<string, KeyParser>([
  ['ALL', constant({ kind: 'all' })],
  ['ANSWERED', constant(flag('\\Answered'))],
  ['DELETED', constant(flag('\\Deleted'))],
  ['DRAFT', constant(flag('\\Draft'))],
  ['FLAGGED', constant(flag('\\Flagged'))],
  ['SEEN', constant(flag('\\Seen'))],
  ['RECENT', constant(flag('\\Recent'))],
  ['UNANSWERED', constant(not(flag('\\Answered')))],
  ['UNDELETED', constant(not(flag('\\Deleted')))],
  ['UNDRAFT', constant(not(flag('\\Draft')))],
  ['UNFLAGGED', constant(not(flag('\\Flagged')))],
  ['UNSEEN', constant(not(flag('\\Seen')))],
  ['OLD', constant(not(flag('\\Recent')))],
  ['NEW', constant({ kind: 'and', keys: [flag('\\Recent'), not(flag('\\Seen'))] })],
  ['KEYWORD', (parser) => flag(parser.keyword())],
  ['UNKEYWORD', (parser) => not(flag(parser.keyword()))],
  ['BCC', header('bcc')],
  ['CC', header('cc')],
  ['FROM', header('from')],
  ['SUBJECT', header('subject')],
  ['TO', header('to')],
  ['HEADER', (parser) => ({ kind: 'header', name: parser.string().toLowerCase(), text: parser.string() })],
  ['BODY', (parser) => ({ kind: 'body', text: parser.string() })],
  ['TEXT', (parser) => ({ kind: 'text', text: parser.string() })],
  ['LARGER', (parser) => ({ kind: 'larger', sizeBytes: parser.number(MAX_SIZE_BYTES) })],
  ['SMALLER', (parser) => ({ kind: 'smaller', sizeBytes: parser.number(MAX_SIZE_BYTES) })],
  ['BEFORE', date('internal', 'before')],
  ['ON', date('internal', 'on')],
  ['SINCE', date('internal', 'since')],
  ['SENTBEFORE', date('sent', 'before')],
  ['SENTON', date('sent', 'on')],
  ['SENTSINCE', date('sent', 'since')],
  ['SAVEDBEFORE', date('saved', 'before')],
  ['SAVEDON', date('saved', 'on')],
  ['SAVEDSINCE', date('saved', 'since')],
  ['SAVEDATESUPPORTED', constant({ kind: 'save-date-supported' })],
  ['OLDER', age('older')],
  ['YOUNGER', age('younger')],
  ['UID', (parser) => ({ kind: 'uid', uids: parser.set() })],
  ['EMAILID', (parser) => ({ kind: 'email-id', id: parser.objectId() })],
  ['THREADID', (parser) => ({ kind: 'thread-id', id: parser.objectId() })],
  ['MODSEQ', (parser) => parser.modSeq()],
  ['NOT', (parser) => not(parser.nested())],
  ['FUZZY', (parser) => ({ kind: 'fuzzy', key: parser.nested() })],
  ['OR', (parser) => ({ kind: 'or', left: parser.nested(), right: parser.nested() })],
]);

/** Keys up to the end of the command, which all must hold, their strings in `charset`. Throws SyntaxFault. */
export function parseProgram(lexer: Lexer, charset: Charset): SearchKey {
  return new SearchParser(lexer, charset).program();
}

/** A charset that searches take. Throws SyntaxFault with BADCHARSET. */
export function parseCharset(lexer: Lexer): Charset {
  const charset = lexer.astringBytes().toUpperCase();
  if (charset === 'UTF-8' || charset === 'US-ASCII') return charset;
  throw new SyntaxFault('The charset is not supported', {
    status: 'NO',
    code: { kind: 'BADCHARSET', charsets: ['UTF-8', 'US-ASCII'] },
  });
}

class SearchParser {
  readonly #lexer: Lexer;
  readonly #charset: Charset;
  #depth = 0;
  #keyCount = 0;

  constructor(lexer: Lexer, charset: Charset) {
    this.#lexer = lexer;
    this.#charset = charset;
  }

  /** Keys up to the end of the command, which all must hold. */
  program(): SearchKey {
    const keys = [this.#key()];
    while (!this.#lexer.isAtEnd) {
      this.#lexer.space();
      keys.push(this.#key());
    }
    return allOf(keys);
  }

  /** An argument that is a key. */
  nested(): SearchKey {
    this.#lexer.space();
    return this.#key();
  }

  string(): string {
    this.#lexer.space();
    const bytes = this.#lexer.astringBytes();
    if (this.#charset === 'US-ASCII' && /[\x80-\xff]/.test(bytes)) throw new SyntaxFault('A string is not US-ASCII');
    return text(bytes);
  }

  keyword(): string {
    this.#lexer.space();
    return keyword(this.#lexer);
  }

  date(): ReturnType<typeof searchDate> {
    this.#lexer.space();
    return searchDate(this.#lexer);
  }

  number(maximum: number): number {
    this.#lexer.space();
    return this.#lexer.number(maximum);
  }

  set(): ReturnType<typeof messageSet> {
    this.#lexer.space();
    return messageSet(this.#lexer);
  }

  /** RFC 8474 §7 (objectid). */
  objectId(): string {
    this.#lexer.space();
    const id = this.#lexer.astringBytes();
    if (!/^[\w-]{1,255}$/.test(id)) throw new SyntaxFault('An object id was expected');
    return id;
  }

  /** `MODSEQ ["/flags/\\draft" all] 620`: the entry is accepted and ignored, as RFC 7162 §3.1.5 allows. */
  modSeq(): SearchKey {
    this.#lexer.space();
    if (!this.#lexer.isAtSet) {
      this.#lexer.stringBytes();
      this.#lexer.space();
      if (!['PRIV', 'SHARED', 'ALL'].includes(this.#lexer.keyword())) throw new SyntaxFault('Unknown entry type');
      this.#lexer.space();
    }
    return { kind: 'modseq', atLeast: modSeq(this.#lexer.saturatedNumber()) };
  }

  #key(): SearchKey {
    this.#keyCount += 1;
    if (this.#keyCount > MAX_KEYS) throw new SyntaxFault('Too many search keys', { status: 'NO', code: 'LIMIT' });
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH)
      throw new SyntaxFault('The search is nested too deep', { status: 'NO', code: 'LIMIT' });
    const key = this.#keyInside();
    this.#depth -= 1;
    return key;
  }

  #keyInside(): SearchKey {
    const lexer = this.#lexer;
    if (lexer.isAtSet) return { kind: 'sequence', numbers: messageSet(lexer) };
    if (lexer.isAtList) {
      const keys: SearchKey[] = [];
      lexer.list(MAX_KEYS, () => {
        keys.push(this.#key());
      });
      if (keys.length === 0) throw new SyntaxFault('A search key was expected');
      return allOf(keys);
    }
    const parse = KEYS.get(lexer.keyword());
    if (parse === undefined) throw new SyntaxFault('Unknown search key');
    return parse(this);
  }
}

function allOf(keys: readonly SearchKey[]): SearchKey {
  const [only] = keys;
  return keys.length === 1 && only ? only : { kind: 'and', keys };
}
