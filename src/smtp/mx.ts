/**
 * The listener for mail from other servers (port 25).
 *
 * M1  Only recipients of our own domains: nothing is relayed, and AUTH is not offered. RFC 5321 §3.6, §7.9.
 * M2  Unknown recipients are refused at RCPT, so that nothing needs to be bounced later.
 * M3  One reply speaks for all recipients: 250 only if all have it (delivery D2), else the worst news for none.
 *
 * M4  Who a message claims to be from is checked before it is stored (delivery/checks/).
 *
 * Called by listener.ts.
 */
import type { RecipientOutcome } from '../delivery/deliver.ts';
import { type ListenerPolicy, MAX_COMMAND_BYTES } from './policy.ts';
import { type Reply, replyToOutcome } from './replies.ts';

const EARLY_TALKER_WAIT_MS = 5; // what talks at once is in the first segments; each new connection waits so long
const CONNECTIONS_PER_ADDRESS_COUNT = 100;
const MIN_ERRORS_COUNT = 100;

/** The policy of port 25. A list whose members have all gone may be refused once for each of its recipients. */
export function mxPolicy(options: Readonly<{ maxRecipientsCount: number }>): ListenerPolicy {
  return {
    protocol: 'smtp',
    submission: null,
    settle: 'together',
    refusesLoops: true,
    checksMail: true,
    earlyTalkerWaitMs: EARLY_TALKER_WAIT_MS,
    maxErrorsCount: Math.max(MIN_ERRORS_COUNT, options.maxRecipientsCount),
    maxConnectionsPerAddressCount: CONNECTIONS_PER_ADDRESS_COUNT,
    maxCommandBytes: MAX_COMMAND_BYTES,
    answer: worstReply,
  };
}

/** M3. */
export function worstReply(outcomes: readonly RecipientOutcome[], transaction: string): readonly Reply[] {
  const worst = outcomes.find((outcome) => outcome.kind !== 'stored') ?? { kind: 'stored' };
  return [replyToOutcome(worst, transaction)];
}
