import { expect, test } from 'vitest';
import { ScramClient } from '../sasl/scram-client.ts';
import { madeDomain, openFixture, type Fixture } from './fixture.ts';

const ANN = 'ann@example.org';
const peer = { address: '192.0.2.1', protocol: 'imap' };

/** The result of one SCRAM login by our own client. */
async function scramLogin({ accounts }: Fixture, user: string, password: string, from = peer) {
  const attempt = await accounts.scramLogins.begin(user, 'sha256', from);
  const { salt, iterationsCount } = attempt.parameters;
  const client = new ScramClient({ user, password });
  const both = 'rOprNGfwEbeRWgbNEkqO0123456789abcdef';
  const serverFirst = `r=${both},s=${salt.toString('base64')},i=${String(iterationsCount)}`;
  const final = client.final(Buffer.from(serverFirst)).toString();
  const at = final.lastIndexOf(',p=');
  const bare = client.first().toString().slice('n,,'.length);
  const authMessage = `${bare},${serverFirst},${final.slice(0, at)}`;
  return attempt.prove({ proof: Buffer.from(final.slice(at + 3), 'base64'), authMessage });
}

test('P1 who is not there has a salt that stays, also over a restart, and looks like one who is', async () => {
  await using first = await openFixture();
  await madeDomain(first);
  await first.accounts.mailboxes.create({ address: ANN, password: 'pw' });
  await first.accounts.mailboxes.create({ address: 'none@example.org' });
  const salt = async ({ accounts }: Fixture, user: string) => {
    const { parameters } = await accounts.scramLogins.begin(user, 'sha256', peer);
    return `${parameters.salt.toString('hex')} ${String(parameters.iterationsCount)}`;
  };
  const users = [ANN, 'none@example.org', 'nobody@example.org', 'nobody@example.net', 'no address'];
  const before = await Promise.all(users.map((user) => salt(first, user)));
  expect(new Set(before).size).toBe(users.length);
  for (const one of before) expect(one).toMatch(/^[0-9a-f]{32} 4096$/);
  expect(await salt(first, 'NOBODY@Example.Org')).toBe(before[2]);
  await using second = await first.reopened();
  expect(await Promise.all(users.map((user) => salt(second, user)))).toEqual(before);
  for (const user of users.slice(1)) expect(await scramLogin(second, user, 'pw')).toBeNull();
  expect(await scramLogin(second, ANN, 'pw')).toMatchObject({ login: { kind: 'ok', username: ANN } });
});

test('P2 the proof may be of the own password or of an app password that serves the protocol', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, appPasswords } = fixture.accounts;
  const ref = await mailboxes.create({ address: ANN, password: 'pw' });
  const phone = await appPasswords.create(ref, { name: 'phone', protocols: null });
  const printer = await appPasswords.create(ref, { name: 'printer', protocols: ['smtp'] });
  const bare = (written: string) => written.replaceAll('-', '');
  for (const password of ['pw', bare(phone.password)]) {
    expect((await scramLogin(fixture, ANN, password))?.login.isCurrent()).toBe(true);
  }
  expect(await scramLogin(fixture, ANN, bare(printer.password))).toBeNull();
  const submission = { ...peer, protocol: 'submission' };
  expect((await scramLogin(fixture, ANN, bare(printer.password), submission))?.login.kind).toBe('ok');
  // A new password keeps the salt that the app passwords share, and takes the right of the old one.
  await mailboxes.setPassword(ref, 'new');
  expect(await scramLogin(fixture, ANN, 'pw')).toBeNull();
  expect((await scramLogin(fixture, ANN, 'new'))?.login.kind).toBe('ok');
  const held = await scramLogin(fixture, ANN, bare(phone.password));
  expect(held?.login.isCurrent()).toBe(true);
  await appPasswords.revoke(ref, phone.id);
  expect(held?.login.isCurrent()).toBe(false);
  expect(await scramLogin(fixture, ANN, bare(phone.password))).toBeNull();
});

test('a mailbox with app passwords only logs in by them', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const ref = await fixture.accounts.mailboxes.create({ address: ANN });
  const { password } = await fixture.accounts.appPasswords.create(ref, { name: 'phone', protocols: null });
  expect((await scramLogin(fixture, ANN, password.replaceAll('-', '')))?.login.kind).toBe('ok');
  expect(await scramLogin(fixture, ANN, 'pw')).toBeNull();
});

test('G5 an imported hash has SCRAM after the first login with the password, and a new import takes it away', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, logins, passwords } = fixture.accounts;
  const ref = await mailboxes.create({ address: ANN, credential: await passwords.hash('pw') });
  expect(await scramLogin(fixture, ANN, 'pw')).toBeNull();
  const result = await logins.login(ANN, 'pw', peer);
  expect(result.kind === 'ok' && result.isCurrent()).toBe(true);
  const proven = await scramLogin(fixture, ANN, 'pw');
  expect(proven?.login.isCurrent()).toBe(true);
  await mailboxes.setCredential(ref, await passwords.hash('other'));
  expect(proven?.login.isCurrent()).toBe(false);
  expect(await scramLogin(fixture, ANN, 'pw')).toBeNull();
  expect(await scramLogin(fixture, ANN, 'other')).toBeNull();
});

test('V2 a password that SASLprep refuses logs in by PLAIN', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const odd = 'a\u{e000}b';
  await fixture.accounts.mailboxes.create({ address: ANN, password: odd });
  expect((await fixture.accounts.logins.login(ANN, odd, peer)).kind).toBe('ok');
  expect(await scramLogin(fixture, ANN, odd)).toBeNull();
});

test('T1 wrong proofs count as failed logins', async () => {
  const one = { spaceMs: 60_000, spaceMaxMs: 60_000, waitMaxMs: 0, memoryMs: 3_600_000, entriesMaxCount: 100 };
  const loginLimits = { client: { ...one, freeCount: 100 }, clientAndAccount: { ...one, freeCount: 2 } };
  await using fixture = await openFixture({ loginLimits });
  await madeDomain(fixture);
  await fixture.accounts.mailboxes.create({ address: ANN, password: 'pw' });
  for (let guess = 0; guess < 3; guess += 1) expect(await scramLogin(fixture, ANN, 'wrong')).toBeNull();
  await expect(scramLogin(fixture, ANN, 'pw')).rejects.toMatchObject({ code: 'limit-exceeded' });
  await expect(fixture.accounts.logins.login(ANN, 'pw', peer)).rejects.toMatchObject({ code: 'limit-exceeded' });
  expect((await scramLogin(fixture, ANN, 'pw', { ...peer, address: '198.51.100.1' }))?.login.kind).toBe('ok');
});
