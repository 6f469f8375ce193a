/** COPY, MOVE and their UID forms. RFC 9051 §6.4.7, §6.4.8; RFC 6851. Called by dispatch.ts. */
import { numberSet } from '../../base/uid-set.ts';
import { no, ok, type Answer } from '../answer.ts';
import type { ResponseCode } from '../proto/codes.ts';
import type { CopyMoveCommand } from '../proto/commands/copy-move.ts';
import * as print from '../proto/responses.ts';
import type { Session, SessionState } from '../session.ts';

type Selected = Extract<SessionState, { kind: 'selected' }>;

/** Throws SyntaxFault, ServerError 'key-*', 'content-damaged', 'storage-*'. */
export async function copyOrMove(
  session: Session,
  { mailbox, view }: Selected,
  command: CopyMoveCommand,
): Promise<Answer> {
  const ranges = view.resolve(command.messages, command.byUid ? 'uid' : 'sequence');
  const target = await mailbox.folder(command.folder, session.signal);
  if (!target) return no('There is no folder of that name', 'TRYCREATE');
  const isMove = command.kind === 'move';
  if (isMove && target.id === view.folder.id) return no('The messages are in that folder already', 'CANNOT');
  const request = { source: view.folder.id, target: target.id, ranges };
  const done = await (isMove ? mailbox.move(request, session.signal) : mailbox.copy(request, session.signal));
  const text = isMove ? 'Moved' : 'Copied';
  if (done.pairs.length === 0) return ok(text);
  const code: ResponseCode = {
    kind: 'COPYUID',
    uidValidity: done.uidValidity,
    source: numberSet(done.pairs.map(({ from }) => from)),
    destination: numberSet(done.pairs.map(({ to }) => to)),
  };
  if (!isMove) return ok(text, code);
  // RFC 6851 §4.3: before the messages vanish from here.
  session.out.write(print.untaggedLine('OK', code, 'Moved UIDs'));
  return ok(text);
}
