/**
 * APPEND, one message or several, whole or put together from others, and REPLACE. RFC 9051 §6.3.12, RFC 3502, RFC 4315 §3,
 * RFC 4469, RFC 8508. Called by connection.ts with the first message literal, before its bytes are invited, or with the
 * whole command where it has none.
 *
 * A1  Everything that can be refused is refused before the `+`: size, folder, key.
 * A2  Bytes go to the store as they come; the socket waits while it writes.
 * A3  What was refused is swallowed exactly by the reader, and no message of the command is kept (I2).
 * A4  A message that is replaced goes only together with its replacement's arrival (RFC 8508 §3.4).
 */
import type { FolderId, Uid } from '../../base/ids.ts';
import type { Folder, InternalDate } from '../../mailbox/model.ts';
import type { Mailbox } from '../../mailbox/mailbox.ts';
import { numberSet } from '../../base/uid-set.ts';
import { bad, no, ok, type Answer } from '../answer.ts';
import { SyntaxFault } from '../proto/codes.ts';
import {
  parseAppendNext,
  parseAppendStart,
  type AppendItem,
  type AppendPiece,
  type AppendStart,
  type AppendWant,
  type Replaced,
} from '../proto/commands/append.ts';
import type { ReaderEvent } from '../proto/reader-events.ts';
import * as print from '../proto/responses.ts';
import type { Session, SessionState } from '../session.ts';
import { writeUrl } from './catenate.ts';

type LiteralWanted = Extract<ReaderEvent, { kind: 'literal-wanted' }>;
type Whole = Extract<ReaderEvent, { kind: 'command' }>;
type LoggedIn = Extract<SessionState, { kind: 'authenticated' | 'selected' }>;
type Writer = Awaited<ReturnType<Mailbox['newMessage']>>;
type Prepared = Awaited<ReturnType<Writer['finish']>>;
type Ready = Readonly<{ prepared: Prepared; flags: readonly string[] }>;

const MAX_MESSAGES_COUNT = 1_000;
const MAX_URL_BYTES = 8_192;

/** Runs the command and writes its tagged line. */
export async function append(session: Session, first: LiteralWanted | Whole): Promise<void> {
  let answer: Answer | null;
  try {
    answer = await receive(session, first);
  } catch (error) {
    answer = session.failure(error);
  }
  if (answer === null) return; // the client is gone, or got its answer
  await session.sendUpdates({ mayExpunge: true });
  session.out.write(print.taggedLine(first.tag, answer.status, answer.code, answer.text));
}

/** Null: there is nobody to answer. */
async function receive(session: Session, first: LiteralWanted | Whole): Promise<Answer | null> {
  const { state, wire } = session;
  if (state.kind === 'not-authenticated' || state.kind === 'logout') {
    if (first.kind === 'literal-wanted') wire.refuseLiteral();
    return bad('Log in first');
  }
  const work = new Append(session, state);
  try {
    return await work.run(first);
  } finally {
    await work.discard(); // what was not given to the mailbox
  }
}

/** How a literal stands: nobody invited it, its bytes are under way, or it is over. */
type LiteralState = 'waiting' | 'open' | 'over';

class Append {
  readonly #session: Session;
  readonly #state: LoggedIn;
  readonly #ready: Ready[] = [];
  #target: Folder | null = null;
  #replaced: Readonly<{ folder: FolderId; uid: Uid }> | null = null;
  #isReplace = false;
  /** The message that is put together, or comes in. */
  #open: Readonly<{ item: AppendItem; writer: Writer }> | null = null;
  #openBytes = 0;
  #literal: LiteralState = 'over';

  constructor(session: Session, state: LoggedIn) {
    this.#session = session;
    this.#state = state;
  }

  async run(first: LiteralWanted | Whole): Promise<Answer | null> {
    const { wire } = this.#session;
    let wants: AppendWant | null = null;
    for (let event: ReaderEvent | null = first; ; event = await wire.nextEvent()) {
      if (event?.kind === 'bad-line') return bad(event.text);
      if (event?.kind === 'fatal') this.#session.bye(event.text);
      if (event?.kind !== 'literal-wanted' && event?.kind !== 'command') return null;
      this.#literal = event.kind === 'command' ? 'over' : 'waiting';
      try {
        const piece: AppendPiece =
          wants === null
            ? await this.#begin(event)
            : parseAppendNext(event.args, { after: wants, isWhole: event.kind === 'command' });
        const refusal = await this.#take(piece);
        if (refusal) {
          if (event.kind === 'literal-wanted') wire.refuseLiteral();
          return refusal;
        }
        if (event.kind === 'command') return await this.#finish();
        wants = piece.wants;
        const answer = await this.#receive(event, wants);
        if (answer !== 'received') return answer;
      } catch (error) {
        await this.#skip(event);
        throw error;
      }
    }
  }

  /** Gives back what no mailbox took. */
  async discard(): Promise<void> {
    await this.#open?.writer.discard();
    this.#open = null;
    for (const { prepared } of this.#ready.splice(0)) await prepared.discard();
  }

  /** Reads what comes before the first message. Throws SyntaxFault, ServerError 'key-*'. */
  async #begin(event: LiteralWanted | Whole): Promise<AppendPiece> {
    const { context, signal } = this.#session;
    const { name, args } = event;
    const start: AppendStart = parseAppendStart({ name, args, isWhole: event.kind === 'command' }, context);
    this.#isReplace = start.replaced !== null;
    if (start.replaced) this.#replaced = this.#messageOf(start.replaced);
    this.#target = await this.#state.mailbox.folder(start.folder, signal);
    return start.piece;
  }

  /** Throws SyntaxFault where there is no such message, or none may be removed. */
  #messageOf({ byUid, number }: Replaced): Readonly<{ folder: FolderId; uid: Uid }> {
    if (this.#state.kind !== 'selected') throw new SyntaxFault('Select a folder first');
    const { view } = this.#state;
    if (view.isReadOnly) throw new SyntaxFault('The folder was opened read-only', { status: 'NO', code: 'READ-ONLY' });
    const set =
      number === null
        ? { ranges: [], openFrom: 0xffff_ffff }
        : { ranges: [{ first: number, last: number }], openFrom: null };
    const [found] = view.resolve({ kind: 'set', set }, byUid ? 'uid' : 'sequence');
    if (!found || view.sequenceOf(found.first) === 0) {
      throw new SyntaxFault('There is no such message', { status: 'NO', code: 'NONEXISTENT' });
    }
    return { folder: view.folder.id, uid: found.first as Uid };
  }

  /** Does what a piece of text asks for; gives why not, if so. Throws SyntaxFault, ServerError. */
  async #take({ steps, wants }: AppendPiece): Promise<Answer | null> {
    if (!this.#target) return no('There is no folder of that name', 'TRYCREATE');
    for (const step of steps) {
      switch (step.kind) {
        case 'begin': {
          const count = this.#ready.length;
          if (this.#isReplace && count > 0) return bad('One message replaces one');
          if (count >= MAX_MESSAGES_COUNT) return no('Too many messages at once', 'LIMIT');
          if (wants === 'utf8-message' && !this.#session.enabled.utf8) return bad('UTF8 is not enabled');
          await this.#openMessage(step.item);
          break;
        }
        case 'url': {
          const refusal = await this.#copy(step.url);
          if (refusal) return refusal;
          break;
        }
        case 'finish': {
          if (this.#openBytes === 0) return no('An empty message is not kept', 'CANNOT');
          await this.#closeMessage();
          break;
        }
      }
    }
    return null;
  }

  async #openMessage(item: AppendItem): Promise<void> {
    const internalDate: InternalDate = item.internalDate ?? { atMs: Date.now(), zoneMinutes: 0 };
    this.#openBytes = 0;
    this.#open = {
      item,
      writer: await this.#state.mailbox.newMessage(
        { internalDate, isReplacement: this.#isReplace },
        this.#session.signal,
      ),
    };
  }

  async #closeMessage(): Promise<void> {
    if (!this.#open) throw new TypeError('no message is open');
    const { item, writer } = this.#open;
    const prepared = await writer.finish();
    this.#open = null;
    this.#ready.push({ prepared, flags: item.flags });
  }

  /** Puts what a URL names into the open message. RFC 4469 §3, §4. */
  async #copy(url: string): Promise<Answer | null> {
    if (!this.#open) throw new TypeError('no message is open');
    const roomBytes = this.#session.deps.config.maxLiteralBytes - this.#openBytes;
    const done = await writeUrl(this.#session, this.#state, { url, writer: this.#open.writer, roomBytes });
    if (done === 'too-big') return no('The message is too large', 'TOOBIG');
    if (done === 'bad-url') return no('A URL names nothing that is here', { kind: 'BADURL', url });
    this.#openBytes += done;
    return null;
  }

  /** Takes a literal: a message, a part of one, or a URL. Throws ServerError. */
  async #receive(event: LiteralWanted, wants: AppendWant): Promise<Answer | null | 'received'> {
    const refusal = this.#literalRefusal(event, wants);
    if (refusal) {
      this.#session.wire.refuseLiteral();
      return refusal;
    }
    const { wire, out } = this.#session;
    wire.acceptLiteral();
    this.#literal = 'open';
    if (event.synchronising) out.write(print.continuationLine('go on'));
    const urlPieces: Buffer[] = [];
    for (let part = await wire.nextEvent(); part?.kind !== 'literal-end'; part = await wire.nextEvent()) {
      if (part?.kind !== 'literal-chunk') return null;
      if (wants === 'url') urlPieces.push(Buffer.from(part.bytes));
      else await this.#open?.writer.write(part.bytes);
    }
    this.#literal = 'over';
    if (wants === 'url') {
      const answer = await this.#copy(Buffer.concat(urlPieces).toString('latin1'));
      if (answer) await this.#skipRest();
      return answer ?? 'received';
    }
    this.#openBytes += event.sizeBytes;
    if (wants !== 'text') await this.#closeMessage();
    return 'received';
  }

  #literalRefusal({ sizeBytes, isBinary }: LiteralWanted, wants: AppendWant): Answer | null {
    if (wants === 'url') return sizeBytes > MAX_URL_BYTES ? no('The URL is too long', 'LIMIT') : null;
    if (wants === 'utf8-message' && !isBinary) return bad('UTF8 needs a literal8'); // RFC 6855 §4
    const { maxLiteralBytes } = this.#session.deps.config;
    if (this.#openBytes + sizeBytes > maxLiteralBytes) return no('The message is too large', 'TOOBIG');
    return sizeBytes === 0 && wants !== 'text' ? no('An empty message is not kept', 'CANNOT') : null;
  }

  async #finish(): Promise<Answer> {
    const { out, signal } = this.#session;
    const folder = this.#target?.id;
    if (folder === undefined) throw new TypeError('no folder');
    const replaced = this.#replaced === null ? {} : { replaced: this.#replaced };
    const messages = this.#ready.splice(0);
    const { uidValidity, uids } = await this.#state.mailbox.append({ folder, messages, ...replaced }, signal);
    const code = { kind: 'APPENDUID', uidValidity, uids: numberSet(uids) } as const;
    if (!this.#isReplace) return ok('Appended', code);
    // RFC 8508 §4.3: before the other one vanishes
    out.write(print.untaggedLine('OK', code, 'The replacement'));
    return ok('Replaced');
  }

  /** After a failure: what is left of the command is not read as another one. */
  async #skip(event: LiteralWanted | Whole): Promise<void> {
    if (event.kind === 'command') return;
    if (this.#literal === 'over') await this.#skipRest();
    else this.#session.wire.refuseLiteral();
  }

  /** Reads the rest of a command that failed after a literal came in whole. */
  async #skipRest(): Promise<void> {
    const { wire } = this.#session;
    const event = await wire.nextEvent();
    if (event?.kind === 'literal-wanted') wire.refuseLiteral();
  }
}
