/**
 * From the text of a framed command to its value. Pure: what the state of the session allows is the
 * dispatcher's to decide.
 *
 * G1  Every text gives a Command or throws SyntaxFault, in time linear in its length.
 * G2  A command that this server does not know is a value, `unknown`, so that it is answered like any other.
 *
 * Called by imap/connection.ts. APPEND and REPLACE come in pieces: see commands/append.ts.
 */
import type { ParseContext } from './arguments.ts';
import { SyntaxFault } from './codes.ts';
import { isAppend } from './commands/append.ts';
import type { CopyMoveCommand } from './commands/copy-move.ts';
import { parseCopyMove } from './commands/copy-move.ts';
import type { EsearchCommand } from './commands/esearch.ts';
import { parseCancelUpdate, parseEsearch } from './commands/esearch.ts';
import type { ExpungeCommand } from './commands/expunge.ts';
import { parseUidExpunge } from './commands/expunge.ts';
import type { FetchCommand } from './commands/fetch.ts';
import { parseFetch } from './commands/fetch.ts';
import type { FolderCommand } from './commands/folders.ts';
import { parseCreate, parseOneFolder, parseRename, parseStatus } from './commands/folders.ts';
import type { IdleCommand } from './commands/idle.ts';
import type { ListCommand } from './commands/list.ts';
import { parseList, parseLsub } from './commands/list.ts';
import type { LoginCommand } from './commands/login.ts';
import { parseAuthenticate, parseLogin } from './commands/login.ts';
import type { MetadataCommand } from './commands/metadata.ts';
import { parseGetMetadata, parseSetMetadata } from './commands/metadata.ts';
import type { QuotaCommand } from './commands/quota.ts';
import { parseGetQuota, parseGetQuotaRoot } from './commands/quota.ts';
import type { SearchCommand } from './commands/search.ts';
import { parseSearch } from './commands/search.ts';
import type { SortCommand } from './commands/sort.ts';
import { parseSort, parseThread } from './commands/sort.ts';
import type { SelectCommand } from './commands/select.ts';
import { parseSelect } from './commands/select.ts';
import type { SessionCommand } from './commands/session.ts';
import { parseCompress, parseEnable, parseId } from './commands/session.ts';
import type { StoreCommand } from './commands/store.ts';
import { parseStore } from './commands/store.ts';
import type { CommandText } from './lexer.ts';
import { Lexer } from './lexer.ts';

export type Command =
  | SessionCommand
  | LoginCommand
  | SelectCommand
  | FolderCommand
  | ListCommand
  | FetchCommand
  | StoreCommand
  | SearchCommand
  | SortCommand
  | EsearchCommand
  | CopyMoveCommand
  | ExpungeCommand
  | IdleCommand
  | QuotaCommand
  | MetadataCommand
  | Readonly<{ kind: 'unknown' }>;

type Parser = (lexer: Lexer, context: ParseContext) => Command;

const bare =
  (command: Command): Parser =>
  () =>
    command;

const PARSERS: ReadonlyMap<string, Parser> = new Map<string, Parser>([
  ['CAPABILITY', bare({ kind: 'capability' })],
  ['NOOP', bare({ kind: 'noop' })],
  ['LOGOUT', bare({ kind: 'logout' })],
  ['NAMESPACE', bare({ kind: 'namespace' })],
  ['ID', parseId],
  ['ENABLE', parseEnable],
  ['COMPRESS', parseCompress],
  ['UNAUTHENTICATE', bare({ kind: 'unauthenticate' })],
  ['STARTTLS', bare({ kind: 'starttls' })],
  ['AUTHENTICATE', parseAuthenticate],
  ['LOGIN', parseLogin],
  ['SELECT', (lexer, context) => parseSelect('select', lexer, context)],
  ['EXAMINE', (lexer, context) => parseSelect('examine', lexer, context)],
  ['CLOSE', bare({ kind: 'close' })],
  ['UNSELECT', bare({ kind: 'unselect' })],
  ['CHECK', bare({ kind: 'check' })],
  ['CREATE', parseCreate],
  ['DELETE', (lexer, context) => parseOneFolder('delete', lexer, context)],
  ['RENAME', parseRename],
  ['SUBSCRIBE', (lexer, context) => parseOneFolder('subscribe', lexer, context)],
  ['UNSUBSCRIBE', (lexer, context) => parseOneFolder('unsubscribe', lexer, context)],
  ['STATUS', parseStatus],
  ['GETQUOTA', parseGetQuota],
  ['GETQUOTAROOT', parseGetQuotaRoot],
  ['GETMETADATA', parseGetMetadata],
  ['SETMETADATA', parseSetMetadata],
  ['LIST', parseList],
  ['LSUB', parseLsub],
  ['FETCH', (lexer) => parseFetch(lexer, 'sequence')],
  ['STORE', (lexer) => parseStore(lexer, 'sequence')],
  ['SEARCH', (lexer) => parseSearch(lexer, 'sequence')],
  ['ESEARCH', parseEsearch],
  ['CANCELUPDATE', parseCancelUpdate],
  ['SORT', (lexer) => parseSort(lexer, 'sequence')],
  ['THREAD', (lexer) => parseThread(lexer, 'sequence')],
  ['COPY', (lexer, context) => parseCopyMove('copy', lexer, { ...context, numbering: 'sequence' })],
  ['MOVE', (lexer, context) => parseCopyMove('move', lexer, { ...context, numbering: 'sequence' })],
  ['EXPUNGE', bare({ kind: 'expunge', uids: null })],
  ['IDLE', bare({ kind: 'idle' })],
  ['UID', parseUid],
]);

const UID_PARSERS: ReadonlyMap<string, Parser> = new Map<string, Parser>([
  ['FETCH', (lexer) => parseFetch(lexer, 'uid')],
  ['STORE', (lexer) => parseStore(lexer, 'uid')],
  ['SEARCH', (lexer) => parseSearch(lexer, 'uid')],
  ['SORT', (lexer) => parseSort(lexer, 'uid')],
  ['THREAD', (lexer) => parseThread(lexer, 'uid')],
  ['COPY', (lexer, context) => parseCopyMove('copy', lexer, { ...context, numbering: 'uid' })],
  ['MOVE', (lexer, context) => parseCopyMove('move', lexer, { ...context, numbering: 'uid' })],
  ['EXPUNGE', parseUidExpunge],
]);

/**
 * The command called `name` (upper case) with these arguments. An APPEND that got this far had no
 * message literal. Throws SyntaxFault.
 */
export function parseCommand(name: string, args: CommandText, context: ParseContext): Command {
  if (isAppend(name, args)) throw new SyntaxFault('A message literal was expected');
  const parse = PARSERS.get(name);
  if (parse === undefined) return { kind: 'unknown' };
  const lexer = new Lexer(args);
  const command = parse(lexer, context);
  if (command.kind !== 'unknown') lexer.end();
  return command;
}

function parseUid(lexer: Lexer, context: ParseContext): Command {
  lexer.space();
  return UID_PARSERS.get(lexer.keyword())?.(lexer, context) ?? { kind: 'unknown' };
}
