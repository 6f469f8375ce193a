/**
 * A message on its way into the queue: sealed as it streams in, under a fresh key, then given its envelope.
 *
 * QW1  The message key is random, and is stored only sealed to the organization's transit key.
 * QW2  What is not committed is discarded and leaves nothing.
 *
 * Made by queue.ts.
 */
import { ServerError } from '../base/errors.ts';
import { bodyId, messageId, randomHexId, type BodyId, type MessageId, type OrganizationId } from '../base/ids.ts';
import { deriveMessageKey } from '../crypto/derive.ts';
import { sealMessageKey } from '../crypto/key-pair.ts';
import { BodySealer } from '../crypto/sealed-body.ts';
import { SecretBytes } from '../crypto/secret-bytes.ts';
import type { BodySink, StagedBody } from '../store/bodies.ts';
import { ItemRecords, type QueuedEnvelope, type QueuedRecipient } from './envelope.ts';
import type { NewItem, QueueStore, Reported } from './queue-store.ts';
import type { PublicTransitKey } from './queue.ts';

type WriterDeps = Readonly<{
  store: QueueStore;
  organization: OrganizationId;
  publicKey(): Promise<PublicTransitKey>;
  /** After a message is in the queue. */
  onEnqueued(): void;
  nowMs(): number;
  giveUpAfterMs: number;
}>;
export type NewQueuedMessage = Readonly<{
  envelope: QueuedEnvelope;
  /** At least one. */
  recipients: readonly QueuedRecipient[];
  /** Not tried before this time (RFC 4865); at once without it. */
  notBeforeMs?: number | undefined;
  /** Reports that this message makes, of another message: in the same transaction. */
  reports?: Reported | undefined;
}>;

const MESSAGE_KEY_BYTES = 32;

/** `write` its bytes, `finish`, then `commit`; or `discard` at any time. */
export class QueueWriter {
  readonly #deps: WriterDeps;
  readonly #body: BodyId = bodyId(randomHexId());
  readonly #messageKey = SecretBytes.random(MESSAGE_KEY_BYTES);
  readonly #sealer: BodySealer;
  readonly #sink: BodySink;
  #started = false;
  #sizeBytes = 0;
  #staged: Readonly<{ body: StagedBody; publicKey: PublicTransitKey }> | null = null;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
    this.#sealer = new BodySealer(this.#messageKey, {
      kind: 'body',
      organization: deps.organization,
      body: this.#body,
    });
    this.#sink = deps.store.bodies.newBody(this.#body);
  }

  /** Takes the next bytes; resolves when more may come. Throws ServerError 'storage-*'. */
  async write(chunk: Uint8Array): Promise<void> {
    this.#sizeBytes += chunk.length;
    const sealed = this.#sealer.push(chunk);
    if (sealed.length > 0) await this.#sink.write(this.#withHeader(sealed));
  }

  /** Seals the rest; a large body is on disk, and the key is at hand, when it resolves. Throws ServerError 'storage-*', 'key-*'. */
  async finish(): Promise<void> {
    await this.#sink.write(this.#withHeader(this.#sealer.end()));
    const body = await this.#sink.finish();
    this.#staged = { body, publicKey: await this.#deps.publicKey() };
    this.#sealer[Symbol.dispose]();
  }

  /**
   * Puts the finished message into the queue; on disk when it resolves, with the name of its item. On failure it is
   * discarded. Throws ServerError 'storage-*'.
   */
  async commit(message: NewQueuedMessage): Promise<MessageId> {
    const { store, onEnqueued } = this.#deps;
    if (!this.#staged) throw new TypeError('not finished');
    if (message.recipients.length === 0) throw new TypeError('a message in the queue has recipients');
    try {
      const item = await this.#item(message, this.#staged);
      await store.insert(item, message.reports ?? null);
      this.#messageKey[Symbol.dispose]();
      onEnqueued();
      return item.message;
    } catch (error) {
      // After a failed sync the row may be there: then the process stops, and recovery decides.
      const undecided = error instanceof ServerError && error.code === 'storage-failed';
      if (!undecided) await this.discard();
      throw error;
    }
  }

  async discard(): Promise<void> {
    this.#sealer[Symbol.dispose]();
    this.#messageKey[Symbol.dispose]();
    await this.#sink.discard();
  }

  async #item(
    { envelope, recipients, notBeforeMs }: NewQueuedMessage,
    { body: staged, publicKey }: Readonly<{ body: StagedBody; publicKey: PublicTransitKey }>,
  ): Promise<NewItem> {
    const { organization, nowMs, giveUpAfterMs } = this.#deps;
    const { epoch, key } = publicKey;
    const { commitment } = this.#sealer;
    const message = messageId(randomHexId());
    const context = {
      kind: 'message-key',
      organization,
      mailbox: 'transit',
      epoch,
      message,
      body: this.#body,
      commitment,
    } as const;
    const sealedKey = await sealMessageKey(key, context, this.#messageKey, this.#sizeBytes);
    using recordKey = deriveMessageKey(this.#messageKey, 'queue');
    const records = new ItemRecords(recordKey, { organization, message });
    const acceptedAtMs = nowMs();
    const nextAtMs = Math.max(notBeforeMs ?? 0, acceptedAtMs);
    return {
      message,
      organization,
      staged,
      sizeBytes: this.#sizeBytes,
      commitment,
      epoch,
      sealedKey,
      sealedEnvelope: records.sealEnvelope(envelope),
      sealedRecipients: recipients.map((recipient, index) => records.sealRecipient(index, recipient)),
      acceptedAtMs,
      nextAtMs,
      expiresAtMs: nextAtMs + giveUpAfterMs,
    };
  }

  #withHeader(pieces: readonly Uint8Array[]): readonly Uint8Array[] {
    if (this.#started) return pieces;
    this.#started = true;
    return [this.#sealer.header, ...pieces];
  }
}
