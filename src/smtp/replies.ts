/**
 * What the server answers: one table from outcomes and error codes to reply code, enhanced status code and text.
 *
 * A1  No text repeats input or says anything about the inside (E1 of base/errors.ts).
 * A2  Whatever may pass, and every failure that nobody foresaw, is a 4xx: mail is never bounced for our own trouble.
 *
 * Reply codes: RFC 5321 §4.2.3. Enhanced codes: RFC 3463, and where a line says so another.
 * Called by session.ts and listener.ts.
 */
import { type ErrorCode, ServerError } from '../base/errors.ts';
import type { Admission } from '../delivery/checks/gate.ts';
import type { RefusalReason } from '../delivery/checks/incoming.ts';
import type { RecipientOutcome } from '../delivery/deliver.ts';

/** `enhanced` is null where none may stand: greeting, EHLO, 354 (RFC 2034 §4). */
export type Reply = Readonly<{ code: number; enhanced: string | null; text: string }>;

const reply = (code: number, enhanced: string | null, text: string): Reply => ({ code, enhanced, text });

export const REPLIES = {
  ok: reply(250, '2.0.0', 'Ok'),
  senderOk: reply(250, '2.1.0', 'Sender ok'),
  recipientOk: reply(250, '2.1.5', 'Recipient ok'),
  help: reply(214, '2.0.0', 'Commands: EHLO HELO LHLO STARTTLS MAIL RCPT DATA RSET NOOP VRFY HELP QUIT'),
  cannotVerify: reply(252, '2.5.0', 'Cannot verify a user; send a message and see'), // RFC 5321 §3.5.3, §7.3
  sendData: reply(354, null, 'End data with <CR><LF>.<CR><LF>'),

  authenticated: reply(235, '2.7.0', 'Authentication succeeded'), // RFC 4954 §6
  authRefused: reply(535, '5.7.8', 'The user name or password is wrong'),
  authUnavailable: reply(454, '4.7.0', 'Temporary authentication failure, try again later'),
  authRequired: reply(530, '5.7.0', 'Authentication required'),
  tlsRequired: reply(530, '5.7.0', 'Must issue a STARTTLS command first'), // RFC 3207 §4
  authNeedsTls: reply(538, '5.7.11', 'Encryption required: issue a STARTTLS command first'),
  alreadyAuthenticated: reply(503, '5.5.1', 'Already authenticated'),
  authInTransaction: reply(503, '5.5.1', 'No AUTH within a mail transaction'),
  unknownMechanism: reply(504, '5.5.4', 'Authentication mechanism not supported'),
  badAuthResponse: reply(501, '5.5.2', 'Cannot decode the authentication response'),
  authCancelled: reply(501, '5.7.0', 'Authentication cancelled'),
  tooManyFailedLogins: reply(421, '4.7.0', 'Too many failed logins'),
  senderNotOwned: reply(553, '5.7.1', 'This sender address does not belong to your account'),
  authorNotOwned: reply(550, '5.7.1', 'The From or Sender address in the message does not belong to your account'),
  noAuthor: reply(550, '5.7.1', 'The message needs one From field with readable addresses'),
  needsSender: reply(550, '5.7.1', 'Only reports and automatic answers may have an empty sender'),
  tooManyMessages: reply(450, '4.7.1', 'You have sent too many messages within an hour, try again later'),
  tooManyRecipientsPerHour: reply(452, '4.7.1', 'You have had too many recipients within an hour, try again later'),
  addressLiteral: reply(550, '5.1.2', 'Mail cannot be sent to address literals'),

  closing: reply(421, '4.3.2', 'Server is shutting down, try again later'),
  tooManyConnections: reply(421, '4.7.0', 'Too many connections, try again later'),
  tooManyErrors: reply(421, '4.7.0', 'Too many errors'),
  tooManyCommands: reply(421, '4.7.0', 'Too many commands without a message'),
  notHttp: reply(421, '4.7.0', 'This is not an HTTP server'),
  tooSlow: reply(421, '4.4.2', 'Message arrives too slowly'),

  givenUp: reply(451, '4.3.2', 'Server is shutting down, try again later'), // of one recipient: 421 would cut off the others
  temporaryFailure: reply(451, '4.3.0', 'Temporary failure, try again later'),
  mailboxUnavailable: reply(450, '4.2.1', 'Mailbox is not accepting messages at present'),
  storageFull: reply(452, '4.3.1', 'Insufficient system storage, try again later'),
  overQuota: reply(452, '4.2.2', 'Mailbox is full'),
  tooManyRecipients: reply(452, '4.5.3', 'Too many recipients in one transaction'), // RFC 5321 §4.5.3.1.10

  earlyTalker: reply(554, null, 'Protocol error: client spoke before the greeting'),
  lineTooLong: reply(500, '5.5.2', 'Line too long'),
  badLineEnd: reply(500, '5.5.2', 'Lines end with CRLF'), // RFC 5321 §2.3.8
  badCharacter: reply(500, '5.5.2', 'Control character in command'),
  badSyntax: reply(501, '5.5.4', 'Syntax error in parameters'),
  badSender: reply(501, '5.1.7', 'Bad sender address syntax'),
  badRecipient: reply(501, '5.1.3', 'Bad recipient address syntax'),
  notImplemented: reply(502, '5.5.1', 'Command not implemented'),
  nestedMail: reply(503, '5.5.1', 'Sender already given'),
  needMail: reply(503, '5.5.1', 'Need MAIL before RCPT'),
  needRecipient: reply(503, '5.5.1', 'Need RCPT before DATA'),
  earlyData: reply(554, '5.5.1', 'Protocol error: data sent before the go-ahead'), // RFC 2920 §3.1
  unknownParameter: reply(555, '5.5.4', 'Parameter not recognized'), // RFC 5321 §4.1.1.11
  utf8NotAnnounced: reply(553, '5.6.7', 'Address needs SMTPUTF8'), // RFC 6531 §3.5

  unknownUser: reply(550, '5.1.1', 'No such user here'),
  relayDenied: reply(550, '5.7.1', 'Relaying denied'),
  notAllowed: reply(550, '5.7.1', 'Not allowed'),
  bareNewlines: reply(550, '5.6.11', 'Message contains bare CR or LF'), // not registered; what Exchange Online says
  tooLarge: reply(552, '5.3.4', 'Message too large'), // RFC 1870 §6
  looping: reply(554, '5.4.6', 'Too many hops'),
  notAuthentic: reply(550, '5.7.26', 'Message fails DMARC, and its domain asks for refusal'), // RFC 7372 §3.4
  headerTooLarge: reply(552, '5.3.4', 'Message header too large'),
  virus: reply(554, '5.7.1', 'Message refused: it carries a virus'),
  spam: reply(554, '5.7.1', 'Message refused as spam'),
  greylisted: reply(450, '4.7.1', 'Not seen before, try again in some minutes'),
  notNow: reply(451, '4.7.1', 'Message not accepted now, try again later'),
} as const satisfies Record<string, Reply>;

const BY_ERROR: Readonly<Record<ErrorCode, Reply>> = {
  'key-unavailable': REPLIES.temporaryFailure,
  'key-refused': REPLIES.temporaryFailure,
  'key-lost': REPLIES.temporaryFailure, // until an operator decides
  'key-mismatch': REPLIES.temporaryFailure,
  'key-unsuitable': REPLIES.temporaryFailure,
  'content-damaged': REPLIES.temporaryFailure,
  'storage-failed': REPLIES.temporaryFailure,
  'storage-full': REPLIES.storageFull,
  'over-quota': REPLIES.overQuota,
  'message-too-large': REPLIES.tooLarge,
  'limit-exceeded': REPLIES.temporaryFailure,
  'not-found': REPLIES.mailboxUnavailable, // it was there at RCPT; the next RCPT will know
  'already-exists': REPLIES.temporaryFailure,
  'not-allowed': REPLIES.notAllowed,
  'invalid-argument': REPLIES.temporaryFailure,
  suspended: REPLIES.mailboxUnavailable, // RFC 3463 §3.3 X.2.1; an operator may lift it before mail bounces
  'dns-unavailable': REPLIES.temporaryFailure,
  'shutting-down': REPLIES.givenUp,
};

const BY_REFUSAL: Readonly<Record<RefusalReason, Reply>> = {
  dmarc: REPLIES.notAuthentic,
  header: REPLIES.headerTooLarge,
  virus: REPLIES.virus,
  spam: REPLIES.spam,
  deferred: REPLIES.notNow,
};

/** The answer to a failure (A2). */
export function replyToFailure(error: unknown): Reply {
  return error instanceof ServerError ? BY_ERROR[error.code] : REPLIES.temporaryFailure;
}

/** The answer to RCPT of a peer that is not admitted. The zone is of our configuration. RFC 5782 §2.1, RFC 6647 §2.1. */
export function replyToPeer(admission: Exclude<Admission, { kind: 'admitted' }>): Reply {
  if (admission.kind === 'greylisted') return REPLIES.greylisted;
  return reply(550, '5.7.1', `Client address is listed by ${admission.zone}`);
}

/** The answer for one recipient after the data. `transaction` is ours, for both logs. */
export function replyToOutcome(outcome: RecipientOutcome, transaction: string): Reply {
  switch (outcome.kind) {
    case 'stored':
      return reply(250, '2.0.0', `Stored as ${transaction}`);
    case 'looping':
      return REPLIES.looping;
    case 'refused':
      return BY_REFUSAL[outcome.reason];
    case 'failed':
      return replyToFailure(outcome.error);
  }
}
