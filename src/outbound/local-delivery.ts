/**
 * Delivers from the queue to a mailbox of this server: reports to local senders above all.
 *
 * LD1  A mailbox gets a message of the queue once, whenever the process is killed: its copy has a name that follows from
 *      the item, and one that is there is not stored again.
 *
 * Called by worker.ts.
 */
import { createHash } from 'node:crypto';
import type { Resolution } from '../accounts/addresses.ts';
import { ServerError } from '../base/errors.ts';
import { bodyId, type BodyId, type MailboxId } from '../base/ids.ts';
import type { Delivery } from '../delivery/deliver.ts';
import type { ClaimedItem, ItemRecipient } from '../queue/item.ts';
import { localAttempt, type Outcome } from './outcome.ts';

type LocalDeps = Readonly<{ delivery: Delivery; hostname: string }>;

const PRINCIPAL = { protocol: 'queue' };
const ID_BYTES = 16;

/** What came of it, or null for an address of another server. Throws ServerError 'key-*'. */
export async function deliverLocally(
  { delivery, hostname }: LocalDeps,
  { item, recipient }: Readonly<{ item: ClaimedItem; recipient: ItemRecipient }>,
  signal: AbortSignal,
): Promise<Outcome | null> {
  const resolution = await delivery.route(recipient.address, signal);
  if (resolution.kind === 'unknown-domain') return null;
  if (resolution.kind !== 'mailbox') return refusal(resolution);
  const { ref } = resolution;
  const bodyOf = (mailbox: MailboxId): BodyId => copyName(item, mailbox);
  if (await delivery.isStored(ref, bodyOf(ref.mailbox), PRINCIPAL)) return stored();
  const transaction = delivery.begin({
    transaction: item.id,
    sender: item.envelope.sender,
    protocol: 'ESMTP',
    peer: { address: '127.0.0.1', helo: hostname, tlsCipher: null },
    settle: 'each',
    refusesLoops: true,
    isChecked: false, // our own users and reports
    principal: PRINCIPAL,
    bodyOf,
  });
  try {
    await transaction.add({ ...resolution, address: recipient.address }, signal);
    for await (const piece of item.body(signal)) await transaction.write(piece);
    const [outcome] = await transaction.commit();
    if (outcome?.kind === 'stored') return stored();
    if (outcome?.kind === 'looping') return failed('5.4.6', 'Too many hops');
    return notStored(outcome?.kind === 'failed' ? outcome.error : null);
  } finally {
    await transaction.discard();
  }
}

/** A failure of ours is thrown, to be tried again soon. */
function notStored(error: unknown): Outcome {
  const code = error instanceof ServerError ? error.code : null;
  if (code === 'message-too-large') return failed('5.3.4', 'The message is too large for the mailbox');
  if (code === 'over-quota') {
    return { kind: 'deferred', attempt: localAttempt('4.2.2', 'The mailbox is full'), isToldByRemote: false };
  }
  throw error instanceof Error ? error : new TypeError('a copy was not stored');
}

function refusal({ kind }: Exclude<Resolution, { kind: 'mailbox' | 'unknown-domain' }>): Outcome {
  if (kind === 'unknown-user') return failed('5.1.1', 'There is no such mailbox');
  return { kind: 'deferred', attempt: localAttempt('4.2.1', 'The mailbox is suspended'), isToldByRemote: false };
}

function failed(status: string, text: string): Outcome {
  return { kind: 'failed', attempt: localAttempt(status, text), isToldByRemote: false };
}

function stored(): Outcome {
  return { kind: 'delivered', attempt: localAttempt('2.0.0', 'Stored'), isToldByRemote: false };
}

function copyName({ id }: ClaimedItem, mailbox: MailboxId): BodyId {
  const digest = createHash('sha256').update(`queue ${id} ${mailbox}`).digest();
  return bodyId(digest.subarray(0, ID_BYTES).toString('hex'));
}
