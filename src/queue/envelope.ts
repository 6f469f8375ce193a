/**
 * What the queue keeps sealed beside a body: the envelope, each recipient, and what came of the last attempt.
 *
 * QE1  Each is a record under a key of its message, bound to organization, item and recipient: one that was moved does
 *      not open.
 *
 * Called by the other files of this folder. The types are also for those who fill and drain the queue.
 */
import { ServerError } from '../base/errors.ts';
import type { MailboxId, MessageId, OrganizationId } from '../base/ids.ts';
import type { RecordContext } from '../crypto/context.ts';
import { openRecord, sealRecord } from '../crypto/record.ts';
import type { SecretBytes } from '../crypto/secret-bytes.ts';

export type QueuedEnvelope = Readonly<{
  /** The reverse-path without brackets; empty for the null reverse-path. */
  sender: string;
  /** ENVID, decoded from xtext. RFC 3461 §4.4. */
  envelopeId: string | null;
  /** RET. RFC 3461 §4.3. */
  returnContent: 'full' | 'headers' | null;
  /** BODY=8BITMIME: some bytes have the eighth bit. RFC 6152. */
  is8Bit: boolean;
  /** SMTPUTF8. RFC 6531. */
  isUtf8: boolean;
  /** REQUIRETLS. RFC 8689. */
  requiresTls: boolean;
  /** The mailbox that submitted it; null for what the server sends itself. */
  submitter: MailboxId | null;
}>;

export type NotifyOn = 'success' | 'failure' | 'delay';
export type QueuedRecipient = Readonly<{
  address: string;
  /** ORCPT: address type, `;`, address, decoded from xtext. RFC 3461 §4.2. */
  originalRecipient: string | null;
  /** NOTIFY; null where it was not given, empty for NEVER. RFC 3461 §4.1. */
  notify: readonly NotifyOn[] | null;
}>;

/** What came of an attempt. Texts are the remote server's. */
export type Attempt = Readonly<{
  /** RFC 3463. */
  status: string;
  /** The reply code, or null where none came. */
  code: number | null;
  text: string;
  remoteHost: string | null;
}>;

type Of = Readonly<{ organization: OrganizationId; message: MessageId }>;

/** Seals and opens the records of one item; `key` stays the caller's. */
export class ItemRecords {
  readonly #key: SecretBytes;
  readonly #of: Of;

  constructor(key: SecretBytes, of: Of) {
    this.#key = key;
    this.#of = { organization: of.organization, message: of.message };
  }

  sealEnvelope(envelope: QueuedEnvelope): Buffer {
    return this.#seal({ kind: 'queued-envelope', ...this.#of }, envelope);
  }

  openEnvelope(sealed: Uint8Array): QueuedEnvelope {
    return this.#open({ kind: 'queued-envelope', ...this.#of }, sealed) as QueuedEnvelope;
  }

  sealRecipient(recipient: number, content: QueuedRecipient): Buffer {
    return this.#seal({ kind: 'queued-recipient', ...this.#of, recipient }, content);
  }

  openRecipient(recipient: number, sealed: Uint8Array): QueuedRecipient {
    return this.#open({ kind: 'queued-recipient', ...this.#of, recipient }, sealed) as QueuedRecipient;
  }

  sealAttempt(recipient: number, attempt: Attempt): Buffer {
    return this.#seal({ kind: 'queued-outcome', ...this.#of, recipient }, attempt);
  }

  openAttempt(recipient: number, sealed: Uint8Array): Attempt {
    return this.#open({ kind: 'queued-outcome', ...this.#of, recipient }, sealed) as Attempt;
  }

  #seal(context: RecordContext, content: object): Buffer {
    return sealRecord(this.#key, context, Buffer.from(JSON.stringify(content)));
  }

  #open(context: RecordContext, sealed: Uint8Array): unknown {
    const text = openRecord(this.#key, context, sealed).toString('utf8');
    try {
      return JSON.parse(text);
    } catch (cause) {
      const detail = `queue item ${this.#of.message}: ${context.kind} is not what was sealed`;
      throw new ServerError('content-damaged', { clientText: 'Stored data is damaged', detail, cause });
    }
  }
}
