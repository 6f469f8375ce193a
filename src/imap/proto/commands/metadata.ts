/** GETMETADATA, SETMETADATA, and the entries that LIST RETURN (METADATA ..) names. RFC 5464 §4.2, §4.3, §5; RFC 9590 §3. */
import type { ParseContext } from '../arguments.ts';
import { folderName } from '../arguments.ts';
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';

/** `folder` '' is the server. */
export type MetadataCommand =
  | Readonly<{
      kind: 'getmetadata';
      folder: string;
      entries: readonly string[];
      /** Larger values are left out; null: none is. */
      maxSizeBytes: number | null;
      /** How far below the entries is looked. */
      depth: 0 | 1 | 'infinity';
    }>
  | Readonly<{ kind: 'setmetadata'; folder: string; changes: readonly MetadataChange[] }>;
/** `value` null: removed. */
type MetadataChange = Readonly<{ name: string; value: Buffer | null }>;

const MAX_ENTRIES = 100;
const MAX_OPTIONS = 8;
const MAX_NAME_LENGTH = 1024;
const MAX_NUMBER = 0xffff_ffff;

export function parseGetMetadata(lexer: Lexer, context: ParseContext): MetadataCommand {
  const options = { maxSizeBytes: null as number | null, depth: 0 as 0 | 1 | 'infinity' };
  lexer.space();
  if (lexer.isAtList) {
    takeOptions(lexer, options);
    lexer.space();
  }
  const folder = folderName(lexer, context);
  lexer.space();
  // The examples of RFC 5464 §4.2.1 have the options here, its grammar before the name: both are met.
  let entries: readonly string[] | null = null;
  if (lexer.isAtList && /^\((MAXSIZE|DEPTH) /i.test(lexer.rest(10))) {
    takeOptions(lexer, options);
    lexer.space();
  }
  entries = metadataEntries(lexer);
  return { kind: 'getmetadata', folder, entries, ...options };
}

export function parseSetMetadata(lexer: Lexer, context: ParseContext): MetadataCommand {
  lexer.space();
  const folder = folderName(lexer, context);
  lexer.space();
  const changes: MetadataChange[] = [];
  lexer.list(MAX_ENTRIES, () => {
    const name = entryName(lexer);
    lexer.space();
    const value = lexer.takeKeyword('NIL') ? null : Buffer.from(lexer.stringBytes(), 'latin1');
    changes.push({ name, value });
  });
  if (changes.length === 0) throw new SyntaxFault('An entry was expected');
  return { kind: 'setmetadata', folder, changes };
}

/** One entry, or several in parentheses. Throws SyntaxFault. */
export function metadataEntries(lexer: Lexer): readonly string[] {
  if (!lexer.isAtList) return [entryName(lexer)];
  const entries: string[] = [];
  lexer.list(MAX_ENTRIES, () => {
    entries.push(entryName(lexer));
  });
  if (entries.length === 0) throw new SyntaxFault('An entry was expected');
  return entries;
}

/** RFC 5464 §3.1: levels of printable ASCII under /private or /shared, without wildcards. */
function entryName(lexer: Lexer): string {
  const name = lexer.astring();
  const isWellFormed = /^\/(private|shared)(\/[\x21-\x7e]+)*$/i.test(name) && !/[*%]|\/\/|\/$/.test(name);
  if (!isWellFormed || name.length > MAX_NAME_LENGTH) throw new SyntaxFault('The name of an entry is malformed');
  return name;
}

function takeOptions(lexer: Lexer, options: { maxSizeBytes: number | null; depth: 0 | 1 | 'infinity' }): void {
  lexer.list(MAX_OPTIONS, () => {
    const name = lexer.keyword();
    lexer.space();
    if (name === 'MAXSIZE') options.maxSizeBytes = lexer.number(MAX_NUMBER);
    else if (name === 'DEPTH') options.depth = depth(lexer);
    else throw new SyntaxFault('Unknown option');
  });
}

function depth(lexer: Lexer): 0 | 1 | 'infinity' {
  const written = lexer.keyword();
  if (written === '0') return 0;
  if (written === '1') return 1;
  if (written === 'INFINITY') return 'infinity';
  throw new SyntaxFault('The depth is 0, 1 or infinity');
}
