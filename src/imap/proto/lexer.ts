/**
 * Walks the text of one framed command: the token rules of RFC 9051 §9, lenient where clients are.
 *
 * L1  Whatever the bytes, a method returns or throws SyntaxFault; only `attempt` goes back.
 * L2  A SyntaxFault's text is a constant of this program: it never holds input.
 * L3  Byte strings (one char per byte, 0..255) and decoded text never mix: `astringBytes` and its kind
 *     give bytes, `text` turns them into Unicode, and refuses what is not UTF-8.
 *
 * Called by grammar.ts and commands/*.ts.
 */
import { isAscii } from 'node:buffer';
import { SyntaxFault } from './codes.ts';

/** A literal, cut out of the command text: its `{n}` stands at `at` and is `specLength` chars long. */
export type CommandLiteral = Readonly<{ at: number; specLength: number; bytes: Buffer; isBinary: boolean }>;

/** A command without its line ends: `text` has one char per byte; literals in order of place. */
export type CommandText = Readonly<{ text: string; literals: readonly CommandLiteral[] }>;

const SP = 0x20;
const DQUOTE = 0x22;
const LPAREN = 0x28;
const RPAREN = 0x29;
const BACKSLASH = 0x5c;

// One byte of class bits per char code; a code above 127 is in no class.
const ATOM = 1;
const ASTRING = 2;
const LIST = 4;
const TAG = 8;
const DIGIT = 16;
const CLASSES = new Uint8Array(256);
for (let code = 0x21; code < 0x7f; code += 1) {
  const char = String.fromCharCode(code);
  const isAtom = !'(){%*"\\]'.includes(char);
  let bits = 0;
  if (isAtom) bits |= ATOM;
  if (isAtom || char === ']') bits |= ASTRING;
  if (isAtom || char === ']' || char === '%' || char === '*') bits |= LIST;
  if ((isAtom || char === ']') && char !== '+') bits |= TAG;
  if (char >= '0' && char <= '9') bits |= DIGIT;
  CLASSES[code] = bits;
}

function isOfClass(code: number, bits: number): boolean {
  return ((CLASSES[code] ?? 0) & bits) !== 0;
}

/** Whether the whole text is a tag: ASTRING-CHARs other than `+`, at least one. RFC 9051 §9 (tag). */
export function isTag(text: string): boolean {
  return isAll(text, TAG);
}

/** Whether the whole text is an atom, so that it may be printed bare. RFC 9051 §9 (atom). */
export function isAtom(text: string): boolean {
  return isAll(text, ATOM);
}

function isAll(text: string, bits: number): boolean {
  for (let at = 0; at < text.length; at += 1) if (!isOfClass(text.charCodeAt(at), bits)) return false;
  return text !== '';
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes a byte string as UTF-8. Throws SyntaxFault when it is not UTF-8 or holds a NUL. */
export function text(bytes: string): string {
  if (bytes.includes('\0')) throw new SyntaxFault('A string must not hold a NUL');
  const buffer = Buffer.from(bytes, 'latin1');
  if (isAscii(buffer)) return bytes;
  try {
    return utf8.decode(buffer);
  } catch {
    throw new SyntaxFault('A string is not UTF-8');
  }
}

export class Lexer {
  readonly #text: string;
  readonly #literals: readonly CommandLiteral[];
  #at = 0;
  #nextLiteral = 0;

  constructor(command: CommandText) {
    this.#text = command.text;
    this.#literals = command.literals;
  }

  /** True when only spaces are left: some clients end a line with one. */
  get isAtEnd(): boolean {
    let at = this.#at;
    while (this.#text.charCodeAt(at) === SP) at += 1;
    return at >= this.#text.length;
  }

  /** Throws SyntaxFault unless the command ends here. */
  end(): void {
    if (!this.isAtEnd) throw new SyntaxFault('Unexpected text after the command');
  }

  /** Takes one or more spaces: the grammar has one, clients send more. Throws SyntaxFault without any. */
  space(): void {
    if (!this.skipSpace()) throw new SyntaxFault(this.isAtEnd ? 'Missing argument' : 'A space was expected');
  }

  /** Takes any spaces; true when there were some. */
  skipSpace(): boolean {
    const start = this.#at;
    while (this.#text.charCodeAt(this.#at) === SP) this.#at += 1;
    return this.#at > start;
  }

  /** The next `count` chars, unparsed, to look ahead. */
  rest(count: number): string {
    return this.#text.slice(this.#at, this.#at + count);
  }

  /** The char at the cursor, '' at the end. A literal shows as `{` or `~`. */
  peek(): string {
    return this.#text.charAt(this.#at);
  }

  /** Takes `char` if it is next. A literal's own `{` or `~` is never taken. */
  take(char: string): boolean {
    if (this.#text.charAt(this.#at) !== char || this.#literalHere()) return false;
    this.#at += 1;
    return true;
  }

  /** Throws SyntaxFault unless `char` is next, and takes it. */
  expect(char: string): void {
    if (!this.take(char)) throw new SyntaxFault(char === ')' ? 'A list is not closed' : 'Unexpected character');
  }

  /** Takes `keyword` (upper case) without regard to case, if it is next and ends there. */
  takeKeyword(keyword: string): boolean {
    const end = this.#at + keyword.length;
    if (this.#text.slice(this.#at, end).toUpperCase() !== keyword) return false;
    if (isOfClass(this.#text.charCodeAt(end), ATOM)) return false;
    this.#at = end;
    return true;
  }

  /** An atom. RFC 9051 §9. Throws SyntaxFault. */
  atom(): string {
    return this.#run(ATOM, 'An atom was expected');
  }

  /** An atom in upper case: the name of an option, item or key. Throws SyntaxFault. */
  keyword(): string {
    return this.atom().toUpperCase();
  }

  /** Chars up to a space, parenthesis or bracket: a FETCH item name stops before its `[`. Throws SyntaxFault. */
  word(): string {
    const start = this.#at;
    for (; this.#at < this.#text.length; this.#at += 1) {
      const code = this.#text.charCodeAt(this.#at);
      if (!isOfClass(code, ATOM) || code === 0x5b || code === 0x3c) break;
    }
    if (start === this.#at) throw new SyntaxFault('A name was expected');
    return this.#text.slice(start, this.#at).toUpperCase();
  }

  /** The name in a FETCH section: letters and dots, in upper case. Throws SyntaxFault. RFC 9051 §9 (section-text). */
  sectionName(): string {
    const start = this.#at;
    while (/[A-Za-z.]/.test(this.peek())) this.#at += 1;
    if (start === this.#at) throw new SyntaxFault('Unknown section');
    return this.#text.slice(start, this.#at).toUpperCase();
  }

  /** Runs `take`; when it gives false, the cursor goes back. It must take no literal. */
  attempt(take: () => boolean): void {
    const start = this.#at;
    if (!take()) this.#at = start;
  }

  /** The text of a sequence set or `$`, unparsed. Throws SyntaxFault when there is none. */
  setText(): string {
    const start = this.#at;
    for (; this.#at < this.#text.length; this.#at += 1) {
      const code = this.#text.charCodeAt(this.#at);
      if (!isOfClass(code, DIGIT) && code !== 0x2a && code !== 0x2c && code !== 0x3a) break;
    }
    if (start === this.#at && this.#text.charCodeAt(start) === 0x24) this.#at += 1;
    if (start === this.#at) throw new SyntaxFault('A message set was expected');
    return this.#text.slice(start, this.#at);
  }

  /** True when a sequence set or `$` may start here. */
  get isAtSet(): boolean {
    const code = this.#text.charCodeAt(this.#at);
    return isOfClass(code, DIGIT) || code === 0x2a || code === 0x24;
  }

  /** Decimal digits, at most `maximum`. Throws SyntaxFault. RFC 9051 §9 (number, number64). */
  number(maximum: number): number {
    const start = this.#at;
    let value = 0;
    for (; this.#at < this.#text.length; this.#at += 1) {
      const code = this.#text.charCodeAt(this.#at);
      if (!isOfClass(code, DIGIT)) break;
      value = value * 10 + (code - 0x30);
      if (value > maximum) throw new SyntaxFault('A number is too large');
    }
    if (start === this.#at) throw new SyntaxFault('A number was expected');
    return value;
  }

  /**
   * A number of up to 63 bits (RFC 7162 §7, mod-sequence-value), at most 2^53-1 here: no larger one was ever
   * given out, but a client may bring one from another server. Throws SyntaxFault.
   */
  saturatedNumber(): number {
    const start = this.#at;
    const value = this.number(2 ** 63);
    if (this.#at - start > 19) throw new SyntaxFault('A number is too large');
    return Math.min(value, Number.MAX_SAFE_INTEGER);
  }

  /** An astring as a byte string. RFC 9051 §9. Throws SyntaxFault. */
  astringBytes(): string {
    return this.#tryString() ?? this.#run(ASTRING, 'A string was expected');
  }

  /** An astring as Unicode text. Throws SyntaxFault when it is not UTF-8, or holds a NUL. */
  astring(): string {
    return text(this.astringBytes());
  }

  /** A list-mailbox as a byte string: an astring that may hold wildcards bare. RFC 9051 §9. Throws SyntaxFault. */
  listMailboxBytes(): string {
    return this.#tryString() ?? this.#run(LIST, 'A folder pattern was expected');
  }

  /** A quoted string or literal as a byte string. Throws SyntaxFault. */
  stringBytes(): string {
    const value = this.#tryString();
    if (value === null) throw new SyntaxFault('A quoted string or literal was expected');
    return value;
  }

  /** A string as Unicode text, or null for NIL. Throws SyntaxFault. RFC 9051 §9 (nstring). */
  nstring(): string | null {
    return this.takeKeyword('NIL') ? null : text(this.stringBytes());
  }

  /** `\Name` or a keyword, as written. Throws SyntaxFault. RFC 9051 §9 (flag). */
  flag(): string {
    if (this.#text.charCodeAt(this.#at) !== BACKSLASH) return this.#run(ATOM, 'A flag was expected');
    this.#at += 1;
    return `\\${this.#run(ATOM, 'A flag was expected')}`;
  }

  /**
   * `(` item *(SP item) `)`; calls `item` for each. `maxItems` bounds the list; an empty list is allowed.
   * Throws SyntaxFault.
   */
  list(maxItems: number, item: () => void): void {
    this.expect('(');
    this.skipSpace();
    for (let count = 0; !this.take(')'); count += 1) {
      if (count === maxItems) throw new SyntaxFault('A list is too long', { status: 'NO', code: 'LIMIT' });
      item();
      if (!this.skipSpace() && this.#text.charCodeAt(this.#at) !== RPAREN) {
        throw new SyntaxFault('A list is not closed');
      }
    }
  }

  /** True when a `(` is next. */
  get isAtList(): boolean {
    return this.#text.charCodeAt(this.#at) === LPAREN;
  }

  /** True when the literal that is next was written `~{n}`. RFC 9051 §4.4. */
  get isAtBinaryLiteral(): boolean {
    return this.#literalHere()?.isBinary === true;
  }

  #literalHere(): CommandLiteral | undefined {
    const literal = this.#literals[this.#nextLiteral];
    return literal?.at === this.#at ? literal : undefined;
  }

  /** A quoted string or literal as bytes; null when neither is next. */
  #tryString(): string | null {
    const literal = this.#literalHere();
    if (literal) {
      this.#at += literal.specLength;
      this.#nextLiteral += 1;
      return literal.bytes.toString('latin1');
    }
    if (this.#text.charCodeAt(this.#at) !== DQUOTE) return null;
    const start = this.#at + 1;
    let piece = start;
    let value = '';
    for (let at = start; at < this.#text.length; at += 1) {
      const code = this.#text.charCodeAt(at);
      if (code === DQUOTE) {
        this.#at = at + 1;
        return value + this.#text.slice(piece, at);
      }
      if (code !== BACKSLASH) continue;
      // The grammar allows `\"` and `\\` only; others send Windows paths: any char stands for itself.
      value += this.#text.slice(piece, at);
      at += 1;
      piece = at;
    }
    throw new SyntaxFault('A quoted string is not closed');
  }

  #run(bits: number, fault: string): string {
    const start = this.#at;
    while (isOfClass(this.#text.charCodeAt(this.#at), bits)) this.#at += 1;
    if (start === this.#at) throw new SyntaxFault(this.isAtEnd ? 'Missing argument' : fault);
    return this.#text.slice(start, this.#at);
  }
}
