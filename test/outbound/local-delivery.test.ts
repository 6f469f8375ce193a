import { expect, test } from 'vitest';
import { deliverLocally } from '../../src/outbound/local-delivery.ts';
import { claimed } from '../support/queue-world.ts';
import { inboxOf, outboundWorld, send } from './outbound-world.ts';

test('LD1 a mailbox gets a message of the queue once, although nobody noted that it was delivered', async () => {
  const all = await outboundWorld({ port: 1 });
  await all.worker.stop(0);
  const id = await send(all, ['anna@example.org', 'nobody@example.org', 'bob@far.test']);
  const deps = { delivery: all.delivery, hostname: 'mx.here.test' };
  const never = new AbortController().signal;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    using item = await claimed(all, id); // as after a kill: nothing was settled
    const [anna, nobody, bob] = item.recipients;
    const outcomeFor = (recipient: typeof anna) =>
      recipient ? deliverLocally(deps, { item, recipient }, never) : Promise.reject(new Error('no recipient'));
    expect(await outcomeFor(anna)).toMatchObject({ kind: 'delivered' });
    expect(await outcomeFor(nobody)).toMatchObject({ kind: 'failed', attempt: { status: '5.1.1' } });
    expect(await outcomeFor(bob)).toBe(null); // of another server
  }
  expect(await inboxOf(all, all.anna)).toHaveLength(1);
  const again = await send(all, ['anna@example.org']); // another message with the same content
  using item = await claimed(all, again);
  const [recipient] = item.recipients;
  if (recipient) await deliverLocally(deps, { item, recipient }, never);
  expect(await inboxOf(all, all.anna)).toHaveLength(2);
});
