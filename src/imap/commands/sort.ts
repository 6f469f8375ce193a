/** SORT, THREAD and their UID forms. RFC 5256 §3, §4; RFC 5267 §3; RFC 7162 §3.1.9, §3.1.10. Called by dispatch.ts. */
import { ok, type Answer } from '../answer.ts';
import type { SortCommand } from '../proto/commands/sort.ts';
import * as print from '../proto/responses.ts';
import { threadPieces } from '../proto/thread-text.ts';
import type { Session, SessionState } from '../session.ts';
import { findMatches, highestIfAsked, keepResult, numbersOf, writeResult } from './search.ts';

type Selected = Extract<SessionState, { kind: 'selected' }>;
type Sort = Extract<SortCommand, { kind: 'sort' }> & Readonly<{ tag: string }>;
type ThreadCommand = Extract<SortCommand, { kind: 'thread' }>;

/** Written at once at the latest. */
const PIECE_CHARS = 32 * 1024;

/** Throws SyntaxFault, ServerError 'key-*', 'content-damaged', 'limit-exceeded'. */
export async function sortMessages(session: Session, selected: Selected, command: Sort): Promise<Answer> {
  const { mailbox, view } = selected;
  const found = await findMatches(session, selected, command);
  if (found.kind === 'refused') return found.answer;
  const byUid = new Map(found.matches.map((match) => [match.uid, match]));
  const scores = new Map(found.matches.map(({ uid, score }) => [uid, score]));
  const of = { folder: view.folder.id, uids: [...byUid.keys()], scores };
  const sorted = await mailbox.sort(of, command.criteria, session.signal);
  const matches = sorted.flatMap((uid) => byUid.get(uid) ?? []);
  const returns = command.returns && { ...command.returns, update: false };
  if (command.returns?.update) {
    // RFC 5267 §4.3.1: results of SORT are not followed
    session.out.write(print.untaggedLine('NO', { kind: 'NOUPDATE', tag: command.tag }, 'Only SEARCH can be followed'));
  }
  if (returns) {
    keepResult(session, view, { ...command, returns, matches });
    return writeResult(session, view, { ...command, returns, matches });
  }
  session.out.write(print.sortLine(numbersOf(view, matches, command.byUid), highestIfAsked(command.key, matches)));
  await session.out.room();
  return ok('Done');
}

/** Throws SyntaxFault, ServerError 'key-*', 'content-damaged', 'limit-exceeded'. */
export async function threadMessages(session: Session, selected: Selected, command: ThreadCommand): Promise<Answer> {
  const { mailbox, view } = selected;
  const { out, signal } = session;
  const found = await findMatches(session, selected, { ...command, returns: null });
  if (found.kind === 'refused') return found.answer;
  const of = { folder: view.folder.id, uids: found.matches.map(({ uid }) => uid) };
  const threads = await mailbox.threads(of, command.algorithm, signal);
  out.write(threads.length === 0 ? '* THREAD' : '* THREAD ');
  let text = '';
  for (const piece of threadPieces(threads, (uid) => (command.byUid ? uid : view.sequenceOf(uid)))) {
    text += piece;
    if (text.length < PIECE_CHARS) continue;
    out.write(text);
    text = '';
    await out.room();
  }
  out.write(`${text}\r\n`);
  return ok('Done');
}
