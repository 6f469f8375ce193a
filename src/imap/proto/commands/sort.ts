/** SORT, THREAD and their UID forms. RFC 5256 §3, §5; RFC 5957 §5 (DISPLAYFROM, DISPLAYTO); RFC 5267 §3 (RETURN); RFC 6203 §6. */
import type { SearchKey } from '../../../mailbox/search-key.ts';
import type { SortCriterion, SortKey } from '../../../mailbox/sort.ts';
import type { ThreadAlgorithm } from '../../../mailbox/threading.ts';
import { SyntaxFault } from '../codes.ts';
import type { Lexer } from '../lexer.ts';
import { parseCharset, parseProgram } from '../search-program.ts';
import { checkedKey, parseReturns, type SearchReturns } from './search.ts';

export type SortCommand =
  | Readonly<{
      kind: 'sort';
      byUid: boolean;
      /** Null: the answer is an untagged SORT. */
      returns: SearchReturns | null;
      criteria: readonly SortCriterion[];
      key: SearchKey;
    }>
  | Readonly<{ kind: 'thread'; byUid: boolean; algorithm: ThreadAlgorithm; key: SearchKey }>;

const SORT_KEYS: ReadonlyMap<string, SortKey> = new Map([
  ['ARRIVAL', 'arrival'],
  ['CC', 'cc'],
  ['DATE', 'date'],
  ['DISPLAYFROM', 'display-from'],
  ['DISPLAYTO', 'display-to'],
  ['FROM', 'from'],
  ['RELEVANCY', 'relevancy'],
  ['SIZE', 'size'],
  ['SUBJECT', 'subject'],
  ['TO', 'to'],
]);
const ALGORITHMS: ReadonlyMap<string, ThreadAlgorithm> = new Map([
  ['ORDEREDSUBJECT', 'ordered-subject'],
  ['REFERENCES', 'references'],
  ['REFS', 'refs'],
]);
const MAX_CRITERIA = 32;

export function parseSort(lexer: Lexer, numbering: 'uid' | 'sequence'): SortCommand {
  lexer.space();
  const returns = parseReturns(lexer);
  const criteria: SortCriterion[] = [];
  lexer.list(MAX_CRITERIA, () => {
    criteria.push(parseCriterion(lexer));
  });
  if (criteria.length === 0) throw new SyntaxFault('A sort criterion was expected');
  lexer.space();
  const relevancy = criteria.some(({ key }) => key === 'relevancy') || (returns?.relevancy ?? false);
  const key = checkedKey(parseCriteria(lexer), { relevancy });
  return { kind: 'sort', byUid: numbering === 'uid', returns, criteria, key };
}

export function parseThread(lexer: Lexer, numbering: 'uid' | 'sequence'): SortCommand {
  lexer.space();
  const algorithm = ALGORITHMS.get(lexer.keyword());
  if (algorithm === undefined) throw new SyntaxFault('Unknown threading algorithm');
  lexer.space();
  return { kind: 'thread', byUid: numbering === 'uid', algorithm, key: parseCriteria(lexer) };
}

function parseCriterion(lexer: Lexer): SortCriterion {
  let name = lexer.keyword();
  const isReverse = name === 'REVERSE';
  if (isReverse) {
    lexer.space();
    name = lexer.keyword();
  }
  const key = SORT_KEYS.get(name);
  if (key === undefined) throw new SyntaxFault('Unknown sort criterion');
  return { key, isReverse };
}

/** The charset, which is not optional here, and the keys. RFC 5256 §5 (search-criteria). */
function parseCriteria(lexer: Lexer): SearchKey {
  const charset = parseCharset(lexer);
  lexer.space();
  return parseProgram(lexer, charset);
}
