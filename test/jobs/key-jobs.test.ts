import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test, vi } from 'vitest';
import type { OrganizationId } from '../../src/base/ids.ts';
import { packKey } from '../../src/crypto/packed-key.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import { Checkpointer } from '../../src/db/checkpointer.ts';
import { epoch } from '../../src/base/ids.ts';
import { KeyJobs } from '../../src/jobs/key-jobs.ts';
import { KeyVerification } from '../../src/jobs/key-verification.ts';
import type { KeyChangeState, RootKeyName } from '../../src/keys/key-changes.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import type { KeyProvider } from '../../src/keys/provider.ts';
import { AwsKms } from '../../src/keys/providers/aws-kms.ts';
import { addKeyringKey, addKeyringKeyVersion, setKeyringKeyState } from '../../src/keys/providers/keyring-file.ts';
import { LocalKeyring } from '../../src/keys/providers/local-keyring.ts';
import { Mailboxes } from '../../src/mailbox/mailboxes.ts';
import type { Logger } from '../../src/observe/logger.ts';
import { madeDomain, openFixture, type Fixture } from '../accounts/fixture.ts';
import { CREDENTIALS, KmsServer, REGION, type KmsKey } from '../support/kms-server.ts';
import { appendTo, bytesOf, folderIdOf, mail } from '../support/messages.ts';

const TEXT = mail({ Subject: 'kept' }, 'through every change');
const DEFAULT: RootKeyName = { provider: 'local-keyring', rootKey: 'local:default' };
const SECOND: RootKeyName = { provider: 'local-keyring', rootKey: 'local:second' };
const USE = { purpose: 'test', protocol: 'test' };
const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

const kms = await KmsServer.start();
afterAll(() => kms[Symbol.asyncDispose]());
const awsKms = (): AwsKms => new AwsKms({ endpoint: kms.endpoint, region: REGION, timeoutMs: 2000, ...CREDENTIALS });

type World = AsyncDisposable & {
  readonly base: Fixture;
  readonly jobs: KeyJobs;
  readonly mailboxes: Mailboxes;
  readonly organization: OrganizationId;
  readonly refs: readonly MailboxRef[];
  /** Each mailbox's message, read with keys that are asked for anew. */
  expectReadable(): Promise<void>;
  /** What wraps the keys: `provider root key: how many`. */
  wrappers(): Readonly<Record<string, number>>;
  rootKey(): string;
  ended(begun: KeyChangeState): Promise<KeyChangeState>;
};

async function openWorld(mailboxesCount: number, providers: readonly KeyProvider[] = []): Promise<World> {
  const base = await openFixture({}, providers);
  await addKeyringKey(base.keyring, 'second');
  const organization = await madeDomain(base);
  const refs: MailboxRef[] = [];
  for (let n = 1; n <= mailboxesCount; n += 1) {
    refs.push(await base.accounts.mailboxes.create({ address: `u${String(n)}@example.org` }));
  }
  const world = worldOf(base, { organization, refs });
  for (const ref of refs) {
    using mailbox = await world.mailboxes.open(ref, { protocol: 'test' });
    await appendTo(mailbox, await folderIdOf(mailbox, 'INBOX'), TEXT);
  }
  return world;
}

function worldOf(
  base: Fixture,
  { organization, refs }: Readonly<{ organization: OrganizationId; refs: readonly MailboxRef[] }>,
): World {
  const onFailure = (error: Error): never => {
    throw error;
  };
  const checkpointer = new Checkpointer({ intervalMs: 60_000, onFailure });
  const directory = join(base.folder, 'mailboxes');
  mkdirSync(directory, { recursive: true });
  const { keys, accounts } = base;
  const mailboxes = new Mailboxes({
    directory,
    inlineBodyMaxBytes: 65_536,
    maxOpenCount: 10,
    freeSpaceReserveBytes: 0,
    checkpointer,
    quotaOf: () => null,
    keys,
    onFailure,
  });
  const jobs = new KeyJobs({ organizations: accounts.organizations, keys, mailboxes, logger: silent });
  return {
    base,
    jobs,
    mailboxes,
    organization,
    refs,
    expectReadable: async () => {
      keys.forget(organization);
      expect((await accounts.organizations.list())[0]?.name).toBe('Example');
      for (const ref of refs) {
        using mailbox = await mailboxes.open(ref, { protocol: 'test' });
        const [uid] = (await mailbox.snapshot(await folderIdOf(mailbox, 'INBOX'))).uids;
        expect(await bytesOf(mailbox, await folderIdOf(mailbox, 'INBOX'), uid as never)).toEqual(TEXT);
      }
    },
    wrappers: () => {
      const counts: Record<string, number> = {};
      for (const { provider, rootKey } of keys.listKeys(organization)) {
        const name = `${provider} ${rootKey}`;
        counts[name] = (counts[name] ?? 0) + 1;
      }
      return counts;
    },
    rootKey: () => {
      const { provider, rootKey } = accounts.organizations.rootKey(organization);
      return `${provider} ${rootKey}`;
    },
    ended: async (begun) => {
      for (;;) {
        const state = jobs.find(begun.id);
        if (state && state.state !== 'running') return state;
        await sleep(5);
      }
    },
    [Symbol.asyncDispose]: async () => {
      await jobs.close();
      await mailboxes.close();
      await checkpointer.close();
      await base[Symbol.asyncDispose]();
    },
  };
}

/** The same function, which begins to close the world's jobs when it has come to an end so many times. */
function closingAfter<A extends unknown[], R>(
  world: World,
  count: number,
  original: (...args: A) => Promise<R>,
): (...args: A) => Promise<R> {
  let endedCount = 0;
  return async (...args) => {
    const result = await original(...args);
    endedCount += 1;
    if (endedCount === count) void world.jobs.close();
    return result;
  };
}

test('J3 an organization moves to another key of the keyring and can then do without the first', async () => {
  await using world = await openWorld(5);
  const { jobs, organization, base } = world;
  const ended = await world.ended(jobs.move(organization, { provider: 'local-keyring', rootKey: 'second' }));
  expect(ended).toMatchObject({
    kind: 'move',
    state: 'done',
    unit: 'keys',
    doneCount: 6,
    totalCount: 6,
    isResumed: false,
    remainingMs: 0,
    failure: null,
  });
  expect(world.wrappers()).toEqual({ 'local-keyring local:second': 6 });
  expect(world.rootKey()).toBe('local-keyring local:second');
  await setKeyringKeyState(base.keyring, 'default', 'disabled');
  await world.expectReadable();
  const later = await base.accounts.mailboxes.create({ address: 'later@example.org' });
  expect(base.keys.listKeys(organization).find((row) => row.owner === later.mailbox)?.rootKey).toBe('local:second');
});

test('keys go under the newest version of their root key, and then stay as they are', async () => {
  await using world = await openWorld(3);
  const { jobs, organization, base } = world;
  await addKeyringKeyVersion(base.keyring, 'default');
  const before = base.directory.prepare<{ w: string }>('SELECT hex(wrapped) AS w FROM wrapped_keys ORDER BY owner');
  const old = before.all();
  expect(old.every(({ w }) => w.startsWith('0100000001'))).toBe(true);
  expect(await world.ended(jobs.move(organization, DEFAULT))).toMatchObject({ state: 'done', doneCount: 4 });
  const upgraded = before.all();
  expect(upgraded.every(({ w }) => w.startsWith('0100000002'))).toBe(true);
  await world.expectReadable();
  expect(await world.ended(jobs.move(organization, DEFAULT))).toMatchObject({ state: 'done', doneCount: 4 });
  expect(before.all()).toEqual(upgraded);
});

test('into AWS KMS, there by ReEncrypt that shows no key, and back', async () => {
  await using world = await openWorld(3, [awsKms()]);
  const { jobs, organization } = world;
  const [one, two] = [kms.addKey(), kms.addKey()];
  expect(await world.ended(jobs.move(organization, { provider: 'aws-kms', rootKey: one.id }))).toMatchObject({
    state: 'done',
  });
  expect(world.wrappers()).toEqual({ [`aws-kms ${one.arn}`]: 4 });
  await world.expectReadable();

  kms.seen.length = 0;
  expect(await world.ended(jobs.move(organization, { provider: 'aws-kms', rootKey: two.id }))).toMatchObject({
    state: 'done',
    doneCount: 4,
  });
  const operations = kms.seen.map((seen) => seen.operation);
  expect(operations.filter((name) => name === 'ReEncrypt')).toHaveLength(4);
  expect(operations).not.toContain('Encrypt');
  expect(world.rootKey()).toBe(`aws-kms ${two.arn}`);
  const audited = world.base.audit.list({ organization, limit: 100 }).filter((row) => row.operation === 'ReEncrypt');
  expect(audited.map((row) => [row.rootKey, row.outcome, row.purpose])).toEqual(
    Array.from({ length: 4 }, () => [two.arn, 'ok', 'move-keys']),
  );
  one.denied = true;
  await world.expectReadable();

  expect(await world.ended(jobs.move(organization, SECOND))).toMatchObject({ state: 'done' });
  two.state = 'PendingDeletion';
  await world.expectReadable();
});

test('J2 J3 a move that was stopped goes on where it was; meanwhile mail is read by either root key', async () => {
  let base: Fixture;
  let scope: Pick<World, 'organization' | 'refs'>;
  {
    const world = await openWorld(12);
    ({ base } = world);
    scope = world;
    const { changes } = base.keys;
    const move = changes.move.bind(changes);
    vi.spyOn(changes, 'move').mockImplementation(closingAfter(world, 3, move));
    const begun = world.jobs.move(world.organization, SECOND);
    const stopped = await world.ended(begun);
    await world.jobs.close();
    expect(stopped).toMatchObject({ state: 'failed', failure: 'The server is stopping.' });
    expect(world.rootKey()).toBe('local-keyring local:default');
    await world.expectReadable();
    await world.mailboxes.close();
  }
  await using world = worldOf(await base.reopened(), scope);
  const movedCount = world.wrappers()['local-keyring local:second'] ?? 0;
  expect(movedCount).toBeGreaterThanOrEqual(3);
  expect(movedCount).toBeLessThan(13);
  await world.expectReadable();
  expect(await world.ended(world.jobs.move(world.organization, SECOND))).toMatchObject({
    state: 'done',
    isResumed: true,
    doneCount: 13,
  });
  expect(world.wrappers()).toEqual({ 'local-keyring local:second': 13 });
  await world.expectReadable();
});

test('keys that are made while a move runs are under the new root key in the end', async () => {
  await using world = await openWorld(10);
  const { jobs, organization, base } = world;
  const begun = jobs.move(organization, SECOND);
  let refused = 0;
  for (let n = 0; jobs.find(begun.id)?.state === 'running'; n += 1) {
    await base.accounts.mailboxes.create({ address: `new${String(n)}@example.org` }).catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'key-unavailable', retryable: true });
      refused += 1;
    });
  }
  expect(refused).toBeLessThan(2); // only where the root key changed between wrapping and storing
  expect(jobs.find(begun.id)).toMatchObject({ state: 'done' });
  expect(Object.keys(world.wrappers())).toEqual(['local-keyring local:second']);
  expect(base.keys.listKeys(organization).length).toBeGreaterThan(11);
});

test('KC1 J4 an answer with another key leaves the old wrapping in place', async () => {
  const lying: { isLying: boolean } = { isLying: true };
  const honest = new LocalKeyring('');
  const store = new Map<string, SecretBytes>();
  /** Wraps, and now and then gives back another key of the same owner. */
  const provider: KeyProvider = {
    kind: 'vault-transit',
    describe: (rootKey) => Promise.resolve({ rootKey, requestId: null }),
    wrap: (rootKey, secret, { context }) => {
      const name = `${String(store.size)} ${JSON.stringify(context)}`;
      store.set(name, SecretBytes.copyOf(secret.expose()));
      return Promise.resolve({ rootKey, wrapped: Buffer.from(name), requestId: null });
    },
    unwrap: (_rootKey, wrapped, { context }) => {
      const kept = store.get(Buffer.from(wrapped).toString());
      const owner = context['sealpost:mailbox'];
      const isTurned = lying.isLying && owner === world.refs[0]?.mailbox;
      const other = packKey({ owner: owner as never, epoch: epoch(1) }, SecretBytes.random(32));
      return Promise.resolve({
        secret: isTurned || !kept ? other : SecretBytes.copyOf(kept.expose()),
        requestId: null,
      });
    },
    createGrant: () => Promise.resolve({ kind: 'absent', why: 'not-supported', requestId: null }),
    revokeGrant: () => Promise.resolve({ requestId: null }),
    close: () => {
      honest.close();
    },
  };
  await using world = await openWorld(4, [provider]);
  const { jobs, organization } = world;
  const target: RootKeyName = { provider: 'vault-transit', rootKey: 'mail' };
  const ended = await world.ended(jobs.move(organization, target));
  expect(ended).toMatchObject({ state: 'failed', doneCount: 4, totalCount: 5 });
  expect(ended.failure).toContain('1 keys could not be moved and stay where they were');
  expect(world.wrappers()).toEqual({ 'local-keyring local:default': 1, 'vault-transit mail': 4 });
  expect(world.rootKey()).toBe('local-keyring local:default');
  await world.expectReadable();
  lying.isLying = false;
  expect(await world.ended(jobs.move(organization, target))).toMatchObject({ state: 'done', isResumed: true });
  expect(world.wrappers()).toEqual({ 'vault-transit mail': 5 });
  await world.expectReadable();
});

test.for(['wrong-key', 'short-plaintext', 'garbage', 'black-hole'] as const)(
  'KC1 a key service that goes wrong (%s) leaves the old wrappings in place',
  async (kind) => {
    await using world = await openWorld(2, [awsKms()]);
    const key = kms.addKey();
    const target: RootKeyName = { provider: 'aws-kms', rootKey: key.arn };
    await world.base.keys.grants.create(
      { organization: world.organization, ...target },
      { purpose: 'test', protocol: 'test' },
    );
    const begun = world.jobs.move(world.organization, target);
    kms.fault = { kind };
    const ended = await world.ended(begun);
    kms.fault = null;
    expect(ended).toMatchObject({ state: 'failed' });
    expect(world.wrappers()).toEqual({ 'local-keyring local:default': 3 });
    expect(world.rootKey()).toBe('local-keyring local:default');
    await world.expectReadable();
    world.base.keys.retryNow();
    expect(await world.ended(world.jobs.move(world.organization, target))).toMatchObject({ state: 'done' });
    await world.expectReadable();
  },
);

test('a root key that cannot serve is refused with the reason', async () => {
  await using world = await openWorld(1, [awsKms()]);
  const asymmetric = kms.addKey({ keySpec: 'RSA_2048' });
  const ended = await world.ended(world.jobs.move(world.organization, { provider: 'aws-kms', rootKey: asymmetric.id }));
  expect(ended).toMatchObject({ state: 'failed', totalCount: 0 });
  expect(ended.failure).toContain('asymmetric');
});

test('J1 one change of an organization at a time; the same one is joined', async () => {
  await using world = await openWorld(6);
  const { jobs, organization, refs } = world;
  const [ref] = refs;
  const begun = jobs.move(organization, SECOND);
  expect(jobs.move(organization, SECOND).id).toBe(begun.id);
  for (const other of [
    () => jobs.move(organization, DEFAULT),
    () => jobs.rotate({ organization, mailbox: null }),
    () => jobs.rotate({ organization, mailbox: ref?.mailbox ?? null }),
  ]) {
    expect(other).toThrow('Another change of the keys');
  }
  await world.ended(begun);
  expect(jobs.move(organization, SECOND).id).not.toBe(begun.id);
  expect(jobs.find('nothing')).toBeNull();
});

test('J2 all mailboxes of an organization rotate; a run that was stopped rotates each one once', async () => {
  const world = await openWorld(6);
  const { jobs, organization, base, refs } = world;
  const epochs = (of: Fixture): unknown =>
    of.keys
      .listKeys(organization)
      .filter((row) => row.owner !== 'directory')
      .map(({ epoch: at, state }) => `${String(at)} ${state}`);
  const open = world.mailboxes.open.bind(world.mailboxes);
  const spy = vi.spyOn(world.mailboxes, 'open').mockImplementation(closingAfter(world, 3, open));
  const begun = jobs.rotate({ organization, mailbox: null });
  expect(begun).toMatchObject({ kind: 'rotate', unit: 'mailboxes', mailbox: null });
  expect(await world.ended(begun)).toMatchObject({ state: 'failed', doneCount: 2 });
  await jobs.close();
  spy.mockRestore();
  await world.expectReadable();
  await world.mailboxes.close();

  await using again = worldOf(await base.reopened(), { organization, refs });
  await again.expectReadable();
  const ended = await again.ended(again.jobs.rotate({ organization, mailbox: null }));
  expect(ended).toMatchObject({ state: 'done', isResumed: true });
  expect(ended.doneCount).toBeLessThanOrEqual(4);
  expect(epochs(again.base)).toEqual(Array.from({ length: 6 }, () => '2 active'));
  await again.expectReadable();
  expect(await again.ended(again.jobs.rotate({ organization, mailbox: null }))).toMatchObject({
    state: 'done',
    isResumed: false,
    doneCount: 6,
    messagesCount: 6,
  });
  expect(epochs(again.base)).toEqual(Array.from({ length: 6 }, () => '3 active'));
  await again.expectReadable();
});

test('J4 a suspended mailbox keeps its key, the others rotate; resumed, the next run rotates it too', async () => {
  await using world = await openWorld(3);
  const { jobs, organization, base, refs } = world;
  const [ref] = refs;
  if (!ref) throw new Error('no mailbox');
  await base.accounts.mailboxes.setState(ref, 'suspended');
  const ended = await world.ended(jobs.rotate({ organization, mailbox: null }));
  expect(ended).toMatchObject({ state: 'failed', doneCount: 2, totalCount: 3 });
  expect(ended.failure).toContain('1 mailbox keys could not be rotated');
  await base.accounts.mailboxes.setState(ref, 'active');
  await world.expectReadable();
  expect(await world.ended(jobs.rotate({ organization, mailbox: null }))).toMatchObject({
    state: 'done',
    doneCount: 1,
  });
  await world.expectReadable();
});

/** Takes a key out of a keyring for good. */
function loseKey(file: string, name: string): void {
  const keyring = JSON.parse(readFileSync(file, 'utf8')) as { keys: Record<string, unknown> };
  const keys = Object.fromEntries(Object.entries(keyring.keys).filter(([each]) => each !== name));
  writeFileSync(file, JSON.stringify({ ...keyring, keys }));
}

describe('a second root key', () => {
  const secondOf = (world: World): readonly string[] =>
    world.base.directory
      .prepare<{ name: string }>("SELECT provider || ' ' || root_key AS name FROM second_wrappings ORDER BY owner")
      .all()
      .map(({ name }) => name);
  const open = async (): Promise<World & { key: KmsKey }> => {
    const key = kms.addKey();
    const world = await openWorld(3, [awsKms()]);
    const { jobs, organization } = world;
    const target: RootKeyName = { provider: 'aws-kms', rootKey: key.id };
    expect(await world.ended(jobs.addSecond(organization, target))).toMatchObject({
      kind: 'second',
      state: 'done',
      doneCount: 4,
      totalCount: 4,
    });
    return Object.assign(world, { key });
  };

  test('wraps every key that is there, and every one that is made; rotations too', async () => {
    await using world = await open();
    const { jobs, organization, base, key } = world;
    const name = `aws-kms ${key.arn}`;
    expect(secondOf(world)).toEqual([name, name, name, name]);
    await base.accounts.mailboxes.create({ address: 'later@example.org' });
    expect(secondOf(world)).toHaveLength(5);
    expect(await world.ended(jobs.rotate({ organization, mailbox: null }))).toMatchObject({ state: 'done' });
    expect(secondOf(world)).toHaveLength(5); // those of the old epochs went with them
    expect(await world.ended(jobs.verify(organization))).toMatchObject({ kind: 'verify', state: 'done', doneCount: 5 });
    const again = jobs.addSecond(organization, { provider: 'aws-kms', rootKey: key.id });
    expect(await world.ended(again)).toMatchObject({ state: 'done', doneCount: 5, isResumed: false });
  });

  test('KS10 the first root key is lost: the mail is read, and the organization goes to another one', async () => {
    await using world = await open();
    const { jobs, organization, base } = world;
    loseKey(base.keyring, 'default');
    base.keys.forget(organization);
    await world.expectReadable();
    expect(await world.ended(jobs.verify(organization))).toMatchObject({ state: 'failed', doneCount: 0 });
    expect(await world.ended(jobs.move(organization, SECOND))).toMatchObject({ state: 'done', doneCount: 4 });
    expect(world.wrappers()).toEqual({ 'local-keyring local:second': 4 });
    expect(await world.ended(jobs.verify(organization))).toMatchObject({ state: 'done', doneCount: 4 });
    await world.expectReadable();
  });

  test('KS10 the first root key cannot be reached: the mail is read; it refuses: the mail is locked', async () => {
    await using world = await open();
    const { base, key, refs } = world;
    const [ref] = refs;
    if (!ref) throw new Error('no mailbox');
    await setKeyringKeyState(base.keyring, 'default', 'disabled');
    base.keys.forget(world.organization);
    await expect(base.keys.leaseMailbox(ref, { use: USE })).rejects.toMatchObject({ code: 'key-refused' });
    await setKeyringKeyState(base.keyring, 'default', 'enabled');
    base.keys.retryNow();
    renameSync(base.keyring, `${base.keyring}.away`);
    (await base.keys.leaseMailbox(ref, { use: USE }))[Symbol.dispose]();
    key.state = 'Disabled';
    base.keys.forget(world.organization);
    await expect(base.keys.leaseMailbox(ref, { use: USE })).rejects.toMatchObject({ code: 'key-refused' });
    renameSync(`${base.keyring}.away`, base.keyring);
  });

  test('the first root key is not taken for the second', async () => {
    await using world = await openWorld(1);
    const ended = await world.ended(world.jobs.addSecond(world.organization, DEFAULT));
    expect(ended).toMatchObject({ state: 'failed', failure: expect.stringContaining('first root key') as string });
    expect(secondOf(world)).toEqual([]);
  });

  test('a wrapping that was damaged is found by the verification', async () => {
    await using world = await open();
    const { jobs, organization, base } = world;
    base.directory
      .prepare("UPDATE second_wrappings SET wrapped = (SELECT wrapped FROM second_wrappings WHERE owner = 'directory')")
      .run();
    const ended = await world.ended(jobs.verify(organization));
    expect(ended).toMatchObject({ state: 'failed', doneCount: 1, totalCount: 4 });
    expect(ended.failure).toContain('3 wrapped keys do not open');
    expect(base.accounts.organizations.verifications()).toMatchObject([{ failedCount: 3 }]);
    await world.expectReadable();
  });

  test('it is removed with all that it wraps', async () => {
    await using world = await open();
    const { changes } = world.base.keys;
    expect(await changes.removeSecondRootKey(world.organization)).toBe(4);
    expect(secondOf(world)).toEqual([]);
    expect(changes.secondRootKey(world.organization)).toBeNull();
    await world.base.accounts.mailboxes.create({ address: 'later@example.org' });
    expect(secondOf(world)).toEqual([]);
    await world.expectReadable();
  });
});

test('KV1 KV2 every key is opened when it is due, and not before', async () => {
  await using world = await openWorld(2);
  const { base } = world;
  const { organizations } = base.accounts;
  const options = { organizations, keys: base.keys, logger: silent, nowMs: () => base.nowMs, everyMs: 3_600_000 };
  const callsCount = (): number =>
    base.audit.list({ limit: 1000 }).filter((row) => row.purpose === 'verify-keys').length;
  await using never = new KeyVerification({ ...options, pauseMs: 0, intervalMs: 0 });
  await never.run();
  expect(callsCount()).toBe(0);
  await using daily = new KeyVerification({ ...options, pauseMs: 0, intervalMs: 86_400_000 });
  await daily.run();
  await daily.run();
  expect(callsCount()).toBe(3);
  const first = { id: world.organization, atMs: base.nowMs, failedCount: 0 };
  expect(organizations.verifications()).toEqual([first]);
  base.nowMs += 86_400_000;
  await setKeyringKeyState(base.keyring, 'default', 'disabled');
  await daily.run();
  expect(organizations.verifications()).toEqual([first]);
  await setKeyringKeyState(base.keyring, 'default', 'enabled');
  base.keys.retryNow();
  await daily.run();
  expect(organizations.verifications()).toEqual([{ ...first, atMs: base.nowMs }]);
  expect(callsCount()).toBe(3 + 1 + 3);
});
