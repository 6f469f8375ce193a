/** ESEARCH over several folders (RFC 7377), with the folder filters of RFC 5465 §6; CANCELUPDATE (RFC 5267 §4.3.5). */
import type { SearchKey } from '../../../mailbox/search-key.ts';
import type { ParseContext } from '../arguments.ts';
import { folderName } from '../arguments.ts';
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';
import { ALL_ONLY, checkedKey, parseReturns, parseSearchProgram, type SearchReturns } from './search.ts';

/** Where to search. */
export type SearchSource =
  | Readonly<{ kind: 'selected' | 'inboxes' | 'personal' | 'subscribed' }>
  | Readonly<{ kind: 'subtree' | 'subtree-one' | 'mailboxes'; folders: readonly string[] }>;

export type EsearchCommand =
  | Readonly<{ kind: 'esearch'; sources: readonly SearchSource[]; returns: SearchReturns; key: SearchKey }>
  | Readonly<{ kind: 'cancelupdate'; tags: readonly string[] }>;

const MAX_SOURCES = 100;
const MAX_FOLDERS = 1_000;
const MAX_TAGS = 100;

export function parseEsearch(lexer: Lexer, context: ParseContext): EsearchCommand {
  lexer.space();
  let sources: SearchSource[] = [{ kind: 'selected' }]; // RFC 7377 §2.2
  if (lexer.takeKeyword('IN')) {
    lexer.space();
    sources = [];
    lexer.list(MAX_SOURCES, () => {
      if (lexer.isAtList) throw new SyntaxFault('Unknown scope option');
      sources.push(parseSource(lexer, context));
    });
    if (sources.length === 0) throw new SyntaxFault('A source was expected');
    lexer.space();
  }
  const returns = parseReturns(lexer) ?? ALL_ONLY;
  return { kind: 'esearch', sources, returns, key: checkedKey(parseSearchProgram(lexer), returns) };
}

function parseSource(lexer: Lexer, context: ParseContext): SearchSource {
  const kind = lexer.keyword().toLowerCase();
  switch (kind) {
    case 'selected':
    case 'inboxes':
    case 'personal':
    case 'subscribed':
      return { kind };
    case 'subtree':
    case 'subtree-one':
    case 'mailboxes':
      lexer.space();
      return { kind, folders: parseFolders(lexer, context) };
    default:
      throw new SyntaxFault('Unknown source');
  }
}

/** RFC 5465 §8 (one-or-more-mailbox). */
function parseFolders(lexer: Lexer, context: ParseContext): readonly string[] {
  if (!lexer.isAtList) return [folderName(lexer, context)];
  const folders: string[] = [];
  lexer.list(MAX_FOLDERS, () => {
    folders.push(folderName(lexer, context));
  });
  if (folders.length === 0) throw new SyntaxFault('A folder was expected');
  return folders;
}

export function parseCancelUpdate(lexer: Lexer): EsearchCommand {
  const tags: string[] = [];
  do {
    lexer.space();
    tags.push(lexer.stringBytes());
    if (tags.length > MAX_TAGS) throw new SyntaxFault('Too many tags', { status: 'NO', code: 'LIMIT' });
  } while (!lexer.isAtEnd);
  return { kind: 'cancelupdate', tags };
}
