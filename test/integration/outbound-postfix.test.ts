/** A real Postfix takes delivery from the queue. Skipped where there is none, or no right to start it. */
import { createHash, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inboxOf, outboundWorld, send, zoneOf, type OutboundOptions } from '../outbound/outbound-world.ts';
import { certificate } from '../smtp/mail-client.ts';
import type { Zone } from '../support/dns-server.ts';
import { hasPostfix, startPostfix } from '../support/postfix.ts';

const WAIT = { timeout: 60_000, interval: 100 };
const TLS = certificate('mx.far.test');
const OTHER = certificate('mx.far.test');
const MANY = Array.from({ length: 60 }, (_, at) => `u${String(at)}`);
const USERS = ['anyone', 'tricked', 'evil', 'dane', 'sts', 'nobody-gets-this', ...MANY];
const STS_RECORD = { '_mta-sts.far.test': { TXT: ['v=STSv1; id=1;'] } };

let postfix: Awaited<ReturnType<typeof startPostfix>>;

async function world(options: Partial<OutboundOptions> = {}) {
  const all = await outboundWorld({ port: postfix.port, zone: zoneOf('far.test'), ...options });
  const idle = () => expect.poll(() => all.queue.state().messagesCount, WAIT).toBe(0);
  const logs = (text: string) => expect.poll(() => all.logged.join(), WAIT).toContain(text);
  return { idle, logs, ...all };
}

async function received(user: string, count: number): Promise<readonly string[]> {
  await expect.poll(() => postfix.messagesOf(user).length, WAIT).toBe(count);
  return postfix.messagesOf(user);
}

/** What Postfix put in front is taken off, and its line ends are made CRLF. */
const original = (stored: string) => stored.slice(stored.indexOf('Subject:')).replaceAll('\n', '\r\n');

function tlsa(cert: string): string {
  const key = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' });
  return `3 1 1 ${createHash('sha256').update(key).digest('hex')}`;
}

function secureZone(record: string): Zone {
  const zone = zoneOf('far.test', { [`_${String(postfix.port)}._tcp.mx.far.test`]: { TLSA: [record] } });
  return Object.fromEntries(Object.entries(zone).map(([name, entry]) => [name, { ...entry, isSecure: true }]));
}

const policy = (mx: string) => ({ 'far.test': `version: STSv1\nmode: enforce\nmx: ${mx}\nmax_age: 86400\n` });

describe.skipIf(!hasPostfix)('Postfix', { timeout: 120_000 }, () => {
  beforeAll(async () => {
    postfix = await startPostfix({ domain: 'far.test', users: USERS, tls: TLS });
  }, 60_000);
  afterAll(() => postfix.stop());

  test('takes messages of all kinds as they are, under TLS', async () => {
    const all = await world();
    const contents = [
      'Subject: plain\r\n\r\nhello\r\n',
      'Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\n',
      `Subject: large\r\n\r\n${`${'x'.repeat(70)}\r\n`.repeat(60_000)}`,
      'Subject: empty\r\n\r\n',
    ];
    for (const content of contents) await send(all, ['anyone@far.test'], { content });
    const eightBit = 'Subject: 8bit\r\n\r\nüé\r\n';
    await send(all, ['anyone@far.test'], { content: eightBit, envelope: { is8Bit: true } });
    await all.idle();
    const stored = await received('anyone', 5);
    expect(stored.map(original).toSorted()).toEqual([...contents, Buffer.from(eightBit).toString('latin1')].toSorted());
    expect(stored.every((text) => text.includes('using TLSv1.3'))).toBe(true);
  });

  test('S2 P9 is not tricked into reading two messages', async () => {
    const all = await world();
    const tricks = [
      '\n.\n',
      '\n.\r\n',
      '\r\n.\n',
      '\r.\r',
      '\r.\r\n',
      '\r\n.\r',
      '\n.\r',
      '\r\n\0.\r\n',
      '\r\r\n.\r\r\n',
    ];
    for (const trick of [...tricks, '\r\n.\r\n']) {
      const hidden = 'MAIL FROM:<x@far.test>\r\nRCPT TO:<evil@far.test>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n';
      await send(all, ['tricked@far.test'], { content: `Subject: trick\r\n\r\nbody${trick}${hidden}` });
    }
    await all.idle();
    const stored = await received('tricked', tricks.length + 1);
    expect(stored.every((text) => text.includes('RCPT TO:<evil@far.test>'))).toBe(true);
    expect(postfix.messagesOf('evil')).toEqual([]);
  });

  test('gets 60 recipients although it takes 40 at a time; whom it does not know comes back', async () => {
    const all = await world();
    await send(all, [...MANY.map((user) => `${user}@far.test`), 'nobody@far.test']);
    await all.idle();
    for (const user of MANY) await received(user, 1);
    const reports = await inboxOf(all, all.anna);
    expect(reports).toHaveLength(1);
    expect(reports[0]).toContain('Final-Recipient: rfc822; nobody@far.test\r\nAction: failed\r\nStatus: 5.1.1');
  });

  test('gets mail by DANE with the certificate that the DNS names', async () => {
    const all = await world({ zone: secureZone(tlsa(TLS.cert)) });
    await send(all, ['dane@far.test']);
    await all.idle();
    expect((await received('dane', 1))[0]).toContain('using TLSv1.3');
  });

  test('gets none by DANE with another', async () => {
    const all = await world({ zone: secureZone(tlsa(OTHER.cert)) });
    await send(all, ['nobody-gets-this@far.test']);
    await all.logs('"status":"4.7.5"');
    expect(postfix.messagesOf('nobody-gets-this')).toEqual([]);
  });

  test('gets mail by MTA-STS as a host of the policy, with a certificate of an authority', async () => {
    const all = await world({ zone: zoneOf('far.test', STS_RECORD), policies: policy('*.far.test'), ca: [TLS.cert] });
    await send(all, ['sts@far.test']);
    await all.idle();
    await received('sts', 1);
  });

  test('gets none by MTA-STS without one or the other', async () => {
    const zone = zoneOf('far.test', STS_RECORD);
    const untrusted = await world({ zone, policies: policy('*.far.test') });
    await send(untrusted, ['nobody-gets-this@far.test']);
    await untrusted.logs('"status":"4.7.5"');
    const unlisted = await world({ zone, policies: policy('mx.other.test'), ca: [TLS.cert] });
    await send(unlisted, ['nobody-gets-this@far.test']);
    await unlisted.logs('"status":"4.7.1"');
    expect(postfix.messagesOf('nobody-gets-this')).toEqual([]);
  });
});
