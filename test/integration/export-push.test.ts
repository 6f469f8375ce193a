/** MO2 Pushing a mailbox to another server by IMAP, here to our own: the same mail is there, and a second push adds nothing. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DOMAIN, PASSWORD, TestServer } from '../support/server.ts';
import { ImapClient } from '../support/wire.ts';

type Pushed = Readonly<{
  folders: readonly Readonly<{ folder: string; messagesCount: number; writtenCount: number; sha256: string }>[];
}>;

test('MO2 a push, a push again, and the way back are the same mail', { timeout: 120_000 }, async () => {
  const server = await TestServer.start({ users: 2 });
  {
    using imap = await ImapClient.open(server.ports.imap);
    await imap.ok(`LOGIN u1@${DOMAIN} ${PASSWORD}`);
    await imap.ok('CREATE "Work/Deep"');
    for (let at = 0; at < 12; at += 1) {
      const body = at % 4 === 0 ? 'equal' : `number ${String(at)}`;
      const message = Buffer.from(`Message-ID: <${String(at % 4)}@example.org>\r\nSubject: s\r\n\r\n${body}\r\n`);
      expect((await imap.append(at % 2 === 0 ? 'Sent' : 'Work/Deep', message, '\\Seen $Label')).status).toBe('OK');
    }
  }
  writeFileSync(join(server.directory, 'pw'), `${PASSWORD}\n`);
  const account = [
    '--host',
    '127.0.0.1',
    '--port',
    String(server.ports.imap),
    '--tls',
    'none',
    '--user',
    `u2@${DOMAIN}`,
  ];
  const push = async (): Promise<Pushed> => {
    const words = [
      'export',
      'imap',
      `u1@${DOMAIN}`,
      ...account,
      '--password-file',
      join(server.directory, 'pw'),
      '--json',
    ];
    const { code, out, error } = await server.run(words);
    expect([code, error]).toEqual([0, '']);
    return JSON.parse(out) as Pushed;
  };
  const first = await push();
  const sum = (pushed: Pushed): number => pushed.folders.reduce((all, it) => all + it.writtenCount, 0);
  expect(sum(first)).toBe(12);
  expect(sum(await push())).toBe(0);
  const back = await server.run(['export', 'eml', `u2@${DOMAIN}`, join(server.directory, 'back.zip'), '--json']);
  const hashes = (pushed: Pushed): string[] =>
    pushed.folders
      .filter((it) => it.messagesCount > 0)
      .map((it) => `${it.folder} ${it.sha256}`)
      .sort();
  expect(hashes(JSON.parse(back.out) as Pushed)).toEqual(hashes(first));
  using imap = await ImapClient.open(server.ports.imap);
  await imap.ok(`LOGIN u2@${DOMAIN} ${PASSWORD}`);
  await imap.select('Work/Deep');
  expect((await imap.ok('UID SEARCH SEEN KEYWORD $Label')).untagged.map(({ text }) => text).join()).toMatch(
    /(\d+ ){5}\d+/,
  );
});
