/**
 * IM1 IM3 A mailbox is pulled over by IMAP while importer and server are killed; then counts and hashes are those of the
 * source, and nothing is there twice.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ImapFlow } from 'imapflow';
import { expect, onTestFinished, test } from 'vitest';
import type { ImportReport } from '../../src/admin/import-report.ts';
import { DOMAIN, PASSWORD, ROOT, TestServer } from '../support/server.ts';
import { ImapClient } from '../support/wire.ts';

const MESSAGES_COUNT = 300;
const FOLDERS = ['INBOX', 'Sent', 'Work/Deep'];

async function fill(server: TestServer): Promise<void> {
  using imap = await ImapClient.open(server.ports.imap);
  await imap.ok(`LOGIN u1@${DOMAIN} ${PASSWORD}`);
  await imap.ok('CREATE Work/Deep');
  await imap.ok('CREATE Empty');
  for (let at = 0; at < MESSAGES_COUNT; at += 1) {
    const body = at % 10 === 0 ? 'equal copies' : `number ${String(at)} ${'x'.repeat((at * 37) % 3000)}`;
    const message = Buffer.from(`Subject: s\r\n\r\n${body}\r\n`);
    const flags = at % 3 === 0 ? '\\Seen $Label' : '\\Flagged';
    expect((await imap.append(FOLDERS[at % 3] ?? 'INBOX', message, flags)).status).toBe('OK');
  }
}

/** Hash, flags and internal date of every message by folder, sorted. */
async function contents(server: TestServer, user: string): Promise<Record<string, string[]>> {
  const client = new ImapFlow({
    host: '127.0.0.1',
    port: server.ports.imap,
    secure: false,
    doSTARTTLS: false,
    auth: { user: `${user}@${DOMAIN}`, pass: PASSWORD },
    logger: false,
  });
  await client.connect();
  const found: Record<string, string[]> = {};
  for (const { path } of await client.list()) {
    await client.mailboxOpen(path, { readOnly: true });
    const messages = await client.fetchAll('1:*', { source: true, flags: true, internalDate: true }).catch(() => []);
    found[path] = messages
      .map(({ source, flags, internalDate }) => {
        const hash = createHash('sha256')
          .update(source ?? '')
          .digest('hex');
        const date = internalDate === undefined ? '' : new Date(internalDate).toISOString();
        return [
          hash,
          [...(flags ?? [])]
            .filter((flag) => flag !== '\\Recent')
            .sort()
            .join(' '),
          date,
        ].join(' ');
      })
      .sort();
  }
  await client.logout();
  return found;
}

test('IM1 IM3 killed importers and a killed server cost and double nothing', { timeout: 180_000 }, async () => {
  const server = await TestServer.start({ users: 2 });
  await fill(server);
  writeFileSync(join(server.directory, 'pw'), `${PASSWORD}\n`);
  const target = `u2@${DOMAIN}`;
  const source = [
    '--host',
    '127.0.0.1',
    '--port',
    String(server.ports.imap),
    '--tls',
    'none',
    '--user',
    `u1@${DOMAIN}`,
  ];
  const words = [
    'import',
    'imap',
    target,
    ...source,
    '--password-file',
    join(server.directory, 'pw'),
    '--connections',
    '2',
  ];
  const killed = async (then: () => Promise<unknown>): Promise<void> => {
    const args = [join(ROOT, 'src/main.ts'), ...words, '--config', server.configFile];
    const child = spawn(process.execPath, args, { cwd: server.directory, stdio: 'ignore' });
    onTestFinished(() => void child.kill('SIGKILL'));
    const before = await stored(server, target);
    while (child.exitCode === null && (await stored(server, target)) <= before) await delay(5);
    await then();
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  };
  await killed(() => Promise.resolve());
  await killed(() => server.restart('SIGKILL'));
  const { code, out, error } = await server.run([...words, '--json']);
  expect([code, error]).toEqual([0, '']);
  const report = JSON.parse(out) as ImportReport;
  const sum = (pick: (it: ImportReport['folders'][number]) => number): number =>
    report.folders.reduce((total, it) => total + pick(it), 0);
  expect(sum((it) => it.sourceCount)).toBe(MESSAGES_COUNT);
  expect(sum((it) => it.knownCount)).toBeGreaterThan(0);
  expect(sum((it) => it.equalCount)).toBe(MESSAGES_COUNT);
  const [there, here] = [await contents(server, 'u1'), await contents(server, 'u2')];
  expect(here).toEqual(there);
  expect(Object.keys(here)).toContain('Empty');
  const again = await server.run([...words, '--json']);
  const { folders } = JSON.parse(again.out) as ImportReport;
  expect(folders.reduce((total, it) => total + it.storedCount, 0)).toBe(0);
  expect(await contents(server, 'u2')).toEqual(there);
});

async function stored(server: TestServer, address: string): Promise<number> {
  const { code, out } = await server.run(['mailbox', 'quota', address, '--json']);
  return code === 0 ? (JSON.parse(out) as { messagesCount: number }).messagesCount : 0;
}
