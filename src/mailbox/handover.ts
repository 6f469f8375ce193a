/**
 * Waiting mail on its way from a gateway, which took it in by the public key alone, to the mailbox itself: as it is, sealed.
 * On the gateway it is listed, read and dropped; on the main server it is taken in, to be adopted like all waiting mail.
 *
 * HO1  A message is dropped by its gateway only after the main server has it on disk; one that is offered again is taken
 *      in once (store/waiting.ts, WS4).
 * HO2  What a gateway offers is not trusted: nothing that is there is overwritten, sizes are what they must be, and whether
 *      it opens shows when it is adopted.
 *
 * Called by gateway/, through mailbox.ts.
 */
import { ServerError } from '../base/errors.ts';
import type { Epoch, MessageId } from '../base/ids.ts';
import { sealedBodySizeBytes } from '../crypto/sealed-body.ts';
import type { HandedMessage, WaitingMessage } from '../store/waiting.ts';
import type { MailboxSession } from './session.ts';

const READ_BYTES = 256 * 1024;

export class Handover {
  readonly #session: MailboxSession;

  constructor(session: MailboxSession) {
    this.#session = session;
  }

  /** The first message that came after the one of this number; null when none did. */
  next(after: number): WaitingMessage | null {
    return this.#session.store.waiting.after(after, 1)[0] ?? null;
  }

  find(message: MessageId): WaitingMessage | null {
    return this.#session.store.waiting.find(message);
  }

  /** What is handed over of a waiting message besides its body; null when it is gone. */
  handed(waiting: WaitingMessage): HandedMessage | null {
    const sealedSummary = this.#session.store.waiting.sealedSummary(waiting);
    return sealedSummary && { ...waiting, sealedSummary };
  }

  /** The sealed body of a waiting message. Throws ServerError 'content-damaged', 'storage-failed'. */
  async *sealedBody(waiting: WaitingMessage): AsyncGenerator<Uint8Array> {
    const place = { ...waiting, sealedBytes: sealedBodySizeBytes(waiting.sizeBytes) };
    for (let offset = 0; offset < place.sealedBytes; offset += READ_BYTES) {
      const lengthBytes = Math.min(READ_BYTES, place.sealedBytes - offset);
      yield await this.#session.store.bodies.read(place, { offset, lengthBytes });
    }
  }

  /** Destroys a waiting message; durable when it resolves. */
  drop(waiting: WaitingMessage): Promise<void> {
    return this.#session.store.waiting.drop(waiting);
  }

  /** Has mail be kept under another epoch from now on, in a mailbox that has no folders; durable when it resolves. */
  followEpoch(epoch: Epoch): Promise<void> {
    return this.#session.store.waiting.followEpoch(epoch);
  }

  /**
   * Takes in a message that a gateway holds; on disk when it resolves, and at once when it was taken in before (HO1).
   * Throws ServerError 'content-damaged' for what cannot be one (HO2), 'storage-*', or what `body` throws.
   */
  async takeIn(message: HandedMessage, body: AsyncIterable<Uint8Array>): Promise<void> {
    const { store, space } = this.#session;
    const state = store.waiting.isTakenIn(message);
    if (state === 'taken-in') return;
    if (state === 'body-in-use') throw notHandable(message, 'its body is in use');
    await space.check();
    const sink = store.bodies.newBody(message.body);
    try {
      let leftBytes = sealedBodySizeBytes(message.sizeBytes);
      for await (const piece of body) {
        leftBytes -= piece.length;
        if (leftBytes < 0) break;
        await sink.write([piece]);
      }
      if (leftBytes !== 0) throw notHandable(message, 'its body has another size');
      await store.waiting.takeIn(await sink.finish(), message);
    } catch (error) {
      const undecided = error instanceof ServerError && error.code === 'storage-failed';
      if (!undecided) await sink.discard();
      throw error;
    }
  }

  /** The gateway has dropped a message that was taken in. */
  forgetTakenIn(message: MessageId): void {
    this.#session.store.waiting.forgetTakenIn(message);
  }
}

function notHandable({ message }: HandedMessage, why: string): ServerError {
  return new ServerError('content-damaged', {
    clientText: 'A message of the gateway cannot be taken in.',
    detail: `message ${message} of a gateway: ${why}`,
  });
}
