import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { ServerError, type ErrorCode } from '../../src/base/errors.ts';
import { encryptionContext, type KeyOwner } from '../../src/crypto/context.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import { AuditLog } from '../../src/keys/audit-log.ts';
import { KeyService } from '../../src/keys/key-service.ts';
import type { MailboxKeyLease } from '../../src/keys/mailbox-keys.ts';
import { KeyProviderError, type KeyFailure, type KeyProvider, type ProviderGrant } from '../../src/keys/provider.ts';
import { AwsKms } from '../../src/keys/providers/aws-kms.ts';
import { mailbox, organization, otherMailbox, otherOrganization } from '../crypto/fixtures.ts';
import { CREDENTIALS, KmsServer, REGION } from '../support/kms-server.ts';
import { directoryDatabases } from './directory-database.ts';

type KeyServiceLimits = ConstructorParameters<typeof KeyService>[0]['limits'];

const use = { purpose: 'test', protocol: 'imap' };
const ref = { organization, mailbox };
const open = directoryDatabases();
const services: KeyService[] = [];
afterEach(() => {
  for (const service of services.splice(0)) service.close();
});

/** A provider in memory that fails as it is told, once for each entry of `failures`, then works. */
class ScriptedProvider implements KeyProvider {
  readonly kind = 'local-keyring';
  failures: (KeyFailure | 'hang')[] = [];
  always: KeyFailure | null = null;
  calls = 0;
  readonly #wrapped = new Map<string, Uint8Array>();

  async #answer(signal?: AbortSignal): Promise<{ requestId: string }> {
    this.calls += 1;
    const failure = this.always ?? this.failures.shift();
    if (failure === 'hang') await new Promise((_, reject) => signal?.addEventListener('abort', reject));
    if (failure && failure !== 'hang') throw new KeyProviderError(failure, 'as told', { requestId: 'r' });
    return { requestId: `r${String(this.calls)}` };
  }
  async describe(rootKey: string, signal?: AbortSignal) {
    return { ...(await this.#answer(signal)), rootKey: `local:${rootKey}` };
  }
  async wrap(rootKey: string, secret: SecretBytes, options: Parameters<KeyProvider['wrap']>[2]) {
    const answer = await this.#answer(options.signal);
    const wrapped = Buffer.from(`${String(this.#wrapped.size)} ${JSON.stringify(options.context)}`);
    this.#wrapped.set(wrapped.toString(), secret.expose().slice());
    return { ...answer, rootKey, wrapped };
  }
  async unwrap(_rootKey: string, wrapped: Uint8Array, options: Parameters<KeyProvider['unwrap']>[2]) {
    const answer = await this.#answer(options.signal);
    const found = this.#wrapped.get(Buffer.from(wrapped).toString());
    if (!found) throw new KeyProviderError('invalid-ciphertext', 'unknown');
    return { ...answer, secret: SecretBytes.copyOf(found) };
  }
  async createGrant(): Promise<ProviderGrant> {
    await this.#answer();
    return { kind: 'absent', why: 'not-supported', requestId: null };
  }
  async revokeGrant() {
    return this.#answer();
  }
  close(): void {
    this.always = 'unreachable';
  }
}

async function setup(limits: Partial<KeyServiceLimits> = {}) {
  const db = await open([organization, otherOrganization]);
  const provider = new ScriptedProvider();
  const audit = new AuditLog(db);
  const clock = { nowMs: 0 };
  const service = new KeyService({
    db,
    providers: [provider],
    audit,
    limits: {
      cacheMaxAgeMs: 60_000,
      cacheMaxEntriesCount: 100,
      cacheMaxLeasesCount: 1_000_000,
      directoryKeyGraceMs: 900_000,
      callBudgetMs: 2000,
      ...limits,
    },
    nowMs: () => clock.nowMs,
    wallClockMs: () => 77,
    random: () => 0,
  });
  services.push(service);
  const create = async (owner: KeyOwner, of = organization) => {
    const scope = { organization: of, owner, provider: 'local-keyring', rootKey: 'local:default' } as const;
    const row = await service.createKey(scope, use);
    service.insertKey(row);
    return row;
  };
  for (const of of [organization, otherOrganization]) {
    await service.grants.create({ organization: of, provider: 'local-keyring', rootKey: 'local:default' }, use);
  }
  await create(mailbox);
  await create('directory');
  const setUpRowsCount = audit.list({ limit: 100 }).length;
  provider.calls = 0;
  /** What was audited since, oldest first. */
  const audited = () => audit.list({ limit: 100 }).reverse().slice(setUpRowsCount);
  return { db, provider, audited, clock, service, create };
}

async function codeOf(work: Promise<Disposable | string>): Promise<ErrorCode | 'leased'> {
  try {
    const result = await work;
    if (typeof result !== 'string') result[Symbol.dispose]();
    return 'leased';
  } catch (error) {
    expect(error).toBeInstanceOf(ServerError);
    return (error as ServerError).code;
  }
}
const hex = (lease: MailboxKeyLease): string => Buffer.from(lease.keys.wrap.expose()).toString('hex');

describe('KS1 the cache of mailbox keys', () => {
  test('is never configured for more than a minute', async () => {
    for (const cacheMaxAgeMs of [60_001, 0, NaN, Infinity])
      await expect(setup({ cacheMaxAgeMs })).rejects.toThrow(TypeError);
  });

  test('serves for 60 s from the answer, absolutely, and not longer', async () => {
    const { provider, clock, service } = await setup();
    for (clock.nowMs of [0, 30_000, 59_999]) expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
    expect(provider.calls).toBe(1);
    provider.always = 'unreachable';
    clock.nowMs = 60_000;
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('key-unavailable');
    expect(service.cacheState().mailboxKeysCount).toBe(0);
  });

  test('zeroes idle keys by itself when they are due', async () => {
    const { service, clock } = await setup({ cacheMaxAgeMs: 30, directoryKeyGraceMs: 0 });
    const [lease, directory] = [
      await service.leaseMailbox(ref, { use }),
      await service.leaseDirectory(organization, { use }),
    ];
    lease[Symbol.dispose]();
    directory[Symbol.dispose]();
    expect(service.cacheState()).toEqual({ mailboxKeysCount: 1, directoryKeysCount: 1 });
    clock.nowMs = 30;
    await expect
      .poll(() => lease.keys.wrap.zeroed && directory.keys.record.zeroed, { timeout: 2000, interval: 5 })
      .toBe(true);
    expect(service.cacheState()).toEqual({ mailboxKeysCount: 0, directoryKeysCount: 0 });
  });

  test('gives each mailbox and epoch its own keys, and the same ones again', async () => {
    const { service, clock, create } = await setup();
    await create(otherMailbox);
    using one = await service.leaseMailbox(ref, { use });
    using other = await service.leaseMailbox({ organization, mailbox: otherMailbox }, { use });
    using directory = await service.leaseDirectory(organization, { use });
    expect(new Set([hex(one), hex(other), hex(directory)]).size).toBe(3);
    clock.nowMs = 60_000;
    using again = await service.leaseMailbox(ref, { use, epoch: one.epoch });
    expect(hex(again)).toBe(hex(one));
    expect(one.epoch).toBe(1);
  });

  test('property: once expired, no lease while the provider refuses; leases again when it is back', async () => {
    const { provider, clock, service } = await setup();
    const failures = fc.constantFrom<KeyFailure>(
      'disabled',
      'denied',
      'not-found',
      'unreachable',
      'throttled',
      'internal',
      'bad-answer',
    );
    const steps = fc.array(fc.tuple(fc.nat(90_000), fc.option(failures)), { minLength: 1, maxLength: 12 });
    let unwrappedAtMs = -Infinity;
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        for (const [waitMs, failure] of script) {
          clock.nowMs += waitMs;
          provider.always = failure;
          const before = provider.calls;
          const code = await codeOf(service.leaseMailbox(ref, { use }));
          if (provider.calls > before && code === 'leased') unwrappedAtMs = clock.nowMs;
          if (code === 'leased') expect(clock.nowMs - unwrappedAtMs).toBeLessThan(60_000);
          if (failure && clock.nowMs - unwrappedAtMs >= 60_000) expect(code).not.toBe('leased');
        }
        provider.always = null;
        clock.nowMs += 90_000; // past the cache and any pause
        expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
        unwrappedAtMs = clock.nowMs;
      }),
      { numRuns: 60 },
    );
  });
});

describe('KS2 the directory key', () => {
  test('is leased in grace while the provider is unreachable', async () => {
    const { provider, clock, service } = await setup();
    expect(await codeOf(service.leaseDirectory(organization, { use }))).toBe('leased');
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
    for (const failure of ['unreachable', 'throttled', 'internal', 'bad-answer'] as const) {
      provider.always = failure;
      clock.nowMs += 200_000;
      expect(await codeOf(service.leaseDirectory(organization, { use })), failure).toBe('leased');
      expect(await codeOf(service.leaseMailbox(ref, { use })), failure).toBe('key-unavailable');
    }
    clock.nowMs = 900_000;
    expect(await codeOf(service.leaseDirectory(organization, { use }))).toBe('key-unavailable');
  });

  test('is purged by a refusal', async () => {
    const { provider, clock, service } = await setup();
    expect(await codeOf(service.leaseDirectory(organization, { use }))).toBe('leased');
    provider.always = 'disabled';
    clock.nowMs = 60_000;
    expect(await codeOf(service.leaseDirectory(organization, { use }))).toBe('key-refused');
    provider.always = 'unreachable';
    clock.nowMs += 30_000;
    expect(await codeOf(service.leaseDirectory(organization, { use }))).toBe('key-unavailable');
  });
});

test.for(['disabled', 'denied', 'not-found'] as const)(
  'KS3 %s purges the organization at once, and only it',
  async (failure) => {
    const { provider, clock, service, create } = await setup();
    await create(otherMailbox);
    await create(mailbox, otherOrganization);
    using held = await service.leaseMailbox(ref, { use });
    using foreign = await service.leaseMailbox({ organization: otherOrganization, mailbox }, { use });
    using directory = await service.leaseDirectory(organization, { use });
    expect(service.cacheState()).toEqual({ mailboxKeysCount: 2, directoryKeysCount: 1 });
    provider.always = failure;
    const refused = await codeOf(service.leaseMailbox({ organization, mailbox: otherMailbox }, { use }));
    expect(refused).toBe(failure === 'not-found' ? 'key-lost' : 'key-refused');
    expect(service.cacheState()).toEqual({ mailboxKeysCount: 1, directoryKeysCount: 0 });
    expect([held.keys.wrap.zeroed, directory.keys.wrap.zeroed, foreign.keys.wrap.zeroed]).toEqual([
      false,
      false,
      false,
    ]);
    held[Symbol.dispose]();
    expect(held.keys.wrap.zeroed).toBe(true);
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe(refused);
    provider.always = null;
    clock.nowMs += 30_000;
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
  },
);

describe('KS4 tries', () => {
  test.for(['unreachable', 'throttled', 'internal'] as const)('a second one after %s', async (failure) => {
    const { provider, service } = await setup();
    provider.failures = [failure];
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
    expect(provider.calls).toBe(2);
  });

  test.for([
    ['unreachable', 'key-unavailable', 2],
    ['throttled', 'key-unavailable', 2],
    ['internal', 'key-unavailable', 2],
    ['bad-answer', 'key-unavailable', 1],
    ['disabled', 'key-refused', 1],
    ['denied', 'key-refused', 1],
    ['not-found', 'key-lost', 1],
    ['invalid-ciphertext', 'key-mismatch', 1],
    ['unsuitable', 'key-unsuitable', 1],
  ] as const)('%s is %s after %d', async ([failure, code, calls]) => {
    const { provider, service } = await setup();
    provider.always = failure;
    const error = await service.leaseMailbox(ref, { use }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, retryable: code === 'key-unavailable' });
    expect((error as ServerError).clientText).not.toMatch(/[0-9a-f]{8}|arn|local:/);
    expect(provider.calls).toBe(calls);
  });

  test('a provider that never answers costs no more than the budget, second try included', async () => {
    const { provider, service } = await setup({ callBudgetMs: 200 });
    provider.failures = ['hang', 'hang'];
    const startedMs = performance.now();
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('key-unavailable');
    expect(performance.now() - startedMs).toBeLessThan(1000);
    expect(provider.calls).toBe(2);
  });

  test('a paused root key is not called, and is called again after the pause', async () => {
    const { provider, clock, service } = await setup();
    provider.always = 'unreachable';
    for (let n = 0; n < 9; n += 1) expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('key-unavailable');
    expect(provider.calls).toBe(6);
    provider.always = null;
    clock.nowMs += 1000;
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
  });

  test('one call serves all who ask at once; one who leaves gets their own reason', async () => {
    const { provider, service } = await setup();
    const leaver = new AbortController();
    const left = service.leaseMailbox(ref, { use, signal: leaver.signal });
    const stayed = Promise.all(Array.from({ length: 20 }, () => codeOf(service.leaseMailbox(ref, { use }))));
    leaver.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    expect(new Set(await stayed)).toEqual(new Set(['leased']));
    expect(provider.calls).toBe(1);
  });

  test('a caller who leaves a creation ends it, and no pause follows', async () => {
    const { provider, service } = await setup();
    for (let n = 0; n < 4; n += 1) {
      provider.failures = ['throttled', 'hang'];
      provider.calls = 0;
      const scope = { organization, owner: otherMailbox, provider: 'local-keyring', rootKey: 'local:default' } as const;
      const leaver = new AbortController();
      const left = service.createKey(scope, use, leaver.signal);
      await expect.poll(() => provider.calls, { interval: 1 }).toBe(2); // in the second try
      leaver.abort(new Error('gone'));
      await expect(left).rejects.toThrow('gone');
    }
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
  });
});

test('KS5 every call is in the audit, with its outcome', async () => {
  const { provider, audited, service, create } = await setup();
  provider.failures = ['throttled'];
  const fetch = { purpose: 'fetch', protocol: 'imap', principal: mailbox };
  for (const each of [fetch, use]) expect(await codeOf(service.leaseMailbox(ref, { use: each }))).toBe('leased');
  await create(otherMailbox);
  expect(await service.checkRootKey('local-keyring', 'default', use)).toBe('local:default');
  provider.always = 'denied';
  await codeOf(service.checkRootKey('local-keyring', 'default', use));
  const rows = audited();
  expect(rows.map((row) => [row.operation, row.owner, row.outcome, row.requestId, row.purpose])).toEqual([
    ['Decrypt', mailbox, 'throttled', 'r', 'fetch'],
    ['Decrypt', mailbox, 'ok', 'r2', 'fetch'],
    ['Encrypt', otherMailbox, 'ok', 'r3', 'test'],
    ['Decrypt', 'directory', 'ok', 'r4', 'test'], // it seals the public half of the new key's pair
    ['DescribeKey', null, 'ok', 'r5', 'test'],
    ['DescribeKey', null, 'denied', 'r', 'test'],
  ]);
  expect(rows[0]).toMatchObject({ atMs: 77, provider: 'local-keyring', rootKey: 'local:default', organization });
});

test('KS6 a wrapped key moved to another row is refused, though the provider unwraps it', async () => {
  const { db, service, create } = await setup();
  await create(otherMailbox);
  const swap = db.prepare(
    'UPDATE wrapped_keys SET wrapped = (SELECT wrapped FROM wrapped_keys WHERE owner = ?) WHERE owner = ?',
  );
  swap.run(otherMailbox, mailbox);
  expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('key-mismatch');
  swap.run(mailbox, 'directory');
  service.forget(organization);
  expect(await codeOf(service.leaseDirectory(organization, { use }))).toBe('key-mismatch');
  expect(service.cacheState()).toEqual({ mailboxKeysCount: 0, directoryKeysCount: 0 });
});

test('KS7 a mailbox without a key, and a provider that is not configured', async () => {
  const { service } = await setup();
  expect(await codeOf(service.leaseMailbox({ organization, mailbox: otherMailbox }, { use }))).toBe('not-found');
  expect(await codeOf(service.checkRootKey('aws-kms', 'x', use))).toBe('key-unsuitable');
});

test('forget and close purge; a closed service leases nothing', async () => {
  const { service } = await setup();
  const one = await service.leaseMailbox(ref, { use });
  service.forget(organization);
  one[Symbol.dispose]();
  expect(one.keys.wrap.zeroed).toBe(true);
  const two = await service.leaseMailbox(ref, { use });
  two[Symbol.dispose]();
  service.close();
  expect(two.keys.wrap.zeroed).toBe(true);
  expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('shutting-down');
});

test('listed keys show no wrapped bytes', async () => {
  const { service } = await setup();
  const listed = service.listKeys(organization);
  expect(listed.map(({ owner, state, rootKey }) => [owner, state, rootKey])).toEqual([
    [mailbox, 'active', 'local:default'],
    ['directory', 'active', 'local:default'],
  ]);
  expect(listed.every((row) => !('wrapped' in row))).toBe(true);
  expect(service.listKeys(otherOrganization)).toEqual([]);
});

describe('with the KMS protocol', async () => {
  const kms = await KmsServer.start();
  afterAll(() => kms[Symbol.asyncDispose]());
  const key = kms.addKey();

  async function start(limits: Partial<KeyServiceLimits> = {}) {
    const db = await open([organization]);
    const audit = new AuditLog(db);
    const clock = { nowMs: 0 };
    const provider = new AwsKms({ endpoint: kms.endpoint, region: REGION, timeoutMs: 2000, ...CREDENTIALS });
    const defaults = {
      cacheMaxAgeMs: 60_000,
      cacheMaxEntriesCount: 100,
      cacheMaxLeasesCount: 1000,
      directoryKeyGraceMs: 0,
    };
    const all = { ...defaults, callBudgetMs: 2000, ...limits };
    const service = new KeyService({ db, providers: [provider], audit, limits: all, nowMs: () => clock.nowMs });
    services.push(service);
    const rootKey = await service.checkRootKey('aws-kms', key.id, use);
    await service.grants.create({ organization, provider: 'aws-kms', rootKey }, use);
    service.insertKey(await service.createKey({ organization, owner: mailbox, provider: 'aws-kms', rootKey }, use));
    return { service, clock, audit };
  }

  test('W3 W7 one Encrypt at creation, then Decrypt, all with the same context', async () => {
    const { service, audit } = await start();
    kms.seen.length = 0;
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
    const context = encryptionContext(organization, mailbox);
    expect(kms.seen).toEqual([{ operation: 'Decrypt', keyId: key.arn, encryptionContext: context }]);
    const rows = audit.list({ limit: 10 });
    expect(rows.map((row) => row.operation)).toEqual(['Decrypt', 'Encrypt', 'CreateGrant', 'DescribeKey']);
    const asked = rows.filter((row) => row.operation !== 'CreateGrant'); // no grantee is configured
    expect(asked.every((row) => /^[0-9a-f-]{36}$/.test(row.requestId ?? ''))).toBe(true);
  });

  test('W6 a revoked key: nothing is leased after the cache expired; it comes back with the access', async () => {
    const { service, clock } = await start();
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
    key.denied = true;
    clock.nowMs = 59_999;
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
    clock.nowMs = 60_000;
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('key-refused');
    key.denied = false;
    clock.nowMs += 30_000;
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
  });

  test('KS4 a black hole ends within the budget', async () => {
    const { service } = await start({ callBudgetMs: 1000 });
    kms.fault = { kind: 'black-hole' };
    kms.seen.length = 0;
    const startedMs = performance.now();
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('key-unavailable');
    expect(performance.now() - startedMs).toBeLessThan(2000);
    expect(kms.seen).toHaveLength(2);
    kms.fault = null;
    expect(await codeOf(service.leaseMailbox(ref, { use }))).toBe('leased');
  });
});
