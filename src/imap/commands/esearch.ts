/** ESEARCH over several folders (RFC 7377) and CANCELUPDATE (RFC 5267 §4.3.5). Called by dispatch.ts. */
import { Slice } from '../../base/abort.ts';
import { assertNever, ServerError } from '../../base/errors.ts';
import { clampSet, resolveSet, type NumberSet } from '../../base/uid-set.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import type { Folder } from '../../mailbox/model.ts';
import { someKey, type MessageSet } from '../../mailbox/search-key.ts';
import type { SearchMatch } from '../../mailbox/search.ts';
import { bad, ok, type Answer } from '../answer.ts';
import { SyntaxFault } from '../proto/codes.ts';
import type { EsearchCommand, SearchSource } from '../proto/commands/esearch.ts';
import * as print from '../proto/responses.ts';
import { HIERARCHY_SEPARATOR } from '../proto/utf7.ts';
import type { Session, SessionState } from '../session.ts';
import { esearchText, findMatches, keepResult, mentionsModSeq } from './search.ts';

type Esearch = Extract<EsearchCommand, { kind: 'esearch' }> & Readonly<{ tag: string }>;
type Selected = Extract<SessionState, { kind: 'selected' }>;

/** Throws SyntaxFault, ServerError 'key-*', 'content-damaged', 'limit-exceeded'. */
export async function searchFolders(session: Session, mailbox: Mailbox, command: Esearch): Promise<Answer> {
  const { state, out, signal } = session;
  const { sources, returns, key } = command;
  const selected = state.kind === 'selected' ? state : null;
  const asksSelected = sources.some(({ kind }) => kind === 'selected');
  const isOnlySelected = sources.every(({ kind }) => kind === 'selected');
  if (asksSelected && !selected) return bad('Select a folder first');
  // RFC 7377 §2.2: `$` and changes are of the selected folder
  if ((returns.save || returns.update) && (!isOnlySelected || !selected))
    return bad('SAVE and UPDATE need the selected folder');
  if (returns.update && selected?.view.contexts.has(command.tag)) return bad('The tag is in use');
  if (mentionsModSeq(key)) session.enableCondStore();
  const folders = await mailbox.folders(signal);
  const current = selected && folders.find(({ id }) => id === selected.view.folder.id);
  const slice = new Slice();
  for (const folder of await chosen(folders, { mailbox, sources, current: current ?? null, signal })) {
    const isSelected = selected !== null && folder.id === selected.view.folder.id;
    const matches = isSelected
      ? await inSelected(session, selected, command)
      : await inFolder(session, mailbox, { command, folder });
    const result = { tag: command.tag, byUid: true, key, returns, matches };
    if (isSelected) keepResult(session, selected.view, result);
    if (matches.length === 0) continue; // RFC 7377 §2.1
    const numbers = matches.map(({ uid }) => uid);
    out.write(esearchText(result, numbers, print.sourceText(folder, session.context)));
    await out.room();
    if (slice.due) await slice.pause();
  }
  return ok('Done');
}

/** RFC 5267 §4.3.5. */
export function cancelUpdates({ view }: Selected, { tags }: Extract<EsearchCommand, { kind: 'cancelupdate' }>): Answer {
  if (!tags.every((tag) => view.contexts.has(tag))) return bad('There is no context of that tag');
  for (const tag of tags) view.contexts.cancel(tag);
  return ok('No further updates');
}

type Choice = Readonly<{
  mailbox: Mailbox;
  sources: readonly SearchSource[];
  current: Folder | null;
  signal: AbortSignal;
}>;

/** The folders that the sources name, each once, in the order of the list. */
async function chosen(folders: readonly Folder[], how: Choice): Promise<readonly Folder[]> {
  const tests = await Promise.all(how.sources.map((source) => testOf(source, how)));
  return folders.filter((folder) => tests.some((isOf) => isOf(folder)));
}

async function testOf(
  source: SearchSource,
  { mailbox, current, signal }: Choice,
): Promise<(folder: Folder) => boolean> {
  switch (source.kind) {
    case 'selected':
      return ({ id }) => id === current?.id;
    case 'inboxes': // where mail is delivered to: RFC 5465 §6.3
      return ({ name }) => name === 'INBOX';
    case 'personal':
      return () => true;
    case 'subscribed': {
      const names = await mailbox.subscriptions(signal);
      return ({ name }) => names.has(name);
    }
    case 'mailboxes': {
      const names = new Set(source.folders);
      return ({ name }) => names.has(name);
    }
    case 'subtree':
    case 'subtree-one':
      return ({ name }) => source.folders.some((top) => isBelow(name, top, source.kind === 'subtree' ? Infinity : 1));
    default:
      return assertNever(source);
  }
}

function isBelow(name: string, top: string, levelsCount: number): boolean {
  if (name === top) return true;
  if (!name.startsWith(top + HIERARCHY_SEPARATOR)) return false;
  return name.slice(top.length).split(HIERARCHY_SEPARATOR).length - 1 <= levelsCount;
}

async function inSelected(session: Session, selected: Selected, command: Esearch): Promise<readonly SearchMatch[]> {
  const found = await findMatches(session, selected, { key: command.key, returns: null });
  return found.kind === 'found' ? found.matches : [];
}

/** Throws SyntaxFault where the search names messages by numbers that only the selected folder has. */
async function inFolder(
  { signal }: Session,
  mailbox: Mailbox,
  { command, folder }: Readonly<{ command: Esearch; folder: Folder }>,
): Promise<readonly SearchMatch[]> {
  const { key } = command;
  if (someKey(key, ({ kind }) => kind === 'sequence'))
    throw new SyntaxFault('Sequence numbers are of the selected folder');
  try {
    const { uids } = await mailbox.snapshot(folder.id);
    const [first, last] = [uids[0], uids.at(-1)];
    if (first === undefined || last === undefined) return [];
    const within = { first, last };
    const resolve = (set: MessageSet): NumberSet => {
      if (set.kind === 'saved') throw new SyntaxFault('$ is of the selected folder');
      return clampSet(resolveSet(set.set, last), within);
    };
    return await mailbox.search({ folder: folder.id, key, within: [within], resolve }, signal);
  } catch (error) {
    if (error instanceof ServerError && error.code === 'not-found') return []; // deleted meanwhile
    throw error;
  }
}
