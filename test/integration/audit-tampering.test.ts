/** A key audit that was changed behind the server's back is noticed at its next start, and the mail goes on. */
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect, test } from 'vitest';
import { DOMAIN, TestServer } from '../support/server.ts';
import { SmtpClient } from '../support/wire.ts';

test(
  'A5 a last entry that was removed makes the server say so, in status and log, and serve',
  { timeout: 60_000 },
  async () => {
    const server = await TestServer.start();
    expect(await server.run(['status'])).toMatchObject({ code: 0 });
    await server.kill();
    const database = new SqliteDatabase(join(server.data, 'directory.db'));
    database.exec('DROP TRIGGER key_audit_delete');
    database.exec('DELETE FROM key_audit WHERE id = (SELECT max(id) FROM key_audit)');
    database.close();

    await server.serve();
    const status = await server.run(['status']);
    expect(status.code).toBe(1);
    expect(status.out).toMatch(/key audit +degraded: .*sealpost key audit verify/);
    expect(server.log()).toContain('the key audit is broken');
    const verdict = await server.run(['key', 'audit', 'verify']);
    expect(verdict).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^THE AUDIT IS BROKEN at entry \d+: it is missing/) as string,
    });
    using client = await SmtpClient.open(server.ports.smtp, 'smtp');
    expect(await client.deliver({ to: [`u1@${DOMAIN}`], message: Buffer.from('Subject: hi\r\n\r\nx\r\n') })).toMatch(
      /^250 /,
    );
  },
);
