/** LIST in all its forms, and LSUB. RFC 9051 §6.3.9; RFC 5258, RFC 5819 (STATUS), RFC 6154 (SPECIAL-USE); RFC 3501 §6.3.9. */
import type { ParseContext } from '../arguments.ts';
import { decodeFolderText } from '../arguments.ts';
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';
import type { StatusItem } from './folders.ts';
import { statusItems } from './folders.ts';
import { metadataEntries } from './metadata.ts';

/** `patterns` are Unicode with `*` and `%`, not yet joined to `reference`; those that no name can match are left out. */
export type ListCommand =
  | Readonly<{
      kind: 'list';
      select: ReadonlySet<ListSelectOption>;
      reference: string;
      patterns: readonly string[];
      returns: ReadonlySet<ListReturnOption>;
      /** RETURN (STATUS (...)); null without it. */
      status: readonly StatusItem[] | null;
      /** RETURN (METADATA (...)); null without it. RFC 9590 §3. */
      metadata: readonly string[] | null;
      /** False for the plain LIST of RFC 3501, which has no options at all. */
      isExtended: boolean;
    }>
  | Readonly<{ kind: 'lsub'; reference: string; patterns: readonly string[] }>;

type ListSelectOption = 'SUBSCRIBED' | 'REMOTE' | 'RECURSIVEMATCH' | 'SPECIAL-USE';
type ListReturnOption = 'SUBSCRIBED' | 'CHILDREN' | 'SPECIAL-USE';

const SELECT_OPTIONS: ReadonlyMap<string, ListSelectOption> = new Map(
  (['SUBSCRIBED', 'REMOTE', 'RECURSIVEMATCH', 'SPECIAL-USE'] as const).map((option) => [option, option]),
);
const RETURN_OPTIONS: ReadonlyMap<string, ListReturnOption> = new Map(
  (['SUBSCRIBED', 'CHILDREN', 'SPECIAL-USE'] as const).map((option) => [option, option]),
);

const MAX_OPTIONS = 32;
const MAX_PATTERNS = 100;
const MAX_PATTERN_LENGTH = 2048;

export function parseList(lexer: Lexer, context: ParseContext): ListCommand {
  lexer.space();
  const select = new Set<ListSelectOption>();
  let isExtended = lexer.isAtList;
  if (isExtended) {
    lexer.list(MAX_OPTIONS, () => {
      const option = SELECT_OPTIONS.get(lexer.keyword());
      if (option === undefined) throw new SyntaxFault('Unknown selection option');
      select.add(option);
    });
    // RFC 9051 §6.3.9.1: it modifies another selection, and REMOTE is none.
    if (select.has('RECURSIVEMATCH') && !select.has('SUBSCRIBED') && !select.has('SPECIAL-USE')) {
      throw new SyntaxFault('RECURSIVEMATCH needs another selection option');
    }
    lexer.space();
  }
  const reference = parseReference(lexer, context);
  lexer.space();
  const patterns: string[] = [];
  const addPattern = (): void => {
    const pattern = decodePattern(lexer.listMailboxBytes(), context);
    if (pattern !== null && !patterns.includes(pattern)) patterns.push(pattern);
  };
  if (lexer.isAtList) {
    isExtended = true;
    lexer.list(MAX_PATTERNS, addPattern);
  } else addPattern();

  const returns = new Set<ListReturnOption>();
  let status: readonly StatusItem[] | null = null;
  let metadata: readonly string[] | null = null;
  if (!lexer.isAtEnd) {
    isExtended = true;
    lexer.space();
    if (!lexer.takeKeyword('RETURN')) throw new SyntaxFault('RETURN was expected');
    lexer.space();
    lexer.list(MAX_OPTIONS, () => {
      const name = lexer.keyword();
      if (name === 'STATUS' && status === null) {
        lexer.space();
        status = statusItems(lexer);
        return;
      }
      if (name === 'METADATA' && metadata === null) {
        lexer.space();
        metadata = metadataEntries(lexer);
        return;
      }
      const option = RETURN_OPTIONS.get(name);
      if (option === undefined) throw new SyntaxFault('Unknown or repeated return option');
      returns.add(option);
    });
  }
  return { kind: 'list', select, reference, patterns, returns, status, metadata, isExtended };
}

export function parseLsub(lexer: Lexer, context: ParseContext): ListCommand {
  lexer.space();
  const reference = parseReference(lexer, context);
  lexer.space();
  const pattern = decodePattern(lexer.listMailboxBytes(), context);
  return { kind: 'lsub', reference, patterns: pattern === null ? [] : [pattern] };
}

function parseReference(lexer: Lexer, context: ParseContext): string {
  const reference = decodeFolderText(lexer.astringBytes(), context);
  if (reference === null) throw new SyntaxFault('The reference is not valid modified UTF-7');
  return reference.normalize('NFC');
}

/** A pattern as Unicode; null when it is in no valid encoding, so that no name can match it. */
function decodePattern(bytes: string, context: ParseContext): string | null {
  if (bytes.length > MAX_PATTERN_LENGTH) throw new SyntaxFault('A folder pattern is too long');
  return decodeFolderText(bytes, context)?.normalize('NFC') ?? null;
}
