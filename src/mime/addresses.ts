/**
 * Address lists of header fields (RFC 5322 §3.4 with the obsolete forms of §4.4), as IMAP shows
 * them: groups become a start and an end entry, broken addresses become the nearest thing.
 *
 * A1  No input throws; the time is linear in the length of the value.
 * A2  At most `maxCount` entries come back (group borders count).
 */
import type { Address } from './body-structure.ts';
import { ATOM_CHARS, TokenReader } from './tokens.ts';

/** `phrase` is all words; `localPart` the last one with what dots join to it, `lead` the words before that. */
type Words = Readonly<{ phrase: string; lead: string; localPart: string; wordCount: number }>;

const GROUP_END: Address = { name: null, route: null, mailbox: null, host: null };

/** The addresses of a field value. RFC 5322 §3.4, §4.4; groups as RFC 9051 §7.5.2 lists them. */
export function parseAddressList(value: string, maxCount: number): Address[] {
  const reader = new TokenReader(value);
  const out: Address[] = [];
  let inGroup = false;
  reader.skipSpace();
  while (!reader.atEnd && out.length < maxCount) {
    const start = reader.position;
    const words = readWords(reader);
    if (!inGroup && words.wordCount > 0 && reader.take(':')) {
      inGroup = true;
      out.push({ name: null, route: null, mailbox: words.phrase, host: null });
      reader.skipSpace();
      if (reader.current === ';') inGroup = endGroup(reader, out);
      continue;
    }
    if (reader.position > start || (reader.current !== ',' && reader.current !== ';')) {
      out.push(readMailbox(reader, words));
      reader.skipTo(',;');
    }
    if (reader.current === ';') {
      if (inGroup) inGroup = endGroup(reader, out);
      else reader.position += 1;
    }
    reader.skipSpace();
    while (reader.take(',')) reader.skipSpace();
  }
  if (inGroup) out.push(GROUP_END);
  return out;
}

function endGroup(reader: TokenReader, out: Address[]): false {
  reader.position += 1;
  reader.skipSpace();
  while (reader.take(',')) reader.skipSpace();
  out.push(GROUP_END);
  return false;
}

/** Reads words (atoms, dots, quoted strings) up to a special character. */
function readWords(reader: TokenReader): Words {
  reader.lastComment = null;
  let phrase = '';
  let lead = '';
  let localPart = '';
  let wordCount = 0;
  for (;;) {
    const isQuoted = reader.current === '"';
    let word = isQuoted ? reader.quotedString() : '';
    if (!isQuoted) {
      for (;;) {
        word += reader.run(ATOM_CHARS);
        if (!reader.take('.')) break;
        word += '.';
      }
      if (word === '') return { phrase, lead, localPart, wordCount };
    }
    if (wordCount > 0 && (word.startsWith('.') || localPart.endsWith('.'))) localPart += word;
    else {
      lead = phrase;
      localPart = word;
    }
    phrase = wordCount === 0 ? word : `${phrase} ${word}`;
    wordCount += 1;
    reader.skipSpace();
  }
}

/** Reads the rest of a mailbox whose leading words are read. */
function readMailbox(reader: TokenReader, words: Words): Address {
  if (reader.current === '<') return readAngleAddress(reader, words.phrase === '' ? null : words.phrase);
  let host: string | null = null;
  if (reader.current === '@') {
    reader.lastComment = null;
    host = readDomain(reader);
  }
  const comment = reader.lastComment === '' ? null : reader.lastComment;
  if (host !== null) {
    // `Some Name user@host`: the last word is the mailbox, the rest can only be a name
    const name = words.lead === '' ? comment : words.lead;
    return { name, route: null, mailbox: words.localPart, host };
  }
  if (reader.unterminated) return { name: words.phrase, route: null, mailbox: '', host: '' };
  if (comment !== null || words.wordCount <= 1) return { name: comment, route: null, mailbox: words.phrase, host: '' };
  return { name: words.phrase, route: null, mailbox: '', host: '' };
}

/** `<[@route:] local-part [@domain]>`, the reader being at the `<`. */
function readAngleAddress(reader: TokenReader, name: string | null): Address {
  reader.position += 1;
  reader.skipSpace();
  let route: string | null = null;
  if (reader.current === '@') route = readRoute(reader);
  const { localPart } = readWords(reader);
  const host = reader.current === '@' ? readDomain(reader) : '';
  return { name, route, mailbox: localPart, host };
}

/** RFC 5322 §4.4 obs-route: `@a,@b:`. */
function readRoute(reader: TokenReader): string {
  const domains: string[] = [];
  for (;;) {
    while (reader.take(',')) reader.skipSpace();
    if (reader.current !== '@') break;
    domains.push(`@${readDomain(reader)}`);
  }
  if (reader.take(':')) reader.skipSpace();
  return domains.join(',');
}

/** The domain after the `@` at which the reader stands. */
function readDomain(reader: TokenReader): string {
  reader.position += 1;
  reader.skipSpace();
  let domain = '';
  if (reader.current === '[') {
    domain = reader.domainLiteral();
    reader.skipSpace();
    return domain;
  }
  for (;;) {
    const atom = reader.run(ATOM_CHARS);
    domain += atom;
    reader.skipSpace();
    if (!reader.take('.')) return domain;
    domain += '.';
    reader.skipSpace();
  }
}
