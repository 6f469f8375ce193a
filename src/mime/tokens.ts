/**
 * A reader over the value of a structured header field (RFC 5322 §3.2, RFC 2045 §5.1), shared by
 * addresses.ts and params.ts. Works on binary strings. Never throws, only goes forward.
 *
 * An unterminated comment, quoted string or domain literal reaches to the end of the value.
 */

const SPECIALS = '()<>[]:;@\\,."';
const MIME_SPECIALS = '()<>@,;:\\"/[]?=';

function table(specials: string): Uint8Array {
  const allowed = new Uint8Array(256);
  for (let code = 33; code < 256; code += 1) allowed[code] = code === 127 ? 0 : 1;
  for (const char of specials) allowed[char.charCodeAt(0)] = 0;
  return allowed;
}

/** Characters of atoms: printable ASCII but specials, and 8-bit bytes (RFC 6532). */
export const ATOM_CHARS = table(SPECIALS);
/** Characters of RFC 2045 tokens, and 8-bit bytes. */
export const TOKEN_CHARS = table(MIME_SPECIALS);

export class TokenReader {
  readonly text: string;
  position = 0;
  /** The text of the last comment skipped, null when none since it was cleared. */
  lastComment: string | null = null;
  /** Whether some comment, quoted string or domain literal was not closed. */
  unterminated = false;

  constructor(text: string) {
    this.text = text;
  }

  get atEnd(): boolean {
    return this.position >= this.text.length;
  }

  /** The current character, '' at the end. */
  get current(): string {
    return this.text.charAt(this.position);
  }

  /** Skips white space and comments (CFWS). */
  skipSpace(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.position);
      if (code === 32 || code === 9 || code === 13 || code === 10) this.position += 1;
      else if (code === 40) this.#skipComment();
      else return;
    }
  }

  /** Takes `char` if it comes next. */
  take(char: string): boolean {
    if (this.current !== char) return false;
    this.position += 1;
    return true;
  }

  /** The longest run of characters that `allowed` holds; may be ''. */
  run(allowed: Uint8Array): string {
    const start = this.position;
    while (allowed[this.text.charCodeAt(this.position)] === 1) this.position += 1;
    return this.text.slice(start, this.position);
  }

  /** The content of a quoted string, the reader being at its opening quote. RFC 5322 §3.2.4. */
  quotedString(): string {
    return this.#delimited('"');
  }

  /** A domain literal with its brackets, the reader being at the opening one. */
  domainLiteral(): string {
    const content = this.#delimited(']');
    return `[${content}]`;
  }

  /** Skips up to, not over, the first of `stops` outside quotes, comments and literals. */
  skipTo(stops: string): void {
    while (!this.atEnd && !stops.includes(this.current)) {
      if (this.current === '"') this.quotedString();
      else if (this.current === '(') this.#skipComment();
      else this.position += 1;
    }
  }

  #delimited(close: string): string {
    const { text } = this;
    let from = this.position + 1;
    let out = '';
    for (let at = from; at < text.length; at += 1) {
      const char = text.charAt(at);
      if (char === close) {
        this.position = at + 1;
        return out + text.slice(from, at);
      }
      if (char === '\\' && at + 1 < text.length) {
        out += text.slice(from, at);
        from = at + 1;
        at += 1;
      }
    }
    this.position = text.length;
    this.unterminated = true;
    return out + text.slice(from);
  }

  #skipComment(): void {
    const { text } = this;
    let depth = 0;
    let out = '';
    let from = this.position + 1;
    let at = this.position;
    for (; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code === 92 && at + 1 < text.length) {
        out += text.slice(from, at);
        from = at + 1;
        at += 1;
      } else if (code === 40) depth += 1;
      else if (code === 41) {
        depth -= 1;
        if (depth === 0) break;
      }
    }
    if (at >= text.length) this.unterminated = true;
    this.lastComment = out + text.slice(Math.min(from, at), at);
    this.position = Math.min(at + 1, text.length);
  }
}
