/**
 * When the key service fails (README.md, "When something fails"), row by row: what mail transfer and IMAP say, what
 * stays cached, how often the key service is asked, and that all of it comes back. P7 and P8 of the promises, with time
 * that passes when the test says so; test/integration/key-outage.test.ts is the same with a real clock.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import type { KeyFailure } from '../../src/keys/provider.ts';
import type { Fault, KmsKey } from '../support/kms-server.ts';
import type { ImapClient } from '../support/wire.ts';
import { keyWorld, type KeyWorld } from './key-world.ts';

const MESSAGE = 'From: a@example.net\r\nSubject: sealed\r\n\r\nneedle\r\n';
const MINUTE_MS = 60_000;
const PROBE_MS = 30_000;
/** Longer than any pause of a transient failure. */
const SETTLED_MS = 10_000;

type Kind =
  /** No answer, or a failure that may pass. */
  | 'transient'
  /** The key may not be used. */
  | 'refused'
  /** The key is gone for good. */
  | 'lost'
  /** The wrapped key does not open. */
  | 'damaged';
type Row = Readonly<{
  name: string;
  kind: Kind;
  provider: 'local' | 'aws';
  begin(world: KeyWorld): void;
  end(world: KeyWorld): void;
  /** Answers that make no sense are not tried twice. */
  triesCount?: number;
}>;

const CODES: Readonly<Record<Kind, string>> = {
  transient: 'UNAVAILABLE',
  refused: 'UNAVAILABLE',
  lost: 'CONTACTADMIN',
  damaged: 'SERVERBUG',
};

const local = (failing: KeyFailure | 'hang', kind: Kind): Row => ({
  name: `local-keyring: ${failing}`,
  kind,
  provider: 'local',
  begin: (world) => {
    world.fail(failing);
  },
  end: (world) => {
    world.fail(null);
  },
});
const aws = (name: string, kind: Kind, fault: Fault, triesCount?: number): Row => ({
  name: `aws-kms: ${name}`,
  kind,
  provider: 'aws',
  begin: ({ kms }) => void Object.assign(kms!.server, { fault }),
  end: ({ kms }) => void Object.assign(kms!.server, { fault: null }),
  ...(triesCount === undefined ? {} : { triesCount }),
});
const awsError = (name: string, kind: Kind, status = 400): Row => aws(name, kind, { kind: 'error', name, status });
const awsKey = (name: string, kind: Kind, bad: Partial<KmsKey>, good: Partial<KmsKey>): Row => ({
  name: `aws-kms: ${name}`,
  kind,
  provider: 'aws',
  begin: ({ kms }) => void Object.assign(kms!.key, bad),
  end: ({ kms }) => void Object.assign(kms!.key, good),
});

const ROWS: readonly Row[] = [
  local('unreachable', 'transient'),
  local('hang', 'transient'),
  local('throttled', 'transient'),
  local('internal', 'transient'),
  local('disabled', 'refused'),
  local('denied', 'refused'),
  local('not-found', 'lost'),
  local('invalid-ciphertext', 'damaged'),
  awsError('ThrottlingException', 'transient'),
  awsError('KMSInternalException', 'transient', 500),
  awsError('DependencyTimeoutException', 'transient', 503),
  awsError('KeyUnavailableException', 'transient', 500),
  aws('connection reset', 'transient', { kind: 'reset' }),
  aws('no answer', 'transient', { kind: 'black-hole' }),
  aws('error page of a proxy', 'transient', { kind: 'html-500' }),
  awsKey('DisabledException', 'refused', { state: 'Disabled' }, { state: 'Enabled' }),
  awsKey('KMSInvalidStateException', 'refused', { state: 'PendingDeletion' }, { state: 'Enabled' }),
  awsKey('AccessDeniedException', 'refused', { denied: true }, { denied: false }),
  awsError('NotFoundException', 'lost'),
  awsError('InvalidCiphertextException', 'damaged'),
  awsError('IncorrectKeyException', 'damaged'),
];

async function started(provider: 'local' | 'aws'): Promise<KeyWorld> {
  const world = await keyWorld(provider);
  onTestFinished(() => world[Symbol.asyncDispose]());
  await world.addUser('ann');
  await world.addUser('bob');
  await world.addUser('new');
  expect(await world.deliver('smtp', 'ann', MESSAGE)).toMatch(/^250 /);
  expect(await world.deliver('lmtp', 'ann', MESSAGE)).toMatch(/^250 /);
  (await world.login('bob'))[Symbol.dispose](); // the first login makes the folders
  return world;
}

async function loggedIn(world: KeyWorld, user = 'ann'): Promise<ImapClient> {
  const client = await world.login(user);
  onTestFinished(() => {
    client[Symbol.dispose]();
  });
  return client;
}

async function said(client: ImapClient, command: string): Promise<string> {
  const { status, text, untagged } = await client.command(command);
  const lines = untagged.map((it) => it.text).filter((line) => /LIST|STATUS|SEARCH|FETCH|EXISTS/.test(line));
  return [...lines, `${status} ${text}`].join('\n');
}

/** Commands that need the mailbox key: each fails as a whole, with nothing told before. */
const NEED_KEY = [
  'LIST "" "*"',
  'LSUB "" "*"',
  'STATUS INBOX (MESSAGES)',
  'CREATE made',
  'RENAME Archive other',
  'SUBSCRIBE other',
  'UID FETCH 1 (BODY.PEEK[])',
  'UID FETCH 1:* (ENVELOPE)',
  'UID SEARCH TEXT needle',
  'UID STORE 1 +FLAGS (word)',
  'UID COPY 1 Archive',
];

describe('while it fails', () => {
  test.each(ROWS)('$name', { timeout: 20_000 }, async (row) => {
    const world = await started(row.provider);
    const [client, idler, other] = [await loggedIn(world), await loggedIn(world), await loggedIn(world)];
    for (const each of [client, idler]) await each.select('INBOX');
    const code = CODES[row.kind];
    const refused = new RegExp(`^NO \\[${code}\\]`);

    // The keys are cached: as long as that lasts, nobody notices.
    row.begin(world);
    expect(await said(client, 'UID FETCH 1 (BODY.PEEK[])')).toMatch(/OK/);
    const before = world.callsCount();
    world.advance(MINUTE_MS);
    expect(await said(client, 'UID FETCH 1 (BODY.PEEK[])')).toMatch(refused);
    expect(world.callsCount() - before).toBe(row.triesCount ?? (row.kind === 'transient' ? 2 : 1));
    expect(world.keys.cacheState().mailboxKeysCount).toBe(0);

    // Lists fail whole; nothing is short, nothing is told.
    for (const command of NEED_KEY)
      expect([command, await said(client, command)]).toEqual([command, expect.stringMatching(refused)]);
    expect((await client.append('INBOX', Buffer.from(MESSAGE))).text).toMatch(new RegExp(`^\\[${code}\\]`));
    expect(await said(other, 'SELECT INBOX')).toMatch(refused);

    // What rows alone can tell goes on, and so does the session.
    expect(await said(client, 'UID FETCH 1:* (FLAGS)')).toMatch(/^\* 1 FETCH .*\n\* 2 FETCH .*\nOK/);
    expect(await said(client, 'UID SEARCH UNSEEN')).toMatch(/SEARCH.*1.*2\nOK|SEARCH.*1:2\nOK/);
    expect(await said(client, 'NOOP')).toMatch(/^OK/);
    idler.send('i IDLE\r\n');
    expect(await idler.nextLine()).toMatch(/^\+/);
    expect(await said(client, 'UID STORE 2 +FLAGS.SILENT (\\Flagged)')).toMatch(/^OK/);
    expect(await idler.nextLine()).toMatch(/^\* 2 FETCH \(UID 2 FLAGS \(\\Flagged\)/);

    // Mail is kept, sealed, while the key service is away; where it refuses, mail waits at its sender. A login is refused
    // in a way that clients do not take for a wrong password.
    const isKept = row.kind === 'transient';
    for (const way of ['smtp', 'lmtp'] as const) {
      const kept = MESSAGE.replace('sealed', `kept by ${way}`);
      expect(await world.deliver(way, 'ann', kept)).toMatch(isKept ? /^250 / : /^4\d\d 4/);
      expect(await world.deliver(way, 'new', kept)).toMatch(isKept ? /^250 / : /^4\d\d 4/); // it has no folders yet
    }
    expect(world.accounts.waitingMailboxes.list()).toHaveLength(isKept ? 2 : 0);
    await world.adoption.run(); // in vain
    const login = world.login('bob');
    if (row.kind === 'transient')
      (await login)[Symbol.dispose](); // the directory key has its grace
    else if (row.kind !== 'damaged') await expect(login).rejects.toThrow(`[${code}]`);
    else await login.catch(() => undefined); // all keys are damaged here: the directory key, too
    expect(world.keys.cacheState().directoryKeysCount).toBe(row.kind === 'transient' ? 1 : 0);

    // However much was asked: the key service was left alone.
    const asked = world.callsCount() - before;
    expect(asked).toBeLessThanOrEqual(row.kind === 'transient' ? 12 : 6);
    const afterwards = world.callsCount();
    for (let count = 0; count < 20; count += 1)
      expect(await said(client, 'UID FETCH 1 (BODY.PEEK[])')).toMatch(refused);
    expect(world.callsCount()).toBe(afterwards);

    // And back.
    row.end(world);
    world.advance(row.kind === 'transient' ? SETTLED_MS : PROBE_MS);
    const { bytes } = (await client.fetchAll('1'))[0]!;
    expect(bytes.toString()).toContain('needle');
    idler.send('DONE\r\n');
    expect(await idler.nextLine()).toMatch(/^i OK/);
    expect((await client.ok('LIST "" "*"')).untagged).toHaveLength(6);
    for (const way of ['smtp', 'lmtp'] as const) expect(await world.deliver(way, 'ann', MESSAGE)).toMatch(/^250 /);
    expect(await client.select('INBOX')).toMatchObject({ exists: isKept ? 6 : 4 });
    if (isKept) {
      const subjects = (await client.fetchAll('3:4')).map(({ bytes }) => /Subject: (.*)\r/.exec(bytes.toString())?.[1]);
      expect(subjects).toEqual(['kept by smtp', 'kept by lmtp']); // in the order of arrival, before what came later
    }
    await world.adoption.run();
    expect(world.accounts.waitingMailboxes.list()).toEqual([]);
    expect(await (await loggedIn(world, 'new')).select('INBOX')).toMatchObject({ exists: isKept ? 2 : 0 });
    (await world.login('bob'))[Symbol.dispose]();
  });
});

test('a refusal purges the keys of the whole organization at once, and is probed every 30 seconds', async () => {
  const world = await started('local');
  const [ann, bob] = [await loggedIn(world), await loggedIn(world, 'bob')];
  await ann.select('INBOX');
  world.advance(MINUTE_MS);
  expect(await said(ann, 'UID FETCH 1 (BODY.PEEK[])')).toMatch(/OK/); // asked for just now
  world.advance(10_000);
  world.fail('disabled');
  expect(await said(ann, 'UID FETCH 1 (BODY.PEEK[])')).toMatch(/OK/); // nobody has been refused yet
  expect(await said(bob, 'SELECT INBOX')).toMatch(/^NO \[UNAVAILABLE\]/); // the first refusal
  expect(world.keys.cacheState()).toEqual({ mailboxKeysCount: 0, directoryKeysCount: 0 });
  expect(await said(ann, 'UID FETCH 1 (BODY.PEEK[])')).toMatch(/^NO \[UNAVAILABLE\]/);
  const before = world.callsCount();
  for (let seconds = 1; seconds < 120; seconds += 1) {
    world.advance(1000);
    await said(ann, 'UID FETCH 1 (BODY.PEEK[])');
  }
  expect(world.callsCount() - before).toBe(3);
});

test('W11 a mailbox with a key pair: mail gets in without its key, and is read like any other', async () => {
  const world = await started('local');
  const ref = await world.addUser('pat', 'pair');
  const audited = (): (string | null)[] => world.admin.audit.list({ limit: 1000 }).map((row) => row.purpose);
  const client = await loggedIn(world, 'pat');
  await client.select('INBOX');
  client.send('i IDLE\r\n');
  expect(await client.nextLine()).toMatch(/^\+/);
  for (const way of ['smtp', 'lmtp'] as const) {
    expect(await world.deliver(way, 'pat', MESSAGE.replace('sealed', `by ${way}`))).toMatch(/^250 /);
    expect(await client.nextLine()).toMatch(/^\* \d EXISTS/);
  }
  client.send('DONE\r\n');
  expect(await client.nextLine()).toMatch(/^i OK/);
  const fetched = await client.fetchAll('1:2');
  expect(fetched.map(({ bytes }) => /Subject: (.*)\r/.exec(bytes.toString())?.[1])).toEqual(['by smtp', 'by lmtp']);
  expect(await said(client, 'UID SEARCH TEXT needle')).toMatch(/SEARCH.*1.*2\nOK|SEARCH.*1:2\nOK/);
  expect(await said(client, 'UID MOVE 1 Archive')).toMatch(/^OK/);
  using mailbox = await world.mailboxes.open(ref, { protocol: 'test' });
  const rootKey = world.accounts.organizations.rootKey(ref.organization);
  expect(await mailbox.rotateKey({ rootKey, onProgress: () => undefined })).toMatchObject({ epoch: 2 });
  expect(await said(client, 'UID FETCH 2 (BODY.PEEK[])')).toMatch(/OK/);

  // With the key service out of reach mail gets in just the same: nobody asks for it.
  world.advance(MINUTE_MS - 1);
  world.fail('unreachable');
  expect(await world.deliver('smtp', 'pat', MESSAGE)).toMatch(/^250 /);
  world.fail(null);
  world.advance(SETTLED_MS);
  await world.adoption.run();
  expect(await client.select('INBOX')).toMatchObject({ exists: 2 });
  expect(audited()).not.toContain('append');
});

test('many sessions that need one key cause one call', async () => {
  const world = await started('local');
  const clients = await Promise.all(Array.from({ length: 20 }, () => loggedIn(world)));
  await Promise.all(clients.map((client) => client.select('INBOX')));
  world.advance(MINUTE_MS);
  const before = world.callsCount();
  const answers = await Promise.all(clients.map((client) => said(client, 'UID FETCH 1 (BODY.PEEK[])')));
  for (const answer of answers) expect(answer).toMatch(/OK/);
  expect(world.callsCount() - before).toBe(1);
});

test('sessions that idle ask for no key, however long', async () => {
  const world = await started('local');
  const client = await loggedIn(world);
  await client.select('INBOX');
  client.send('i IDLE\r\n');
  expect(await client.nextLine()).toMatch(/^\+/);
  const before = world.callsCount();
  for (let minutes = 0; minutes < 60; minutes += 1) world.advance(MINUTE_MS);
  expect(world.callsCount()).toBe(before);
  expect(world.keys.cacheState().mailboxKeysCount).toBe(0);
});
