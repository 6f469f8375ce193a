/** The forms in which a word lies about in files: raw, encoded for mail, for the web, for databases. */

export type Form = Readonly<{ name: string; bytes: Buffer }>;

/** The forms of `word` that differ. For base64 the word must be long enough to fill whole groups of four: 8 or more. */
export function formsOf(word: string): Form[] {
  const forms: Form[] = [];
  const add = (name: string, bytes: Buffer): void => {
    if (bytes.length > 0 && !forms.some((form) => form.bytes.equals(bytes))) forms.push({ name, bytes });
  };
  for (const [spelling, text] of [
    ['', word],
    ['upper case ', word.toUpperCase()],
  ] as const) {
    const utf8 = Buffer.from(text);
    add(`${spelling}raw`, utf8);
    add(`${spelling}latin1`, Buffer.from(text, 'latin1'));
    add(`${spelling}utf16le`, Buffer.from(text, 'utf16le'));
    add(`${spelling}utf16be`, Buffer.from(text, 'utf16le').swap16());
    add(`${spelling}hex`, Buffer.from(utf8.toString('hex')));
    add(`${spelling}HEX`, Buffer.from(utf8.toString('hex').toUpperCase()));
    add(`${spelling}reversed`, Buffer.from(utf8).reverse());
    add(`${spelling}quoted-printable`, Buffer.from(encodedOctets(utf8, '=')));
    add(`${spelling}percent`, Buffer.from(encodedOctets(utf8, '%')));
    add(`${spelling}JSON`, Buffer.from(JSON.stringify(text).slice(1, -1)));
    add(`${spelling}JSON escapes`, Buffer.from(escapedUnits(text)));
    add(`${spelling}UTF-7`, Buffer.from(modifiedUtf7(text)));
    for (const phase of [0, 1, 2]) {
      // without the groups that share bits with a neighbour
      const base64 = Buffer.concat([Buffer.alloc(phase), utf8])
        .toString('base64')
        .slice(phase === 0 ? 0 : 4, -4);
      add(`${spelling}base64 phase ${String(phase)}`, Buffer.from(base64));
      add(`${spelling}base64url phase ${String(phase)}`, Buffer.from(base64.replaceAll('+', '-').replaceAll('/', '_')));
    }
  }
  return forms;
}

function encodedOctets(utf8: Buffer, sign: string): string {
  const octet = (byte: number): string =>
    byte < 0x80 ? String.fromCharCode(byte) : `${sign}${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  return [...utf8].map(octet).join('');
}

function escapedUnits(text: string): string {
  const unit = (at: number): string => {
    const code = text.charCodeAt(at);
    return code < 0x80 ? text.charAt(at) : `\\u${code.toString(16).padStart(4, '0')}`;
  };
  return Array.from({ length: text.length }, (_, at) => unit(at)).join('');
}

/** RFC 3501 §5.1.3, for words without an ampersand. */
function modifiedUtf7(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]+/g, (run) => {
    const base64 = Buffer.from(run, 'utf16le').swap16().toString('base64').replace(/=+$/, '').replaceAll('/', ',');
    return `&${base64}-`;
  });
}
