/** One message through a whole server whose organization has its root key in a given key service. */
import { expect } from 'vitest';
import { ledgerMessage, seededRandom } from '../../support/ledger.ts';
import { DOMAIN, TestServer, type ServerOptions } from '../../support/server.ts';
import { ImapClient, SmtpClient, withoutTrace } from '../../support/wire.ts';

const MESSAGE_BYTES = 3000;

/** The server, with one message delivered by SMTP, another one appended, and both read back byte for byte, after a restart too. */
export async function serverWithMail(options: ServerOptions): Promise<TestServer> {
  const server = await TestServer.start({ users: 1, ...options });
  const random = seededRandom(11);
  const [delivered, appended] = [ledgerMessage(1, MESSAGE_BYTES, random), ledgerMessage(2, MESSAGE_BYTES, random)];
  {
    using smtp = await SmtpClient.open(server.ports.smtp, 'smtp');
    expect(await smtp.deliver({ to: [`u1@${DOMAIN}`], message: delivered })).toMatch(/^250 /);
    using imap = await ImapClient.login(server.ports.imap, `u1@${DOMAIN}`);
    expect((await imap.append('INBOX', appended)).status).toBe('OK');
  }
  expect(await inboxOf(server)).toEqual([delivered, appended]);
  await server.restart(); // nothing is left in a cache
  expect(await inboxOf(server)).toEqual([delivered, appended]);
  return server;
}

/** The messages of INBOX, without the trace fields of a delivery. */
export async function inboxOf(server: TestServer): Promise<Buffer[]> {
  using imap = await ImapClient.login(server.ports.imap, `u1@${DOMAIN}`);
  await imap.select('INBOX');
  const all = await imap.fetchAll();
  return all.map(({ bytes }) => (bytes.toString('latin1', 0, 12) === 'Return-Path:' ? withoutTrace(bytes) : bytes));
}
