/** What is held of a mailbox while others work or are waited for, and for how long. */
import { expect, test } from 'vitest';
import type { MailboxKeyLease } from '../../src/keys/mailbox-keys.ts';
import type { SearchKey } from '../../src/mailbox/search-key.ts';
import { TextExtractor } from '../../src/mailbox/text-extractor.ts';
import { appendTo } from '../support/messages.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
const MINUTE_MS = 60_000;
const PROBE_MS = 30_000;
const ALL = [{ first: 1, last: 0xffff_ffff }];
const SMALL = Buffer.from('Subject: small\r\n\r\nneedle\r\n');
const LARGE = Buffer.from(`Subject: large\r\n\r\n${'x'.repeat(600_000)}`);
const TEXT: SearchKey = { kind: 'text', text: 'needle' };
const nothing = { resolve: () => [] };

async function opened(name: string, messages: readonly Buffer[]) {
  const world = await mailboxWorld(`${directory}/${name}`);
  const mailbox = await world.open(await world.addMailbox());
  const folder = (await mailbox.folder('INBOX'))!.id;
  for (const message of messages) await appendTo(mailbox, folder, message, { flags: ['word'] });
  return { world, mailbox, folder };
}

/** Leases that were given and not given back. */
function countLeases(world: MailboxWorld): () => number {
  let openCount = 0;
  const lease = world.keys.leaseMailbox.bind(world.keys);
  world.keys.leaseMailbox = async (...given): Promise<MailboxKeyLease> => {
    const granted = await lease(...given);
    openCount += 1;
    return {
      ...granted,
      [Symbol.dispose]: () => {
        openCount -= 1;
        granted[Symbol.dispose]();
      },
    };
  };
  return () => openCount;
}

test('N1 no operation holds a key while it waits for its caller, nor after it ended', async () => {
  const { world, mailbox, folder } = await opened('leases', [SMALL, LARGE, SMALL]);
  await using _world = world;
  const openCount = countLeases(world);
  for await (const _rows of mailbox.rows(folder, ALL)) expect(openCount()).toBe(0);
  for await (const batch of mailbox.messages(folder, ALL)) {
    expect(openCount()).toBe(0);
    for (const message of batch) {
      for await (const _piece of message.range(0, message.row.sizeBytes)) expect(openCount()).toBe(0);
    }
  }
  await mailbox.folders();
  await mailbox.keywords();
  await mailbox.changesSince(folder, 0 as never);
  await mailbox.search({ folder, key: TEXT, within: ALL, ...nothing });
  await mailbox.setFlags({ folder, ranges: ALL }, { mode: 'add', flags: ['other'] });
  await mailbox.createFolder({ name: 'a/b' });
  await mailbox.renameFolder({ from: 'a', to: 'c' });
  await mailbox.copy({ source: folder, target: (await mailbox.folder('c'))!.id, ranges: ALL });
  const writer = await mailbox.newMessage({ internalDate: { atMs: 0, zoneMinutes: 0 } });
  expect(openCount()).toBe(0);
  await writer.discard();
  await mailbox.deleteFolder('c/b');
  world.refuse('disabled');
  world.advance(MINUTE_MS);
  await expect(mailbox.folders()).rejects.toMatchObject({ code: 'key-refused' });
  expect(openCount()).toBe(0);
});

test.each(['disabled', 'unreachable'] as const)(
  'X4 a batch that was opened before gives nothing once the key is too old and %s, and goes on when it is back',
  async (failure) => {
    const { world, mailbox, folder } = await opened(`batch-${failure}`, [SMALL, LARGE]);
    await using _world = world;
    const code = failure === 'disabled' ? 'key-refused' : 'key-unavailable';
    for await (const [small, large] of mailbox.messages(folder, ALL)) {
      expect(small!.summary.scanned.envelope.subject).toBe('small');
      const pieces = large!.range(0, LARGE.length);
      const received = [(await pieces.next()).value as Buffer];
      world.refuse(failure);
      world.advance(MINUTE_MS - 5000);
      expect(small!.isStale).toBe(false);
      received.push((await pieces.next()).value as Buffer);
      world.advance(5000);
      expect(small!.isStale).toBe(true);
      expect(() => small!.summary).toThrow(expect.objectContaining({ code: 'key-unavailable' }));
      expect(() => small!.searchText).toThrow(expect.objectContaining({ code: 'key-unavailable' }));
      await expect(small!.bytes(0, 10)).rejects.toMatchObject({ code });
      await expect(pieces.next()).rejects.toMatchObject({ code });
      world.refuse(null);
      world.advance(PROBE_MS);
      await small!.renew();
      expect(small!.summary.scanned.envelope.subject).toBe('small');
      expect((await large!.bytes(0, LARGE.length)).equals(LARGE)).toBe(true);
      expect(Buffer.concat(received).equals(LARGE.subarray(0, Buffer.concat(received).length))).toBe(true);
    }
    mailbox[Symbol.dispose]();
  },
);

test('X4 a revoked key ends what is under way at once, not after its minute', async () => {
  const { world, mailbox, folder } = await opened('revoked', [LARGE]);
  await using _world = world;
  for await (const [large] of mailbox.messages(folder, ALL)) {
    const pieces = large!.range(0, LARGE.length);
    await pieces.next();
    world.keys.forgetMailbox(mailbox.ref);
    world.refuse('denied');
    await expect(pieces.next()).rejects.toMatchObject({ code: 'key-refused' });
  }
});

test('X4 a slow reader of a large message gets all of it while the key may be had, with a new lease each minute', async () => {
  const { world, mailbox, folder } = await opened('slow', [LARGE]);
  await using _world = world;
  const before = world.keys.metrics().mailboxKeyCache.missesCount;
  const received: Buffer[] = [];
  for await (const [large] of mailbox.messages(folder, ALL)) {
    for await (const piece of large!.range(0, LARGE.length)) {
      received.push(piece);
      world.advance(MINUTE_MS);
    }
  }
  expect(Buffer.concat(received).equals(LARGE)).toBe(true);
  expect(world.keys.metrics().mailboxKeyCache.missesCount - before).toBe(received.length - 1);
});

test('T1 a message that waits for its search text is not opened before its turn; one that fails holds up nobody', async () => {
  const extractor = new TextExtractor({ timeoutMs: 10_000 });
  const order: string[] = [];
  const gate = Promise.withResolvers<Uint8Array>();
  const first = extractor.extract(() => {
    order.push('first');
    return gate.promise;
  });
  const second = extractor.extract(() => {
    order.push('second');
    return Promise.reject(new Error('its key is gone'));
  });
  const third = extractor.extract(() => Promise.resolve(SMALL));
  const failure = second.then(
    () => null,
    (error: unknown) => String(error),
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(order).toEqual(['first']);
  gate.resolve(SMALL);
  expect((await first).body).toContain('NEEDLE');
  expect(await failure).toContain('its key is gone');
  expect((await third).body).toContain('NEEDLE');
  await extractor.close();
});
