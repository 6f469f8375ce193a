/** STORE and UID STORE. RFC 9051 §6.4.6; RFC 7162 §3.1.3 (UNCHANGEDSINCE). */
import type { ModSeq } from '../../../base/ids.ts';
import { modSeq } from '../../../base/ids.ts';
import type { MessageSet } from '../../../mailbox/search-key.ts';
import { messageSet, storeFlags } from '../arguments.ts';
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';

export type StoreCommand = Readonly<{
  kind: 'store';
  /** Whether the set, and so the answer, is in UIDs. */
  byUid: boolean;
  messages: MessageSet;
  change: 'add' | 'remove' | 'replace';
  flags: readonly string[];
  silent: boolean;
  unchangedSince: ModSeq | null;
}>;

export function parseStore(lexer: Lexer, numbering: 'uid' | 'sequence'): StoreCommand {
  lexer.space();
  const messages = messageSet(lexer);
  lexer.space();
  let unchangedSince: ModSeq | null = null;
  if (lexer.take('(')) {
    if (lexer.keyword() !== 'UNCHANGEDSINCE') throw new SyntaxFault('Unknown modifier');
    lexer.space();
    unchangedSince = modSeq(lexer.saturatedNumber());
    lexer.expect(')');
    lexer.space();
  }
  const change = lexer.take('+') ? 'add' : lexer.take('-') ? 'remove' : 'replace';
  const name = lexer.keyword();
  if (name !== 'FLAGS' && name !== 'FLAGS.SILENT') throw new SyntaxFault('FLAGS was expected');
  lexer.space();
  const flags = storeFlags(lexer);
  return {
    kind: 'store',
    byUid: numbering === 'uid',
    messages,
    change,
    flags,
    silent: name !== 'FLAGS',
    unchangedSince,
  };
}
