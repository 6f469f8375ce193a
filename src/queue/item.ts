/**
 * A claimed message: opened, and nobody else's until it is disposed.
 *
 * QI1  Its body is read under a message key that lives no longer than the transit key that unwrapped it; a reading that
 *      takes longer asks for the transit key anew.
 * QI2  What came of an attempt can be noted even when the key service has gone away since: the key of its records, which
 *      opens no body, is held as long as the claim.
 * QI3  What `settle` and `reported` note is on disk when they resolve.
 *
 * Made by queue.ts, for outbound/.
 */
import { ServerError } from '../base/errors.ts';
import type { MessageId, OrganizationId } from '../base/ids.ts';
import { deriveMessageKey } from '../crypto/derive.ts';
import { BodyOpener, SEALED_BODY_HEADER_BYTES, sealedBodySizeBytes } from '../crypto/sealed-body.ts';
import type { SecretBytes } from '../crypto/secret-bytes.ts';
import { ItemRecords, type Attempt, type QueuedEnvelope, type QueuedRecipient } from './envelope.ts';
import type { ItemRow, OwedReport, QueueStore, RecipientChange, RecipientRow, Reported } from './queue-store.ts';

/** A recipient of a claimed message. `lastAttempt` is null before the first. */
export type ItemRecipient = QueuedRecipient &
  Omit<RecipientRow, 'sealedRecipient' | 'sealedOutcome'> &
  Readonly<{ lastAttempt: Attempt | null }>;

/** What became of one recipient that waits. `owesReport`: its sender is to be told, once, by `reported` or with `reports`. */
export type Settlement = Readonly<{ recipient: number }> &
  Readonly<
    | { kind: 'delivered' | 'failed'; attempt: Attempt; owesReport: boolean }
    | { kind: 'deferred'; attempt: Attempt; owesReport: boolean; nextAtMs: number }
    /** It was not tried: its domain is busy, or this host lacks something. */
    | { kind: 'postponed'; nextAtMs: number }
  >;

/** A message key, and whether the transit key that opened it may still be leased. */
export type OpenedMessageKey = Readonly<{ key: SecretBytes; isCurrent(): boolean }>;

type ItemDeps = Readonly<{
  store: QueueStore;
  openKey(row: ItemRow, signal?: AbortSignal): Promise<OpenedMessageKey>;
  nowMs(): number;
  /** The body does not open: it will not be claimed again. */
  onDamaged(error: ServerError): void;
  onDisposed(): void;
}>;

const READ_BYTES = 256 * 1024;

export class ClaimedItem implements Disposable {
  readonly id: MessageId;
  readonly organization: OrganizationId;
  readonly sizeBytes: number;
  readonly acceptedAtMs: number;
  /** The last attempt is at this time. */
  readonly expiresAtMs: number;
  readonly envelope: QueuedEnvelope;
  /** All of them, in order, as they were when it was claimed: also those that are settled. */
  readonly recipients: readonly ItemRecipient[];
  /** Aborted when an operator removes the message. */
  readonly signal: AbortSignal;
  readonly #deps: ItemDeps;
  readonly #row: ItemRow;
  readonly #recordKey: SecretBytes;
  readonly #records: ItemRecords;
  readonly #removed = new AbortController();
  #messageKey: OpenedMessageKey | null;
  #isDisposed = false;

  /** Takes `opened` over. Throws ServerError 'content-damaged'. */
  constructor(deps: ItemDeps, row: ItemRow, opened: OpenedMessageKey) {
    this.#deps = deps;
    this.#row = row;
    this.#messageKey = opened;
    this.#recordKey = deriveMessageKey(opened.key, 'queue');
    this.#records = new ItemRecords(this.#recordKey, row);
    this.id = row.message;
    this.organization = row.organization;
    this.sizeBytes = row.sizeBytes;
    this.acceptedAtMs = row.acceptedAtMs;
    this.expiresAtMs = row.expiresAtMs;
    this.signal = this.#removed.signal;
    try {
      this.envelope = this.#records.openEnvelope(row.sealedEnvelope);
      this.recipients = deps.store.recipients(row).map((each) => this.#opened(each));
    } catch (error) {
      this.#zero();
      throw error;
    }
  }

  /** Those that wait and are due at `nowMs`. */
  due(nowMs: number): readonly ItemRecipient[] {
    return this.recipients.filter(({ state, nextAtMs }) => state === 'waiting' && nextAtMs <= nowMs);
  }

  /** The message, piece by piece. Throws ServerError 'key-*' (QI1), 'content-damaged'; or the signal's reason. */
  async *body(signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const { sizeBytes } = this.#row;
    for (let at = 0; at < sizeBytes || at === 0; at += READ_BYTES) {
      signal?.throwIfAborted();
      yield await this.#piece(at, Math.min(at + READ_BYTES, sizeBytes), signal);
    }
  }

  /** Notes what became of recipients (QI3). Those that were settled before, or removed, stay as they are. */
  async settle(settlements: readonly Settlement[]): Promise<void> {
    if (settlements.length === 0) return;
    await this.#deps.store.settle(
      this.#row,
      settlements.map((one) => this.#change(one)),
    );
  }

  /** Notes that the sender was told what these recipients owed (QI3). */
  async reported(recipients: readonly number[]): Promise<void> {
    await this.#deps.store.reported(this.reportOf(recipients));
  }

  /** For `NewQueuedMessage.reports`: the report goes into the queue and is noted here in one transaction. */
  reportOf(recipients: readonly number[]): Reported {
    return { row: this.#row.row, recipients, atMs: this.#deps.nowMs() };
  }

  /** Tells whoever works on it that it is gone. */
  abort(): void {
    this.#removed.abort(new ServerError('not-found', { clientText: 'The message was removed from the queue.' }));
  }

  /** Ends the claim: what was not settled is as due as before. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#zero();
    this.#deps.onDisposed();
  }

  #zero(): void {
    this.#isDisposed = true;
    this.#recordKey[Symbol.dispose]();
    this.#messageKey?.key[Symbol.dispose]();
    this.#messageKey = null;
  }

  #opened({ sealedRecipient, sealedOutcome, ...row }: RecipientRow): ItemRecipient {
    const lastAttempt = sealedOutcome && this.#records.openAttempt(row.recipient, sealedOutcome);
    return { ...row, ...this.#records.openRecipient(row.recipient, sealedRecipient), lastAttempt };
  }

  #change(settlement: Settlement): RecipientChange {
    const { recipient, kind } = settlement;
    if (kind === 'postponed') {
      return { recipient, state: 'waiting', nextAtMs: settlement.nextAtMs, report: null, attempt: null };
    }
    const atMs = this.#deps.nowMs();
    const attempt = { atMs, sealedOutcome: this.#records.sealAttempt(recipient, settlement.attempt) };
    if (kind === 'deferred') {
      const report = settlement.owesReport ? 'delay' : null; // one that is owed stays owed
      return { recipient, state: 'waiting', nextAtMs: settlement.nextAtMs, report, attempt };
    }
    const report: OwedReport = settlement.owesReport ? 'final' : 'none';
    return { recipient, state: kind, nextAtMs: atMs, report, attempt };
  }

  /** Nothing that opens the body outlasts the call but the message key (QI1). */
  async #piece(start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
    const { row: bodyRow, organization, body, commitment, sizeBytes: plainSizeBytes } = this.#row;
    const { bodies } = this.#deps.store;
    const place = { body, bodyRow, sealedBytes: sealedBodySizeBytes(plainSizeBytes) };
    const key = await this.#currentKey(signal);
    try {
      const header = await bodies.read(place, { offset: 0, lengthBytes: SEALED_BODY_HEADER_BYTES });
      using opener = new BodyOpener(key, { kind: 'body', organization, body }, header, { commitment, plainSizeBytes });
      return opener.open(await bodies.read(place, opener.sealedRange(start, end)), start, end);
    } catch (error) {
      const isDamaged = error instanceof ServerError && ['content-damaged', 'key-mismatch'].includes(error.code);
      if (isDamaged && !this.signal.aborted) this.#deps.onDamaged(error);
      throw error;
    }
  }

  async #currentKey(signal?: AbortSignal): Promise<SecretBytes> {
    if (this.#messageKey?.isCurrent()) return this.#messageKey.key;
    const renewed = await this.#deps.openKey(this.#row, signal);
    const old = this.#messageKey;
    this.#messageKey = old ? renewed : null;
    old?.key[Symbol.dispose]();
    if (old) return renewed.key;
    renewed.key[Symbol.dispose]();
    throw new TypeError('a claim that has ended was used');
  }
}
