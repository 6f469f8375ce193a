/**
 * SEARCH and UID SEARCH, and what SORT and ESEARCH share with them. RFC 9051 §6.4.4; RFC 3501 §6.4.4; RFC 5182;
 * RFC 7162 §3.1.5; RFC 5267 §4; RFC 9394 §3. Called by dispatch.ts.
 */
import { numberSet } from '../../base/uid-set.ts';
import { someKey, type SearchKey } from '../../mailbox/search-key.ts';
import type { SearchMatch } from '../../mailbox/search.ts';
import { bad, no, ok, type Answer } from '../answer.ts';
import { ALL_ONLY, type SearchCommand, type SearchReturns } from '../proto/commands/search.ts';
import * as print from '../proto/responses.ts';
import { resultsIn } from '../proto/result-range.ts';
import type { Session, SessionState } from '../session.ts';
import type { FolderView } from '../view.ts';

type Selected = Extract<SessionState, { kind: 'selected' }>;

/** Throws SyntaxFault, ServerError 'key-*', 'content-damaged', 'limit-exceeded'. */
export async function searchMessages(
  session: Session,
  selected: Selected,
  command: SearchCommand & Readonly<{ tag: string }>,
): Promise<Answer> {
  const { view } = selected;
  const returns = command.returns ?? (session.enabled.rev2 ? ALL_ONLY : null);
  // RFC 5267 §4.3: the tag names what is told later
  if (returns?.update && view.contexts.has(command.tag)) return bad('The tag is in use');
  const found = await findMatches(session, selected, command);
  if (found.kind === 'refused') return found.answer;
  const { matches } = found;
  if (!returns) {
    session.out.write(print.searchLine(numbersOf(view, matches, command.byUid), highestIfAsked(command.key, matches)));
    await session.out.room();
    return ok('Done');
  }
  keepResult(session, view, { ...command, returns, matches });
  return writeResult(session, view, { ...command, returns, matches });
}

/** What is searched for, and whether the result is to be kept. */
type Search = Readonly<{ key: SearchKey; returns: SearchReturns | null }>;
type Found =
  Readonly<{ kind: 'found'; matches: readonly SearchMatch[] }> | Readonly<{ kind: 'refused'; answer: Answer }>;

/** The messages of the view that match, ascending. Throws SyntaxFault, ServerError 'key-*', 'content-damaged', 'limit-exceeded'. */
export async function findMatches(session: Session, { mailbox, view }: Selected, search: Search): Promise<Found> {
  const { key, returns } = search;
  if (mentionsModSeq(key)) session.enableCondStore();
  try {
    const found = await mailbox.search(
      { folder: view.folder.id, key, within: view.all, resolve: (set, of) => view.resolve(set, of) },
      session.signal,
    );
    return { kind: 'found', matches: found.filter((match) => view.sequenceOf(match.uid) > 0) };
  } catch (error) {
    if (!returns?.save) throw error;
    view.saved = []; // RFC 5182 §2.1
    const { text } = session.failure(error);
    return { kind: 'refused', answer: no(text, 'NOTSAVED') };
  }
}

/** A result, its matches in their order: of the folder, or of SORT. */
type Result = Search &
  Readonly<{ returns: SearchReturns; matches: readonly SearchMatch[]; tag: string; byUid: boolean }>;

/**
 * Keeps a result as `$`, and has its changes told from now on, as far as that was asked for and there is room for another.
 * RFC 5182 §2.1; RFC 5267 §4.3, §4.3.1.
 */
export function keepResult(session: Session, view: FolderView, result: Result): void {
  const { tag, byUid, key, returns, matches } = result;
  if (returns.save) view.saved = savedOf(returns, matches);
  if (!returns.update) return;
  const resolve = view.resolve.bind(view);
  const isKept = view.contexts.add(tag, { byUid, key, resolve, uids: numberSet(matches.map(({ uid }) => uid)) });
  if (!isKept) session.out.write(print.untaggedLine('NO', { kind: 'NOUPDATE', tag }, 'Too many contexts'));
}

/** Writes a result as ESEARCH. RFC 4731, RFC 5267 §3. */
export async function writeResult(session: Session, view: FolderView, result: Result): Promise<Answer> {
  const { returns, matches } = result;
  if (returns.min || returns.max || returns.all || returns.count || returns.partial || returns.relevancy) {
    session.out.write(esearchText(result, numbersOf(view, matches, result.byUid)));
  }
  await session.out.room();
  return ok('Done');
}

/** The highest modification sequence of the matches, where the search is about those. RFC 7162 §3.1.6, §3.1.9. */
export function highestIfAsked(key: SearchKey, matches: readonly SearchMatch[]): number | null {
  return mentionsModSeq(key) && matches.length > 0 ? maxModSeq(matches) : null;
}

export function numbersOf(view: FolderView, matches: readonly SearchMatch[], byUid: boolean): number[] {
  return matches.map(({ uid }) => (byUid ? uid : view.sequenceOf(uid)));
}

/** The ESEARCH response; `numbers` are those of the matches, in their order. `source`: see print.esearchLine. */
export function esearchText(
  { tag, byUid, key, returns, matches }: Result,
  numbers: readonly number[],
  source?: string,
): string {
  const [first, last] = [numbers[0], numbers.at(-1)];
  const { partial } = returns;
  const highest = highestIfAsked(key, returnedOf(returns, matches));
  return print.esearchLine(tag, {
    byUid,
    ...(source === undefined ? {} : { source }),
    ...(returns.min && first !== undefined ? { min: first } : {}),
    ...(returns.max && last !== undefined ? { max: last } : {}),
    ...(returns.all ? { all: numbers } : {}),
    ...(partial ? { partial: { range: partial.text, numbers: resultsIn(numbers, partial) } } : {}),
    ...(returns.count ? { count: numbers.length } : {}),
    ...(returns.relevancy
      ? { relevancy: (partial ? resultsIn(matches, partial) : matches).map(({ score }) => score) }
      : {}),
    ...(highest === null ? {} : { highestModSeq: highest }),
  });
}

/** RFC 7162 §3.1.10: the messages that the response is about. */
function returnedOf(returns: SearchReturns, matches: readonly SearchMatch[]): readonly SearchMatch[] {
  return returns.all || returns.count ? matches : chosenOf(returns, matches);
}

/** RFC 5182 §2.4, RFC 9394 §3.2: with MIN, MAX or PARTIAL, and neither ALL nor COUNT, only those are saved. */
function savedOf(returns: SearchReturns, matches: readonly SearchMatch[]): FolderView['saved'] {
  const isChoice = returns.min || returns.max || returns.partial !== null;
  const saved = isChoice && !returns.all && !returns.count ? chosenOf(returns, matches) : matches;
  return numberSet(saved.map(({ uid }) => uid));
}

function chosenOf(returns: SearchReturns, matches: readonly SearchMatch[]): readonly SearchMatch[] {
  const ends = [returns.min ? matches[0] : undefined, returns.max ? matches.at(-1) : undefined];
  const partial = returns.partial ? resultsIn(matches, returns.partial) : [];
  return [...ends.filter((match) => match !== undefined), ...partial];
}

function maxModSeq(matches: readonly SearchMatch[]): number {
  let highest = 0;
  for (const { modSeq } of matches) highest = Math.max(highest, modSeq);
  return highest;
}

export function mentionsModSeq(key: SearchKey): boolean {
  return someKey(key, ({ kind }) => kind === 'modseq');
}
