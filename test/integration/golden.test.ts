import { chmodSync, cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect, test } from 'vitest';
import { migrationsOf } from '../../src/db/migrate.ts';
import { DOMAIN, PASSWORD, ROOT, TestServer } from '../support/server.ts';
import { ImapClient, SmtpClient } from '../support/wire.ts';

const TEST_MS = 240_000;
const golden = join(ROOT, 'test/golden');
const versions = readdirSync(golden).filter((name) => name.startsWith('data-'));

async function login(server: TestServer, user: string): Promise<ImapClient> {
  const imap = await ImapClient.open(server.ports.imap);
  await imap.ok(`LOGIN ${user}@${DOMAIN} ${PASSWORD}`);
  return imap;
}

test.for(versions)(
  'the data directory %s opens, is brought up to date, and all its mail is there',
  { timeout: TEST_MS },
  async (version) => {
    const server = TestServer.prepare();
    cpSync(join(golden, version), server.data, { recursive: true });
    chmodSync(join(server.data, 'keyring.json'), 0o600); // git keeps no such modes
    expect((await server.run(['init'])).code).toBe(0); // the certificate
    await server.serve();
    using one = await login(server, 'u1');
    const { exists } = await one.select('Letters/2026');
    expect(exists).toBe(3);
    const texts = (await one.fetchAll()).map(({ bytes }) => bytes.toString());
    expect(texts[0]).toBe('Subject: kept flags\r\nFrom: a@example.net\r\n\r\nfirst\r\n');
    expect(texts[1]).toBe(`Subject: large\r\n\r\n${'a line of a larger letter\r\n'.repeat(400)}`);
    expect(texts[2]).toBe('Subject: copied\r\n\r\nsecond\r\n');
    expect((await one.ok('FETCH 1 FLAGS')).untagged.map(({ text }) => text).join()).toMatch(/\\Flagged \\Seen work/);
    expect((await one.ok('SEARCH BODY second')).untagged.map(({ text }) => text).join()).toMatch(/SEARCH.* 3$/);
    using two = await login(server, 'u2');
    await two.select('INBOX');
    expect((await two.fetchAll()).map(({ bytes }) => bytes.toString()).join()).toContain(
      'Subject: delivered\r\n\r\nby LMTP',
    );
    using lmtp = await SmtpClient.open(server.ports.lmtp, 'lmtp');
    await lmtp.ask('LHLO new.example.net');
    for (const user of ['sales', 'pair']) {
      const message = Buffer.from('Subject: new\r\n\r\nnew\r\n');
      expect(await lmtp.deliver({ from: 'n@example.net', to: [`${user}@${DOMAIN}`], message })).toMatch(/^250/);
    }
    const { code, out } = await server.run(['doctor', '--deep', '--json']);
    expect([code, JSON.parse(out)]).toMatchObject([0, { faults: [], unexamined: [], mailboxesCount: 3 }]);
    await server.kill();
    const directory = new SqliteDatabase(join(server.data, 'directory.db'), { readonly: true });
    const applied = directory.prepare('SELECT count(*) AS count FROM schema_migrations').get();
    directory.close();
    expect(applied).toEqual({ count: migrationsOf(join(ROOT, 'migrations/directory')).length });
  },
);
