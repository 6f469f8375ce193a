/**
 * The mail transactions of one connection, between the commands of listener.ts and the delivery floor.
 *
 * T1  A transaction opens its delivery at MAIL, takes a mailbox key at each RCPT, and is discarded by RSET, EHLO, a
 *     second greeting after STARTTLS, or the end of the connection. RFC 5321 §4.1.4.
 * T2  A message over the size limit is discarded when it passes the limit; only its end is waited for, and not long.
 * T3  Once the end of the data was seen, the transaction is carried through even if the peer leaves.
 * T4  The log names the transaction, sizes and reply codes: never addresses, never content.
 * T5  Where users hand in mail (`policy.submission`), who is logged in is asked again with each message, and the header
 *     is held back until it was checked (submission SU2).
 *
 * Called by listener.ts, one call at a time; `reset` and `write` do not overlap with each other.
 */
import type { LoggedIn } from '../accounts/login-account.ts';
import { ServerError } from '../base/errors.ts';
import type { Delivery, DeliveryTransaction } from '../delivery/deliver.ts';
import { randomHexId } from '../base/ids.ts';
import type { OpenGate } from '../delivery/checks/gate.ts';
import type { TracePeer, TransferProtocol } from '../delivery/trace.ts';
import type { Logger } from '../observe/logger.ts';
import { parseMail, parseRcpt } from './command.ts';
import { type ListenerPolicy, OVERSIZE_SLACK_BYTES, RECIPIENT_COMMANDS_FACTOR } from './policy.ts';
import { REPLIES, type Reply, replyToFailure, replyToPeer } from './replies.ts';
import { checkHeader, HeaderCollector } from './submitted-header.ts';

type SessionDeps = Readonly<{
  /** Its transactions are called after it, with a number. */
  connection: string;
  policy: ListenerPolicy;
  delivery: Delivery;
  logger: Logger;
  limits: Readonly<{ maxMessageBytes: number; maxRecipientsCount: number; bareNewlines: 'normalise' | 'reject' }>;
  /** As HELO, TLS and the socket say at this moment. */
  describePeer(): TracePeer & Readonly<{ isTls: boolean; isExtended: boolean }>;
  /** Whether this peer may log in without TLS. */
  allowsCleartext(): boolean;
}>;
type MailCommand = Extract<ReturnType<typeof parseMail>, { kind: 'mail' }>;
type RcptCommand = Extract<ReturnType<typeof parseRcpt>, { kind: 'rcpt' }>;

type Transaction = {
  readonly id: string;
  readonly sender: string;
  readonly delivery: DeliveryTransaction;
  readonly isUtf8: boolean;
  readonly abort: AbortController;
  readonly startedMs: number;
  recipientsCount: number;
  recipientCommandsCount: number;
  sizeBytes: number;
  /** Of a submission (T5). */
  readonly submission: Submission | null;
  /** Why the message is refused at its end. */
  refusal: Reply | null;
};
type Submission = {
  readonly login: LoggedIn;
  readonly sender: string;
  /** Null once the header was passed on. */
  header: HeaderCollector | null;
};

export class MailSession {
  readonly #deps: SessionDeps;
  #transaction: Transaction | null = null;
  #transactionsCount = 0;
  #login: LoggedIn | null = null;
  /** Undefined before the first message; null where nothing is asked about the peer. */
  #gate: OpenGate | null | undefined;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
  }

  get isInTransaction(): boolean {
    return this.#transaction !== null;
  }

  /** Who is logged in from now on; null after STARTTLS. */
  setLogin(login: LoggedIn | null): void {
    this.#login = login;
  }

  /** MAIL. RFC 5321 §4.1.1.2. */
  async mail(line: string): Promise<Reply> {
    if (this.#transaction) return REPLIES.nestedMail;
    const { policy } = this.#deps;
    const peer = this.#deps.describePeer();
    const refusal = policy.submission ? this.#loginRefusal(peer.isTls) : null;
    if (refusal) return refusal;
    const { submission } = policy;
    const announced = { dsn: true, requireTls: peer.isTls, auth: true };
    const command = submission ? parseMail(line, announced) : parseMail(line);
    if (command.kind === 'refused') return command.reply;
    if ((command.sizeBytes ?? 0) > this.#deps.limits.maxMessageBytes) return REPLIES.tooLarge; // RFC 1870 §6.1
    const login = this.#login;
    if (submission && login) {
      if (!submission.messages.hasRoom(login.ref.mailbox)) return REPLIES.tooManyMessages;
      try {
        const isOwned = command.address === '' || (await submission.addresses.isOwnedBy(login.ref, command.address));
        if (!isOwned) return REPLIES.senderNotOwned;
      } catch (error) {
        return replyToFailure(error);
      }
    }
    this.#begin(command, peer);
    return REPLIES.senderOk;
  }

  #begin(command: MailCommand, peer: ReturnType<SessionDeps['describePeer']>): void {
    const { connection, policy } = this.#deps;
    const { submission } = policy;
    const login = submission ? this.#login : null;
    this.#transactionsCount += 1;
    const id = `${connection}-${String(this.#transactionsCount)}`;
    const { address, helo, tlsCipher, isTls, isExtended } = peer;
    const { isUtf8, envelopeId, returnContent, requiresTls } = command;
    const showsPeer = submission?.tracesClient ?? true;
    const submitter = login?.ref.mailbox ?? null;
    const envelope = { isUtf8, envelopeId, returnContent, requiresTls, submitter };
    const protocol = { protocol: policy.protocol, isTls, isExtended, isUtf8, isAuthenticated: login !== null };
    if (policy.checksMail && this.#gate === undefined) this.#gate = this.#deps.delivery.gateFor(address);
    this.#transaction = {
      id,
      sender: command.address,
      delivery: this.#deps.delivery.begin({
        transaction: id,
        sender: command.address,
        protocol: transferProtocol(protocol),
        peer: showsPeer ? { address, helo, tlsCipher } : null,
        outbound:
          login && submission ? { queue: submission.queue, organization: login.ref.organization, envelope } : undefined,
        settle: policy.settle,
        refusesLoops: policy.refusesLoops,
        isChecked: policy.checksMail,
        principal: {
          protocol: submission ? 'submission' : policy.protocol,
          name: 'delivery',
          session: connection,
        },
      }),
      isUtf8,
      abort: new AbortController(),
      startedMs: performance.now(),
      recipientsCount: 0,
      recipientCommandsCount: 0,
      sizeBytes: 0,
      submission: login && { login, sender: command.address, header: new HeaderCollector() },
      refusal: null,
    };
  }

  /** Null for one who may send. */
  #loginRefusal(isTls: boolean): Reply | null {
    if (this.#login?.isCurrent()) return null;
    this.#login = null;
    return isTls || this.#deps.allowsCleartext() ? REPLIES.authRequired : REPLIES.tlsRequired;
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
    const command = parseRcpt(line, { isUtf8: transaction.isUtf8, dsn: transaction.submission !== null });
    if (command.kind === 'refused') return command.reply;
    if (transaction.recipientsCount >= maxRecipientsCount) return REPLIES.tooManyRecipients;
    try {
      return await this.#accept(transaction, command);
    } catch (error) {
      this.#logFailure('recipient deferred', transaction, error);
      return replyToFailure(error);
    }
  }

  async #accept(transaction: Transaction, { address, originalRecipient, notify }: RcptCommand): Promise<Reply> {
    const { signal } = transaction.abort;
    const { submission } = transaction;
    const answer = await this.#deps.delivery.route(address, signal);
    if (submission && (answer.kind === 'mailbox' || answer.kind === 'unknown-domain')) {
      const isOneTooMany = this.#deps.policy.submission?.recipients.take(submission.login.ref.mailbox) === false;
      if (isOneTooMany) return REPLIES.tooManyRecipientsPerHour;
    }
    switch (answer.kind) {
      case 'unknown-domain':
        if (!submission) return REPLIES.relayDenied;
        if (address.endsWith(']')) return REPLIES.addressLiteral;
        await transaction.delivery.addElsewhere({ address, originalRecipient, notify }, signal);
        transaction.recipientsCount += 1;
        return REPLIES.recipientOk;
      case 'unknown-user':
        return REPLIES.unknownUser;
      case 'suspended':
        return REPLIES.mailboxUnavailable;
      case 'mailbox': {
        const admission = await this.#gate?.admit(transaction.sender, address);
        if (admission && admission.kind !== 'admitted') return replyToPeer(admission);
        await transaction.delivery.add({ address, ref: answer.ref, keyKind: answer.keyKind }, signal);
        transaction.recipientsCount += 1;
        return REPLIES.recipientOk;
      }
    }
  }

  /** DATA: what to say before the message; only with `sendData` does it come. RFC 5321 §4.1.1.4. */
  data(): Reply {
    if (!this.#transaction || this.#transaction.recipientsCount === 0) return REPLIES.needRecipient;
    const login = this.#transaction.submission?.login;
    const { submission } = this.#deps.policy;
    if (login && submission?.messages.take(login.ref.mailbox) === false) return REPLIES.tooManyMessages;
    return REPLIES.sendData;
  }

  /** Takes the next bytes of the message. 'cut' when so much came past the limit that its end is not worth waiting for (T2). */
  async write(content: Uint8Array): Promise<'ok' | 'cut'> {
    const transaction = this.#transaction;
    if (!transaction) return 'cut';
    const { maxMessageBytes } = this.#deps.limits;
    const wasOversize = transaction.sizeBytes > maxMessageBytes;
    transaction.sizeBytes += content.length;
    if (transaction.sizeBytes <= maxMessageBytes) await this.#pass(transaction, content);
    else if (!wasOversize) await transaction.delivery.discard();
    return transaction.sizeBytes > maxMessageBytes + OVERSIZE_SLACK_BYTES ? 'cut' : 'ok';
  }

  /** Passes content on; a submitted header once it is whole and was checked (T5). */
  async #pass(transaction: Transaction, content: Uint8Array): Promise<void> {
    if (transaction.refusal) return;
    const header = transaction.submission?.header;
    if (!header) return transaction.delivery.write(content);
    const split = header.push(content);
    if (split) await this.#passHeader(transaction, split);
    else if (header.isTooLarge) await this.#refuseMessage(transaction, REPLIES.headerTooLarge);
  }

  async #passHeader(transaction: Transaction, { header, rest }: ReturnType<HeaderCollector['end']>): Promise<void> {
    const { submission } = transaction;
    const rules = this.#deps.policy.submission;
    if (!submission || !rules) return;
    submission.header = null;
    const { login, sender } = submission;
    const defaults = { sender: sender || login.username, nowMs: Date.now(), uniqueId: randomHexId() };
    const checked = checkHeader(header, defaults);
    if (!checked) return this.#refuseMessage(transaction, REPLIES.noAuthor);
    if (sender === '' && !checked.isAutomatic) return this.#refuseMessage(transaction, REPLIES.needsSender);
    try {
      for (const author of checked.authors) {
        const isOwned = await rules.addresses.isOwnedBy(login.ref, author);
        if (!isOwned) {
          await this.#refuseMessage(transaction, REPLIES.authorNotOwned);
          return;
        }
      }
    } catch (error) {
      this.#logFailure('message deferred', transaction, error);
      return this.#refuseMessage(transaction, replyToFailure(error));
    }
    await transaction.delivery.write(checked.bytes);
    if (rest.length > 0) await transaction.delivery.write(rest);
  }

  async #refuseMessage(transaction: Transaction, refusal: Reply): Promise<void> {
    transaction.refusal = refusal;
    await transaction.delivery.discard();
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
    const header = transaction.refusal ? null : transaction.submission?.header;
    if (header && transaction.sizeBytes <= limits.maxMessageBytes) await this.#passHeader(transaction, header.end());
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
    if (transaction.refusal) return transaction.refusal;
    if (transaction.submission?.login.isCurrent() === false) return REPLIES.authRequired;
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
  peer: Readonly<{
    protocol: 'smtp' | 'lmtp';
    isTls: boolean;
    isExtended: boolean;
    isUtf8: boolean;
    isAuthenticated: boolean;
  }>,
): TransferProtocol {
  const tls = peer.isTls ? 'S' : '';
  if (peer.protocol === 'lmtp') return peer.isUtf8 ? `UTF8LMTP${tls}` : `LMTP${tls}`;
  if (peer.isAuthenticated) return peer.isUtf8 ? `UTF8SMTP${tls}A` : `ESMTP${tls}A`;
  if (peer.isUtf8) return `UTF8SMTP${tls}`;
  return peer.isExtended || peer.isTls ? `ESMTP${tls}` : 'SMTP';
}
