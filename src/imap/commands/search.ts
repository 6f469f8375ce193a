/** SEARCH and UID SEARCH. RFC 9051 §6.4.4; RFC 3501 §6.4.4; RFC 5182; RFC 7162 §3.1.5. Called by dispatch.ts. */
import { numberSet } from '../../base/uid-set.ts';
import type { SearchKey } from '../../mailbox/search-key.ts';
import type { SearchMatch } from '../../mailbox/search.ts';
import { no, ok, type Answer } from '../answer.ts';
import type { SearchCommand, SearchReturns } from '../proto/commands/search.ts';
import * as print from '../proto/responses.ts';
import type { Session, SessionState } from '../session.ts';
import type { FolderView } from '../view.ts';

type Selected = Extract<SessionState, { kind: 'selected' }>;

const ALL_ONLY: SearchReturns = { min: false, max: false, all: true, count: false, save: false };

/** Throws SyntaxFault, ServerError 'key-*', 'content-damaged', 'limit-exceeded'. */
export async function searchMessages(
  session: Session,
  { mailbox, view }: Selected,
  command: SearchCommand & Readonly<{ tag: string }>,
): Promise<Answer> {
  const asksModSeq = mentionsModSeq(command.key);
  if (asksModSeq) session.enableCondStore();
  let matches: readonly SearchMatch[];
  try {
    const found = await mailbox.search(
      {
        folder: view.folder.id,
        key: command.key,
        within: view.all,
        resolve: (set, of) => view.resolve(set, of),
      },
      session.signal,
    );
    matches = found.filter((match) => view.sequenceOf(match.uid) > 0);
  } catch (error) {
    if (!command.returns?.save) throw error;
    view.saved = []; // RFC 5182 §2.1
    const { text } = session.failure(error);
    return no(text, 'NOTSAVED');
  }
  if (command.returns?.save) view.saved = savedOf(command.returns, matches);
  const highestModSeq = asksModSeq && matches.length > 0 ? maxModSeq(matches) : null;
  const returns = command.returns ?? (session.enabled.rev2 ? ALL_ONLY : null);
  if (returns === null) {
    session.out.write(print.searchLine(numbersOf(view, matches, command.byUid), highestModSeq));
  } else if (returns.min || returns.max || returns.all || returns.count) {
    session.out.write(esearchText(view, matches, { ...command, returns, highestModSeq }));
  }
  await session.out.room();
  return ok('Done');
}

function numbersOf(view: FolderView, matches: readonly SearchMatch[], byUid: boolean): number[] {
  return matches.map(({ uid }) => (byUid ? uid : view.sequenceOf(uid)));
}

function esearchText(
  view: FolderView,
  matches: readonly SearchMatch[],
  how: Readonly<{ tag: string; byUid: boolean; returns: SearchReturns; highestModSeq: number | null }>,
): string {
  const { returns, byUid } = how;
  const numbers = numbersOf(view, matches, byUid);
  const [first, last] = [numbers[0], numbers.at(-1)];
  return print.esearchLine(how.tag, {
    byUid,
    ...(returns.min && first !== undefined ? { min: first } : {}),
    ...(returns.max && last !== undefined ? { max: last } : {}),
    ...(returns.all ? { all: numberSet(numbers) } : {}),
    ...(returns.count ? { count: numbers.length } : {}),
    ...(how.highestModSeq === null ? {} : { highestModSeq: highestOf(matches, returns, how.highestModSeq) }),
  });
}

/** RFC 7162 §3.1.10: with MIN or MAX only, the highest of those messages. */
function highestOf(matches: readonly SearchMatch[], returns: SearchReturns, ofAll: number): number {
  if (returns.all || returns.count) return ofAll;
  return maxModSeq(endsOf(returns, matches));
}

/** RFC 5182 §2.4: with MIN or MAX and neither ALL nor COUNT, only those are saved. */
function savedOf(returns: SearchReturns, matches: readonly SearchMatch[]): FolderView['saved'] {
  const onlyEnds = (returns.min || returns.max) && !returns.all && !returns.count;
  return numberSet((onlyEnds ? endsOf(returns, matches) : matches).map(({ uid }) => uid));
}

function endsOf(returns: SearchReturns, matches: readonly SearchMatch[]): readonly SearchMatch[] {
  const ends = [returns.min ? matches[0] : undefined, returns.max ? matches.at(-1) : undefined];
  return ends.filter((match) => match !== undefined);
}

function maxModSeq(matches: readonly SearchMatch[]): number {
  let highest = 0;
  for (const { modSeq } of matches) highest = Math.max(highest, modSeq);
  return highest;
}

function mentionsModSeq(key: SearchKey): boolean {
  switch (key.kind) {
    case 'modseq':
      return true;
    case 'and':
      return key.keys.some(mentionsModSeq);
    case 'or':
      return mentionsModSeq(key.left) || mentionsModSeq(key.right);
    case 'not':
      return mentionsModSeq(key.key);
    default:
      return false;
  }
}
