/**
 * New messages: sealed as they stream in, each under a fresh key, then given a row.
 *
 * W1  Every message has its own random 256-bit key, wrapped under the mailbox key of the moment of its append.
 * W2  Plaintext is held for one chunk at most; the structure scanner keeps headers only.
 * W3  Nothing is begun while the mailbox key cannot be had, and `append` resolves when all is on disk.
 * W4  A writer or prepared message that is not appended is discarded and leaves nothing.
 */
import { ServerError } from '../base/errors.ts';
import { bodyId, messageId, randomHexId, type BodyId, type FolderId, type Uid } from '../base/ids.ts';
import { deriveMessageKey } from '../crypto/derive.ts';
import { sealOnce, wrapMessageKey } from '../crypto/record.ts';
import { BodySealer } from '../crypto/sealed-body.ts';
import { SecretBytes } from '../crypto/secret-bytes.ts';
import type { ScannedMessage } from '../mime/body-structure.ts';
import { MessageScanner } from '../mime/scan.ts';
import type { BodySink, StagedBody } from '../store/bodies.ts';
import type { NewMessageRow } from '../store/messages.ts';
import { noSuchFolder } from './faults.ts';
import { flagBits } from './keyword-names.ts';
import type { InternalDate } from './model.ts';
import { withKeys, type KeyRing, type MailboxSession } from './session.ts';
import { encodeSummary } from './summary.ts';

export type NewMessageOptions = Readonly<{
  internalDate: InternalDate;
  /** Another message goes when it comes: there may be room for it though there is none now. */
  isReplacement?: boolean;
  /** The structure, when the caller scans one stream for several mailboxes; called once, after the last write. */
  scanned?: () => ScannedMessage;
  /** A name for the body, so that the caller can tell later whether it is there; random without it. */
  body?: BodyId;
}>;

/** A sealed message on disk or in memory, waiting for `appendMessages` or `discard`. */
export type PreparedMessage = Readonly<{
  staged: StagedBody;
  messageKey: SecretBytes;
  commitment: Uint8Array;
  sizeBytes: number;
  sealedSummary: Uint8Array;
  discard(): Promise<void>;
}>;

const MESSAGE_KEY_BYTES = 32;

/** Begins a message. Throws ServerError 'key-*' when the mailbox key cannot be had, 'storage-full', 'over-quota'. */
export async function newMessage(
  session: MailboxSession,
  options: NewMessageOptions,
  signal?: AbortSignal,
): Promise<MessageWriter> {
  await withKeys(session, { purpose: 'append', signal }, (ring) => ring.current());
  await session.space.check();
  if (options.isReplacement !== true) session.store.checkRoom(session.quota());
  return new MessageWriter(session, options);
}

/** One message on its way in: `write` its bytes, then `finish` or `discard`. */
export class MessageWriter {
  readonly #session: MailboxSession;
  readonly #options: NewMessageOptions;
  readonly #scanner: MessageScanner | null;
  readonly #body: BodyId;
  readonly #messageKey = SecretBytes.random(MESSAGE_KEY_BYTES);
  readonly #sealer: BodySealer;
  readonly #sink: BodySink;
  #started = false;
  #sizeBytes = 0;

  constructor(session: MailboxSession, options: NewMessageOptions) {
    this.#session = session;
    this.#options = options;
    this.#body = options.body ?? bodyId(randomHexId());
    this.#scanner = options.scanned ? null : new MessageScanner();
    const { organization } = session.ref;
    this.#sealer = new BodySealer(this.#messageKey, { kind: 'body', organization, body: this.#body });
    this.#sink = session.store.bodies.newBody(this.#body);
  }

  /** Takes the next bytes; resolves when more may come. Throws ServerError 'storage-*'. */
  async write(chunk: Uint8Array): Promise<void> {
    this.#scanner?.push(chunk);
    this.#sizeBytes += chunk.length;
    const sealed = this.#sealer.push(chunk);
    if (sealed.length > 0) await this.#sink.write(this.#withHeader(sealed));
  }

  /** Seals the rest and the summary; a large body is on disk when it resolves. Throws ServerError 'storage-*'. */
  async finish(): Promise<PreparedMessage> {
    await this.#sink.write(this.#withHeader(this.#sealer.end()));
    const staged = await this.#sink.finish();
    const scanned = this.#options.scanned?.() ?? this.#scanner?.end();
    if (!scanned) throw new TypeError('no structure');
    const { organization } = this.#session.ref;
    using summaryKey = deriveMessageKey(this.#messageKey, 'summary');
    const summary = encodeSummary({ internalDate: this.#options.internalDate, scanned });
    const prepared = {
      staged,
      messageKey: this.#messageKey,
      commitment: this.#sealer.commitment,
      sizeBytes: this.#sizeBytes,
      sealedSummary: sealOnce(summaryKey, { kind: 'summary', organization, body: this.#body }, summary),
      discard: () => this.discard(),
    };
    this.#sealer[Symbol.dispose]();
    return prepared;
  }

  async discard(): Promise<void> {
    this.#sealer[Symbol.dispose]();
    this.#messageKey[Symbol.dispose]();
    await this.#sink.discard();
  }

  #withHeader(pieces: readonly Uint8Array[]): readonly Uint8Array[] {
    if (this.#started) return pieces;
    this.#started = true;
    return [this.#sealer.header, ...pieces];
  }
}

export type AppendedMessages = Readonly<{ uidValidity: number; uids: readonly Uid[] }>;

/**
 * Gives prepared messages their rows, all or none; on disk when it resolves. On failure they are discarded.
 * Throws ServerError 'not-found' (the folder), 'key-*', 'storage-*', 'over-quota', 'limit-exceeded' (keywords).
 */
export async function appendMessages(
  session: MailboxSession,
  target: Readonly<{
    folder: FolderId;
    messages: readonly Readonly<{ prepared: PreparedMessage; flags: readonly string[] }>[];
    /** Runs in the transaction that gives the rows. */
    note?: (uids: readonly Uid[]) => void;
    /** A message that is removed for it, or else nothing is done ('not-found'). */
    replaced?: Readonly<{ folder: FolderId; uid: Uid }>;
  }>,
  signal?: AbortSignal,
): Promise<AppendedMessages> {
  const { folder, messages, note, replaced } = target;
  const { store } = session;
  try {
    const done = await withKeys(session, { purpose: 'append', signal }, async (ring) => {
      const rows = await sealRows(session, messages, ring);
      if (!replaced) return store.messages.append(folder, rows, session.quota(), note);
      const isRetained = session.retentionMs() > 0;
      return store.messages.replace(folder, rows, session.quota(), { ...replaced, isRetained });
    });
    if (!done) throw replaced ? gone() : noSuchFolder();
    session.notifier.notify({ folder, highestModSeq: done.highestModSeq });
    if (replaced && replaced.folder !== folder) {
      const state = store.messages.state(replaced.folder);
      if (state) session.notifier.notify({ folder: replaced.folder, highestModSeq: state.highestModSeq });
    }
    for (const { prepared } of messages) prepared.messageKey[Symbol.dispose]();
    return { uidValidity: done.uidValidity, uids: done.uids };
  } catch (error) {
    // After a failed sync the rows may be there: then the process stops, and recovery decides.
    const undecided = error instanceof ServerError && error.code === 'storage-failed';
    if (!undecided) for (const { prepared } of messages) await prepared.discard();
    throw error;
  }
}

const gone = (): ServerError => new ServerError('not-found', { clientText: 'The message or the folder is gone.' });

async function sealRows(
  session: MailboxSession,
  messages: readonly Readonly<{ prepared: PreparedMessage; flags: readonly string[] }>[],
  ring: KeyRing,
): Promise<readonly NewMessageRow[]> {
  const { keys, epoch } = await ring.current();
  const rows: NewMessageRow[] = [];
  for (const { prepared, flags } of messages) {
    const { staged, commitment, sizeBytes, sealedSummary, messageKey } = prepared;
    const message = messageId(randomHexId());
    const context = { kind: 'message-key', ...session.ref, epoch, message, body: staged.body, commitment } as const;
    const wrappedKey = wrapMessageKey(keys.wrap, context, messageKey, sizeBytes);
    const bits = await flagBits(session, flags, ring);
    rows.push({ staged, commitment, sizeBytes, sealedSummary, message, epoch, wrappedKey, ...bits });
  }
  return rows;
}
