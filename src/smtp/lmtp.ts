/**
 * The listener for a mail transfer agent that hands over mail by LMTP. RFC 2033.
 *
 * L1  After the data each accepted RCPT gets its own reply, in order, also when two reach one mailbox. RFC 2033 §4.2.
 * L2  The peer is trusted to be an MTA of the operator: no early-talker wait, no limit on errors, and it is the one
 *     that counts hops and checks authors: from here a message goes no further. It may still deliver only to our own mailboxes.
 *
 * Called by listener.ts.
 */
import { type ListenerPolicy, MAX_COMMAND_BYTES } from './policy.ts';
import { replyToOutcome } from './replies.ts';

export const LMTP_POLICY: ListenerPolicy = {
  protocol: 'lmtp',
  submission: null,
  settle: 'each',
  refusesLoops: false,
  checksMail: false,
  earlyTalkerWaitMs: 0,
  maxErrorsCount: Number.POSITIVE_INFINITY,
  maxConnectionsPerAddressCount: Number.POSITIVE_INFINITY,
  maxCommandBytes: MAX_COMMAND_BYTES,
  answer: (outcomes, transaction) => outcomes.map((outcome) => replyToOutcome(outcome, transaction)),
};
