/**
 * Operations on the mail that waits to be sent.
 *
 * QO1  Addresses and what remote servers said are shown only where the item opens; one that does not is listed by its
 *      id, size and times.
 */
import { z } from 'zod';
import { notFound } from '../../accounts/directory.ts';
import { messageId, type MessageId } from '../../base/ids.ts';
import type { Queue } from '../../queue/queue.ts';
import { operation, organizationOf } from './context.ts';

const MAX_LISTED_COUNT = 10_000;
const ITEM = z.string().regex(/^[0-9a-f]{32}$/, 'is the id that sealpost queue list shows');
const NAMED = z.strictObject({ item: ITEM });
const CHANGE = z.strictObject({
  change: z.enum(['hold', 'release', 'retry', 'expire', 'remove']),
  items: z.array(ITEM).min(1).max(MAX_LISTED_COUNT),
});

export const queueOperations = {
  'queue.list': operation(
    z.strictObject({
      organization: z.string().optional(),
      limitCount: z.int().min(1).max(MAX_LISTED_COUNT).default(1000),
    }),
    async ({ organization, limitCount }, context, signal) => {
      const of = organization === undefined ? null : (await organizationOf(organization, context, signal)).id;
      const listed: ReturnType<typeof shown>[] = [];
      for await (const found of context.queue.list(of, signal)) {
        if (listed.length >= limitCount) break;
        listed.push(shown(found));
      }
      return { items: listed, state: context.queue.state() };
    },
  ),
  'queue.show': operation(NAMED, async (input, context, signal) => {
    const found = await context.queue.show(messageId(input.item), signal);
    if (!found) throw noItem(input.item);
    using _item = found.item;
    return shown(found);
  }),
  /** Each by itself; gives the ids that were not there. */
  'queue.change': operation(CHANGE, async ({ change, items }, { queue }) => {
    const missing: MessageId[] = [];
    for (const item of items.map(messageId)) if (!(await queue[change](item))) missing.push(item);
    return { changedCount: items.length - missing.length, missing };
  }),
} as const;

type Found = NonNullable<Awaited<ReturnType<Queue['show']>>>;

function shown({ row, item }: Found) {
  return {
    item: row.message,
    organization: row.organization,
    acceptedAtMs: row.acceptedAtMs,
    expiresAtMs: row.expiresAtMs,
    sizeBytes: row.sizeBytes,
    isHeld: row.isHeld,
    sender: item && item.envelope.sender,
    envelope: item && item.envelope,
    recipients:
      item &&
      item.recipients.map((one) => ({
        address: one.address,
        state: one.state,
        attemptsCount: one.attemptsCount,
        nextAtMs: one.state === 'waiting' ? one.nextAtMs : null,
        lastAttemptAtMs: one.lastAttemptAtMs,
        lastAttempt: one.lastAttempt,
      })),
  };
}

function noItem(item: string) {
  return notFound(`There is no ${item} in the queue. See: sealpost queue list`);
}
