/**
 * Who may read no more, reads no more: suspension and a new password at once, a key that is refused 60 seconds after
 * its last answer at the latest, also in sessions that were open, idle, or in the middle of an answer (P6, P7).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connect } from 'node:net';
import { seededRandom } from '../support/ledger.ts';
import { ImapClient } from '../support/wire.ts';
import { DOMAIN, HELD_OUTPUT_GRACE_MS, keyWorld, type KeyWorld } from './key-world.ts';

const MESSAGE = 'From: a@example.net\r\nSubject: sealed\r\n\r\nneedle\r\n';
const MINUTE_MS = 60_000;
const QUIET_TURNS = 30;

async function started(provider: 'local' | 'aws' = 'local'): Promise<KeyWorld> {
  const world = await keyWorld(provider);
  onTestFinished(() => world[Symbol.asyncDispose]());
  for (const local of ['ann', 'bob']) {
    await world.addUser(local);
    expect(await world.deliver('lmtp', local, MESSAGE)).toMatch(/^250 /);
  }
  return world;
}

async function loggedIn(world: KeyWorld, user = 'ann'): Promise<ImapClient> {
  const client = await world.login(user);
  onTestFinished(() => {
    client[Symbol.dispose]();
  });
  return client;
}

/** A selected session, and one that idles. */
async function sessionsOf(world: KeyWorld, user = 'ann'): Promise<{ busy: ImapClient; idle: ImapClient }> {
  const [busy, idle] = [await loggedIn(world, user), await loggedIn(world, user)];
  for (const each of [busy, idle]) await each.select('INBOX');
  idle.send('i IDLE\r\n');
  expect(await idle.nextLine()).toMatch(/^\+/);
  return { busy, idle };
}

async function isOver(client: ImapClient, text: string): Promise<void> {
  expect(await client.nextLine()).toBe(`* BYE ${text}`);
  for (let line = await client.nextLine(); line !== null; line = await client.nextLine()) expect(line).toMatch(/^i /);
}

const read = async (client: ImapClient): Promise<string> => {
  const { status, text, untagged } = await client.command('UID FETCH 1 (BODY.PEEK[])');
  return untagged.some((it) => it.literals.length > 0 || it.text.includes('needle')) ? 'read' : `${status} ${text}`;
};

const loginText = async (world: KeyWorld, password = 'pw'): Promise<string> => {
  using client = await ImapClient.open(world.ports.imap);
  const { status, text } = await client.command(`LOGIN ann@${DOMAIN} ${password}`);
  return `${status} ${text}`;
};

/** Resolves when the server has asked for no key for a while: the buffers of the connection are full. */
async function untilQuiet(world: KeyWorld): Promise<void> {
  const leasesCount = (): number => {
    const { hitsCount, missesCount } = world.keys.metrics().mailboxKeyCache;
    return hitsCount + missesCount;
  };
  for (let quietTurns = 0, before = -1; quietTurns < QUIET_TURNS; quietTurns += 1) {
    await delay(10);
    if (leasesCount() !== before) quietTurns = 0;
    before = leasesCount();
  }
}

/** A client that asks for a message of so many lines so often, and does not read on after the first bytes. */
async function stalledReader(world: KeyWorld, how: Readonly<{ linesCount: number; timesCount: number }>) {
  await world.deliver('lmtp', 'ann', `Subject: long\r\n\r\n${'0123456789abcde\r\n'.repeat(how.linesCount)}`);
  const socket = connect(world.ports.imap, '127.0.0.1');
  const closed = Promise.withResolvers<void>();
  socket.on('error', () => undefined);
  socket.once('close', () => {
    closed.resolve();
  });
  onTestFinished(() => void socket.destroy());
  const fetches = 'c UID FETCH 2 (BODY.PEEK[])\r\n'.repeat(how.timesCount);
  socket.write(`a LOGIN ann@${DOMAIN} pw\r\nb SELECT INBOX\r\n${fetches}`);
  let receivedBytes = 0;
  socket.on('data', (chunk: Buffer) => (receivedBytes += chunk.length));
  while (receivedBytes < 600_000) await delay(1);
  socket.pause();
  await untilQuiet(world);
  return {
    /** Resolves when the server has cut it, and only `othersCount` connections are left. */
    isCut: async (othersCount: number): Promise<void> => {
      while (world.imap.connectionsCount() > othersCount) await delay(10);
      socket.resume();
      await closed.promise;
      expect(receivedBytes).toBeLessThan((17 * how.linesCount * how.timesCount) / 2);
    },
  };
}

describe('at once', () => {
  test('a suspended mailbox: its sessions end, its keys go, nobody gets them, and all comes back', async () => {
    const world = await started();
    const [ann, bob] = [await sessionsOf(world), await sessionsOf(world, 'bob')];
    const { ref } = await world.accounts.mailboxes.require(`ann@${DOMAIN}`);
    using held = await world.mailboxes.open(ref, { protocol: 'test' });
    await world.run('mailbox.suspend', { address: `ann@${DOMAIN}` });
    for (const client of [ann.busy, ann.idle]) await isOver(client, 'The mailbox is suspended');
    expect(await read(bob.busy)).toBe('read');
    expect(await loginText(world)).toMatch(/^NO \[AUTHENTICATIONFAILED\]/);
    expect(await world.deliver('smtp', 'ann', MESSAGE)).toMatch(/^450 4\.2\.1/);
    await expect(held.folders()).rejects.toMatchObject({ code: 'suspended' }); // whoever still has it open
    await expect(world.keys.leaseMailbox(ref, { use: { purpose: 'test', protocol: 'test' } })).rejects.toMatchObject({
      code: 'suspended',
    });
    await world.run('mailbox.resume', { address: `ann@${DOMAIN}` });
    expect(await held.folders()).toHaveLength(6);
    const back = await loggedIn(world);
    await back.select('INBOX');
    expect(await read(back)).toBe('read');
    expect(await world.deliver('smtp', 'ann', MESSAGE)).toMatch(/^250 /);
  });

  test('a suspended organization: the same for all of its mailboxes, and its directory is closed', async () => {
    const world = await started();
    const [ann, bob] = [await sessionsOf(world), await sessionsOf(world, 'bob')];
    await world.run('org.suspend', { organization: 'Example' });
    expect(world.keys.cacheState()).toEqual({ mailboxKeysCount: 0, directoryKeysCount: 0 });
    for (const client of [ann.busy, ann.idle, bob.busy, bob.idle])
      await isOver(client, 'The organization is suspended');
    const before = world.callsCount();
    expect(await loginText(world)).toMatch(/^NO \[AUTHENTICATIONFAILED\]/);
    expect(await world.deliver('smtp', 'ann', MESSAGE)).toMatch(/^450 4\.2\.1/);
    expect(world.callsCount()).toBe(before);
    await world.run('org.resume', { organization: 'Example' });
    const back = await loggedIn(world);
    await back.select('INBOX');
    expect(await read(back)).toBe('read');
  });

  test('a new password: sessions of the old one end', async () => {
    const world = await started();
    const { busy, idle } = await sessionsOf(world);
    await world.run('password.set', { address: `ann@${DOMAIN}`, password: 'other' });
    for (const client of [busy, idle]) await isOver(client, 'The password was changed');
    expect(await loginText(world)).toMatch(/^NO \[AUTHENTICATIONFAILED\]/);
    expect(await loginText(world, 'other')).toMatch(/^OK/);
  });

  test('a login that was verified a moment before a suspension gets no session', async () => {
    const world = await started();
    const open = world.mailboxes.open.bind(world.mailboxes);
    world.mailboxes.open = async (...given) => {
      const mailbox = await open(...given);
      await world.run('mailbox.suspend', { address: `ann@${DOMAIN}` });
      return mailbox;
    };
    using client = await ImapClient.open(world.ports.imap);
    expect((await client.command(`LOGIN ann@${DOMAIN} pw`)).text).toMatch(/^\[UNAVAILABLE\]/);
    expect((await client.command('LIST "" "*"')).status).toBe('BAD');
  });

  test('an answer that is under way is cut, however slowly it is read', async () => {
    const world = await started();
    const reader = await stalledReader(world, { linesCount: 2_500_000, timesCount: 1 });
    await world.run('mailbox.suspend', { address: `ann@${DOMAIN}` });
    await reader.isCut(0);
  });
});

describe('within a minute', () => {
  const REVOCATIONS: readonly (readonly [string, (world: KeyWorld) => unknown, (world: KeyWorld) => unknown])[] = [
    ['the key is disabled', ({ kms }) => (kms!.key.state = 'Disabled'), ({ kms }) => (kms!.key.state = 'Enabled')],
    ['access to it is denied', ({ kms }) => (kms!.key.denied = true), ({ kms }) => (kms!.key.denied = false)],
  ];
  test.each(REVOCATIONS)(
    '%s: open sessions read nothing more, and go on when it is back',
    async (_name, take, give) => {
      const world = await started('aws');
      const [ann, bob] = [await sessionsOf(world), await sessionsOf(world, 'bob')];
      world.advance(MINUTE_MS);
      expect(await read(ann.busy)).toBe('read');
      take(world);
      let lastReadMs = 0;
      for (let ms = 5000; ms <= 2 * MINUTE_MS; ms += 5000) {
        world.advance(5000);
        if ((await read(ann.busy)) === 'read') lastReadMs = ms;
      }
      expect(lastReadMs).toBeLessThan(MINUTE_MS);
      expect(await read(bob.busy)).toMatch(/^NO \[UNAVAILABLE\]/);
      give(world);
      world.advance(30_000);
      for (const client of [ann.busy, bob.busy]) expect(await read(client)).toBe('read');
      ann.idle.send('DONE\r\n');
      expect(await ann.idle.nextLine()).toMatch(/^i OK/);
    },
  );

  test('what was opened before is not kept for a client that does not take it', async () => {
    const world = await started();
    const reader = await stalledReader(world, { linesCount: 12_000, timesCount: 300 }); // between two literals
    const bob = await loggedIn(world, 'bob');
    world.advance(MINUTE_MS);
    world.fail('denied');
    expect((await bob.command('SELECT INBOX')).text).toMatch(/^\[UNAVAILABLE\]/);
    const startMs = performance.now();
    await reader.isCut(1);
    expect(performance.now() - startMs).toBeGreaterThan(HELD_OUTPUT_GRACE_MS / 2);
    expect((await bob.command('NOOP')).status).toBe('OK'); // it holds nothing
  });

  test('a revoked grant: nothing is read from then on', async () => {
    const world = await started('aws');
    const { busy } = await sessionsOf(world);
    const [organization] = await world.accounts.organizations.list();
    const { grants } = world.keys;
    const use = { purpose: 'test', protocol: 'test' };
    for (const grant of grants.list(organization!.id)) await grants.revoke(grant.id, use);
    expect(await read(busy)).toMatch(/^NO \[UNAVAILABLE\]/);
    expect(world.keys.cacheState()).toEqual({ mailboxKeysCount: 0, directoryKeysCount: 0 });
    expect((await busy.command('NOOP')).status).toBe('OK');
  });

  test('the names of keywords that were told before are not told again without the key', async () => {
    const world = await started();
    const [ann, other] = [await sessionsOf(world), await sessionsOf(world)];
    await ann.busy.ok('UID STORE 1 +FLAGS (First)');
    await other.busy.ok('NOOP');
    await ann.busy.ok('UID STORE 1 +FLAGS (Second)');
    world.advance(MINUTE_MS);
    world.fail('disabled');
    const { status, untagged } = await other.busy.command('NOOP');
    expect([status, untagged.map(({ text }) => text).join()]).toEqual([
      'OK',
      expect.not.stringMatching(/First|Second/),
    ]);
    world.fail(null);
    world.advance(30_000);
    const news = (await other.busy.ok('NOOP')).untagged.map(({ text }) => text).join('\n');
    expect(news).toMatch(/^\* FLAGS \(.*First Second\)\n.*\n\* 1 FETCH \(UID 1 FLAGS \(First Second\)/);
  });
});

test(
  'P6 nothing is opened later than a minute after the last Decrypt for its mailbox',
  { timeout: 60_000 },
  async () => {
    const world = await started('aws');
    const random = seededRandom(6);
    const below = (count: number): number => Math.floor(random() * count);
    const users = [];
    for (const local of ['ann', 'bob']) {
      const { ref } = await world.accounts.mailboxes.require(`${local}@${DOMAIN}`);
      users.push({ local, ref, client: (await sessionsOf(world, local)).busy, decryptedMs: Number.NEGATIVE_INFINITY });
    }
    const { seen } = world.kms!.server;
    let [nowMs, seenCount, fromCacheCount, askedCount] = [0, 0, 0, 0];
    world.advance(MINUTE_MS);
    seenCount = seen.length;
    for (let step = 0; step < 300; step += 1) {
      const passedMs = below(3) === 0 ? below(45_000) : below(5000);
      world.advance(passedMs);
      nowMs += passedMs;
      const user = users[below(users.length)]!;
      switch (below(4)) {
        case 0:
          expect(await read(user.client)).toBe('read');
          break;
        case 1:
          expect((await user.client.ok('UID SEARCH TEXT needle')).untagged.map(({ text }) => text).join()).toContain(
            '1',
          );
          break;
        case 2:
          expect((await user.client.ok('LIST "" "*"')).untagged).toHaveLength(6);
          break;
        default:
          expect((await user.client.append('Drafts', Buffer.from(MESSAGE))).status).toBe('OK');
      }
      const decrypts = seen.slice(seenCount).filter(({ operation }) => operation === 'Decrypt');
      seenCount = seen.length;
      for (const { encryptionContext } of decrypts) {
        const of = users.find(({ ref }) => JSON.stringify(encryptionContext).includes(ref.mailbox));
        expect(of).toBe(user); // nobody else's key was asked for
        user.decryptedMs = nowMs;
      }
      expect(nowMs - user.decryptedMs).toBeLessThan(MINUTE_MS);
      if (decrypts.length > 0) askedCount += 1;
      else fromCacheCount += 1;
    }
    expect(askedCount).toBeGreaterThan(20);
    expect(fromCacheCount).toBeGreaterThan(20);
  },
);
