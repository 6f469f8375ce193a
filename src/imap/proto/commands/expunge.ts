/** EXPUNGE and UID EXPUNGE. RFC 9051 §6.4.3, §6.4.9. */
import type { MessageSet } from '../../../mailbox/search-key.ts';
import { messageSet } from '../arguments.ts';
import type { Lexer } from '../lexer.ts';

/** `uids` is null for EXPUNGE, which means every message with \Deleted. */
export type ExpungeCommand = Readonly<{ kind: 'expunge'; uids: MessageSet | null }>;

export function parseUidExpunge(lexer: Lexer): ExpungeCommand {
  lexer.space();
  return { kind: 'expunge', uids: messageSet(lexer) };
}
