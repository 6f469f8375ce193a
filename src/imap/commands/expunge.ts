/** EXPUNGE and UID EXPUNGE. RFC 9051 §6.4.3, §6.4.9; RFC 7162 §3.2.7. Called by dispatch.ts. */
import { ok, type Answer } from '../answer.ts';
import type { ExpungeCommand } from '../proto/commands/expunge.ts';
import type { Session, SessionState } from '../session.ts';

type Selected = Extract<SessionState, { kind: 'selected' }>;

/** The client is told which by the updates that go before the tagged line. Throws SyntaxFault, ServerError 'storage-*'. */
export async function expungeMessages(
  session: Session,
  { mailbox, view }: Selected,
  command: ExpungeCommand,
): Promise<Answer> {
  const which = command.uids ? { deletedOf: view.resolve(command.uids, 'uid') } : ('deleted' as const);
  const gone = await mailbox.expunge(view.folder.id, which);
  if (gone.length === 0 || !session.enabled.qresync) return ok('Expunged');
  await session.sendUpdates({ mayExpunge: true });
  return ok('Expunged', { kind: 'HIGHESTMODSEQ', modSeq: view.modSeq });
}
