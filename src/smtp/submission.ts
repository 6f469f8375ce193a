/**
 * The listeners at which our own users hand in mail (ports 587 and 465). RFC 6409, RFC 8314.
 *
 * SU1  Nobody sends without having logged in, nor logs in without TLS; on loopback both may be allowed for tests.
 * SU2  The reverse-path, and every author in the header, is an address of the login's mailbox. The reverse-path may be
 *      empty for reports and automatic answers only. RFC 6409 §6.1.
 * SU3  Recipients may be anywhere. Those of other hosts go into the queue together, those here into their mailboxes.
 * SU4  An account that sends more than its allowance is told to come again.
 * SU5  By default the trace says neither from where nor from which device a user sends.
 *
 * Called by listener.ts.
 */
import type { Addresses } from '../accounts/addresses.ts';
import type { Config } from '../config/schema.ts';
import type { Queue } from '../queue/queue.ts';
import type { Sasl } from '../sasl/mechanisms.ts';
import type { ListenerPolicy } from './policy.ts';
import { RateLimit } from './rate-limit.ts';
import { worstReply } from './mx.ts';

/** What submission needs beside delivery. */
export type SubmissionDeps = Readonly<{
  sasl: Sasl;
  addresses: Pick<Addresses, 'isOwnedBy'>;
  queue: Pick<Queue, 'newMessage'>;
}>;

/** What all submission listeners share. */
export type SubmissionRules = SubmissionDeps &
  Readonly<{ messages: RateLimit; recipients: RateLimit; tracesClient: boolean; allowsCleartext: boolean }>;

const CONNECTIONS_PER_ADDRESS_COUNT = 100;
const ERRORS_COUNT = 100;
/** RFC 4954 §4: what a line of an AUTH exchange may have. */
const AUTH_LINE_BYTES = 12_288;

/** One for all listeners: the allowance of an account does not depend on its port. */
export function submissionRules(config: Config['smtp']['submission'], deps: SubmissionDeps): SubmissionRules {
  const nowMs = (): number => performance.now();
  return {
    ...deps,
    messages: new RateLimit(config.maxMessagesPerHourCount, nowMs),
    recipients: new RateLimit(config.maxRecipientsPerHourCount, nowMs),
    tracesClient: config.traceClientAddress,
    allowsCleartext: config.allowCleartextLogin,
  };
}

export function submissionPolicy(rules: SubmissionRules): ListenerPolicy {
  return {
    protocol: 'smtp',
    submission: rules,
    settle: 'together',
    refusesLoops: true,
    checksMail: false,
    earlyTalkerWaitMs: 0,
    maxErrorsCount: ERRORS_COUNT,
    maxConnectionsPerAddressCount: CONNECTIONS_PER_ADDRESS_COUNT,
    maxCommandBytes: AUTH_LINE_BYTES,
    answer: worstReply,
  };
}
