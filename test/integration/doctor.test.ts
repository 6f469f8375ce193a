/** `sealpost doctor` against a real server, and without one. */
import { globSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect, test } from 'vitest';
import type { DoctorReport } from '../../src/base/fault.ts';
import { DOMAIN, PASSWORD, TestServer } from '../support/server.ts';
import { ImapClient } from '../support/wire.ts';

type Answer = Readonly<{ code: number | null; report: DoctorReport }>;

async function doctor(server: TestServer, ...words: readonly string[]): Promise<Answer> {
  const { code, out } = await server.run(['doctor', '--json', ...words]);
  return { code, report: JSON.parse(out || '{}') as DoctorReport };
}

/** The database of the one mailbox that has mail, changed behind the server's back. */
function tamper(server: TestServer, sql: string): void {
  for (const file of globSync('mailboxes/*/mailbox.db', { cwd: server.data })) {
    const sqlite = new SqliteDatabase(join(server.data, file));
    sqlite.exec(sql);
    sqlite.close();
  }
}

const faultsOf = ({ faults }: DoctorReport): string[] => faults.map(({ what, remedy }) => `${remedy}: ${what}`);

test('DR1 DR3 the doctor finds, mends and names, with a server and without one', { timeout: 180_000 }, async () => {
  const server = await TestServer.start({ users: 2 });
  using imap = await ImapClient.open(server.ports.imap);
  await imap.ok(`LOGIN u1@${DOMAIN} ${PASSWORD}`);
  for (const text of ['one', 'two']) await imap.append('INBOX', Buffer.from(`Subject: ${text}\r\n\r\n${text}\r\n`));

  const sound = await doctor(server, '--deep');
  expect([sound.code, sound.report]).toMatchObject([0, { mailboxesCount: 2, messagesCount: 2, faults: [] }]);

  tamper(server, 'UPDATE folders SET unseen_count = 99 WHERE message_count = 2');
  const wrong = 'the counters of a folder are wrong';
  const found = await doctor(server);
  expect([found.code, faultsOf(found.report)]).toEqual([1, [`mendable: ${wrong}`]]);
  const mended = await doctor(server, '--repair');
  expect([mended.code, faultsOf(mended.report)]).toEqual([0, [`mended: ${wrong}`]]);

  tamper(server, 'UPDATE bodies SET sealed_summary = zeroblob(40) WHERE id = 1');
  const kept = 'kept: the summary of a message does not open';
  const damaged = await doctor(server, '--deep', '--repair', '--mailbox', `u1@${DOMAIN}`);
  expect([damaged.code, faultsOf(damaged.report), damaged.report.mailboxesCount]).toEqual([1, [kept], 1]);
  expect((await server.run(['doctor'])).out).toContain('kept as it is');
  const status = JSON.parse((await server.run(['status', '--json'])).out) as { scrub: object };
  expect(status.scrub).toMatchObject({ mailboxesCount: 2, faultsCount: 1 });

  await server.kill();
  const offline = await doctor(server);
  expect([offline.code, faultsOf(offline.report)]).toEqual([1, [kept]]); // known from the last time
  writeFileSync(join(server.data, 'mailboxes', 'stray'), '');
  const [file = ''] = globSync('mailboxes/*/mailbox.db', { cwd: server.data });
  writeFileSync(join(server.data, file), 'no database');
  const broken = await doctor(server, '--deep');
  expect(faultsOf(broken.report)).toEqual(
    expect.arrayContaining(['by-hand: a folder belongs to no mailbox', 'by-hand: the database cannot be opened']),
  );
  const directory = new SqliteDatabase(join(server.data, 'directory.db'));
  directory.pragma('foreign_keys = OFF');
  const id = dirname(file).split('/').at(-1) ?? '';
  directory.prepare('UPDATE mailboxes SET sealed_profile = zeroblob(60) WHERE id = ?').run(id);
  directory.prepare('UPDATE addresses SET kind = ? WHERE mailbox = ?').run('alias', id);
  directory.prepare(`UPDATE wrapped_keys SET wrapped = zeroblob(60) WHERE owner = ?`).run(id);
  directory.close();
  const { report } = await doctor(server);
  expect(faultsOf(report)).toEqual(
    expect.arrayContaining([
      'by-hand: a mailbox has no address of its own, or several',
      'kept: a record of the directory does not open',
      'by-hand: a wrapped key does not open',
    ]),
  );
});

test('DR2 what cannot be examined for want of a key is said to be so', { timeout: 180_000 }, async () => {
  const server = await TestServer.start({ users: 1 });
  using imap = await ImapClient.open(server.ports.imap);
  await imap.ok(`LOGIN u1@${DOMAIN} ${PASSWORD}`);
  await imap.append('INBOX', Buffer.from('Subject: one\r\n\r\none\r\n'));
  await server.run(['mailbox', 'suspend', `u1@${DOMAIN}`]);
  const { code, report } = await doctor(server);
  expect([code, report.faults, report.unexamined.length]).toEqual([0, [], 1]);
});

test(
  'PS1 the plaintext scan finds words in data, log and temporary files, and only there',
  { timeout: 180_000 },
  async () => {
    const server = await TestServer.start({ users: 1 });
    using imap = await ImapClient.open(server.ports.imap);
    await imap.ok(`LOGIN u1@${DOMAIN} ${PASSWORD}`);
    await imap.append('INBOX', Buffer.from('Subject: walrusparade\r\n\r\nwalrusparade\r\n'));
    const clean = await server.run(['doctor', '--scan-plaintext', 'walrusparade']);
    expect([clean.code, clean.out]).toMatchObject([0, expect.stringMatching(/^0 found in \d+ files/)]);
    const border = Buffer.alloc(4 * 1024 * 1024 + 20, 7);
    border.write(Buffer.from('xwalrusparade!').toString('base64'), 4 * 1024 * 1024 - 6);
    for (const file of [join(server.data, 'planted'), join(server.directory, 'tmp', 'planted')]) {
      writeFileSync(file, border);
      const found = await server.run(['doctor', '--scan-plaintext', 'walrusparade', 'otherword', '--json']);
      expect(found.code).toBe(1);
      expect((JSON.parse(found.out) as { findings: unknown[] }).findings).toContainEqual({
        file,
        word: 1,
        form: 'base64 phase 1',
      });
    }
  },
);
