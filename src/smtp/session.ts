/**
 * The mail transactions of one connection, between the commands of listener.ts and the delivery floor.
 *
 * T1  A transaction opens its delivery at MAIL, takes a mailbox key at each RCPT, and is discarded by RSET, EHLO, a
 *     second greeting after STARTTLS, or the end of the connection. RFC 5321 §4.1.4.
 * T2  A message over the size limit is discarded when it passes the limit; only its end is waited for, and not long.
 * T3  Once the end of the data was seen, the transaction is carried through even if the peer leaves.
 * T4  The log names the transaction, sizes and reply codes: never addresses, never content.
 *
 * Called by listener.ts, one call at a time; `reset` and `write` do not overlap with each other.
 */
import { ServerError } from '../base/errors.ts';
import type { Delivery, DeliveryTransaction } from '../delivery/deliver.ts';
import type { TracePeer, TransferProtocol } from '../delivery/trace.ts';
import type { Logger } from '../observe/logger.ts';
import { parseMail, parseRcpt } from './command.ts';
import { type ListenerPolicy, OVERSIZE_SLACK_BYTES, RECIPIENT_COMMANDS_FACTOR } from './policy.ts';
import { REPLIES, type Reply, replyToFailure } from './replies.ts';

type SessionDeps = Readonly<{
  /** Its transactions are called after it, with a number. */
  connection: string;
  policy: ListenerPolicy;
  delivery: Delivery;
  logger: Logger;
  limits: Readonly<{ maxMessageBytes: number; maxRecipientsCount: number; bareNewlines: 'normalise' | 'reject' }>;
  /** As HELO, TLS and the socket say at this moment. */
  describePeer(): TracePeer & Readonly<{ isTls: boolean; isExtended: boolean }>;
}>;

type Transaction = {
  readonly id: string;
  readonly delivery: DeliveryTransaction;
  readonly isUtf8: boolean;
  readonly abort: AbortController;
  readonly startedMs: number;
  recipientsCount: number;
  recipientCommandsCount: number;
  sizeBytes: number;
};

export class MailSession {
  readonly #deps: SessionDeps;
  #transaction: Transaction | null = null;
  #transactionsCount = 0;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
  }

  /** MAIL. RFC 5321 §4.1.1.2. */
  mail(line: string): Reply {
    if (this.#transaction) return REPLIES.nestedMail;
    const command = parseMail(line);
    if (command.kind === 'refused') return command.reply;
    if ((command.sizeBytes ?? 0) > this.#deps.limits.maxMessageBytes) return REPLIES.tooLarge; // RFC 1870 §6.1
    const { connection, policy } = this.#deps;
    this.#transactionsCount += 1;
    const id = `${connection}-${String(this.#transactionsCount)}`;
    const { address, helo, tlsCipher, isTls, isExtended } = this.#deps.describePeer();
    this.#transaction = {
      id,
      delivery: this.#deps.delivery.begin({
        transaction: id,
        sender: command.address,
        protocol: transferProtocol({ protocol: policy.protocol, isTls, isExtended, isUtf8: command.isUtf8 }),
        peer: { address, helo, tlsCipher },
        settle: policy.settle,
        refusesLoops: policy.refusesLoops,
        principal: { protocol: policy.protocol, name: 'delivery', session: connection },
      }),
      isUtf8: command.isUtf8,
      abort: new AbortController(),
      startedMs: performance.now(),
      recipientsCount: 0,
      recipientCommandsCount: 0,
      sizeBytes: 0,
    };
    return REPLIES.senderOk;
  }

  /** RCPT. RFC 5321 §4.1.1.3. */
  async recipient(line: string): Promise<Reply> {
    const transaction = this.#transaction;
    if (!transaction) return REPLIES.needMail;
    const { maxRecipientsCount } = this.#deps.limits;
    transaction.recipientCommandsCount += 1;
    if (transaction.recipientCommandsCount > maxRecipientsCount * RECIPIENT_COMMANDS_FACTOR) {
      return REPLIES.tooManyCommands;
    }
    const command = parseRcpt(line, { isUtf8: transaction.isUtf8 });
    if (command.kind === 'refused') return command.reply;
    if (transaction.recipientsCount >= maxRecipientsCount) return REPLIES.tooManyRecipients;
    try {
      return await this.#accept(transaction, command.address);
    } catch (error) {
      this.#logFailure('recipient deferred', transaction, error);
      return replyToFailure(error);
    }
  }

  async #accept(transaction: Transaction, address: string): Promise<Reply> {
    const { signal } = transaction.abort;
    const answer = await this.#deps.delivery.route(address, signal);
    switch (answer.kind) {
      case 'unknown-domain':
        return REPLIES.relayDenied;
      case 'unknown-user':
        return REPLIES.unknownUser;
      case 'suspended':
        return REPLIES.mailboxUnavailable;
      case 'mailbox': {
        await transaction.delivery.add({ address, ref: answer.ref, keyKind: answer.keyKind }, signal);
        transaction.recipientsCount += 1;
        return REPLIES.recipientOk;
      }
    }
  }

  /** DATA: what to say before the message; only with `sendData` does it come. RFC 5321 §4.1.1.4. */
  data(): Reply {
    if (!this.#transaction || this.#transaction.recipientsCount === 0) return REPLIES.needRecipient;
    return REPLIES.sendData;
  }

  /** Takes the next bytes of the message. 'cut' when so much came past the limit that its end is not worth waiting for (T2). */
  async write(content: Uint8Array): Promise<'ok' | 'cut'> {
    const transaction = this.#transaction;
    if (!transaction) return 'cut';
    const { maxMessageBytes } = this.#deps.limits;
    const wasOversize = transaction.sizeBytes > maxMessageBytes;
    transaction.sizeBytes += content.length;
    if (transaction.sizeBytes <= maxMessageBytes) await transaction.delivery.write(content);
    else if (!wasOversize) await transaction.delivery.discard();
    return transaction.sizeBytes > maxMessageBytes + OVERSIZE_SLACK_BYTES ? 'cut' : 'ok';
  }

  /** The end of the data: stores the message and gives the replies. */
  async end(options: Readonly<{ hasBareNewlines: boolean }>): Promise<readonly Reply[]> {
    const transaction = this.#transaction;
    if (!transaction) return [REPLIES.temporaryFailure];
    this.#transaction = null; // from here the peer cannot call it off (T3)
    const replies = await this.#settle(transaction, options);
    this.#deps.logger.info('transaction ended', {
      transaction: transaction.id,
      recipientsCount: transaction.recipientsCount,
      sizeBytes: transaction.sizeBytes,
      durationMs: Math.round(performance.now() - transaction.startedMs),
      codes: [...new Set(replies.map((reply) => reply.code))],
    });
    return replies;
  }

  /** What is said to every recipient when the message was cut off as too large. */
  tooLarge(): readonly Reply[] {
    const count = this.#deps.policy.settle === 'each' ? (this.#transaction?.recipientsCount ?? 1) : 1;
    return Array.from({ length: count }, () => REPLIES.tooLarge);
  }

  /** Discards the transaction, if there is one (T1). */
  reset(): void {
    const transaction = this.#transaction;
    if (!transaction) return;
    this.#transaction = null;
    transaction.abort.abort(new ServerError('shutting-down', { clientText: 'Transaction given up' }));
    void transaction.delivery.discard();
  }

  async #settle(transaction: Transaction, options: Readonly<{ hasBareNewlines: boolean }>): Promise<readonly Reply[]> {
    const { limits, policy } = this.#deps;
    const refusal = this.#refusal(transaction, limits, options);
    if (refusal) {
      await transaction.delivery.discard();
      const count = policy.settle === 'each' ? transaction.recipientsCount : 1;
      return Array.from({ length: count }, () => refusal);
    }
    const outcomes = await transaction.delivery.commit();
    for (const outcome of outcomes) {
      if (outcome.kind === 'failed') this.#logFailure('recipient failed', transaction, outcome.error);
    }
    return policy.answer(outcomes, transaction.id);
  }

  #refusal(
    transaction: Transaction,
    limits: SessionDeps['limits'],
    { hasBareNewlines }: Readonly<{ hasBareNewlines: boolean }>,
  ): Reply | null {
    if (transaction.sizeBytes > limits.maxMessageBytes) return REPLIES.tooLarge;
    return hasBareNewlines && limits.bareNewlines === 'reject' ? REPLIES.bareNewlines : null;
  }

  #logFailure(message: string, transaction: Transaction, error: unknown): void {
    const code = error instanceof ServerError ? error.code : 'unforeseen';
    if (code === 'shutting-down') return;
    const details = code === 'unforeseen' ? { error } : {};
    this.#deps.logger.warn(message, { transaction: transaction.id, code, ...details });
  }
}

/** RFC 3848, RFC 6531 §4.3. */
function transferProtocol(
  peer: Readonly<{ protocol: 'smtp' | 'lmtp'; isTls: boolean; isExtended: boolean; isUtf8: boolean }>,
): TransferProtocol {
  const tls = peer.isTls ? 'S' : '';
  if (peer.protocol === 'lmtp') return peer.isUtf8 ? `UTF8LMTP${tls}` : `LMTP${tls}`;
  if (peer.isUtf8) return `UTF8SMTP${tls}`;
  return peer.isExtended || peer.isTls ? `ESMTP${tls}` : 'SMTP';
}
