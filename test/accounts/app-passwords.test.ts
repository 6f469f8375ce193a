import { expect, test } from 'vitest';
import { madeDomain, openFixture } from './fixture.ts';

const ANN = 'ann@example.org';
const imap = { address: '192.0.2.1', protocol: 'imap' };
const submission = { address: '192.0.2.1', protocol: 'submission' };

test('AP1 an app password logs in, however its groups are written, and costs no hash', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, appPasswords, logins } = fixture.accounts;
  const ref = await mailboxes.create({ address: ANN, password: 'pw' });
  const { password } = await appPasswords.create(ref, { name: 'phone', protocols: null });
  expect(password).toMatch(/^([a-z2-7]{4}-){6}[a-z2-7]{2}$/);
  const before = fixture.hashes;
  for (const written of [password, password.replaceAll('-', ''), password.replaceAll('-', ' ').toUpperCase()]) {
    expect(await logins.login(ANN, written, imap)).toMatchObject({ kind: 'ok', ref });
  }
  expect(fixture.hashes).toBe(before);
  expect((await logins.login(ANN, 'pw', imap)).kind).toBe('ok');
  const last = password.at(-2) === 'a' ? 'b' : 'a';
  expect((await logins.login(ANN, `${password.slice(0, -2)}${last}${password.at(-1)!}`, imap)).kind).toBe('refused');
  const second = await appPasswords.create(ref, { name: 'phone', protocols: null });
  expect(second.password).not.toBe(password);
});

test('AP1 app passwords of a suspended mailbox log nobody in', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, appPasswords, logins } = fixture.accounts;
  const ref = await mailboxes.create({ address: ANN });
  const { password } = await appPasswords.create(ref, { name: 'phone', protocols: null });
  expect((await logins.login(ANN, password, imap)).kind).toBe('ok');
  await mailboxes.setState(ref, 'suspended');
  expect((await logins.login(ANN, password, imap)).kind).toBe('refused');
});

test('AP2 one that is limited to a protocol serves no other; its day of use is kept', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  fixture.nowMs = Date.UTC(2026, 10, 28, 23, 59);
  const { mailboxes, appPasswords, logins } = fixture.accounts;
  const ref = await mailboxes.create({ address: ANN });
  const { id, password } = await appPasswords.create(ref, { name: 'printer', protocols: ['smtp'] });
  expect((await logins.login(ANN, password, imap)).kind).toBe('refused');
  expect(await appPasswords.list(ref)).toEqual([
    { id, name: 'printer', protocols: ['smtp'], createdAtMs: fixture.nowMs, lastUsedDay: null },
  ]);
  expect((await logins.login(ANN, password, submission)).kind).toBe('ok');
  expect(await appPasswords.list(ref)).toMatchObject([{ lastUsedDay: '2026-11-28' }]);
  fixture.nowMs += 120_000;
  expect((await logins.login(ANN, password, { ...submission, protocol: 'smtp' })).kind).toBe('ok');
  expect(await appPasswords.list(ref)).toMatchObject([{ lastUsedDay: '2026-11-29' }]);
});

test('AP3 a revoked one logs nobody in, and a login under way counts no more', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, appPasswords, logins } = fixture.accounts;
  const [ref, other] = [await mailboxes.create({ address: ANN }), await mailboxes.create({ address: 'b@example.org' })];
  const { id, password } = await appPasswords.create(ref, { name: 'phone', protocols: null });
  await expect(appPasswords.revoke(other, id)).rejects.toMatchObject({ code: 'not-found' });
  const result = await logins.login(ANN, password, imap);
  expect(result.kind === 'ok' && result.isCurrent()).toBe(true);
  await appPasswords.revoke(ref, id);
  expect(result.kind === 'ok' && result.isCurrent()).toBe(false);
  expect((await logins.login(ANN, password, imap)).kind).toBe('refused');
  await expect(appPasswords.revoke(ref, id)).rejects.toMatchObject({ code: 'not-found' });
});

test('a mailbox has so many and no more, with names of one line', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, appPasswords } = fixture.accounts;
  const ref = await mailboxes.create({ address: ANN });
  await expect(appPasswords.create(ref, { name: 'a\nb', protocols: null })).rejects.toMatchObject({
    code: 'invalid-argument',
  });
  for (let count = 0; count < 50; count += 1) await appPasswords.create(ref, { name: 'x', protocols: null });
  await expect(appPasswords.create(ref, { name: 'x', protocols: null })).rejects.toMatchObject({
    code: 'limit-exceeded',
  });
});

test('AP2 neither the password nor its name is on disk, and both go with the mailbox', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  const { mailboxes, appPasswords } = fixture.accounts;
  const ref = await mailboxes.create({ address: ANN, password: 'a password of her own' });
  const { password } = await appPasswords.create(ref, { name: 'bedroom tablet', protocols: null });
  const count = () => fixture.directory.prepare<{ n: number }>('SELECT count(*) AS n FROM app_passwords').get()?.n;
  expect(count()).toBe(1);
  await mailboxes.delete(ref, { by: 'test', eraseFiles: async () => undefined, certify: async () => undefined });
  expect(count()).toBe(0);
  const again = await mailboxes.create({ address: ANN });
  await appPasswords.create(again, { name: 'bedroom tablet', protocols: null });
  const bytes = await fixture.closeAndReadAll();
  for (const text of ['bedroom', 'tablet', password.slice(0, 9), password.replaceAll('-', '').slice(0, 9)]) {
    expect(bytes.includes(text), text).toBe(false);
  }
});
