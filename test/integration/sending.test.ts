/** The whole way: a user submits, the server delivers elsewhere, and what comes back is in the INBOX. */
import { expect, test } from 'vitest';
import { startDnsServer } from '../support/dns-server.ts';
import { DOMAIN, PASSWORD, TestServer } from '../support/server.ts';
import { startSmtpRemote, type RemoteScript } from '../support/smtp-remote.ts';
import { ImapClient, SmtpClient } from '../support/wire.ts';

const WAIT = { timeout: 30_000, interval: 50 };
const USER = `u1@${DOMAIN}`;

async function world(script: RemoteScript = {}) {
  const remote = await startSmtpRemote({ ehlo: ['PIPELINING', '8BITMIME'], ...script });
  const dns = await startDnsServer({ 'far.test': { MX: ['10 mx.far.test'] }, 'mx.far.test': { A: ['127.0.0.1'] } });
  const config = {
    dns: { servers: [`127.0.0.1:${String(dns.port)}`] },
    queue: { firstRetryMs: 1000, maxRetryMs: 1000 },
    outbound: { enabled: true, port: remote.port, refusedNetworks: [] },
  };
  return { remote, server: await TestServer.start({ users: 1, config }) };
}

async function submit(server: TestServer, to: readonly string[]): Promise<void> {
  using client = await SmtpClient.open(server.ports.submission, 'smtp');
  const login = Buffer.from(`\0${USER}\0${PASSWORD}`).toString('base64');
  expect(await client.ask(`AUTH PLAIN ${login}`)).toMatch(/^235 /);
  const message = Buffer.from(`From: ${USER}\r\nTo: <${to.join('>, <')}>\r\nSubject: hello\r\n\r\n.dots\r\n`);
  expect(await client.deliver({ from: USER, to, message })).toMatch(/^250 /);
}

async function inboxOf(server: TestServer): Promise<string> {
  using imap = await ImapClient.login(server.ports.imap, USER, PASSWORD);
  const { untagged } = await imap.ok('SELECT INBOX');
  if (untagged.some(({ text }) => text === '0 EXISTS')) return '';
  return (await imap.fetchAll()).map(({ bytes }) => bytes.toString()).join();
}

test(
  'what is submitted is delivered, refused recipients come back, and a kill in between changes nothing',
  { timeout: 120_000 },
  async () => {
    let isAway = true;
    const { remote, server } = await world({
      answer: (line) => {
        if (/<no@/.test(line)) return '550 5.1.1 nobody here';
        return isAway && line.startsWith('RCPT') ? '451 4.3.0 later' : undefined;
      },
    });
    await submit(server, ['bob@far.test', 'no@far.test']);
    await expect.poll(() => remote.lines.filter((line) => line.startsWith('RCPT')).length, WAIT).toBeGreaterThan(2);
    await server.kill('SIGKILL');
    isAway = false;
    await server.serve();
    await expect.poll(() => remote.messages.length, WAIT).toBe(1);
    expect(remote.messages[0]).toMatchObject({ sender: USER, recipients: ['bob@far.test'] });
    const text = remote.messages[0]?.data.toString() ?? '';
    expect(text).toContain('Subject: hello\r\n');
    expect(text).toContain('\r\n\r\n..dots\r\n');
    await expect.poll(() => inboxOf(server), WAIT).toContain('Diagnostic-Code: smtp; 550 5.1.1 nobody here');
    expect((await inboxOf(server)).match(/Final-Recipient/g)).toHaveLength(1);
    expect(remote.messages).toHaveLength(1);
    expect((await server.kill('SIGTERM')).code).toBe(0);
    expect(server.log()).toContain('mail was sent out');
    expect(server.log()).not.toMatch(/far\.test|nobody here/);
  },
);
