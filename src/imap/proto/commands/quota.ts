/** GETQUOTA, GETQUOTAROOT. RFC 9208 §4.1.1, RFC 9208 §4.1.2. */
import type { ParseContext } from '../arguments.ts';
import { folderName } from '../arguments.ts';
import type { Lexer } from '../lexer.ts';

export type QuotaCommand =
  Readonly<{ kind: 'getquota'; root: string }> | Readonly<{ kind: 'getquotaroot'; folder: string }>;

export function parseGetQuota(lexer: Lexer): QuotaCommand {
  lexer.space();
  return { kind: 'getquota', root: lexer.astring() };
}

export function parseGetQuotaRoot(lexer: Lexer, context: ParseContext): QuotaCommand {
  lexer.space();
  return { kind: 'getquotaroot', folder: folderName(lexer, context) };
}
