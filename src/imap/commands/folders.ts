/** CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS. RFC 9051 §6.3; RFC 6154 §3. Called by dispatch.ts. */
import { assertNever } from '../../base/errors.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import type { Folder, FolderStatus, SpecialUse } from '../../mailbox/model.ts';
import { folderObjectId } from '../../mailbox/object-ids.ts';
import { no, ok, type Answer } from '../answer.ts';
import { SyntaxFault } from '../proto/codes.ts';
import type { FolderCommand, StatusItem } from '../proto/commands/folders.ts';
import * as print from '../proto/responses.ts';
import type { Session } from '../session.ts';

/** What a folder can be made for; the others of RFC 6154 §2 would be views of other folders. */
const CREATABLE_USES: ReadonlyMap<string, SpecialUse> = new Map(
  (['Archive', 'Drafts', 'Junk', 'Sent', 'Trash'] as const).map((use) => [`\\${use}`, use]),
);

export async function changeFolders(session: Session, mailbox: Mailbox, command: FolderCommand): Promise<Answer> {
  const { signal } = session;
  switch (command.kind) {
    case 'create':
      return create(session, mailbox, command);
    case 'delete':
      return remove(session, mailbox, command.folder);
    case 'rename':
      await mailbox.renameFolder({ from: command.from, to: command.to }, signal);
      return ok('The folder has its new name');
    case 'subscribe':
      await mailbox.subscribe(command.folder, signal);
      return ok('Subscribed');
    case 'unsubscribe':
      await mailbox.unsubscribe(command.folder, signal);
      return ok('Unsubscribed');
    case 'status':
      return status(session, mailbox, command);
    default:
      return assertNever(command);
  }
}

/** Prints what STATUS asks for; also for LIST RETURN (STATUS ...). Throws ServerError 'not-found' when the folder is gone. */
export async function statusText(
  session: Session,
  target: Readonly<{ mailbox: Mailbox; folder: Folder }>,
  items: readonly StatusItem[],
): Promise<string> {
  const found = await target.mailbox.status(target.folder.id);
  const id = folderObjectId(target.mailbox.ref, target.folder.id);
  const values = items.map((item) => [item, item === 'MAILBOXID' ? id : statusValue(session, item, found)] as const);
  return print.statusLine(target.folder.name, values, session.context);
}

async function create(
  session: Session,
  mailbox: Mailbox,
  command: Extract<FolderCommand, { kind: 'create' }>,
): Promise<Answer> {
  const { folder: name, specialUses } = command;
  if (specialUses.length === 0) return made(mailbox, await mailbox.createFolder({ name }, session.signal));
  const [use] = specialUses;
  const specialUse = specialUses.length === 1 && use !== undefined ? CREATABLE_USES.get(use) : undefined;
  const others = await mailbox.folders(session.signal);
  if (specialUse === undefined || others.some((other) => other.specialUse === specialUse && other.name !== name)) {
    throw new SyntaxFault('No folder can be made for that use', { status: 'NO', code: 'USEATTR' });
  }
  return made(mailbox, await mailbox.createFolder({ name, specialUse }, session.signal));
}

/** RFC 8474 §4.1. */
function made({ ref }: Mailbox, { id }: Folder): Answer {
  return ok('The folder is made', { kind: 'MAILBOXID', id: folderObjectId(ref, id) });
}

async function remove(session: Session, mailbox: Mailbox, name: string): Promise<Answer> {
  const folder = await mailbox.folder(name, session.signal);
  if (!folder) return no('There is no folder of that name', 'NONEXISTENT');
  const { state } = session;
  if (state.kind === 'selected' && state.view.folder.id === folder.id && name !== 'INBOX') {
    session.deselect();
    session.out.write(print.untaggedLine('OK', 'CLOSED', 'The folder is closed'));
  }
  await mailbox.deleteFolder(name, session.signal);
  return ok('The folder is gone');
}

async function status(
  session: Session,
  mailbox: Mailbox,
  command: Extract<FolderCommand, { kind: 'status' }>,
): Promise<Answer> {
  const folder = await mailbox.folder(command.folder, session.signal);
  if (!folder) return no('There is no folder of that name', 'NONEXISTENT');
  if (command.items.includes('HIGHESTMODSEQ')) session.enableCondStore();
  session.out.write(await statusText(session, { mailbox, folder }, command.items));
  return ok('Done');
}

function statusValue(session: Session, item: Exclude<StatusItem, 'MAILBOXID'>, found: FolderStatus): number {
  switch (item) {
    case 'MESSAGES':
      return found.messageCount;
    case 'UIDNEXT':
      return found.uidNext;
    case 'UIDVALIDITY':
      return found.uidValidity;
    case 'UNSEEN':
      return found.unseenCount;
    case 'DELETED':
      return found.deletedCount;
    case 'DELETED-STORAGE':
      return found.deletedBytes; // in bytes, unlike STORAGE: RFC 9208 §4.1.4
    case 'SIZE':
      return found.sizeBytes;
    case 'RECENT':
      return 0; // nothing here is ever \Recent
    case 'HIGHESTMODSEQ':
      return found.highestModSeq;
    case 'APPENDLIMIT':
      return session.deps.config.maxLiteralBytes;
    default:
      return assertNever(item);
  }
}
