/** CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS. RFC 9051 §6.3; RFC 6154 §3 (USE). */
import type { ParseContext } from '../arguments.ts';
import { folderName, newFolderName } from '../arguments.ts';
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';

export type FolderCommand =
  | Readonly<{ kind: 'create'; folder: string; specialUses: readonly SpecialUse[] }>
  | Readonly<{ kind: 'delete' | 'subscribe' | 'unsubscribe'; folder: string }>
  | Readonly<{ kind: 'rename'; from: string; to: string }>
  | Readonly<{ kind: 'status'; folder: string; items: readonly StatusItem[] }>;

type SpecialUse = '\\All' | '\\Archive' | '\\Drafts' | '\\Flagged' | '\\Junk' | '\\Sent' | '\\Trash' | '\\Important';

/** RFC 9051 §6.3.11; RFC 3501 (RECENT); RFC 7162 §3.1.7; RFC 7889; RFC 9208 §4.1.4; RFC 8474 §4.3. */
export type StatusItem =
  | 'MESSAGES'
  | 'UIDNEXT'
  | 'UIDVALIDITY'
  | 'UNSEEN'
  | 'DELETED'
  | 'DELETED-STORAGE'
  | 'SIZE'
  | 'RECENT'
  | 'HIGHESTMODSEQ'
  | 'APPENDLIMIT'
  | 'MAILBOXID';

const STATUS_ITEMS: ReadonlyMap<string, StatusItem> = new Map(
  (
    [
      'MESSAGES',
      'UIDNEXT',
      'UIDVALIDITY',
      'UNSEEN',
      'DELETED',
      'DELETED-STORAGE',
      'SIZE',
      'RECENT',
      'HIGHESTMODSEQ',
      'APPENDLIMIT',
      'MAILBOXID',
    ] as const
  ).map((item) => [item, item]),
);

const SPECIAL_USES: ReadonlyMap<string, SpecialUse> = new Map(
  (['\\All', '\\Archive', '\\Drafts', '\\Flagged', '\\Junk', '\\Sent', '\\Trash', '\\Important'] as const).map(
    (use) => [use.toUpperCase(), use],
  ),
);

const MAX_STATUS_ITEMS = 32;
const MAX_PARAMETERS = 10;

export function parseCreate(lexer: Lexer, context: ParseContext): FolderCommand {
  lexer.space();
  const folder = newFolderName(lexer, context);
  const uses = new Set<SpecialUse>();
  if (!lexer.isAtEnd) {
    lexer.space();
    lexer.list(MAX_PARAMETERS, () => {
      if (lexer.keyword() !== 'USE') throw new SyntaxFault('Unknown parameter');
      lexer.space();
      lexer.list(MAX_PARAMETERS, () => {
        const use = SPECIAL_USES.get(lexer.flag().toUpperCase());
        if (use === undefined) throw new SyntaxFault('Unknown special use', { status: 'NO', code: 'USEATTR' });
        uses.add(use);
      });
    });
  }
  return { kind: 'create', folder, specialUses: [...uses] };
}

export function parseRename(lexer: Lexer, context: ParseContext): FolderCommand {
  lexer.space();
  const from = folderName(lexer, context);
  lexer.space();
  return { kind: 'rename', from, to: newFolderName(lexer, context) };
}

/** The commands with one folder name as their only argument. */
export function parseOneFolder(
  kind: 'delete' | 'subscribe' | 'unsubscribe',
  lexer: Lexer,
  context: ParseContext,
): FolderCommand {
  lexer.space();
  return { kind, folder: folderName(lexer, context) };
}

export function parseStatus(lexer: Lexer, context: ParseContext): FolderCommand {
  lexer.space();
  const folder = folderName(lexer, context);
  lexer.space();
  return { kind: 'status', folder, items: statusItems(lexer) };
}

/** `(MESSAGES UIDNEXT ...)`, each item once. Throws SyntaxFault. RFC 9051 §9 (status-att). */
export function statusItems(lexer: Lexer): readonly StatusItem[] {
  const items = new Set<StatusItem>();
  lexer.list(MAX_STATUS_ITEMS, () => {
    const item = STATUS_ITEMS.get(lexer.keyword());
    if (item === undefined) throw new SyntaxFault('Unknown status item');
    items.add(item);
  });
  if (items.size === 0) throw new SyntaxFault('A status item was expected');
  return [...items];
}
