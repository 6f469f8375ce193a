/**
 * SELECT, EXAMINE, CLOSE, UNSELECT. RFC 9051 §6.3.2, §6.3.3, §6.4.1, §6.4.2; RFC 3501 §6.3.1; RFC 7162 §3.1.2, §3.2.5.
 * Called by dispatch.ts.
 */
import { intersectSets, numberSet, setHas } from '../../base/uid-set.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import type { MessageRow } from '../../mailbox/model.ts';
import { folderObjectId } from '../../mailbox/object-ids.ts';
import { bad, no, ok, type Answer } from '../answer.ts';
import type { SelectCommand } from '../proto/commands/select.ts';
import * as print from '../proto/responses.ts';
import type { Session, SessionState } from '../session.ts';
import { FolderView } from '../view.ts';

type OpenCommand = Extract<SelectCommand, { kind: 'select' | 'examine' }>;
type Selected = Extract<SessionState, { kind: 'selected' }>;

/** How many rows are looked through for the first unseen message; past that the client is not told. */
const UNSEEN_SCAN_MAX_COUNT = 5_000;
const CHANGES_BATCH_COUNT = 500;

/** Opens a folder; whatever happens, the one that was open is closed. Throws ServerError 'key-*'. */
export async function openFolder(session: Session, mailbox: Mailbox, command: OpenCommand): Promise<Answer> {
  const { out, signal, enabled } = session;
  if (session.state.kind === 'selected') {
    session.deselect();
    out.write(print.untaggedLine('OK', 'CLOSED', 'The previous folder is closed'));
  }
  if (command.qresync && !enabled.qresync) return bad('Enable QRESYNC first');
  // RFC 9586 §3.3: it would match sequence numbers.
  if (command.qresync?.match && enabled.uidOnly) return { ...bad('Only UIDs are taken'), code: 'UIDREQUIRED' };
  const folder = await mailbox.folder(command.folder, signal);
  if (!folder) return no('There is no folder of that name', 'NONEXISTENT');
  const isReadOnly = command.kind === 'examine';
  const view = await FolderView.open(mailbox, folder, { isReadOnly });
  try {
    await writeState(session, { mailbox, name: folder.name }, view);
    session.select(view);
  } catch (error) {
    view[Symbol.dispose]();
    throw error;
  }
  if (command.condStore) enabled.condStore = true;
  if (command.qresync && command.qresync.uidValidity === folder.uidValidity) {
    await writeMissedChanges(session, { mailbox, view }, command.qresync);
  }
  return isReadOnly ? ok('The folder is open', 'READ-ONLY') : ok('The folder is open', 'READ-WRITE');
}

/** Removes what is flagged \Deleted, without a word, and closes the folder. RFC 9051 §6.4.1. */
export async function closeFolder(session: Session, { mailbox, view }: Selected): Promise<Answer> {
  if (!view.isReadOnly) await mailbox.expunge(view.folder.id, 'deleted');
  session.deselect();
  return ok('The folder is closed');
}

export function unselectFolder(session: Session): Answer {
  session.deselect();
  return ok('The folder is closed');
}

async function writeState(
  session: Session,
  { mailbox, name }: Readonly<{ mailbox: Mailbox; name: string }>,
  view: FolderView,
): Promise<void> {
  const { out } = session;
  const unseen = session.enabled.rev2 || session.enabled.uidOnly ? null : await firstUnseen(session, mailbox, view);
  await session.writeFlagNames(view);
  out.write(print.countLine(view.count, 'EXISTS'));
  if (!session.enabled.rev2) out.write(print.countLine(0, 'RECENT'));
  if (unseen !== null) out.write(print.untaggedLine('OK', { kind: 'UNSEEN', sequence: unseen }, 'First unseen'));
  const { uidValidity } = view.folder;
  out.write(print.untaggedLine('OK', { kind: 'UIDVALIDITY', uidValidity }, 'UIDs are valid'));
  out.write(print.untaggedLine('OK', { kind: 'UIDNEXT', uid: view.uidNext }, 'Next UID'));
  const id = folderObjectId(mailbox.ref, view.folder.id);
  out.write(print.untaggedLine('OK', { kind: 'MAILBOXID', id }, 'The folder, whatever its name'));
  out.write(print.untaggedLine('OK', { kind: 'HIGHESTMODSEQ', modSeq: view.modSeq }, 'Highest'));
  // RFC 9051 §6.3.2: a LIST response with the folder's name.
  if (session.enabled.rev2) out.write(print.listLine('LIST', { name, attributes: [] }, session.context));
}

/** RFC 3501 §7.1 (UNSEEN): the first message without \Seen, if it is soon found. */
async function firstUnseen(session: Session, mailbox: Mailbox, view: FolderView): Promise<number | null> {
  const { unseenCount } = await mailbox.status(view.folder.id);
  if (unseenCount === 0 || view.count === 0) return null;
  let looked = 0;
  for await (const rows of mailbox.rows(view.folder.id, view.all, session.signal)) {
    const found = rows.find((row) => !row.flags.includes('\\Seen'));
    if (found) return view.sequenceOf(found.uid) || null;
    looked += rows.length;
    if (looked >= UNSEEN_SCAN_MAX_COUNT) return null;
  }
  return null;
}

/** What happened since the client was last here. RFC 7162 §3.2.5.1. */
async function writeMissedChanges(
  session: Session,
  { mailbox, view }: Readonly<{ mailbox: Mailbox; view: FolderView }>,
  known: NonNullable<OpenCommand['qresync']>,
): Promise<void> {
  const { out, signal } = session;
  const changes = await mailbox.changesSince(view.folder.id, known.modSeq, signal);
  let vanished = numberSet(changes.vanished);
  if (known.knownUids) vanished = intersectSets(vanished, known.knownUids);
  if (vanished.length > 0) out.write(print.vanishedLine(vanished, 'earlier'));
  const rows = changes.changed.filter(
    (row) => view.sequenceOf(row.uid) > 0 && (!known.knownUids || setHas(known.knownUids, row.uid)),
  );
  for (let at = 0; at < rows.length; at += CHANGES_BATCH_COUNT) {
    out.write(
      rows
        .slice(at, at + CHANGES_BATCH_COUNT)
        .map((row) => changeLine(view, row))
        .join(''),
    );
    await out.room();
  }
}

function changeLine(view: FolderView, row: MessageRow): string {
  const items = [`FLAGS (${print.flagsText(row.flags)})`, `MODSEQ (${String(row.modSeq)})`];
  if (!view.isUidOnly) items.unshift(`UID ${String(row.uid)}`);
  return print.fetchLine(view.responseHead(row.uid), items);
}
