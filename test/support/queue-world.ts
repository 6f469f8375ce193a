/** A queue on real parts in a temporary directory, beside the mailboxes of `mailboxWorld`. */
import { join } from 'node:path';
import { TransitKeys } from '../../src/accounts/transit-keys.ts';
import type { MessageId } from '../../src/base/ids.ts';
import { Queue } from '../../src/queue/queue.ts';
import type { ClaimedItem } from '../../src/queue/item.ts';
import type { Attempt, QueuedEnvelope, QueuedRecipient } from '../../src/queue/envelope.ts';
import { mailboxWorld, type MailboxWorld } from './mailbox-world.ts';

export type QueueWorld = MailboxWorld & Readonly<{ queue: Queue; logged: string[] }>;

/** Transit keys come with the directory key, which outlasts an outage. */
export async function queueWorld(
  directory: string,
  options: Readonly<{
    inlineBodyMaxBytes?: number;
    freeSpaceReserveBytes?: number;
    maxMessagesCount?: number;
    nowMs?: () => number;
  }> = {},
): Promise<QueueWorld> {
  const world = await mailboxWorld(directory, { hasDirectoryKey: true, callBudgetMs: 20_000 });
  const logged: string[] = [];
  const log = (message: string): void => void logged.push(message);
  const nowMs = options.nowMs ?? Date.now;
  const queue = await Queue.open({
    directory: join(directory, 'queue'),
    inlineBodyMaxBytes: options.inlineBodyMaxBytes ?? 1000,
    freeSpaceReserveBytes: options.freeSpaceReserveBytes ?? 0,
    maxMessagesCount: options.maxMessagesCount ?? 1000,
    giveUpAfterMs: 5 * 24 * 3_600_000,
    checkpointer: world.checkpointer,
    transitKeys: new TransitKeys({ directory: world.database, keys: world.keys, nowMs }),
    logger: { debug: log, info: log, warn: log, error: log, child: () => ({}) as never },
    nowMs,
    onFailure: (error) => world.failures.push(error),
  });
  return {
    ...world,
    queue,
    logged,
    [Symbol.asyncDispose]: async () => {
      await queue.close();
      await world[Symbol.asyncDispose]();
    },
  };
}

export const ENVELOPE: QueuedEnvelope = {
  sender: 'anna@example.org',
  envelopeId: null,
  returnContent: null,
  is8Bit: false,
  isUtf8: false,
  requiresTls: false,
  submitter: null,
};

export function recipientOf(address: string): QueuedRecipient {
  return { address, originalRecipient: null, notify: null };
}

export function attemptOf(status: string): Attempt {
  return { status, code: Number(status[0]) * 100 + 50, text: `said ${status}`, remoteHost: 'mx.example.net' };
}

/** Queues `content` for `addresses`. */
export async function enqueue(world: QueueWorld, content: string, addresses: readonly string[]): Promise<MessageId> {
  const writer = await world.queue.newMessage(world.organization);
  await writer.write(Buffer.from(content));
  await writer.finish();
  return writer.commit({ envelope: ENVELOPE, recipients: addresses.map(recipientOf) });
}

export async function claimed(world: QueueWorld, id: MessageId): Promise<ClaimedItem> {
  const item = await world.queue.claim(id);
  if (!item) throw new Error(`${id} cannot be claimed`);
  return item;
}

export async function bodyOf(item: ClaimedItem): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of item.body()) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}
