/** Concurrent deliveries over SMTP, LMTP and APPEND, entered in a ledger before they are sent. */
import { DOMAIN, type TestServer } from './server.ts';
import { type Ledger, ledgerMessage, type Sent } from './ledger.ts';
import { ConnectionGone, ImapClient, SmtpClient } from './wire.ts';

export type Way = 'smtp' | 'lmtp' | 'append';
export type Traffic = {
  readonly server: TestServer;
  readonly ledger: Ledger;
  readonly mailboxes: readonly string[];
  readonly random: () => number;
  /** Of the last message made. */
  number: number;
  /** Of the messages, how many are too large for the database and lie in a file. */
  readonly largeShare?: number;
  /** Replies other than an acknowledgement. */
  readonly refusals: string[];
  isOver: boolean;
};

const SMALL_BYTES = 6000;
const LARGE_BYTES = 200_000;
const LARGE_SHARE = 0.1;

/** Sends one message after another until the connection or the traffic ends. */
export async function sendUntilGone(traffic: Traffic, way: Way): Promise<void> {
  try {
    if (way === 'append') await appendUntilGone(traffic);
    else await deliverUntilGone(traffic, way);
  } catch (error) {
    if (!(error instanceof ConnectionGone)) throw error;
  }
}

async function deliverUntilGone(traffic: Traffic, way: 'smtp' | 'lmtp'): Promise<void> {
  const { server, ledger } = traffic;
  using client = await SmtpClient.open(server.ports[way], way);
  while (!traffic.isOver) {
    const message = nextMessage(traffic);
    const to = traffic.random() < 0.1 ? [anyMailbox(traffic), anyMailbox(traffic)] : [anyMailbox(traffic)];
    const distinct = [...new Set(to)];
    const entries = distinct.map((mailbox) => ledger.sending(mailbox, message));
    const replies = await client.deliverToEach({ to: distinct.map((it) => `${it}@${DOMAIN}`), message });
    // one reply for all over SMTP, or a refusal before the data
    for (const [index, entry] of entries.entries()) settle(traffic, entry, replies[index] ?? replies[0] ?? '');
  }
}

async function appendUntilGone(traffic: Traffic): Promise<void> {
  const mailbox = anyMailbox(traffic);
  using client = await ImapClient.open(traffic.server.ports.imap);
  const login = await client.command(`LOGIN ${mailbox}@${DOMAIN} pw`);
  if (login.status !== 'OK') {
    traffic.refusals.push(`LOGIN: ${login.text}`);
    return;
  }
  while (!traffic.isOver) {
    const message = nextMessage(traffic);
    const entry = traffic.ledger.sending(mailbox, message);
    const answer = await client.append('INBOX', message);
    settle(traffic, entry, answer.status === 'OK' ? '250' : `${answer.status} ${answer.text}`);
  }
}

function settle(traffic: Traffic, entry: Sent, reply: string): void {
  if (reply.startsWith('250')) entry.isAcknowledged = true;
  else traffic.refusals.push(reply);
}

function nextMessage(traffic: Traffic): Buffer {
  const { random, largeShare = LARGE_SHARE } = traffic;
  const bytesCount = 300 + Math.floor(random() * (random() < largeShare ? LARGE_BYTES : SMALL_BYTES));
  traffic.number += 1;
  return ledgerMessage(traffic.number, bytesCount, random);
}

function anyMailbox({ mailboxes, random }: Traffic): string {
  return mailboxes[Math.floor(random() * mailboxes.length)] ?? 'u1';
}
