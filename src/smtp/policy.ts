/** What the kinds of listener differ in. mx.ts, lmtp.ts and submission.ts each give one; session.ts and listener.ts carry it out. */
import type { RecipientOutcome } from '../delivery/deliver.ts';
import type { Reply } from './replies.ts';
import type { SubmissionRules } from './submission.ts';

export type ListenerPolicy = Readonly<{
  protocol: 'smtp' | 'lmtp';
  /** Where our own users hand in mail; null where others deliver it. */
  submission: SubmissionRules | null;
  /** One reply after the data, or one for each recipient (RFC 2033 §4.2). */
  settle: 'together' | 'each';
  /** Whether a message with too many hops is refused (RFC 5321 §6.3). */
  refusesLoops: boolean;
  /** Whether the author of a message is checked: SPF, DKIM, DMARC. */
  checksMail: boolean;
  /** Who speaks within this time after connecting did not wait for the greeting. 0: not looked at. */
  earlyTalkerWaitMs: number;
  /** Permanent errors after which the connection is closed: it tries addresses, or is no mail client. */
  maxErrorsCount: number;
  /** Of one client address; loopback is not counted, it is this machine. */
  maxConnectionsPerAddressCount: number;
  /** A longer line ends the connection. */
  maxCommandBytes: number;
  /** The replies after the data: as many as `settle` says. */
  answer(outcomes: readonly RecipientOutcome[], transaction: string): readonly Reply[];
}>;

/** Commands other than RCPT and DATA that a connection may send between two messages. */
export const MAX_IDLE_COMMANDS_COUNT = 100;
/** RCPT commands of one transaction, as a multiple of the recipients it may have. */
export const RECIPIENT_COMMANDS_FACTOR = 10;
/** RFC 5321 §4.5.3.1.4 asks for 512 octets, and extensions add to it; long addresses and parameters fit. */
export const MAX_COMMAND_BYTES = 4096;
/** Bytes past the size limit that are read in the hope of the end of data; then the connection is closed. */
export const OVERSIZE_SLACK_BYTES = 1024 * 1024;
