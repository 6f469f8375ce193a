import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { createProgram, runProgram } from '../../src/admin/cli/program.ts';
import { ServerError } from '../../src/base/errors.ts';
import { openAdmin } from './fixture.ts';

const peer = { address: '192.0.2.1' };

test('from nothing to a mailbox that logs in, gets mail at an alias, and is gone', async () => {
  await using admin = await openAdmin();
  const { run, json, base } = admin;
  expect((await run('org create "Example GmbH"')).out).toMatch(/^Created organization Example GmbH, id [0-9a-f]{32}/);
  expect((await run('domain create Example.ORG')).out).toContain('Created domain example.org.');
  const made = await run('mailbox create ann@example.org --name "Ann Example"', 'correct horse\n');
  expect(made).toMatchObject({ code: 0, error: '' });
  expect(await run('alias create postmaster@example.org ann@example.org')).toMatchObject({ code: 0 });
  const { logins, addresses } = base.accounts;
  expect((await logins.login('ann@example.org', 'correct horse', peer)).kind).toBe('ok');
  expect((await addresses.resolveRecipient('Postmaster@example.org')).kind).toBe('mailbox');

  expect((await run('org list')).out).toMatch(
    /^ID +NAME .*\n[0-9a-f]{32} +Example GmbH +active +1 +1 +local-keyring +local:default/,
  );
  expect((await run('domain list')).out).toMatch(/example\.org +active +2/);
  expect((await run('mailbox list')).out).toMatch(
    /ann@example\.org +Ann Example +active +set +postmaster@example\.org/,
  );
  expect((await run('alias list')).out).toMatch(/ann@example\.org +primary.*\n.*postmaster@example\.org +alias/);
  expect((await run('alias list ann@example.org --org "Example GmbH"')).code).toBe(0);

  await run('password set ann@example.org', 'another\n');
  expect((await logins.login('ann@example.org', 'another', peer)).kind).toBe('ok');
  await run('mailbox suspend ann@example.org');
  expect((await addresses.resolveRecipient('ann@example.org')).kind).toBe('suspended');
  await run('mailbox resume ann@example.org');
  await run('domain suspend example.org');
  expect((await addresses.resolveRecipient('ann@example.org')).kind).toBe('suspended');
  await run('domain resume example.org');
  await run('org suspend "Example GmbH"');
  expect((await addresses.resolveRecipient('ann@example.org')).kind).toBe('suspended');
  await run('org resume "Example GmbH"');
  expect((await addresses.resolveRecipient('ann@example.org')).kind).toBe('mailbox');

  await run('alias delete postmaster@example.org --yes');
  const [{ ref }] = await json<[{ ref: { mailbox: string } }]>('mailbox list');
  expect(await run('mailbox delete ann@example.org --yes')).toMatchObject({ code: 0 });
  expect(admin.erased).toEqual([ref.mailbox]);
  expect(await run('domain delete example.org --yes')).toMatchObject({ code: 0 });
  expect(await run('org delete "Example GmbH" --yes')).toMatchObject({ code: 0 });
  expect(await json('org list')).toEqual([]);
});

test('an organization is deleted with all its content only when all of it is named', async () => {
  await using admin = await openAdmin();
  const { run, json } = admin;
  for (const line of ['org create A', 'domain create a.example', 'domain create b.example']) await run(line);
  for (const name of ['ann', 'bob']) await run(`mailbox create ${name}@a.example --no-password`);
  const some = await run('org delete A --yes --domains a.example b.example --mailboxes ann@a.example');
  expect(some).toMatchObject({ code: 1, error: expect.stringContaining('still has bob@a.example.') as string });
  expect(admin.erased).toEqual([]);
  const all = await run('org delete A --yes --domains a.example b.example --mailboxes ann@a.example bob@a.example');
  expect(all).toMatchObject({ code: 0 });
  expect(admin.erased).toHaveLength(2);
  expect([await json('org list'), await json('key list')]).toEqual([[], []]);
});

test('a mailbox whose deletion failed half-way does not stand in the way of deleting its organization', async () => {
  let isBroken = true;
  await using admin = await openAdmin({
    eraseFiles: () => (isBroken ? Promise.reject(new Error('disk')) : Promise.resolve()),
  });
  const { run, json } = admin;
  const lines = ['org create A', 'domain create a.example', 'mailbox create ann@a.example --no-password'];
  for (const line of lines) await run(line);
  expect((await run('mailbox delete ann@a.example --yes')).error).toContain('Its log says why');
  expect(admin.logged.join('')).toContain('admin request failed');
  isBroken = false;
  expect(await run('org delete A --yes --domains a.example')).toMatchObject({ code: 0 });
  expect(await json('org list')).toEqual([]);
});

test('what is lost for good asks first, naming it; only the right word goes on', async () => {
  await using admin = await openAdmin();
  const { run, json } = admin;
  for (const line of ['org create A', 'domain create a.example', 'mailbox create ann@a.example --no-password'])
    await run(line);
  await run('alias create sales@a.example ann@a.example');
  const script = await run('mailbox delete ann@a.example');
  expect(script).toMatchObject({ code: 1, error: expect.stringContaining('--yes') as string });
  const wrong = await run('mailbox delete sales@a.example', 'yes\n', true);
  expect(wrong.error).toContain('deletes mailbox ann@a.example with all its mail and its aliases sales@a.example');
  expect(wrong.code).toBe(1);
  for (const line of ['org delete A', 'domain delete a.example', 'alias delete sales@a.example']) {
    expect(await run(line, '\n', true), line).toMatchObject({ code: 1, out: '' });
  }
  expect(await json('mailbox list')).toHaveLength(1);
  expect(await run('mailbox delete sales@a.example', 'ann@a.example\n', true)).toMatchObject({ code: 0 });
  expect(await json('mailbox list')).toEqual([]);
});

test('passwords come from input, a file or a generator, are typed twice, and never appear', async () => {
  await using admin = await openAdmin();
  const { run, json, base } = admin;
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-password-'));
  const file = join(folder, 'secret');
  writeFileSync(file, 'from a file\nsecond line\n');
  chmodSync(file, 0o600);
  for (const line of ['org create A', 'domain create a.example']) await run(line);
  const works = async (password: string) =>
    (await base.accounts.logins.login('ann@a.example', password, peer)).kind === 'ok';
  const made = await json<{ password: string }>('mailbox create ann@a.example --generate');
  expect(made.password).toMatch(/^[\w-]{20}$/);
  expect(await works(made.password)).toBe(true);
  const byFile = await run(`password set ann@a.example --password-file ${file}`);
  expect(await works('from a file')).toBe(true);
  const typedOnce = await run('password set ann@a.example', 'one\ntwo\n', true);
  expect(typedOnce).toMatchObject({ code: 1, error: expect.stringContaining('differ') as string });
  const typed = await run('password set ann@a.example', 'tx\u007fyped\ntyped\n', true);
  expect(await works('typed')).toBe(true); // the slip was corrected
  expect([byFile.code, typed.code]).toEqual([0, 0]);
  rmSync(folder, { recursive: true });
  expect((await run('password set ann@a.example --password-file /nowhere')).error).toContain('cannot be read (ENOENT)');
  const shown = JSON.stringify([byFile, typedOnce, typed, admin.logged]);
  for (const secret of ['from a file', 'typed', made.password]) expect(shown).not.toContain(secret);
});

test('failures say what to do and exit with 1, misuse with 2', async () => {
  await using admin = await openAdmin();
  const { run } = admin;
  const failure = async (line: string, code = 1) => {
    const outcome = await run(line);
    expect([outcome.code, outcome.out], line).toEqual([code, '']);
    return outcome.error;
  };
  expect(await failure('domain create a.example')).toContain('sealpost org create');
  expect(await failure('org create A --key nowhere')).toMatch(/^sealpost: .*key/);
  await run('org create A');
  await run('org create B');
  expect(await failure('domain create a.example')).toContain('--org');
  expect(await failure('domain create a.example --org C')).toContain('sealpost org list');
  expect(await failure('mailbox create ann@a.example --no-password')).toContain('sealpost domain create a.example');
  expect(await failure('domain create "no domain" --org A')).toContain('"no domain" is not a domain name');
  expect(await failure('password set ann@a.example')).not.toBe('');
  expect(await failure('org create', 2)).toContain('--help');
  expect(await failure('nonsense', 2)).toContain('--help');
  expect(await failure('key audit --limit x', 2)).toContain('Not a whole number');
});

test('a server that does not run, or may not be used, is named', async () => {
  await using admin = await openAdmin();
  const lines: string[] = [];
  const terminal = {
    input: process.stdin,
    write: () => undefined,
    writeError: (text: string) => void lines.push(text),
  };
  const missing = join(admin.base.folder, 'nobody.sock');
  expect(await runProgram(createProgram(terminal), terminal, ['--socket', missing, 'status'])).toBe(1);
  expect(lines.join('')).toContain(`No server answers at ${missing}`);
  expect(lines.join('')).toContain('sealpost serve');
});

test('keys and their audit are listed without key material', async () => {
  await using admin = await openAdmin();
  const { run, json } = admin;
  for (const line of ['org create A', 'domain create a.example', 'mailbox create ann@a.example --no-password'])
    await run(line);
  const keys = await json<Record<string, unknown>[]>('key list --org A');
  expect(keys.map((key) => key['state'])).toEqual(['active', 'active']);
  expect(Object.keys(keys[0] ?? {})).not.toContain('wrapped');
  expect((await run('key list')).out).toMatch(/directory +1 +active +local-keyring +local:default/);
  const audit = await json<{ eventName: string; additionalEventData: { purpose: string } }[]>('key audit --limit 4');
  expect(audit).toHaveLength(4);
  expect(audit.map((event) => event.additionalEventData.purpose)).toContain('create-mailbox');
  expect((await run('key audit --org A')).out).toMatch(/Encrypt +ok +admin\/create-mailbox/);
  await run('cache drop');
  expect(admin.base.keys.cacheState().directoryKeysCount).toBe(0);
});

test('a certificate that cannot be used is named, and the old one stays', async () => {
  let reloads = 0;
  await using admin = await openAdmin({
    reloadTls: () => {
      reloads += 1;
      if (reloads > 1) throw new ServerError('not-allowed', { clientText: 'tls/key.pem is not the key.' });
    },
  });
  expect((await admin.run('tls reload')).code).toBe(0);
  expect(await admin.run('tls reload')).toEqual({ code: 1, out: '', error: 'sealpost: tls/key.pem is not the key.\n' });
});

test('status shows ports, uptime, caches and health', async () => {
  await using admin = await openAdmin();
  const { out, code } = await admin.run('status');
  expect(code).toBe(0);
  expect(out).toMatch(/sealpost +1\.2\.3, process 42, well/);
  expect(out).toMatch(/up +1 d 2 h 3 min 4 s/);
  expect(out).toMatch(/ports +imap 143, smtp 25/);
  expect(await admin.json('status')).toMatchObject({ openMailboxesCount: 7, keyCache: { mailboxKeysCount: 0 } });
});

test('every command explains itself, with an example', async () => {
  const texts: string[] = [];
  const terminal = {
    input: process.stdin,
    write: (text: string) => void texts.push(text),
    writeError: () => undefined,
  };
  const leaves = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : command.commands.flatMap((it) => leaves(it));
  const commands = leaves(createProgram(terminal)).filter((it) => it.name() !== 'help');
  expect(commands.length).toBeGreaterThan(20);
  for (const command of commands) {
    expect(command.description(), command.name()).toMatch(/\.$/);
    command.outputHelp();
  }
  expect(texts.filter((text) => text.startsWith('\nExamples:\n  sealpost '))).toHaveLength(commands.length);
});

test('the keyring is listed and changed, and a disabled key refuses', async () => {
  await using admin = await openAdmin();
  const { run, json } = admin;
  expect(await json('keyring list')).toMatchObject([{ rootKey: 'local:default', state: 'enabled', versionsCount: 1 }]);
  expect((await run('keyring add archive')).out).toBe('Added local:archive.\n');
  expect((await run('keyring rotate local:archive')).code).toBe(0);
  expect((await run('keyring disable archive')).code).toBe(0);
  expect(await json('keyring list')).toMatchObject([
    {},
    { rootKey: 'local:archive', state: 'disabled', versionsCount: 2 },
  ]);
  expect(await run('org create B --provider local-keyring --key local:archive')).toMatchObject({ code: 1 });
  expect((await run('keyring enable archive')).code).toBe(0);
  expect(await run('org create B --provider local-keyring --key local:archive')).toMatchObject({ code: 0 });
  expect((await run('keyring add archive')).error).toContain('already');
  expect((await run('keyring rotate nothing')).error).toContain('sealpost keyring list');
});

describe('grants', () => {
  type Grant = Readonly<{ id: string; organization: string; revokedAtMs: number | null; providerGrant: string }>;

  async function withGrant() {
    const admin = await openAdmin();
    const created = await admin.run('org create Example');
    for (const line of ['domain create a.example', 'mailbox create ann@a.example --no-password']) await admin.run(line);
    const [grant] = await admin.json<Grant[]>('grant list --org Example');
    if (!grant) throw new Error('there is no grant');
    return { admin, created, grant };
  }

  test('one is made with the organization, is listed and shown, and says who enforces it', async () => {
    const { admin, created, grant } = await withGrant();
    await using closing = admin;
    const { run, json } = closing;
    expect(created.out).toContain('Its grant is enforced by this server alone: local-keyring has no grants.\n');
    expect(grant).toMatchObject({ providerGrant: 'not-supported', revokedAtMs: null });
    expect((await run('grant list')).out).toMatch(
      new RegExp(`${grant.id} +${grant.organization} +in force +this server alone: .* +local:default`),
    );
    const shown = (await run(`grant show ${grant.id}`)).out;
    expect(shown).toMatch(/organization +Example, id /);
    expect(shown).toMatch(/operations +Encrypt, Decrypt, ReEncryptFrom, ReEncryptTo, DescribeKey\n/);
    expect(shown).toContain(`only with     sealpost:organization = arn:sealpost:organization/${grant.organization}\n`);
    expect(await json(`grant show ${grant.id}`)).toMatchObject({
      organization: { name: 'Example', mailboxesCount: 1 },
    });
    expect((await run('grant show nothing')).error).toContain('sealpost grant list');
    expect((await run('grant create --org Example')).error).toContain(`${grant.id} is in force already`);
  });

  test('revoking asks, naming what it does; then nothing opens until a new one is made by id', async () => {
    const { admin, grant } = await withGrant();
    await using closing = admin;
    const { run, json, base } = closing;
    const name = async () => (await json<{ name: string | null }[]>('org list'))[0]?.name;
    const unasked = await run(`grant revoke ${grant.id}`);
    expect(unasked).toMatchObject({ code: 1, out: '' });
    expect(unasked.error).toContain('organization Example with 1 mailboxes');
    expect(unasked.error).toMatch(/Nobody can log in.*until a new grant is made.*No mail is lost/s);
    expect(unasked.error).toContain('Nothing was changed. Add --yes');
    expect((await run(`grant revoke ${grant.id}`, 'yes\n', true)).code).toBe(1);
    expect(await name()).toBe('Example');

    const revoked = await run(`grant revoke ${grant.id}`, 'Example\n', true);
    expect(revoked.code).toBe(0);
    expect(revoked.out).toContain(`sealpost grant create --org ${grant.organization}`);
    expect(base.keys.cacheState()).toEqual({ mailboxKeysCount: 0, directoryKeysCount: 0 });
    expect(await name()).toBeNull();
    expect((await run('mailbox list')).error).toContain('Access to the key of this organization is denied');
    expect((await run('grant create --org Example')).error).toContain('known by its id only');
    const made = await run(`grant create --org ${grant.organization}`);
    expect(made).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Created grant [0-9a-f]{32}, enforced by/) as string,
    });
    expect(await name()).toBe('Example');
    expect((await run('grant list')).out).toMatch(/ revoked +.*\n.* in force /);
    const events = await json<{ eventName: string; userIdentity: object }[]>('key audit --limit 1000');
    expect(events.map((event) => event.eventName)).toEqual(expect.arrayContaining(['CreateGrant', 'RevokeGrant']));
    expect(events.every((event) => JSON.stringify(event.userIdentity).includes('"admin"'))).toBe(true);
  });
});

test('the audit is verified, in words and in JSON; a broken one is named and exits with 1', async () => {
  await using admin = await openAdmin();
  const { run, json, base } = admin;
  await run('org create A');
  expect((await run('key audit verify')).out).toMatch(/^The audit is whole: \d+ entries, newest hash [0-9a-f]{64}\./);
  expect(await json('key audit verify')).toMatchObject({ kind: 'intact' });
  const { headHash } = await json<{ headHash: string }>('key audit verify');
  await run('org create Another'); // the audit goes on
  expect(await json(`key audit verify --expect ${headHash}`)).toMatchObject({ kind: 'intact' });
  expect((await run('key audit verify --expect 12')).code).toBe(2);
  expect(process.exitCode).toBeUndefined();
  expect((await run(`key audit verify --expect ${'00'.repeat(32)}`)).out).toMatch(/^THIS IS ANOTHER AUDIT\./);
  expect(process.exitCode).toBe(1);
  process.exitCode = undefined;
  base.directory.prepare('DROP TRIGGER key_audit_update').run();
  base.directory.prepare("UPDATE key_audit SET outcome = 'denied' WHERE id = 2").run();
  try {
    const broken = await run('key audit verify');
    expect(broken.out).toBe(
      'THE AUDIT IS BROKEN at entry 2: it was changed, or does not follow the row before it. The 1 before it are whole.\n',
    );
    expect(process.exitCode).toBe(1);
    expect(await json('key audit verify')).toMatchObject({ kind: 'broken', rowId: 2, intactRowsCount: 1 });
  } finally {
    process.exitCode = undefined;
  }
});

test('status shows what the key service was asked', async () => {
  await using admin = await openAdmin();
  const { run, json } = admin;
  await run('org create A');
  await run('keyring disable default');
  await run('cache drop');
  await run('org list');
  expect(await json('status')).toMatchObject({
    keyService: {
      operations: { DescribeKey: { callsCount: 1 }, CreateGrant: { callsCount: 1 }, Encrypt: { callsCount: 1 } },
      failures: { disabled: 1 },
      ungrantedCount: 0,
    },
  });
  const { out } = await run('status');
  expect(out).toMatch(/key calls: Encrypt +1, 0 failed, mean \d+\.\d ms, longest \d+\.\d ms/);
  expect(out).toMatch(/key failures +disabled 1/);
  expect(out).toMatch(/directory key cache +\d+ hits, \d+ misses/);
});

test('mailbox quota shows and sets what a mailbox may hold', async () => {
  await using admin = await openAdmin();
  for (const line of [
    'org create Example',
    'domain create example.org',
    'mailbox create ann@example.org --no-password',
  ])
    expect(await admin.run(line)).toMatchObject({ code: 0 });
  const quota = (options: string) => admin.json(`mailbox quota ann@example.org ${options}`);
  const none = { address: 'ann@example.org', maxBytes: null, maxMessagesCount: null, sizeBytes: 0, messagesCount: 0 };
  expect(await quota('')).toEqual(none);
  expect(await quota('--size 5G')).toEqual({ ...none, maxBytes: 5 * 2 ** 30 });
  expect(await quota('--messages 100')).toEqual({ ...none, maxBytes: 5 * 2 ** 30, maxMessagesCount: 100 });
  expect(await quota('--size none')).toEqual({ ...none, maxMessagesCount: 100 });
  expect((await admin.run('mailbox quota ann@example.org')).out).toMatch(/messages +0 +100\n/);
  expect(await admin.run('mailbox quota ann@example.org --size lots')).toMatchObject({ code: 2 });
});

test('gateway list shows each gateway, and exits with 1 when one cannot be reached', async () => {
  const [well, ill] = [
    { address: 'mx1.test:2465', reachedAtMs: 1000, failure: null, takenInCount: 7 },
    { address: 'mx2.test:2465', reachedAtMs: null, failure: 'It does not answer.', takenInCount: 0 },
  ];
  await using one = await openAdmin({ gateways: () => [well] });
  const listed = await one.run('gateway list');
  expect(listed.out).toMatch(/mx1\.test:2465 +1970-01-01T00:00:01\.000Z +7/);
  await using two = await openAdmin({ gateways: () => [well, ill] });
  expect(process.exitCode).toBeUndefined();
  expect((await two.run('gateway list')).out).toMatch(/mx2\.test:2465 +not yet +0 +It does not answer\./);
  expect(await two.json('gateway list')).toHaveLength(2);
  expect(process.exitCode).toBe(1);
  process.exitCode = undefined;
});
