/** COPY, MOVE and their UID forms. RFC 9051 §6.4.7, §6.4.8. */
import type { MessageSet } from '../../../mailbox/search-key.ts';
import type { ParseContext } from '../arguments.ts';
import { folderName, messageSet } from '../arguments.ts';
import type { Lexer } from '../lexer.ts';

export type CopyMoveCommand = Readonly<{ kind: 'copy' | 'move'; byUid: boolean; messages: MessageSet; folder: string }>;

export function parseCopyMove(
  kind: 'copy' | 'move',
  lexer: Lexer,
  options: ParseContext & Readonly<{ numbering: 'uid' | 'sequence' }>,
): CopyMoveCommand {
  lexer.space();
  const messages = messageSet(lexer);
  lexer.space();
  return { kind, byUid: options.numbering === 'uid', messages, folder: folderName(lexer, options) };
}
