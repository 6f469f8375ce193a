/**
 * Reading: rows, opened summaries, and bodies by range.
 *
 * X1  A message key is unwrapped for one batch and zeroed before the next.
 * X2  A range reads and opens only the chunks it touches; large ranges come in pieces.
 * X3  What does not open is an error, never bytes.
 * X4  A message key lives no longer than the mailbox key that unwrapped it: when that was revoked or is too old,
 *     the message key is zeroed and unwrapped anew, or the read fails. So a slow client, or a batch that takes long,
 *     reads nothing that a fresh request could not.
 */
import { ServerError } from '../base/errors.ts';
import type { BodyId, FolderId, ModSeq, Uid } from '../base/ids.ts';
import { deriveMessageKey } from '../crypto/derive.ts';
import { openOnce, unwrapMessageKey } from '../crypto/record.ts';
import { BodyOpener, SEALED_BODY_HEADER_BYTES, sealedBodySizeBytes } from '../crypto/sealed-body.ts';
import type { SecretBytes } from '../crypto/secret-bytes.ts';
import type { FlagRow, SealedRow, UidRange } from '../store/message-rows.ts';
import { noSuchFolder } from './faults.ts';
import { namedRow, namedRows, openKeywords } from './keyword-names.ts';
import type { FolderChanges, FolderSnapshot, MessageRow, MessageSummary } from './model.ts';
import { withKeys, type KeyRing, type MailboxSession } from './session.ts';
import { decodeSummary } from './summary.ts';

/** Bodies up to this size are read in one piece. */
const WHOLE_BODY_BYTES = 128 * 1024;
/** Larger ones in pieces of this many plaintext bytes: a multiple of the sealed chunk. */
const PIECE_BYTES = 128 * 1024;

/** An opened message; valid until the loop that gave it goes on, or until disposed. */
export class OpenMessage implements Disposable {
  readonly row: MessageRow;
  readonly #session: MailboxSession;
  #sealed: SealedRow;
  #opened: OpenedKey;
  #summary: MessageSummary | null = null;

  constructor(session: MailboxSession, rows: Readonly<{ named: MessageRow; sealed: SealedRow }>, opened: OpenedKey) {
    this.#session = session;
    this.row = rows.named;
    this.#sealed = rows.sealed;
    this.#opened = opened;
  }

  /** True when the message's key has to be unwrapped anew (X4): `renew` does. */
  get isStale(): boolean {
    return !this.#opened.isCurrent();
  }

  /** Unwraps the message's key anew when it is stale. Throws ServerError 'key-*', 'content-damaged'. */
  async renew(signal?: AbortSignal): Promise<void> {
    if (!this.isStale) return;
    this[Symbol.dispose]();
    await withKeys(this.#session, { purpose: 'fetch', signal }, async (ring) => {
      this.#sealed = currentRow(this.#session, this.#sealed) ?? this.#sealed; // its key may be wrapped anew by now
      await ring.load([this.#sealed.epoch]);
      this.#opened = openKey(this.#session, this.#sealed, ring);
    });
  }

  /** Opened at the first call. Throws ServerError 'content-damaged', 'key-unavailable' when it is stale. */
  get summary(): MessageSummary {
    const messageKey = this.#currentKey();
    if (this.#summary) return this.#summary;
    using key = deriveMessageKey(messageKey, 'summary');
    const { organization } = this.#session.ref;
    const context = { kind: 'summary', organization, body: this.#sealed.body } as const;
    this.#summary = decodeSummary(openOnce(key, context, this.#sealed.sealedSummary));
    return this.#summary;
  }

  /** The message's bytes `[start, end)`, in pieces. Throws ServerError 'content-damaged', 'storage-failed', 'key-*'. */
  async *range(start: number, end: number): AsyncGenerator<Buffer> {
    if (start >= end) return;
    if (this.isStale) await this.renew();
    const { body, bodyRow, commitment, sizeBytes } = this.#sealed;
    const { organization } = this.#session.ref;
    const { bodies } = this.#session.store;
    const expected = { commitment, plainSizeBytes: sizeBytes };
    const sealedBytes = sealedBodySizeBytes(sizeBytes);
    const place = { body, bodyRow, sealedBytes };
    if (sealedBytes <= WHOLE_BODY_BYTES) {
      const whole = await bodies.read(place, { offset: 0, lengthBytes: sealedBytes });
      const header = whole.subarray(0, SEALED_BODY_HEADER_BYTES);
      using opener = new BodyOpener(this.#currentKey(), { kind: 'body', organization, body }, header, expected);
      const { offset, lengthBytes } = opener.sealedRange(start, end);
      const bytes = opener.open(whole.subarray(offset, offset + lengthBytes), start, end);
      opener[Symbol.dispose](); // not held while the client takes the bytes
      yield bytes;
      return;
    }
    const header = await bodies.read(place, { offset: 0, lengthBytes: SEALED_BODY_HEADER_BYTES });
    for (let from = start; from < end;) {
      if (this.isStale) await this.renew(); // the client may have taken long over the piece before
      using opener = new BodyOpener(this.#currentKey(), { kind: 'body', organization, body }, header, expected);
      const to = Math.min(end, from - (from % PIECE_BYTES) + PIECE_BYTES);
      const piece = opener.open(await bodies.read(place, opener.sealedRange(from, to)), from, to);
      opener[Symbol.dispose](); // not held while the client takes the piece
      yield piece;
      from = to;
    }
  }

  /** `[start, end)` in one buffer; for parts whose size the caller has bounded. */
  async bytes(start: number, end: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for await (const piece of this.range(start, end)) pieces.push(piece);
    return pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces);
  }

  [Symbol.dispose](): void {
    this.#opened.key[Symbol.dispose]();
    this.#summary = null;
  }

  #currentKey(): SecretBytes {
    if (this.isStale) throw staleKey();
    return this.#opened.key;
  }

  /** The sealed body, which copies of the message share. */
  get body(): BodyId {
    return this.#sealed.body;
  }

  /** The sealed search text of this body, if one was kept, and a place to keep it. For search.ts and scrub.ts. */
  get searchText(): Readonly<{
    sealed: Buffer | null;
    key: SecretBytes;
    keep(sealed: Uint8Array): void;
    /** It is made anew when a search needs it. */
    forget(): void;
    row: SealedRow;
  }> {
    const { messages } = this.#session.store;
    return {
      row: this.#sealed,
      sealed: messages.searchText(this.#sealed.bodyRow),
      key: deriveMessageKey(this.#currentKey(), 'text'),
      keep: (sealed) => {
        messages.keepSearchText(this.#sealed.bodyRow, sealed);
      },
      forget: () => {
        messages.keepSearchText(this.#sealed.bodyRow, null);
      },
    };
  }
}

/** The folder's UIDs. Throws ServerError 'not-found'. Needs no key. */
export async function snapshotOf(session: MailboxSession, folder: FolderId): Promise<FolderSnapshot> {
  const snapshot = await session.store.messages.snapshot(folder);
  if (!snapshot) throw noSuchFolder();
  return snapshot;
}

/** Changes since a modification sequence. Throws ServerError 'not-found' when the folder is gone, 'key-*'. */
export async function changesSince(
  session: MailboxSession,
  folder: FolderId,
  since: ModSeq,
  signal?: AbortSignal,
): Promise<FolderChanges> {
  const state = session.store.messages.state(folder);
  if (!state) throw noSuchFolder();
  const changed: MessageRow[] = [];
  for await (const rows of session.store.messages.changedRows(folder, since)) {
    changed.push(
      ...(await withKeys(session, { purpose: 'changes', signal }, (ring) => namedRows(session, rows, ring))),
    );
  }
  changed.sort((a, b) => a.uid - b.uid);
  const { uidNext, highestModSeq } = state;
  return { changed, vanished: session.store.messages.vanished(folder, since), uidNext, highestModSeq };
}

/** Rows with flags, ascending. Needs a key only where messages have keywords. Throws ServerError 'key-*'. */
export async function* rowsOf(
  session: MailboxSession,
  folder: FolderId,
  ranges: readonly UidRange[],
  signal?: AbortSignal,
): AsyncGenerator<readonly MessageRow[]> {
  for await (const rows of session.store.messages.flagRows(folder, ranges)) {
    yield await freshlyNamed(session, rows, signal);
  }
}

/** The lease ends before the rows go to the peer (N1). */
function freshlyNamed(
  session: MailboxSession,
  rows: readonly FlagRow[],
  signal?: AbortSignal,
): Promise<readonly MessageRow[]> {
  return withKeys(session, { purpose: 'fetch', signal }, (ring) => namedRows(session, rows, ring));
}

/** Opened messages in batches, ascending; each batch is valid until the next is asked for. Throws ServerError 'key-*', 'content-damaged'. */
export async function* messagesOf(
  session: MailboxSession,
  folder: FolderId,
  ranges: readonly UidRange[],
  signal?: AbortSignal,
): AsyncGenerator<readonly OpenMessage[]> {
  for await (const rows of session.store.messages.sealedRows(folder, ranges)) {
    using opened = new DisposableStack();
    yield (await openRows(session, rows, signal)).map((message) => opened.use(message));
  }
}

/** One opened message, or null; the caller disposes it. Throws ServerError 'key-*', 'content-damaged'. */
export async function messageOf(
  session: MailboxSession,
  folder: FolderId,
  of: Uid,
  signal?: AbortSignal,
): Promise<OpenMessage | null> {
  const row = session.store.messages.sealedRow(folder, of);
  if (!row) return null;
  const [message] = await openRows(session, [row], signal);
  return message ?? null;
}

/** What a row's message key is unwrapped from. */
export type WrappedMessageKey = Pick<
  SealedRow,
  'epoch' | 'message' | 'body' | 'commitment' | 'wrappedKey' | 'sizeBytes'
>;
/** A message key, and whether the mailbox key that unwrapped it may still be leased. */
type OpenedKey = Readonly<{ key: SecretBytes; isCurrent(): boolean }>;

function openKey(session: MailboxSession, row: SealedRow, ring: KeyRing): OpenedKey {
  return { key: unwrapRow(session, row, ring), isCurrent: ring.currency(row.epoch) };
}

function staleKey(): ServerError {
  return new ServerError('key-unavailable', {
    clientText: 'The key of this mailbox has to be asked for again, try again',
    detail: 'a message was read after its mailbox key had left the cache',
    retryable: true,
  });
}

/** The message key of a row; the caller disposes it. Throws ServerError 'content-damaged'. */
export function unwrapRow(session: MailboxSession, row: WrappedMessageKey, ring: KeyRing): SecretBytes {
  const { epoch, message, body, commitment } = row;
  const context = { kind: 'message-key', ...session.ref, epoch, message, body, commitment } as const;
  const { key, sizeBytes } = unwrapMessageKey(ring.of(epoch).wrap, context, row.wrappedKey);
  if (sizeBytes === row.sizeBytes) return key;
  key[Symbol.dispose]();
  throw new ServerError('content-damaged', {
    clientText: 'The message is damaged on the server.',
    detail: `message ${message}: its size is not the sealed one`,
  });
}

async function openRows(
  session: MailboxSession,
  found: readonly SealedRow[],
  signal?: AbortSignal,
): Promise<readonly OpenMessage[]> {
  let rows: readonly SealedRow[] | null = found;
  return withKeys(session, { purpose: 'fetch', signal }, async (ring) => {
    const these = rows ?? found.map((row) => currentRow(session, row)).filter((row) => row !== null);
    rows = null; // another try reads them anew
    await ring.load(these.map((row) => row.epoch));
    const names = these.some((row) => row.keywords) ? await openKeywords(session, ring) : new Map<number, string>();
    return these.map(
      (sealed) => new OpenMessage(session, { named: namedRow(sealed, names), sealed }, openKey(session, sealed, ring)),
    );
  });
}

/** The row as it is now; null when it is gone. */
function currentRow(session: MailboxSession, { folder, uid }: SealedRow): SealedRow | null {
  return session.store.messages.sealedRow(folder, uid);
}
