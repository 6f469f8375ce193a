/** A small IMAP client parser, written against RFC 9051 §9 only: what a careful client would read. */

export type Value = string | null | readonly Value[];

/** Strings as `"...` and atoms bare, so that a test sees which was which; NIL is null. */
export class ClientParser {
  readonly #bytes: string;
  #at = 0;

  constructor(bytes: string) {
    this.#bytes = bytes;
  }

  /** All response lines; each a list of values. Throws on anything that is not well formed. */
  lines(): Value[][] {
    const lines: Value[][] = [];
    while (this.#at < this.#bytes.length) lines.push(this.#line());
    return lines;
  }

  #line(): Value[] {
    const values: Value[] = [];
    for (;;) {
      values.push(this.#value());
      if (this.#take('\r\n')) return values;
      // Status text runs to the end of the line.
      if (values.length === 2 && ['OK', 'NO', 'BAD', 'BYE'].includes(String(values[1]))) {
        this.#expect(' ');
        const end = this.#bytes.indexOf('\r\n', this.#at);
        const text = this.#bytes.slice(this.#at, end);
        if (!/^[\x01-\x09\x0b\x0c\x0e-\x7f]+$/.test(text)) throw new Error('bad status text');
        this.#at = end + 2;
        return [...values, text];
      }
      this.#expect(' ');
    }
  }

  #value(): Value {
    if (this.#take('(')) {
      const list: Value[] = [];
      while (!this.#take(')')) {
        list.push(this.#value());
        this.#take(' '); // addresses and parts have none between them
      }
      return list;
    }
    if (this.#take('"')) return this.#quoted();
    const literal = /^~?\{([0-9]+)\}\r\n/.exec(this.#bytes.slice(this.#at, this.#at + 20));
    if (literal) {
      this.#at += literal[0].length;
      const text = this.#bytes.slice(this.#at, this.#at + Number(literal[1]));
      if (text.length !== Number(literal[1])) throw new Error('short literal');
      if (text.includes('\0') && !literal[0].startsWith('~')) throw new Error('NUL in a string');
      this.#at += text.length;
      return `"${text}`;
    }
    const start = this.#at;
    if (this.#bytes[this.#at] === '\\') this.#at += 1;
    while (/[^\x00-\x20(){"\\\x7f-\xff]/.test(this.#bytes.charAt(this.#at))) {
      if (/^(BODY|BINARY(\.SIZE)?)\[$/.test(this.#bytes.slice(start, this.#at + 1)))
        this.#at = this.#bytes.indexOf(']', this.#at);
      this.#at += 1;
    }
    const atom = this.#bytes.slice(start, this.#at);
    if (atom === '' || atom === '\\')
      throw new Error(`atom expected at ${JSON.stringify(this.#bytes.slice(start, start + 20))}`);
    return atom === 'NIL' ? null : atom;
  }

  #quoted(): string {
    let text = '"';
    for (;;) {
      const char = this.#bytes.charAt(this.#at);
      this.#at += 1;
      if (char === '"') return text;
      if (char === '' || char === '\r' || char === '\n' || char === '\0') throw new Error('bad quoted string');
      if (char === '\\') {
        text += this.#bytes.charAt(this.#at);
        this.#at += 1;
      } else text += char;
    }
  }

  #take(text: string): boolean {
    if (!this.#bytes.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text))
      throw new Error(
        `${JSON.stringify(text)} expected at ${JSON.stringify(this.#bytes.slice(this.#at, this.#at + 20))}`,
      );
  }
}
