/** Grants (W9): the key service over the AWS protocol and over a provider that has no grants of its own. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ServerError, type ErrorCode } from '../../src/base/errors.ts';
import type { OrganizationId } from '../../src/base/ids.ts';
import { encryptionContext, organizationContext } from '../../src/crypto/context.ts';
import { AuditLog } from '../../src/keys/audit-log.ts';
import type { GrantScope } from '../../src/keys/grants.ts';
import { KeyService } from '../../src/keys/key-service.ts';
import { AwsKms } from '../../src/keys/providers/aws-kms.ts';
import { createLocalKeyring } from '../../src/keys/providers/keyring-file.ts';
import { LocalKeyring } from '../../src/keys/providers/local-keyring.ts';
import { mailbox, organization, otherOrganization } from '../crypto/fixtures.ts';
import { CALLER, CREDENTIALS, KmsServer, REGION, type KmsKey } from '../support/kms-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { directoryDatabases } from './directory-database.ts';

const use = { purpose: 'test', protocol: 'admin', principal: 'admin' };
const MINUTE_MS = 60_000;
const LIMITS = {
  cacheMaxAgeMs: MINUTE_MS,
  cacheMaxEntriesCount: 100,
  cacheMaxLeasesCount: 1000,
  directoryKeyGraceMs: 900_000,
  callBudgetMs: 2000,
};
const open = directoryDatabases();
const keyring = join(temporaryDirectory(), 'keyring.json');
await createLocalKeyring(keyring);
const kms = await KmsServer.start();
let key: KmsKey;
const services: KeyService[] = [];
beforeEach(() => {
  key = kms.addKey({ grantsOnly: true });
  kms.fault = null;
  kms.seen.length = 0;
});
afterEach(() => {
  for (const service of services.splice(0)) service.close();
});
afterAll(() => kms[Symbol.asyncDispose]());

async function setup(options: Readonly<{ granteePrincipal?: string | undefined }> = { granteePrincipal: CALLER }) {
  const db = await open([organization, otherOrganization]);
  const audit = new AuditLog(db);
  const clock = { nowMs: 1_000_000 };
  const start = (): KeyService => {
    const aws = { endpoint: kms.endpoint, region: REGION, timeoutMs: 2000, ...CREDENTIALS, ...options };
    const service = new KeyService({
      db,
      providers: [new LocalKeyring(keyring), new AwsKms(aws)],
      audit,
      limits: LIMITS,
      nowMs: () => clock.nowMs,
      wallClockMs: () => clock.nowMs,
      random: () => 0,
    });
    services.push(service);
    return service;
  };
  const service = start();
  const local = (of: OrganizationId): GrantScope => ({
    organization: of,
    provider: 'local-keyring',
    rootKey: 'local:default',
  });
  const aws = (of: OrganizationId): GrantScope => ({ organization: of, provider: 'aws-kms', rootKey: key.arn });
  /** A mailbox and a directory key. */
  const createKeys = async (scope: GrantScope): Promise<void> => {
    service.insertKey(await service.createKey({ ...scope, owner: mailbox }, use));
    service.insertKey(await service.createKey({ ...scope, owner: 'directory' }, use));
  };
  return { db, audit, clock, service, start, local, aws, createKeys };
}

async function codeOf(work: Promise<unknown>): Promise<ErrorCode | 'done'> {
  try {
    const result = await work;
    if (typeof result === 'object' && result !== null && Symbol.dispose in result)
      (result as Disposable)[Symbol.dispose]();
    return 'done';
  } catch (error) {
    expect(error).toBeInstanceOf(ServerError);
    return (error as ServerError).code;
  }
}
const leases = (service: KeyService, of = organization): Promise<ErrorCode | 'done'>[] => [
  codeOf(service.leaseMailbox({ organization: of, mailbox }, { use })),
  codeOf(service.leaseDirectory(of, { use })),
];
const seen = (): string[] => kms.seen.map(({ operation }) => operation);

describe('the service makes grants of its own', () => {
  test('W9 for the grantee, the operations and the organization; the record names it', async () => {
    const { service, aws } = await setup();
    const grant = await service.grants.create(aws(organization), use);
    expect(key.grants).toMatchObject([
      {
        id: grant.providerGrantId,
        name: `sealpost-${grant.id}`,
        grantee: CALLER,
        operations: ['Encrypt', 'Decrypt', 'ReEncryptFrom', 'ReEncryptTo', 'DescribeKey'],
        constraint: organizationContext(organization),
      },
    ]);
    expect(grant).toMatchObject({ providerGrant: 'made', revokedAtMs: null, constraint: key.grants[0]?.constraint });
    expect(JSON.stringify(grant)).not.toContain(key.grants[0]?.token);
    expect(await codeOf(service.grants.create(aws(organization), use))).toBe('already-exists');
  });

  test('W9 calls carry the token until the grant has spread, also after a restart, and then no more', async () => {
    const { service, start, clock, aws, createKeys } = await setup();
    await service.grants.create(aws(organization), use);
    await createKeys(aws(organization)); // the grant is known to nobody yet
    const restarted = start();
    clock.nowMs += 5 * MINUTE_MS - 1;
    expect(await Promise.all(leases(restarted))).toEqual(['done', 'done']);
    const grantTokens = [key.grants[0]?.token];
    expect(kms.seen.slice(1)).toHaveLength(4);
    expect(kms.seen.slice(1).every((call) => JSON.stringify(call.grantTokens) === JSON.stringify(grantTokens))).toBe(
      true,
    );
    if (key.grants[0]) key.grants[0].hasSpread = true;
    clock.nowMs += MINUTE_MS;
    kms.seen.length = 0;
    expect(await codeOf(restarted.leaseMailbox({ organization, mailbox }, { use }))).toBe('done');
    expect(kms.seen).toEqual([
      { operation: 'Decrypt', keyId: key.arn, encryptionContext: encryptionContext(organization, mailbox) },
    ]);
  });

  test('W9 revoking ends it there too; with a new one everything is back', async () => {
    const { service, aws, createKeys } = await setup();
    const { id } = await service.grants.create(aws(organization), use);
    await createKeys(aws(organization));
    expect(await Promise.all(leases(service))).toEqual(['done', 'done']);
    const revoked = await service.grants.revoke(id, use);
    expect(revoked).toMatchObject({ providerFailure: null, grant: { revokedAtMs: 1_000_000 } });
    expect(revoked.grant.providerRevokedAtMs).not.toBeNull();
    expect(key.grants).toEqual([]);
    kms.seen.length = 0;
    expect(await Promise.all(leases(service))).toEqual(['key-refused', 'key-refused']);
    expect(seen()).toEqual([]);
    await service.grants.create(aws(organization), use);
    expect(await Promise.all(leases(service))).toEqual(['done', 'done']);
    expect(service.grants.list(organization).map((grant) => grant.revokedAtMs)).toEqual([1_000_000, null]);
  });

  test('W9 PC3 revoked at the service: its own organization is denied and purged, another of the same key is not', async () => {
    const { service, clock, aws, createKeys } = await setup();
    for (const of of [organization, otherOrganization]) {
      await service.grants.create(aws(of), use);
      await createKeys(aws(of));
      expect(await Promise.all(leases(service, of))).toEqual(['done', 'done']);
    }
    const own = key.grants.findIndex((grant) => JSON.stringify(grant.constraint).includes(organization));
    key.grants.splice(own, 1);
    clock.nowMs += MINUTE_MS;
    expect(await Promise.all(leases(service))).toEqual(['key-refused', 'key-refused']);
    expect(await Promise.all(leases(service, otherOrganization))).toEqual(['done', 'done']);
    expect(service.cacheState()).toEqual({ mailboxKeysCount: 1, directoryKeysCount: 1 });
  });

  test('GS2 a service that cannot be reached: revoked here at once, told later', async () => {
    const { service, aws, createKeys } = await setup();
    const { id } = await service.grants.create(aws(organization), use);
    await createKeys(aws(organization));
    expect(await Promise.all(leases(service))).toEqual(['done', 'done']);
    kms.fault = { kind: 'error', name: 'KMSInternalException', status: 500 };
    const first = await service.grants.revoke(id, use);
    expect(first.providerFailure).toContain('key service failed');
    expect(first.grant).toMatchObject({ revokedAtMs: 1_000_000, providerRevokedAtMs: null });
    expect(service.cacheState()).toEqual({ mailboxKeysCount: 0, directoryKeysCount: 0 });
    kms.fault = null;
    expect(await Promise.all(leases(service))).toEqual(['key-refused', 'key-refused']);
    expect(key.grants).toHaveLength(1);
    expect(await service.grants.revoke(id, use)).toMatchObject({
      providerFailure: null,
      grant: { revokedAtMs: 1_000_000 },
    });
    expect(key.grants).toEqual([]);
    kms.seen.length = 0;
    expect(await service.grants.revoke(id, use)).toMatchObject({ providerFailure: null });
    expect(seen()).toEqual([]); // nothing is left to do
  });

  test('a grant that is gone there, or whose key is gone, is revoked all the same', async () => {
    const { service, aws } = await setup();
    const { id } = await service.grants.create(aws(organization), use);
    kms.deleteKey(key);
    expect(await service.grants.revoke(id, use)).toMatchObject({ providerFailure: null });
  });

  test('GS1 G2 a service that is silent leaves a pending grant: nothing is called, and the next try finishes it', async () => {
    const { service, aws } = await setup();
    kms.fault = { kind: 'reset' };
    expect(await codeOf(service.grants.create(aws(organization), use))).toBe('key-unavailable');
    const [pending] = service.grants.list();
    expect(pending).toMatchObject({ providerGrant: 'pending', revokedAtMs: null });
    kms.fault = null;
    kms.seen.length = 0;
    expect(await codeOf(service.createKey({ ...aws(organization), owner: mailbox }, use))).toBe('key-refused');
    expect(seen()).toEqual([]);
    expect(await service.grants.create(aws(organization), use)).toMatchObject({
      id: pending?.id,
      providerGrant: 'made',
    });
    expect(key.grants).toHaveLength(1);
    expect(await codeOf(service.createKey({ ...aws(organization), owner: mailbox }, use))).toBe('done');
  });

  test('a pending grant can be revoked, and says what is not known', async () => {
    const { service, aws } = await setup();
    kms.fault = { kind: 'reset' };
    await codeOf(service.grants.create(aws(organization), use));
    const { id } = service.grants.list()[0] ?? { id: '' };
    expect((await service.grants.revoke(id, use)).providerFailure).toContain(`sealpost-${id}`);
    kms.fault = null;
    expect((await service.grants.create(aws(organization), use)).id).not.toBe(id);
  });

  test('PC4 a right that is missing to make a grant leaves no record, stops no mail and pauses nothing', async () => {
    const { service, aws, createKeys } = await setup();
    await service.grants.create(aws(organization), use);
    await createKeys(aws(organization));
    expect(await Promise.all(leases(service))).toEqual(['done', 'done']);
    kms.fault = { kind: 'error', name: 'AccessDeniedException' };
    expect(await codeOf(service.grants.create(aws(otherOrganization), use))).toBe('key-refused');
    kms.fault = null;
    expect(service.grants.list(otherOrganization)).toEqual([]);
    expect(service.cacheState()).toEqual({ mailboxKeysCount: 1, directoryKeysCount: 1 });
    service.forget(organization);
    expect(await Promise.all(leases(service))).toEqual(['done', 'done']);
  });
});

test('W9 without a grantee the record says so, no grant is asked for, and ours is enforced', async () => {
  key.grantsOnly = false;
  const { service, aws, createKeys } = await setup({});
  const { id, ...grant } = await service.grants.create(aws(organization), use);
  expect(grant).toMatchObject({ providerGrant: 'no-grantee-principal', providerGrantId: null });
  expect(seen()).toEqual([]);
  await createKeys(aws(organization));
  expect(await Promise.all(leases(service))).toEqual(['done', 'done']);
  expect(kms.seen.every((call) => call.grantTokens === undefined)).toBe(true);
  kms.seen.length = 0;
  expect(await service.grants.revoke(id, use)).toMatchObject({ providerFailure: null });
  expect(await Promise.all(leases(service))).toEqual(['key-refused', 'key-refused']);
  expect(seen()).toEqual([]);
});

test('W9 no call without a grant; a refusal is audited once for each pause', async () => {
  const { service, clock, audit, local } = await setup();
  const scope = { ...local(organization), owner: mailbox } as const;
  for (let n = 0; n < 5; n += 1) expect(await codeOf(service.createKey(scope, use))).toBe('key-refused');
  clock.nowMs += 30_000;
  expect(await codeOf(service.createKey(scope, use))).toBe('key-refused');
  const rows = audit.list({ limit: 10 });
  expect(rows.map((row) => [row.operation, row.outcome, row.organization])).toEqual([
    ['Encrypt', 'denied', organization],
    ['Encrypt', 'denied', organization],
  ]);
  expect(service.metrics()).toMatchObject({
    operations: {},
    ungrantedCount: 2,
    pausedCount: 4,
    failures: { denied: 2 },
  });
});

test('W9 a provider without grants: revoking purges at once and refuses, and another organization goes on', async () => {
  const { service, clock, local, createKeys } = await setup();
  const { id, providerGrant } = await service.grants.create(local(organization), use);
  await service.grants.create(local(otherOrganization), use);
  expect(providerGrant).toBe('not-supported');
  for (const of of [organization, otherOrganization]) {
    await createKeys(local(of));
    expect(await Promise.all(leases(service, of))).toEqual(['done', 'done']);
  }
  const held = await service.leaseMailbox({ organization, mailbox }, { use });
  await service.grants.revoke(id, use);
  expect(held.isCurrent()).toBe(false);
  held[Symbol.dispose]();
  expect(held.keys.wrap.zeroed).toBe(true);
  for (const waitMs of [0, 30_000, MINUTE_MS]) {
    clock.nowMs += waitMs;
    expect(await Promise.all(leases(service))).toEqual(['key-refused', 'key-refused']);
    expect(await Promise.all(leases(service, otherOrganization))).toEqual(['done', 'done']);
  }
  await service.grants.create(local(organization), use);
  expect(await Promise.all(leases(service))).toEqual(['done', 'done']); // without waiting for a pause
});

test('G1 a grant holds for its operations, its context and its root key only', async () => {
  const { db, service, local } = await setup();
  await service.grants.create(local(organization), use);
  const scope = { ...local(organization), owner: mailbox } as const;
  const wrap = async (change: string, rootKey = scope.rootKey) => {
    db.prepare(`UPDATE grants SET ${change}`).run();
    service.retryNow();
    return codeOf(service.createKey({ ...scope, rootKey }, use));
  };
  expect(await wrap('operations = operations')).toBe('done');
  expect(await wrap('operations = operations', 'local:another')).toBe('key-refused');
  expect(await wrap(`operations = '["Decrypt"]'`)).toBe('key-refused');
  expect(await wrap(`operations = '["Encrypt"]'`)).toBe('done');
  const foreign = JSON.stringify(organizationContext(otherOrganization));
  expect(await wrap(`"constraint" = '${foreign}'`)).toBe('key-refused');
});

test('W10 grants are in the audit, made, refused and revoked', async () => {
  const { service, audit, aws, local } = await setup();
  const { id } = await service.grants.create(aws(organization), use);
  await service.grants.revoke(id, use);
  kms.fault = { kind: 'error', name: 'AccessDeniedException' };
  await codeOf(service.grants.create(aws(organization), use));
  kms.fault = null;
  const ours = await service.grants.create(local(organization), use);
  await service.grants.revoke(ours.id, use);
  const rows = audit.list({ organization, limit: 10 }).reverse();
  expect(rows.map((row) => [row.operation, row.outcome, row.provider, row.principal])).toEqual([
    ['CreateGrant', 'ok', 'aws-kms', 'admin'],
    ['RevokeGrant', 'ok', 'aws-kms', 'admin'],
    ['CreateGrant', 'denied', 'aws-kms', 'admin'],
    ['CreateGrant', 'ok', 'local-keyring', 'admin'],
    ['RevokeGrant', 'ok', 'local-keyring', 'admin'],
  ]);
  expect(rows.slice(0, 2).map((row) => [row.grant, /^[0-9a-f-]{36}$/.test(row.requestId ?? '')])).toEqual([
    [id, true],
    [id, true],
  ]);
});

test('metrics count calls, time, failures and the use of the cache', async () => {
  const { service, clock, local, createKeys } = await setup();
  await service.grants.create(local(organization), use);
  await createKeys(local(organization));
  const leased = leases(service);
  clock.nowMs += 20; // while both calls are under way
  await Promise.all(leased);
  await Promise.all([...leases(service), ...leases(service)]);
  expect(service.metrics()).toEqual({
    operations: {
      CreateGrant: { callsCount: 1, failuresCount: 0, latencySumMs: 0, latencyMaxMs: 0 },
      Encrypt: { callsCount: 2, failuresCount: 0, latencySumMs: 0, latencyMaxMs: 0 },
      Decrypt: { callsCount: 2, failuresCount: 0, latencySumMs: 40, latencyMaxMs: 20 },
    },
    failures: {},
    pausedCount: 0,
    ungrantedCount: 0,
    mailboxKeyCache: { hitsCount: 2, missesCount: 1 },
    directoryKeyCache: { hitsCount: 2, missesCount: 1 },
  });
});

test('an unknown grant is not found', async () => {
  const { service } = await setup();
  expect(await codeOf(service.grants.revoke('none', use))).toBe('not-found');
  expect(() => service.grants.require('none')).toThrow(ServerError);
});
