/**
 * GETMETADATA, SETMETADATA; METADATA in LIST. RFC 5464; RFC 9590. Called by dispatch.ts and list.ts.
 *
 * A mailbox has one user, so what is /shared is shared between that user's own sessions; the server's own /shared
 * entries are nobody's to change.
 */
import { assertNever } from '../../base/errors.ts';
import type { Annotation } from '../../mailbox/annotations.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import type { FolderId } from '../../base/ids.ts';
import { no, ok, type Answer } from '../answer.ts';
import type { MetadataCommand } from '../proto/commands/metadata.ts';
import * as print from '../proto/responses.ts';
import type { Session } from '../session.ts';

const MAX_VALUE_BYTES = 64 * 1024;

export async function metadata(session: Session, mailbox: Mailbox, command: MetadataCommand): Promise<Answer> {
  const folder = command.folder === '' ? null : await mailbox.folder(command.folder, session.signal);
  if (command.folder !== '' && !folder) return no('There is no folder of that name', 'NONEXISTENT');
  switch (command.kind) {
    case 'getmetadata':
      return tell(session, mailbox, { ...command, id: folder?.id ?? null });
    case 'setmetadata':
      return change(session, mailbox, { ...command, id: folder?.id ?? null });
    default:
      return assertNever(command);
  }
}

/** The METADATA line of a folder in LIST. RFC 9590 §3. */
export async function listedMetadata(
  session: Session,
  mailbox: Mailbox,
  { id, name, entries }: Readonly<{ id: FolderId; name: string; entries: readonly string[] }>,
): Promise<string> {
  const all = await mailbox.annotations(id, session.signal);
  const values = entries.map((entry): print.MetadataValue => [entry, valueOf(all, entry)]);
  return print.metadataLine(name, values, session.context);
}

type GetCommand = Extract<MetadataCommand, { kind: 'getmetadata' }> & Readonly<{ id: FolderId | null }>;
type SetCommand = Extract<MetadataCommand, { kind: 'setmetadata' }> & Readonly<{ id: FolderId | null }>;

async function tell(session: Session, mailbox: Mailbox, command: GetCommand): Promise<Answer> {
  const all = await mailbox.annotations(command.id, session.signal);
  const found = new Map<string, Buffer | null>();
  for (const entry of command.entries) {
    // A name that was asked for by itself is answered in any case; of a tree, what is there.
    if (command.depth === 0) found.set(entry, valueOf(all, entry));
    else for (const { name, value } of all) if (isWithin(name, entry, command.depth)) found.set(name, value);
  }
  const { maxSizeBytes } = command;
  const tooLong = [...found.values()].filter((value) => (value?.length ?? 0) > (maxSizeBytes ?? Infinity));
  const values = [...found].filter(([, value]) => (value?.length ?? 0) <= (maxSizeBytes ?? Infinity));
  if (values.length > 0) session.out.write(print.metadataLine(command.folder, values, session.context));
  await session.out.room();
  if (tooLong.length === 0) return ok('Done');
  // RFC 5464 §4.2.1: how large the largest is that was left out.
  return ok('Done', {
    kind: 'METADATA',
    what: 'LONGENTRIES',
    bytes: Math.max(...tooLong.map((value) => value?.length ?? 0)),
  });
}

async function change(session: Session, mailbox: Mailbox, { id, changes }: SetCommand): Promise<Answer> {
  if (id === null && changes.some(({ name }) => /^\/shared(\/|$)/i.test(name))) {
    return no('Entries of the server are not yours to change', 'NOPERM');
  }
  if (changes.some(({ value }) => (value?.length ?? 0) > MAX_VALUE_BYTES)) {
    return no('A value is too large', { kind: 'METADATA', what: 'MAXSIZE', bytes: MAX_VALUE_BYTES });
  }
  const isDone = await mailbox.annotate({ folder: id, changes }, session.signal);
  return isDone
    ? ok('Done')
    : no('The mailbox has too many entries', { kind: 'METADATA', what: 'TOOMANY', bytes: null });
}

function valueOf(all: readonly Annotation[], entry: string): Buffer | null {
  const wanted = entry.toLowerCase();
  return all.find(({ name }) => name.toLowerCase() === wanted)?.value ?? null;
}

/** RFC 5464 §4.2.2: the entry itself, and one level or all below it. */
function isWithin(name: string, entry: string, depth: 1 | 'infinity'): boolean {
  const [at, below] = [name.toLowerCase(), `${entry.toLowerCase()}/`];
  if (at === entry.toLowerCase()) return true;
  return at.startsWith(below) && (depth === 'infinity' || !at.slice(below.length).includes('/'));
}
