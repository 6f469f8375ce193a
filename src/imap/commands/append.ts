/**
 * APPEND, one message or several. RFC 9051 §6.3.12, RFC 3502, RFC 4315 §3. Called by connection.ts with the first message
 * literal, before its bytes are invited.
 *
 * A1  Everything that can be refused is refused before the `+`: size, folder, key.
 * A2  Bytes go to the store as they come; the socket waits while it writes.
 * A3  What was refused is swallowed exactly by the reader, and no message of the command is kept (I2).
 */
import type { Folder, InternalDate } from '../../mailbox/model.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import { numberSet } from '../../base/uid-set.ts';
import { bad, no, ok, type Answer } from '../answer.ts';
import { parseAppendEnd, parseAppendNext, parseAppendStart, type AppendItem } from '../proto/commands/append.ts';
import type { ReaderEvent } from '../proto/reader-events.ts';
import * as print from '../proto/responses.ts';
import type { Session } from '../session.ts';

type LiteralWanted = Extract<ReaderEvent, { kind: 'literal-wanted' }>;
type Writer = Awaited<ReturnType<Mailbox['newMessage']>>;
type Prepared = Awaited<ReturnType<Writer['finish']>>;
type Ready = Readonly<{ prepared: Prepared; flags: readonly string[] }>;

const MAX_MESSAGES_COUNT = 1_000;

/** Runs the command and writes its tagged line. */
export async function append(session: Session, wanted: LiteralWanted): Promise<void> {
  const ready: Ready[] = [];
  let answer: Answer | null;
  try {
    answer = await receive(session, wanted, ready);
  } catch (error) {
    answer = session.failure(error);
    for (const { prepared } of ready) await prepared.discard();
  }
  if (answer === null) return; // the client is gone, or got its answer
  await session.sendUpdates({ mayExpunge: true });
  session.out.write(print.taggedLine(wanted.tag, answer.status, answer.code, answer.text));
}

/** Null: there is nobody to answer. On failure `ready` holds what is to be discarded. */
async function receive(session: Session, wanted: LiteralWanted, ready: Ready[]): Promise<Answer | null> {
  const { state, wire } = session;
  if (state.kind === 'not-authenticated' || state.kind === 'logout') {
    wire.refuseLiteral();
    return bad('Log in first');
  }
  const { mailbox } = state;
  let target: AppendTarget | null = null;
  for (let event: ReaderEvent | null = wanted; ; event = await wire.nextEvent()) {
    if (event?.kind === 'literal-wanted') {
      const literal = { isOpen: true };
      try {
        target = await nextTarget(session, mailbox, { event, before: target });
        const refusal = refusalOf(session, event, { target, count: ready.length });
        if (refusal) {
          wire.refuseLiteral();
          await discardAll(ready);
          return refusal;
        }
        const prepared = await receiveMessage(session, mailbox, { event, item: target.item, literal });
        if (!prepared) {
          await discardAll(ready);
          return null;
        }
        ready.push({ prepared, flags: target.item.flags });
      } catch (error) {
        if (literal.isOpen) wire.refuseLiteral();
        else await skipRest(session);
        throw error;
      }
      continue;
    }
    if (event?.kind === 'command' && target?.folder) {
      parseAppendEnd(event.args, target.item);
      const done = await mailbox.append({ folder: target.folder.id, messages: ready.splice(0) }, session.signal);
      const { uidValidity } = done;
      return ok('Appended', { kind: 'APPENDUID', uidValidity, uids: numberSet(done.uids) });
    }
    await discardAll(ready);
    if (event?.kind === 'bad-line') return bad(event.text);
    if (event?.kind === 'fatal') session.bye(event.text);
    return null;
  }
}

type AppendTarget = Readonly<{ folder: Folder | null; item: AppendItem }>;

/** What the text before a literal says. Throws SyntaxFault, ServerError 'key-*'. */
async function nextTarget(
  session: Session,
  mailbox: Mailbox,
  { event, before }: Readonly<{ event: LiteralWanted; before: AppendTarget | null }>,
): Promise<AppendTarget> {
  if (before) return { folder: before.folder, item: parseAppendNext(event.args, before.item) };
  const start = parseAppendStart(event.args, session.context);
  return { folder: await mailbox.folder(start.folder, session.signal), item: start.first };
}

/** Why this message is not taken; null when it is. */
function refusalOf(
  session: Session,
  { sizeBytes, isBinary }: LiteralWanted,
  { target, count }: Readonly<{ target: AppendTarget; count: number }>,
): Answer | null {
  if (!target.folder) return no('There is no folder of that name', 'TRYCREATE');
  if (target.item.isUtf8 && !session.enabled.utf8) return bad('UTF8 is not enabled');
  if (target.item.isUtf8 && !isBinary) return bad('UTF8 needs a literal8'); // RFC 6855 §4
  if (sizeBytes > session.deps.config.maxLiteralBytes) return no('The message is too large', 'TOOBIG');
  if (sizeBytes === 0) return no('An empty message is not kept', 'CANNOT');
  return count < MAX_MESSAGES_COUNT ? null : no('Too many messages at once', 'LIMIT');
}

async function discardAll(ready: Ready[]): Promise<void> {
  for (const { prepared } of ready.splice(0)) await prepared.discard();
}

/** Reads the rest of a command that failed after a literal came in whole. */
async function skipRest({ wire }: Session): Promise<void> {
  const event = await wire.nextEvent();
  if (event?.kind === 'literal-wanted') wire.refuseLiteral();
}

/** One message from the wire into the store; null when the client left. Throws ServerError. */
async function receiveMessage(
  session: Session,
  mailbox: Mailbox,
  how: Readonly<{ event: LiteralWanted; item: AppendItem; literal: { isOpen: boolean } }>,
): Promise<Prepared | null> {
  const { wire, out, signal } = session;
  const internalDate: InternalDate = how.item.internalDate ?? { atMs: Date.now(), zoneMinutes: 0 };
  const writer = await mailbox.newMessage({ internalDate }, signal);
  try {
    wire.acceptLiteral();
    if (how.event.synchronising) out.write(print.continuationLine('go on'));
    for (let part = await wire.nextEvent(); part?.kind !== 'literal-end'; part = await wire.nextEvent()) {
      if (part?.kind !== 'literal-chunk') {
        await writer.discard();
        return null;
      }
      await writer.write(part.bytes);
    }
    how.literal.isOpen = false;
    return await writer.finish();
  } catch (error) {
    await writer.discard();
    throw error;
  }
}
