/** The restore drill: backups of a server under load, restored elsewhere and beside, down to the last byte. */
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DOMAIN, PASSWORD, TestServer } from '../support/server.ts';
import { digestOf, ledgerMessage, seededRandom } from '../support/ledger.ts';
import { findWords } from '../support/canary.ts';
import { ImapClient, SmtpClient, withoutTrace } from '../support/wire.ts';

type Created = Readonly<{ id: string; unchangedCount: number; sentObjectsCount: number; removed: readonly string[] }>;
type Verdict = Readonly<{ faults: readonly Readonly<{ what: string; where: string }>[] }>;

async function json<T>(server: TestServer, ...words: readonly string[]): Promise<T> {
  const { code, out, error } = await server.run([...words, '--json']);
  if (code !== 0) throw new Error(`${words.join(' ')}: ${error}${out}`);
  return JSON.parse(out) as T;
}

async function login(server: TestServer, user: string): Promise<ImapClient> {
  const imap = await ImapClient.open(server.ports.imap);
  await imap.ok(`LOGIN ${user}@${DOMAIN} ${PASSWORD}`);
  return imap;
}

/** Digests of a folder's messages as they were sent, in order. */
async function digests(server: TestServer, user: string, folder: string): Promise<string[]> {
  using imap = await login(server, user);
  const { exists } = await imap.select(folder);
  const fetched = exists === 0 ? [] : await imap.fetchAll();
  return fetched.map(({ bytes }) =>
    digestOf(bytes.subarray(0, 12).toString('latin1') === 'Return-Path:' ? withoutTrace(bytes) : bytes),
  );
}

/** Delivers until told to stop; gives the digests of what was acknowledged, in order. */
function loadOn(server: TestServer, user: string, seed: number): () => Promise<string[]> {
  const random = seededRandom(seed);
  const acknowledged: string[] = [];
  let isStopped = false;
  const running = (async () => {
    using client = await SmtpClient.open(server.ports.lmtp, 'lmtp');
    await client.ask('LHLO load.example.net');
    for (let number = 0; !isStopped; number += 1) {
      const message = ledgerMessage(seed * 10_000 + number, random() < 0.2 ? 150_000 : 3000, random);
      const answer = await client.deliver({ from: 'l@example.net', to: [`${user}@${DOMAIN}`], message });
      if (answer.startsWith('250')) acknowledged.push(digestOf(message));
    }
  })();
  return async () => {
    isStopped = true;
    await running;
    return acknowledged;
  };
}

/** A server over a restored data directory, with the keyring and certificate of the old one. */
async function serverOver(restored: string, old: TestServer): Promise<TestServer> {
  const directory = join(old.directory, 'elsewhere');
  mkdirSync(join(directory), { recursive: true });
  const server = TestServer.prepare({ directory });
  cpSync(restored, join(directory, 'data'), { recursive: true });
  for (const name of ['keyring.json', 'tls'])
    cpSync(join(old.data, name), join(directory, 'data', name), { recursive: true });
  await server.serve();
  return server;
}

test(
  'F24 BC1 BC2 a backup under load restores elsewhere as a prefix, byte for byte',
  { timeout: 240_000 },
  async () => {
    const server = await TestServer.start({ users: 3, config: { keys: { cacheMaxAgeMs: 1000 } } });
    const target = join(server.directory, 'backup');
    const stops = [loadOn(server, 'u1', 1), loadOn(server, 'u2', 2)];
    await server.run(['mailbox', 'create', `pair@${DOMAIN}`, '--key-pair', '--no-password']);
    const first = await json<Created>(server, 'backup', 'create', target);
    await server.run(['key', 'rotate', `u1@${DOMAIN}`]);
    const [second] = await Promise.all([
      json<Created>(server, 'backup', 'create', target),
      server.run(['key', 'rotate', `u2@${DOMAIN}`]),
    ]);
    const sent = [await stops[0]?.(), await stops[1]?.()];
    expect(Math.min(...sent.map((each) => each?.length ?? 0))).toBeGreaterThan(5);
    expect((await json<readonly { id: string }[]>(server, 'backup', 'list', target)).map(({ id }) => id)).toEqual([
      first.id,
      second.id,
    ]);
    for (const { id } of [first, second]) {
      const verdict = await json<Verdict>(server, 'backup', 'verify', target, '--backup', id);
      expect(verdict.faults).toEqual([]);
    }
    const restored = join(server.directory, 'restored');
    await json(server, 'backup', 'restore', target, '--into', restored);
    const again = await server.run(['backup', 'restore', target, '--into', restored]);
    expect([again.code, again.error]).toMatchObject([1, expect.stringContaining('is not empty')]);
    await server.kill();
    const elsewhere = await serverOver(restored, server);
    for (const [index, user] of ['u1', 'u2'].entries()) {
      const found = await digests(elsewhere, user, 'INBOX');
      expect(found.length).toBeGreaterThan(0);
      expect(found).toEqual(sent[index]?.slice(0, found.length)); // a prefix of what was acknowledged
    }
    const report = await json<{ faults: unknown[]; mailboxesCount: number }>(elsewhere, 'doctor', '--deep');
    expect(report).toMatchObject({ faults: [], mailboxesCount: 4 });
  },
);

test(
  'BM1 BC3 BC4 what has not changed is not sent again; no key and no word is in a backup',
  { timeout: 240_000 },
  async () => {
    const server = await TestServer.start({ users: 3 });
    const target = join(server.directory, 'backup');
    using imap = await login(server, 'u1');
    await imap.ok('CREATE walrusparadefolder');
    for (const size of [10, 9000]) {
      await imap.append(
        'walrusparadefolder',
        Buffer.from(`Subject: walrusparade\r\n\r\n${'walrusparade\r\n'.repeat(size)}`),
      );
    }
    using other = await login(server, 'u2');
    await other.append('INBOX', Buffer.from('Subject: other\r\n\r\nother\r\n'));
    const first = await json<Created>(server, 'backup', 'create', target);
    expect(first).toMatchObject({ unchangedCount: 0, removed: [] });
    expect(findWords([target], ['walrusparade', 'walrusparadefolder'])).toEqual([]);
    const keyring = readFileSync(join(server.data, 'keyring.json'), 'utf8');
    const secret = /"([A-Za-z0-9+/=_-]{40,})"/.exec(keyring)?.[1] ?? '';
    expect(secret.length).toBeGreaterThan(40);
    expect(findWords([target], [secret])).toEqual([]);
    expect(existsSync(join(server.data, 'backup-scratch'))).toBe(false);

    const settled = new Date(Date.now() - 60_000); // as if nothing had been written for a while
    const settle = (): void => {
      for (const file of globSync('mailboxes/*/mailbox.db*', { cwd: server.data }))
        utimesSync(join(server.data, file), settled, settled);
    };
    await server.restart();
    settle();
    const second = await json<Created>(server, 'backup', 'create', target);
    const third = await json<Created>(server, 'backup', 'create', target, '--keep', '2');
    expect(third).toMatchObject({ unchangedCount: 2, sentObjectsCount: 0, removed: [first.id] });
    using again = await login(server, 'u1');
    await again.append('INBOX', Buffer.from('Subject: new\r\n\r\nnew\r\n'));
    const fourth = await json<Created>(server, 'backup', 'create', target, '--keep', '2');
    expect(fourth).toMatchObject({ unchangedCount: 1, sentObjectsCount: 2, removed: [second.id] }); // its database, and the directory
    for (const id of [third.id, fourth.id])
      expect((await json<Verdict>(server, 'backup', 'verify', target, '--backup', id)).faults).toEqual([]);
  },
);

test('RM1 RM2 RM3 a mailbox or a folder comes back beside what is there', { timeout: 240_000 }, async () => {
  const server = await TestServer.start({ users: 2 });
  const target = join(server.directory, 'backup');
  const random = seededRandom(7);
  const messages = [3000, 200_000, 500, 120_000].map((size, index) => ledgerMessage(index, size, random));
  using imap = await login(server, 'u1');
  await imap.ok('CREATE Keep/Deep');
  for (const message of messages) await imap.append('Keep/Deep', message, '\\Flagged work');
  await imap.append('INBOX', messages[0] ?? Buffer.of());
  const { id } = await json<Created>(server, 'backup', 'create', target);
  await imap.select('Keep/Deep');
  await imap.ok('STORE 1:* +FLAGS (\\Deleted)');
  await imap.ok('EXPUNGE');
  await server.run(['key', 'rotate', `u1@${DOMAIN}`]);

  type Restored = { folders: { from: string; to: string; messagesCount: number; damagedCount: number }[] };
  const restore = (...words: readonly string[]): Promise<Restored> =>
    json<Restored>(server, 'backup', 'restore', target, '--mailbox', `u1@${DOMAIN}`, ...words);
  const { folders } = await restore('--folder', 'Keep/Deep', '--beside');
  expect(folders).toMatchObject([{ from: 'Keep/Deep', messagesCount: 4, damagedCount: 0 }]);
  const to = folders[0]?.to ?? '';
  expect(to).toMatch(/^Restored\/\d{4}-\d\d-\d\d \d{4}\/Keep\/Deep$/);
  const wanted = messages.map(digestOf);
  expect(await digests(server, 'u1', to)).toEqual(wanted);
  await imap.select(to);
  expect((await imap.ok('FETCH 1 FLAGS')).untagged.map(({ text }) => text).join()).toMatch(/\\Flagged work/);
  await restore('--folder', 'Keep/Deep', '--beside'); // again: nothing twice
  expect(await digests(server, 'u1', to)).toEqual(wanted);

  await server.run(['mailbox', 'delete', `u1@${DOMAIN}`, '--yes']); // its keys are in the backup only
  const all = await restore('--as', `u2@${DOMAIN}`);
  expect(all.folders.map(({ from, messagesCount }) => [from, messagesCount])).toEqual([
    ['INBOX', 1],
    ['Keep/Deep', 4],
  ]);
  expect(await digests(server, 'u2', to)).toEqual(wanted);

  const [blob = ''] = globSync('blobs/*/*/*', { cwd: target }).filter((file) => statSync(join(target, file)).isFile());
  const bytes = readFileSync(join(target, blob));
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(join(target, blob), bytes);
  const verified = await server.run(['backup', 'verify', target, '--json']);
  expect([verified.code, (JSON.parse(verified.out) as Verdict).faults]).toEqual([
    1,
    [{ what: 'an object is not what it was', where: blob }],
  ]);
  rmSync(join(target, blob));
  await server.run(['mailbox', 'create', `u3@${DOMAIN}`, '--no-password']);
  const damaged = await restore('--as', `u3@${DOMAIN}`, '--backup', id);
  expect(damaged.folders.map(({ from, messagesCount, damagedCount }) => [from, messagesCount, damagedCount])).toEqual([
    ['INBOX', 1, 0],
    ['Keep/Deep', 3, 1],
  ]);
});

test('BR3 a restore that was cut short is not served, and goes on', { timeout: 240_000 }, async () => {
  const server = await TestServer.start({ users: 1 });
  const target = join(server.directory, 'backup');
  using imap = await login(server, 'u1');
  const message = ledgerMessage(1, 200_000, seededRandom(3));
  await imap.append('INBOX', message);
  await json<Created>(server, 'backup', 'create', target);
  const blob = globSync('blobs/*/*/*', { cwd: target }).find((file) => statSync(join(target, file)).isFile()) ?? '';
  const away = join(server.directory, 'blob');
  cpSync(join(target, blob), away);
  rmSync(join(target, blob));
  const restored = join(server.directory, 'restored');
  const failed = await server.run(['backup', 'restore', target, '--into', restored]);
  expect([failed.code, failed.error]).toMatchObject([1, expect.stringContaining('The backup lacks blobs/')]);
  await server.kill();
  cpSync(join(server.data, 'keyring.json'), join(restored, 'keyring.json'));
  cpSync(join(server.data, 'tls'), join(restored, 'tls'), { recursive: true });
  const half = TestServer.prepare({
    directory: join(server.directory, 'half'),
    config: { data: { directory: restored } },
  });
  await expect(half.serve()).rejects.toThrow(/has not ended/);
  cpSync(away, join(target, blob));
  await json(server, 'backup', 'restore', target, '--into', restored);
  const whole = TestServer.prepare({
    directory: join(server.directory, 'whole'),
    config: { data: { directory: restored } },
  });
  await whole.serve();
  expect(await digests(whole, 'u1', 'INBOX')).toEqual([digestOf(message)]);
});
