/**
 * LIST and LSUB. RFC 9051 §6.3.9; RFC 5258, RFC 5819, RFC 6154; RFC 3501 §6.3.9. Called by dispatch.ts.
 *
 * L1  A list is whole or an error: nothing is written before all names were opened.
 * L2  A parent that does not exist is \Noselect; \NonExistent is said only where a client asked for subscribed names.
 */
import { Slice } from '../../base/abort.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import type { Folder } from '../../mailbox/model.ts';
import { ok, type Answer } from '../answer.ts';
import type { ListCommand } from '../proto/commands/list.ts';
import { matchesPattern } from '../proto/folder-pattern.ts';
import * as print from '../proto/responses.ts';
import { canonicalFolderName, HIERARCHY_SEPARATOR } from '../proto/utf7.ts';
import type { Session } from '../session.ts';
import { statusText } from './folders.ts';
import { listedMetadata } from './metadata.ts';

/** A name of the hierarchy; `folder` is null where only something below it, or a subscription, exists. */
type Name = { readonly name: string; folder: Folder | null; isSubscribed: boolean; hasChildren: boolean };

type ExtendedList = Extract<ListCommand, { kind: 'list' }>;

export async function list(session: Session, mailbox: Mailbox, command: ExtendedList): Promise<Answer> {
  if (isSeparatorQuestion(command)) {
    session.out.write(print.listLine('LIST', { name: '', attributes: ['\\Noselect'] }, session.context));
    return ok('Done');
  }
  const wantsSubscribed = command.select.has('SUBSCRIBED');
  const needsSubscriptions = wantsSubscribed || command.returns.has('SUBSCRIBED');
  const folders = await mailbox.folders(session.signal);
  const subscribed = needsSubscriptions ? await mailbox.subscriptions(session.signal) : new Set<string>();
  const names = hierarchy(folders, subscribed);
  const isSelected = (name: Name): boolean =>
    (!wantsSubscribed || name.isSubscribed) &&
    (!command.select.has('SPECIAL-USE') || (name.folder?.specialUse ?? null) !== null) &&
    (wantsSubscribed || name.folder !== null);
  const parentsOfSelected = command.select.has('RECURSIVEMATCH') ? selectedParents(names, isSelected) : null;
  const hasFilter = wantsSubscribed || command.select.has('SPECIAL-USE');
  const lines: string[] = [];
  for (const name of await matching(names, command)) {
    const childInfo = parentsOfSelected?.has(name.name) ? childInfoOf(command) : [];
    const isParentOnly = !hasFilter && name.folder === null && name.hasChildren;
    if (!isSelected(name) && childInfo.length === 0 && !isParentOnly) continue;
    const attributes = attributesOf(name, { wantsSubscribed, showsSubscribed: needsSubscriptions });
    lines.push(print.listLine('LIST', { name: name.name, attributes, childInfo }, session.context));
    if (command.metadata && name.folder) {
      const { id, name: folder } = name.folder;
      lines.push(await listedMetadata(session, mailbox, { id, name: folder, entries: command.metadata }));
    }
    if (!command.status || !name.folder) continue;
    if (command.status.includes('HIGHESTMODSEQ')) session.enableCondStore();
    lines.push(await statusText(session, { mailbox, folder: name.folder }, command.status));
  }
  session.out.write(lines.join(''));
  return ok('Done');
}

/** RFC 3501 §6.3.9: subscribed names; under `%` also their parents, as \Noselect. */
export async function listSubscribed(
  session: Session,
  mailbox: Mailbox,
  command: Extract<ListCommand, { kind: 'lsub' }>,
): Promise<Answer> {
  const names = hierarchy([], await mailbox.subscriptions(session.signal));
  const lines: string[] = [];
  for (const { name, isSubscribed } of await matching(names, command)) {
    if (!isSubscribed && !command.patterns.some((pattern) => pattern.includes('%'))) continue;
    lines.push(print.listLine('LSUB', { name, attributes: isSubscribed ? [] : ['\\Noselect'] }, session.context));
  }
  session.out.write(lines.join(''));
  return ok('Done');
}

/** `LIST "" ""` asks for the hierarchy separator. RFC 9051 §6.3.9. */
function isSeparatorQuestion(command: ExtendedList): boolean {
  return !command.isExtended && command.patterns.length === 1 && command.patterns[0] === '';
}

/** All names in order, the parents that are missing among them. */
function hierarchy(folders: readonly Folder[], subscribed: ReadonlySet<string>): readonly Name[] {
  const names = new Map<string, Name>();
  const nameOf = (name: string): Name => {
    const known = names.get(name);
    if (known) return known;
    const made: Name = { name, folder: null, isSubscribed: false, hasChildren: false };
    names.set(name, made);
    return made;
  };
  for (const folder of folders) {
    nameOf(folder.name).folder = folder;
    for (const parent of parentsOf(folder.name)) nameOf(parent).hasChildren = true;
  }
  for (const name of subscribed) {
    nameOf(name).isSubscribed = true;
    for (const parent of parentsOf(name)) nameOf(parent);
  }
  return [...names.values()].sort(byName);
}

/** INBOX first, then by name. */
function byName(a: Name, b: Name): number {
  if (a.name === b.name) return 0;
  if (a.name === 'INBOX' || b.name === 'INBOX') return a.name === 'INBOX' ? -1 : 1;
  return a.name < b.name ? -1 : 1;
}

function* parentsOf(name: string): Generator<string> {
  for (let at = name.lastIndexOf(HIERARCHY_SEPARATOR); at > 0; at = name.lastIndexOf(HIERARCHY_SEPARATOR, at - 1)) {
    yield name.slice(0, at);
  }
}

/** The names that match one of the patterns, under the reference. */
async function matching(
  names: readonly Name[],
  command: Readonly<{ reference: string; patterns: readonly string[] }>,
): Promise<readonly Name[]> {
  const patterns = command.patterns.map((pattern) => canonicalFolderName(command.reference + pattern));
  const slice = new Slice();
  const found: Name[] = [];
  for (const name of names) {
    if (patterns.some((pattern) => pattern === '*' || matchesPattern(name.name, pattern))) found.push(name);
    if (slice.due) await slice.pause();
  }
  return found;
}

/** Names above selected ones. RFC 9051 §6.3.9.6. */
function selectedParents(names: readonly Name[], isSelected: (name: Name) => boolean): ReadonlySet<string> {
  const parents = new Set<string>();
  for (const name of names) if (isSelected(name)) for (const parent of parentsOf(name.name)) parents.add(parent);
  return parents;
}

function childInfoOf(command: ExtendedList): readonly string[] {
  return (['SUBSCRIBED', 'SPECIAL-USE'] as const).filter((option) => command.select.has(option));
}

function attributesOf(
  name: Name,
  how: Readonly<{ wantsSubscribed: boolean; showsSubscribed: boolean }>,
): readonly string[] {
  const attributes: string[] = [];
  if (!name.folder) attributes.push(...(how.wantsSubscribed ? ['\\NonExistent', '\\Noselect'] : ['\\Noselect']));
  attributes.push(name.hasChildren ? '\\HasChildren' : '\\HasNoChildren');
  if (how.showsSubscribed && name.isSubscribed) attributes.push('\\Subscribed');
  if (name.folder?.specialUse) attributes.push(`\\${name.folder.specialUse}`);
  return attributes;
}
