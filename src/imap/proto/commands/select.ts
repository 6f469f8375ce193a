/** SELECT, EXAMINE, CLOSE, UNSELECT, CHECK. RFC 9051 §6.3.2, §6.3.3, §6.4; parameters RFC 4466 §2.1, RFC 7162 §3.2.5. */
import type { ModSeq } from '../../../base/ids.ts';
import { modSeq } from '../../../base/ids.ts';
import type { NumberSet } from '../../../base/uid-set.ts';
import { MAX_SET_NUMBER } from '../../../base/uid-set.ts';
import type { ParseContext } from '../arguments.ts';
import { folderName, knownSet } from '../arguments.ts';
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';

export type SelectCommand =
  | Readonly<{ kind: 'select' | 'examine'; folder: string; condStore: boolean; qresync: Qresync | null }>
  | Readonly<{ kind: 'close' }>
  | Readonly<{ kind: 'unselect' }>
  | Readonly<{ kind: 'check' }>;

/** What the client knows of the folder. RFC 7162 §3.2.5. */
type Qresync = Readonly<{
  uidValidity: number;
  modSeq: ModSeq;
  knownUids: NumberSet | null;
  /** Sequence numbers and the UIDs they had, of one length each (RFC 7162 §3.2.5.2). */
  match: Readonly<{ sequences: NumberSet; uids: NumberSet }> | null;
}>;

const MAX_PARAMETERS = 10;

export function parseSelect(kind: 'select' | 'examine', lexer: Lexer, context: ParseContext): SelectCommand {
  lexer.space();
  const folder = folderName(lexer, context);
  let condStore = false;
  let qresync: Qresync | null = null;
  if (!lexer.isAtEnd) {
    lexer.space();
    lexer.list(MAX_PARAMETERS, () => {
      const name = lexer.keyword();
      if (name === 'CONDSTORE') condStore = true;
      else if (name === 'QRESYNC' && qresync === null) qresync = parseQresync(lexer);
      else throw new SyntaxFault('Unknown or repeated parameter');
    });
  }
  return { kind, folder, condStore, qresync };
}

function parseQresync(lexer: Lexer): Qresync {
  lexer.space();
  lexer.expect('(');
  const uidValidity = lexer.number(MAX_SET_NUMBER);
  lexer.space();
  const since = modSeq(lexer.saturatedNumber());
  if (uidValidity === 0 || since === 0) throw new SyntaxFault('QRESYNC wants numbers above 0');
  let knownUids: NumberSet | null = null;
  let match: Qresync['match'] = null;
  if (lexer.skipSpace() && lexer.isAtSet) {
    knownUids = knownSet(lexer);
    lexer.skipSpace();
  }
  if (lexer.take('(')) {
    const sequences = knownSet(lexer);
    lexer.space();
    match = { sequences, uids: knownSet(lexer) };
    lexer.expect(')');
  }
  lexer.expect(')');
  return { uidValidity, modSeq: since, knownUids, match };
}
