import { expect, test } from 'vitest';
import type { LoginLimits } from '../../src/accounts/login-turns.ts';
import { CHEAP_ARGON2, deletion, madeDomain, openFixture } from './fixture.ts';

const peer = { address: '192.0.2.1' };
const limits = (freeCount: number): LoginLimits => {
  const one = { spaceMs: 60_000, spaceMaxMs: 60_000, waitMaxMs: 0, memoryMs: 3_600_000, entriesMaxCount: 100 };
  return { client: { ...one, freeCount: 100 }, clientAndAccount: { ...one, freeCount } };
};

test('G1 any address of the mailbox is its user name, without tags', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, addresses, logins } = fixture.accounts;
  const ref = await mailboxes.create({ address: 'Ann@example.org', password: 'pw' });
  await addresses.createAlias('sales@example.org', 'ann@example.org');
  for (const username of ['ann@example.org', 'ANN@Example.Org', 'Sales@example.org']) {
    const [local = ''] = username.toLowerCase().split('@');
    const result = await logins.login(username, 'pw', peer);
    expect(result).toMatchObject({ kind: 'ok', ref, username: `${local}@example.org` });
  }
  expect(await logins.login('ann+x@example.org', 'pw', peer)).toEqual({ kind: 'refused' });
});

test('G2 every refusal costs one hash, whatever its reason, and looks the same', async () => {
  await using fixture = await openFixture({ loginLimits: limits(1000) });
  await madeDomain(fixture);
  const { mailboxes, logins } = fixture.accounts;
  await mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  await mailboxes.create({ address: 'none@example.org' });
  const held = await mailboxes.create({ address: 'held@example.org', password: 'pw' });
  await mailboxes.setState(held, 'suspended');
  const attempts = [
    ['ann@example.org', 'wrong'],
    ['ann@example.org', ''],
    ['nobody@example.org', 'pw'],
    ['none@example.org', 'pw'],
    ['held@example.org', 'pw'],
    ['ann@example.net', 'pw'],
    ['ann', 'pw'],
    ['', ''],
    [`${'x'.repeat(100_000)}@example.org`, 'pw'],
    ['ann@example.org', 'x'.repeat(100_000)],
  ] as const;
  for (const [username, password] of attempts) {
    const before = fixture.hashes;
    expect(await logins.login(username, password, peer)).toEqual({ kind: 'refused' });
    expect(fixture.hashes - before, username.slice(0, 30)).toBe(1);
  }
});

test('G3 guesses slow down their own address only, for known and unknown accounts alike', async () => {
  await using fixture = await openFixture({ loginLimits: limits(3) });
  await madeDomain(fixture);
  const { mailboxes, logins } = fixture.accounts;
  await mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  for (const username of ['ann@example.org', 'nobody@example.org']) {
    let hashes = fixture.hashes;
    for (let guess = 0; guess < 4; guess += 1) await logins.login(username, 'wrong', peer);
    expect(fixture.hashes - hashes).toBe(4);
    hashes = fixture.hashes;
    for (let guess = 0; guess < 50; guess += 1) {
      const turnedAway = logins.login(username.toUpperCase(), 'pw', peer);
      await expect(turnedAway).rejects.toMatchObject({ code: 'limit-exceeded', retryable: true });
    }
    expect(fixture.hashes).toBe(hashes);
  }
  expect((await logins.login('ann@example.org', 'pw', { address: '198.51.100.7' })).kind).toBe('ok');
  fixture.nowMs += 60_000;
  expect((await logins.login('ann@example.org', 'pw', peer)).kind).toBe('ok');
});

test('G3 one address that tries many accounts is slowed down too', async () => {
  const loose = limits(1000);
  await using fixture = await openFixture({ loginLimits: { ...loose, client: { ...loose.client, freeCount: 5 } } });
  await madeDomain(fixture);
  const { logins } = fixture.accounts;
  const outcomes: string[] = [];
  for (let account = 0; account < 8; account += 1) {
    const attempt = logins.login(`u${String(account)}@example.org`, 'pw', { address: `2001:db8::${String(account)}` });
    outcomes.push(
      await attempt.then(
        (result) => result.kind,
        () => 'slow',
      ),
    );
  }
  expect(outcomes).toEqual([...Array<string>(6).fill('refused'), 'slow', 'slow']);
});

test('a wait for a turn ends with its signal', async () => {
  const slow = limits(0);
  const waiting = { ...slow.clientAndAccount, waitMaxMs: 3_600_000 };
  await using fixture = await openFixture({ loginLimits: { ...slow, clientAndAccount: waiting } });
  await madeDomain(fixture);
  const { logins } = fixture.accounts;
  await logins.login('ann@example.org', 'x', peer);
  const hashes = fixture.hashes;
  await expect(logins.login('ann@example.org', 'x', peer, AbortSignal.timeout(20))).rejects.toThrow();
  expect(fixture.hashes).toBe(hashes);
});

test('G5 an outdated hash is replaced at login, and not over a password that was changed meanwhile', async () => {
  const better = { argon2: { ...CHEAP_ARGON2, passes: 2 }, concurrencyCount: 1, queueMaxCount: 10 };
  await using before = await openFixture({ passwords: { ...better, argon2: CHEAP_ARGON2 } });
  await madeDomain(before);
  for (const name of ['ann', 'bob'])
    await before.accounts.mailboxes.create({ address: `${name}@example.org`, password: 'pw' });
  await using fixture = await before.reopened({ passwords: better });
  const { mailboxes, logins } = fixture.accounts;
  const login = (name: string, password = 'pw') => logins.login(`${name}@example.org`, password, peer);
  expect((await login('ann')).kind).toBe('ok');
  expect(fixture.hashes).toBe(2); // one to check, one to replace
  expect((await login('ann')).kind).toBe('ok');
  expect(fixture.hashes).toBe(3);
  const { ref } = await mailboxes.require('bob@example.org');
  const [result] = await Promise.all([login('bob'), mailboxes.setPassword(ref, 'new')]);
  expect(result.kind).toBe('ok');
  expect((await login('bob', 'new')).kind).toBe('ok');
  expect((await login('bob')).kind).toBe('refused');
});

test('G6 a login that was verified counts no more after a suspension or a new password', async () => {
  await using fixture = await openFixture();
  const organization = await madeDomain(fixture);
  const { mailboxes, organizations, logins } = fixture.accounts;
  const ref = await mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  const verified = async (password = 'pw') => {
    const result = await logins.login('ann@example.org', password, peer);
    if (result.kind !== 'ok') throw new Error('refused');
    expect(result.isCurrent()).toBe(true);
    return result;
  };
  const bySuspension = await verified();
  await mailboxes.setState(ref, 'suspended');
  expect(bySuspension.isCurrent()).toBe(false);
  await mailboxes.setState(ref, 'active');
  const byOrganization = await verified();
  await organizations.setState(organization, 'suspended');
  expect(byOrganization.isCurrent()).toBe(false);
  await organizations.setState(organization, 'active');
  const byPassword = await verified();
  await mailboxes.setPassword(ref, 'new');
  expect(byPassword.isCurrent()).toBe(false);
  const byDeletion = await verified('new');
  await mailboxes.delete(ref, deletion());
  expect(byDeletion.isCurrent()).toBe(false);
});

test('G6 a hash that is renewed at login does not end that login', async () => {
  await using before = await openFixture();
  await madeDomain(before);
  await before.accounts.mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  const argon2 = { ...CHEAP_ARGON2, passes: 2 };
  await using after = await before.reopened({ passwords: { argon2, concurrencyCount: 4, queueMaxCount: 10 } });
  const result = await after.accounts.logins.login('ann@example.org', 'pw', peer);
  expect(result.kind === 'ok' && result.isCurrent()).toBe(true);
});
