/** The checks in a real server, over real DNS questions; the peers are on this machine, and not trusted. */
import { expect, test } from 'vitest';
import { startDnsServer } from '../../support/dns-server.ts';
import { DOMAIN, TestServer } from '../../support/server.ts';
import { ImapClient, SmtpClient } from '../../support/wire.ts';
import { FROM_NET, keyName, message, signedBy, signerOf } from './world.ts';

async function setUp() {
  const signer = signerOf('example.net', 'rsa');
  const dns = await startDnsServer({
    'example.net': { TXT: ['v=spf1 include:_spf.example.net -all'] },
    '_spf.example.net': { TXT: ['v=spf1 mx ~all'], MX: ['10 out.example.net'] },
    'out.example.net': { A: ['198.51.100.1'] },
    '_dmarc.example.net': { TXT: ['v=DMARC1; p=reject'] },
    '_dmarc.junk.example': { TXT: ['v=DMARC1; p=quarantine'] },
    [keyName(signer)]: { TXT: [signer.record.match(/.{1,255}/g) ?? []] },
  });
  const server = await TestServer.start({
    users: 2,
    config: {
      mail: { trustedPeers: [] },
      dns: { servers: [`127.0.0.1:${String(dns.port)}`] },
      server: { hostname: 'mx.bench.test' },
    },
  });
  return { dns, server, signer };
}

async function textsIn(server: TestServer, user: string, folder: string): Promise<string[]> {
  using imap = await ImapClient.open(server.ports.imap);
  await imap.ok(`LOGIN ${user}@${DOMAIN} pw`);
  const { exists } = await imap.select(folder);
  return exists === 0 ? [] : (await imap.fetchAll()).map(({ bytes }) => bytes.toString());
}

test(
  'signed mail is delivered, forged mail refused, doubtful mail put into Junk; LMTP is not asked',
  { timeout: 60_000 },
  async () => {
    const { dns, server, signer } = await setUp();
    const to = [`u1@${DOMAIN}`, `u2@${DOMAIN}`];
    using client = await SmtpClient.open(server.ports.smtp, 'smtp');
    const from = 'ann@example.net';
    const signed = await signedBy(signer, message(FROM_NET));
    expect(await client.deliver({ from, to, message: signed })).toMatch(/^250 2\.0\.0 /);
    expect(await client.deliver({ from, to, message: message(FROM_NET) })).toMatch(/^550 5\.7\.26 /);
    const doubtful = message(['From: x@junk.example', ...FROM_NET.slice(1)], 'large\r\n'.repeat(300_000));
    expect(await client.deliver({ from: 'x@junk.example', to, message: doubtful })).toMatch(/^250 /);
    const forged = message([
      'Authentication-Results: mx.bench.test; dmarc=pass',
      'From: x@none.example',
      ...FROM_NET.slice(1),
    ]);
    expect(await client.deliver({ from: '', to, message: forged })).toMatch(/^250 /);

    for (const user of ['u1', 'u2']) {
      const inbox = await textsIn(server, user, 'INBOX');
      expect(inbox).toHaveLength(2);
      expect(inbox[0]).toMatch(
        /^Return-Path: <ann@example\.net>\r\nAuthentication-Results: mx\.bench\.test;\r\n\tspf=softfail|spf=fail/,
      );
      expect(inbox[0]).toContain('dkim=pass header.d=example.net');
      expect(inbox[0]).toContain('dmarc=pass header.from=example.net');
      expect(inbox[0]!.endsWith(signed.toString())).toBe(true);
      expect(inbox[1]).not.toContain('dmarc=pass');
      const junk = await textsIn(server, user, 'Junk');
      expect(junk).toHaveLength(1);
      expect(junk[0]!.endsWith(doubtful.toString())).toBe(true);
    }
    const asked = dns.questions.length;
    using lmtp = await SmtpClient.open(server.ports.lmtp, 'lmtp');
    expect(await lmtp.deliver({ from, to: to.slice(0, 1), message: message(FROM_NET) })).toMatch(/^250 /);
    expect(dns.questions.length).toBe(asked);
  },
);

test('while the DNS is away nothing is refused', { timeout: 60_000 }, async () => {
  const { dns, server } = await setUp();
  dns.mode = 'servfail';
  using client = await SmtpClient.open(server.ports.smtp, 'smtp');
  expect(await client.deliver({ from: 'ann@example.net', to: [`u1@${DOMAIN}`], message: message(FROM_NET) })).toMatch(
    /^250 /,
  );
  const [text] = await textsIn(server, 'u1', 'INBOX');
  expect(text).toContain('spf=temperror');
  expect(text).toContain('dmarc=temperror');
});
