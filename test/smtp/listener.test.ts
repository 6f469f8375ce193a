import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, test } from 'vitest';
import { createSmtpListeners } from '../../src/smtp/listener.ts';
import { memoryDelivery } from '../delivery/memory-mailboxes.ts';
import { certificate, MailClient, startServer, until, withoutTrace } from './mail-client.ts';

const MESSAGE = 'Subject: hi\r\n\r\nhello\r\n';

describe('dialogue', () => {
  test('a message, from the greeting to QUIT', async () => {
    const { mx, mailboxes } = await startServer();
    const client = await MailClient.open(mx);
    expect(await client.reply()).toBe('220 mx.example.org ESMTP');
    expect((await client.ask('EHLO client.example.net')).split('\r\n')).toEqual([
      '250-mx.example.org',
      '250-PIPELINING',
      '250-8BITMIME',
      '250-SMTPUTF8',
      '250-ENHANCEDSTATUSCODES',
      '250-STARTTLS',
      '250 SIZE 50000000',
    ]);
    expect(await client.ask('MAIL FROM:<ann@example.net> SIZE=30 BODY=8BITMIME')).toBe('250 2.1.0 Sender ok');
    expect(await client.ask('RCPT TO:<bob@example.org>')).toBe('250 2.1.5 Recipient ok');
    expect(await client.ask('DATA')).toBe('354 End data with <CR><LF>.<CR><LF>');
    client.send(`${MESSAGE}.\r\n`);
    expect(await client.reply()).toMatch(/^250 2\.0\.0 Stored as [0-9a-f]{32}-\d+$/);
    expect(await client.ask('QUIT')).toMatch(/^221 2\.0\.0 /);
    expect(await client.rest()).toBe('');
    const [stored] = mailboxes.stored;
    expect(withoutTrace(stored!.bytes)).toBe(MESSAGE);
    expect(stored!.bytes.toString()).toMatch(
      /^Return-Path: <ann@example.net>\r\nReceived: from client.example.net \(\[127.0.0.1\]\)\r\n\tby mx.example.org with ESMTP id [0-9a-f]{32}-\d+\r\n\tfor <bob@example.org>;\r\n/,
    );
    expect(mailboxes).toMatchObject({ openHandles: 0, openWriters: 0 });
  });

  // One row: what is sent after EHLO, one reply code for each line.
  test.for([
    ['NOOP', '250 2.0.0'],
    ['NOOP with words', '250 2.0.0'],
    ['RSET', '250 2.0.0'],
    ['HELP', '214 2.0.0'],
    ['VRFY bob', '252 2.5.0'],
    ['EXPN list', '502 5.5.1'],
    ['MAIL', '501 5.1.7'],
    ['MAIL FROM:<>', '250 2.1.0'],
    ['mail from:<a@b.example>', '250 2.1.0'],
    ['MAIL FROM:<a@b.example> X=1', '555 5.5.4'],
    ['MAIL FROM:<a@b.example> SIZE=50000001', '552 5.3.4'],
    ['MAIL FROM:<a@b.example> SIZE=50000000', '250 2.1.0'],
    ['RCPT TO:<bob@example.org>', '503 5.5.1'],
    ['DATA', '503 5.5.1'],
    ['MAIL FROM:<>|MAIL FROM:<>', '250 2.1.0|503 5.5.1'],
    ['MAIL FROM:<>|DATA', '250 2.1.0|503 5.5.1'],
    ['MAIL FROM:<>|RCPT TO:<nobody@example.org>|DATA', '250 2.1.0|550 5.1.1|503 5.5.1'],
    ['MAIL FROM:<>|RCPT TO:<gone@example.org>', '250 2.1.0|450 4.2.1'],
    ['MAIL FROM:<>|RCPT TO:<broken@example.org>', '250 2.1.0|451 4.3.0'],
    ['MAIL FROM:<>|RCPT TO:<postmaster>', '250 2.1.0|250 2.1.5'],
    ['MAIL FROM:<>|RCPT TO:<bob@example.org> NOTIFY=NEVER', '250 2.1.0|555 5.5.4'],
    ['MAIL FROM:<>|RCPT TO:<bob@example.org>|DATA x', '250 2.1.0|250 2.1.5|501 5.5.4'],
    ['MAIL FROM:<>|RCPT TO:<bob@example.org>|RSET|DATA', '250 2.1.0|250 2.1.5|250 2.0.0|503 5.5.1'],
    ['MAIL FROM:<>|RCPT TO:<bob@example.org>|EHLO x|DATA', '250 2.1.0|250 2.1.5|250|503 5.5.1'],
    ['MAIL FROM:<j\xc3\xb6@b.example>', '553 5.6.7'],
    ['MAIL FROM:<j\xc3\xb6@b.example> SMTPUTF8|RCPT TO:<jos\xc3\xa9@example.org>', '250 2.1.0|250 2.1.5'],
    ['MAIL FROM:<j\xf6@b.example> SMTPUTF8', '501 5.1.7'], // no UTF-8
    ['AUTH PLAIN AGEAYg==', '500 5.5.2'], // M1
    ['XCLIENT ADDR=192.0.2.1', '500 5.5.2'], // S10
    ['XFORWARD ADDR=192.0.2.1', '500 5.5.2'],
    ['PROXY TCP4 192.0.2.1 192.0.2.2 1 2', '500 5.5.2'],
    ['WIZ me', '500 5.5.2'],
    ['SHELL', '500 5.5.2'],
    ['KILL', '500 5.5.2'],
    ['BDAT 1 LAST', '500 5.5.2'],
    ['DATA_OK', '500 5.5.2'], // a key of the library's table of enhanced codes
    ['2.0.0', '500 5.5.2'],
    ['constructor', '500 5.5.2'],
    ['', '500 5.5.2'],
    ['LHLO x', '500 5.5.2'],
    ['NO\0OP', '500 5.5.2'],
    ['NO\rOP', '500 5.5.2'],
    ['MAIL FROM:<a\x7f@b.example>', '500 5.5.2'],
    ['EHLO', '501'],
    ['EHLO a b', '501'],
    ['STARTTLS now', '501 5.5.4'],
  ])('%j is answered %j', async ([commands, expected]) => {
    const { mx } = await startServer();
    const client = await MailClient.introduced(mx);
    const replies: string[] = [];
    for (const command of commands!.split('|')) replies.push(await client.ask(command));
    const heads = replies.map((reply) => /^\d{3}(?: \d\.\d\.\d)?/.exec(reply)?.[0]);
    expect(heads.join('|')).toBe(expected);
    expect(await client.ask('NOOP')).toMatch(/^250/);
  });

  test('commands that need an introduction', async () => {
    const { mx } = await startServer();
    const client = await MailClient.open(mx);
    await client.reply();
    expect(await client.ask('MAIL FROM:<>')).toMatch(/^503 5\.5\.1/);
    expect(await client.ask('HELO client')).toBe('250 mx.example.org');
    expect(await client.ask('MAIL FROM:<>')).toMatch(/^250/);
  });

  test('HELO is SMTP in the trace, SMTPUTF8 is UTF8SMTP', async () => {
    const { mx, mailboxes } = await startServer();
    const client = await MailClient.introduced(mx, 'HELO client');
    await client.upToData();
    client.send('.\r\n');
    await client.reply();
    await client.ask('EHLO client');
    await client.ask('MAIL FROM:<> SMTPUTF8');
    await client.ask('RCPT TO:<bob@example.org>');
    await client.ask('DATA');
    client.send('.\r\n');
    await client.reply();
    const withs = mailboxes.stored.map(({ bytes }) => / with (\S+) /.exec(bytes.toString())?.[1]);
    expect(withs).toEqual(['SMTP', 'UTF8SMTP']);
  });

  test('pipelining: one segment, replies in order, RFC 2920', async () => {
    const { mx, mailboxes } = await startServer();
    const client = await MailClient.introduced(mx);
    client.send('MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<nobody@example.org>\r\nDATA\r\n');
    const codes = [];
    for (let count = 0; count < 4; count += 1) codes.push((await client.reply()).slice(0, 3));
    expect(codes).toEqual(['250', '250', '550', '354']);
    client.send(`${MESSAGE}.\r\nMAIL FROM:<>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\n`);
    expect(await client.reply()).toMatch(/^250 2\.0\.0/);
    for (const expected of ['250', '250', '354']) expect((await client.reply()).slice(0, 3)).toBe(expected);
    client.send(`${MESSAGE}.\r\nQUIT\r\n`);
    expect(await client.reply()).toMatch(/^250/);
    expect(await client.reply()).toMatch(/^221/);
    expect(mailboxes.stored.map((one) => one.user)).toEqual(['bob', 'eve']);
  });

  test('a partial last line at the end of the stream is no command', async () => {
    const { mx, mailboxes } = await startServer();
    const client = await MailClient.introduced(mx);
    client.send('MAIL FROM:<>\r\nRCPT TO:<bob@example.org>');
    expect(await client.reply()).toMatch(/^250/);
    client.end();
    expect(await client.rest()).toBe('');
    expect(mailboxes.openHandles).toBe(0);
  });
});

describe('S1 smuggling', () => {
  const ENDS = [
    '\n.\n', '\n.\r\n', '\r\n.\n', '\r.\r', '\r.\r\n', '\r\n.\r', '\n.\r', '\r\n\0.\r\n', '\r\n.\0\r\n', '\r\r\n.\r\r\n', '\r\n.\r\r\n',
  ]; // prettier-ignore
  const SMUGGLED = 'MAIL FROM:<x@example.net>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx';

  // what is stored is decided by data-decoder.test.ts; here it is the same however the segments fall
  test.for(ENDS.flatMap((end) => ['Subject: a\r\n\r\n..x', '..\r\nx'].map((head) => [head, end] as const)))(
    '%j then %j, cut at every byte, is one message',
    { timeout: 60_000 },
    async ([head, end]) => {
      const { lmtp, mailboxes } = await startServer();
      const data = `${head}${end}${SMUGGLED}\r\n.\r\n`;
      const client = await MailClient.introduced(lmtp, 'LHLO client');
      for (let at = 1; at < data.length; at += 1) {
        await client.upToData();
        client.send(data.slice(0, at));
        await new Promise((resolve) => setImmediate(resolve));
        client.send(data.slice(at));
        expect(await client.reply()).toMatch(/^250 2\.0\.0 Stored/);
      }
      expect(await client.ask('NOOP')).toMatch(/^250 2\.0\.0 Ok/); // and not one reply more
      expect(mailboxes.stored).toHaveLength(data.length - 1);
      expect(new Set(mailboxes.stored.map((one) => withoutTrace(one.bytes))).size).toBe(1);
      expect(new Set(mailboxes.stored.map((one) => one.user))).toEqual(new Set(['bob']));
      const text = withoutTrace(mailboxes.stored[0]!.bytes);
      expect(text.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
      expect(text).toContain('RCPT TO:<eve@example.org>');
    },
  );

  test('a dot after a bare LF is kept, a stuffed one taken', async () => {
    const { mx, mailboxes } = await startServer();
    const client = await MailClient.introduced(mx);
    await client.upToData();
    client.send('a\n.b\r\n..c\r\n.\r\n');
    await client.reply();
    expect(withoutTrace(mailboxes.stored[0]!.bytes)).toBe('a\r\n.b\r\n.c\r\n');
  });

  test.for(['a\nb\r\n', 'a\rb\r\n', 'a\r\r\nb\r\n'])('bareNewlines = reject refuses %j', async (body) => {
    const { mx, mailboxes } = await startServer({ bareNewlines: 'reject' });
    const client = await MailClient.introduced(mx);
    await client.upToData();
    client.send(`${body}.\r\n`);
    expect(await client.reply()).toMatch(/^550 5\.6\.11 /);
    await client.upToData();
    client.send('a\r\nb\r\n.\r\n');
    expect(await client.reply()).toMatch(/^250/);
    expect(mailboxes.stored).toHaveLength(1);
    expect(mailboxes.openWriters).toBe(0);
  });

  test.for(['NOOP\n', 'NOOP\nMAIL FROM:<>\r\n', '\n', 'MAIL FROM:<>\n\r\n'])('%j is no command', async (line) => {
    const { mx } = await startServer();
    const client = await MailClient.introduced(mx);
    client.send(line);
    expect(await client.rest()).toBe('500 5.5.2 Lines end with CRLF\r\n');
  });
});

describe('S3 STARTTLS', () => {
  test('what came before TLS is forgotten, sent in one segment or later', async () => {
    for (const gapMs of [null, 0, 30]) {
      const { mx } = await startServer();
      const client = await MailClient.introduced(mx);
      if (gapMs === null) {
        client.send('STARTTLS\r\nNOOP\r\nEHLO injected\r\nMAIL FROM:<x@example.net>\r\n');
        expect(await client.reply()).toMatch(/^220/);
      } else {
        client.send('MAIL FROM:<>\r\nSTARTTLS\r\n');
        expect(await client.reply()).toMatch(/^250/);
        expect(await client.reply()).toMatch(/^220/);
        await new Promise((resolve) => setTimeout(resolve, gapMs));
      }
      await client.startTls();
      expect(await client.isSilentFor(30)).toBe(true);
      expect(await client.ask('MAIL FROM:<>')).toMatch(/^503 5\.5\.1/); // EHLO is forgotten, and so is MAIL
      expect(await client.ask('EHLO client')).not.toContain('STARTTLS');
      expect(await client.ask('STARTTLS')).toMatch(/^503/);
      client.destroy();
    }
  });

  test('plaintext that arrives after STARTTLS never becomes a command', async () => {
    const { mx, mailboxes, listeners } = await startServer();
    const client = await MailClient.introduced(mx);
    expect(await client.ask('STARTTLS')).toMatch(/^220/);
    client.send('NOOP\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n');
    expect(await client.rest()).not.toMatch(/^250/m);
    expect(mailboxes.openHandles).toBe(0);
    await until(() => listeners.connectionsCount() === 0);
  });

  test('a message over TLS: ESMTPS and the cipher in the trace, TLS 1.2 at least', async () => {
    const { mx, mailboxes } = await startServer();
    const client = await MailClient.introduced(mx);
    await client.ask('STARTTLS');
    const socket = await client.startTls();
    expect(['TLSv1.2', 'TLSv1.3']).toContain(socket.getProtocol());
    await client.ask('EHLO client');
    await client.upToData();
    client.send(`${MESSAGE}.\r\n`);
    expect(await client.reply()).toMatch(/^250/);
    expect(mailboxes.stored[0]!.bytes.toString()).toMatch(
      /with ESMTPS id [0-9a-f]{32}-\d+\r\n\tfor <.*>\r\n\ttls TLS_\w+;/,
    );
  });

  test('an older TLS is refused, and the server lives on', async () => {
    const { mx } = await startServer();
    const client = await MailClient.introduced(mx);
    await client.ask('STARTTLS');
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    await expect(client.startTls(old)).rejects.toThrow();
    expect(await (await MailClient.open(mx)).reply()).toMatch(/^220/);
  });

  test('a handshake that is drawn out is given up', async () => {
    const { mx, listeners } = await startServer({ dataTimeoutMs: 100 });
    const client = await MailClient.introduced(mx);
    await client.ask('STARTTLS');
    client.send('\x16\x03\x01\x02\x00\x01\x00');
    const drip = setInterval(() => client.send('\x01'), 10);
    await client.rest();
    clearInterval(drip);
    await until(() => listeners.connectionsCount() === 0);
  });

  test('S14 no listener without a certificate', () => {
    const { delivery } = memoryDelivery();
    const deps = { hostname: 'h', delivery, submission: {} as never, logger: console as never };
    const config = { maxMessageBytes: 1, maxRecipientsCount: 100, mx: { listen: [{ host: undefined, port: 0 }] } };
    const make = () =>
      createSmtpListeners({
        ...deps,
        config: { ...config, lmtp: { listen: [] }, submission: { listen: [] }, submissions: { listen: [] } } as never,
        tls: { key: '', cert: '' },
      });
    expect(make).toThrow(TypeError);
  });

  test('the certificate is the operator’s, and a new one is taken while serving', async () => {
    const { mx, listeners } = await startServer();
    const nameOf = async () => {
      const client = await MailClient.introduced(mx);
      await client.ask('STARTTLS');
      return (await client.startTls()).getPeerCertificate().subject.CN;
    };
    expect(await nameOf()).toBe('mx.example.org');
    listeners.reloadTls(certificate('new.example.org'));
    expect(await nameOf()).toBe('new.example.org');
  });
});

describe('S5 no relay', () => {
  const EXTERNAL = [
    'x@ext.example', 'x%ext.example@example.org', '"x@ext.example"@example.org', '@example.org:x@ext.example',
    '@example.org,@b.example:x@ext.example', 'x@ext.example@example.org', 'ext.example!x@example.org', 'x@[127.0.0.1]',
    'x@[IPv6:::1]', '<x@ext.example>', '', 'x', 'x@example.org.', 'x@sub.example.org', 'x@127.0.0.1',
  ]; // prettier-ignore

  test.for(['', 'bob@example.org', 'ann@example.net'])('from <%s>', async (sender) => {
    const { mx, lmtp, mailboxes } = await startServer();
    for (const [port, hello] of [
      [mx, 'EHLO c'],
      [lmtp, 'LHLO c'],
    ] as const) {
      const client = await MailClient.introduced(port, hello);
      await client.ask(`MAIL FROM:<${sender}>`);
      for (const recipient of EXTERNAL) {
        expect(await client.ask(`RCPT TO:<${recipient}>`), recipient).toMatch(/^(?:550 5\.[17]\.1|501 5\.1\.3) /);
      }
      expect(await client.ask('DATA')).toMatch(/^503/);
      expect(mailboxes.openHandles).toBe(0);
    }
  });
});

describe('S7 floods', () => {
  test('recipients beyond the limit are for another transaction', async () => {
    const { mx } = await startServer();
    const client = await MailClient.introduced(mx);
    await client.ask('MAIL FROM:<>');
    for (let count = 0; count < 100; count += 1) {
      expect(await client.ask(`RCPT TO:<u${String(count)}@example.org>`)).toMatch(/^250/);
    }
    expect(await client.ask('RCPT TO:<bob@example.org>')).toBe('452 4.5.3 Too many recipients in one transaction');
    expect(await client.ask('DATA')).toMatch(/^354/);
  });

  test('and so many more end the connection', async () => {
    const { lmtp, mailboxes } = await startServer();
    const client = await MailClient.introduced(lmtp, 'LHLO c');
    client.send('MAIL FROM:<>\r\n' + 'RCPT TO:<bob@example.org>\r\n'.repeat(1200));
    const replies = (await client.rest()).split('\r\n');
    expect(replies.filter((reply) => reply.startsWith('452'))).toHaveLength(900);
    expect(replies.at(-2)).toMatch(/^421 4\.7\.0/);
    await until(() => mailboxes.openHandles === 0);
  });

  test.for([
    ['unknown commands', 'FOO\r\n', 10],
    ['commands without a message', 'NOOP\r\n', 101],
    ['resets', 'MAIL FROM:<>\r\nRSET\r\n', 101],
    ['harvesting', 'RCPT TO:<x@example.org>\r\n', 101],
  ] as const)('%s', async ([, line, maxReplies]) => {
    const { mx } = await startServer();
    const client = await MailClient.introduced(mx);
    client.send('MAIL FROM:<>\r\n' + line.repeat(300));
    const replies = (await client.rest()).trimEnd().split('\r\n');
    expect(replies.at(-1)).toMatch(/^421 4\.\d\.\d /);
    expect(replies.length).toBeLessThanOrEqual(maxReplies + 2);
  });

  test.for(['NOOP ' + 'x'.repeat(5000) + '\r\n', 'x'.repeat(100_000)])('a long line (%#)', async (line) => {
    const { mx } = await startServer();
    const client = await MailClient.introduced(mx);
    client.send(line);
    expect(await client.rest()).toBe('500 5.5.2 Line too long\r\n');
  });

  test('a line of the longest length, in two segments', async () => {
    const { mx } = await startServer();
    const client = await MailClient.introduced(mx);
    client.send(`NOOP ${'x'.repeat(4000)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await client.ask('x'.repeat(89))).toMatch(/^250/);
  });

  test('connections over the limit are told so', async () => {
    const { mx, listeners } = await startServer({ maxConnectionsCount: 2 });
    const [one] = [await MailClient.introduced(mx), await MailClient.introduced(mx)];
    const third = await MailClient.open(mx);
    expect(await third.rest()).toBe('421 Too many connections, try again later\r\n');
    one.destroy();
    await until(() => listeners.connectionsCount() === 1);
    expect(await (await MailClient.open(mx)).reply()).toMatch(/^220/);
  });
});

const outside = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find((one) => one.family === 'IPv4' && !one.internal);

test.skipIf(!outside)('L2 connections of one address over its limit are told so; loopback has none', async () => {
  const { mx } = await startServer({ mx: { listen: [{ host: '0.0.0.0', port: 0 }] } });
  const address = outside!.address;
  const sockets = Array.from({ length: 101 }, () => connect({ port: mx, host: address }));
  const greetings: string[] = [];
  for (const socket of sockets) socket.once('data', (chunk) => greetings.push(chunk.toString().slice(0, 3)));
  await until(() => greetings.length === 101);
  expect(greetings.filter((code) => code === '421')).toHaveLength(1);
  expect(await (await MailClient.open(mx)).reply()).toMatch(/^220/);
  for (const socket of sockets) socket.destroy();
});

describe('size and time', () => {
  test('over the limit: 552 at the end, and the connection serves on', async () => {
    const { mx, mailboxes } = await startServer({ maxMessageBytes: 65_536 });
    const client = await MailClient.introduced(mx);
    await client.upToData();
    client.send(`${'x'.repeat(65_535)}\r\n.\r\n`);
    expect(await client.reply()).toBe('552 5.3.4 Message too large');
    await client.upToData();
    client.send(`${'x'.repeat(65_534)}\r\n.\r\n`);
    expect(await client.reply()).toMatch(/^250/);
    expect(mailboxes.stored).toHaveLength(1);
    expect(mailboxes.openWriters).toBe(0);
  });

  test('S7 far over the limit: 552 and closed within a MiB', async () => {
    const { mx, mailboxes } = await startServer({ maxMessageBytes: 65_536 });
    const socket = connect(mx, '127.0.0.1');
    let received = '';
    let isClosed = false;
    socket.on('data', (chunk) => (received += chunk.toString()));
    socket.on('close', () => (isClosed = true));
    socket.on('error', () => undefined);
    await until(() => received.startsWith('220'));
    socket.write('EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n');
    await until(() => received.includes('354'));
    for (let sent = 0; sent < 20 && !received.includes('552'); sent += 1) {
      socket.write('x'.repeat(1 << 20));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await until(() => received.includes('552 5.3.4 Message too large\r\n'));
    socket.destroy();
    await until(() => isClosed && mailboxes.openHandles === 0);
    expect(mailboxes.stored).toEqual([]);
  });

  test('an idle connection', async () => {
    const { mx } = await startServer({ idleTimeoutMs: 60 });
    const client = await MailClient.introduced(mx);
    expect(await client.rest()).toMatch(/^421 4\.4\.2 /);
  });

  test('time in which the peer waits for us is not idle time', async () => {
    const { mx, mailboxes } = await startServer({ idleTimeoutMs: 40 });
    const gate = Promise.withResolvers<undefined>();
    mailboxes.gates.set('append', gate.promise);
    const client = await MailClient.introduced(mx);
    await client.upToData();
    client.send(`${MESSAGE}.\r\n`);
    expect(await client.isSilentFor(200)).toBe(true);
    gate.resolve(undefined);
    expect(await client.reply()).toMatch(/^250/);
  });

  test('a message that takes too long', async () => {
    const { mx, mailboxes } = await startServer({ dataTimeoutMs: 100 });
    const client = await MailClient.introduced(mx);
    await client.upToData();
    const drip = setInterval(() => client.send('x\r\n'), 10);
    expect(await client.reply()).toMatch(/^421 4\.4\.2 /);
    clearInterval(drip);
    await until(() => mailboxes.openHandles === 0 && mailboxes.openWriters === 0);
  });
});

describe('S11 talking out of turn', () => {
  test('before the greeting', async () => {
    const { mx } = await startServer();
    const client = await MailClient.open(mx);
    client.send('EHLO client\r\n');
    expect(await client.rest()).toMatch(/^554 [^\r\n]*\r\n$/);
  });

  test('the message behind DATA without waiting', async () => {
    const { mx, mailboxes } = await startServer();
    const client = await MailClient.introduced(mx);
    client.send(`MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n${MESSAGE}.\r\n`);
    expect(await client.rest()).toMatch(/^250 .*\r\n250 .*\r\n554 5\.5\.1 .*\r\n$/);
    expect(mailboxes.stored).toEqual([]);
    await until(() => mailboxes.openHandles === 0);
  });

  test('after QUIT', async () => {
    const { mx, mailboxes } = await startServer();
    const client = await MailClient.introduced(mx);
    client.send('QUIT\r\nMAIL FROM:<>\r\n');
    expect(await client.rest()).toMatch(/^221 [^\r\n]*\r\n$/);
    expect(mailboxes.openHandles).toBe(0);
  });
});

test.for([
  'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'POST /x HTTP/1.1\r\n\r\nMAIL FROM:<>\r\n',
  'CONNECT a:1 HTTP/1.1\r\n\r\n',
])('S13 %j is sent away', async (request) => {
  const { mx } = await startServer();
  const client = await MailClient.open(mx);
  await client.reply();
  client.send(request);
  expect(await client.rest()).toMatch(/^421 4\.7\.0 [^\r\n]*\r\n$/);
});

test.for([
  '""@example.org', '"\\""@example.org', '"@"@example.org', `${'l'.repeat(64)}@example.org`, `${'l'.repeat(255)}@example.org`,
  `bob@${'a.'.repeat(120)}org`, `bob@${'a'.repeat(300)}`, 'bob@[1.2.3]', 'bob@[]', '@', '@@', '"', '\\', '<', 'bob@.', '.@.',
])('S12 odd address %s does no harm', async (address) => {
  const { mx } = await startServer();
  const client = await MailClient.introduced(mx);
  await client.ask('MAIL FROM:<>');
  expect(await client.ask(`RCPT TO:<${address}>`)).toMatch(/^5(?:01|50) 5/);
  expect(await client.ask('NOOP')).toMatch(/^250/);
}); // prettier-ignore

describe('several recipients', () => {
  test('MX: a mailbox without its key is deferred at RCPT, the others get the message', async () => {
    const { mx, mailboxes } = await startServer();
    mailboxes.fail('eve', 'newMessage', 'key-refused');
    const client = await MailClient.introduced(mx);
    const replies = await client.upToData(['bob@example.org', 'eve@example.org', 'joe@example.org']);
    expect(replies.map((reply) => reply.slice(0, 9))).toEqual(['250 2.1.5', '451 4.3.0', '250 2.1.5', '354 End d']);
    client.send(`${MESSAGE}.\r\n`);
    expect(await client.reply()).toMatch(/^250/);
    expect(mailboxes.stored.map((one) => one.user).toSorted()).toEqual(['bob', 'joe']);
  });

  test.for([
    ['key-unavailable', '451 4.3.0'],
    ['key-refused', '451 4.3.0'],
    ['storage-full', '452 4.3.1'],
    ['over-quota', '452 4.2.2'],
  ] as const)('MX: %s of one after the data is %s for all, and nothing is stored', async ([code, expected]) => {
    const { mx, mailboxes } = await startServer();
    mailboxes.fail('eve', 'finish', code);
    const client = await MailClient.introduced(mx);
    await client.upToData(['bob@example.org', 'eve@example.org', 'joe@example.org']);
    client.send(`${MESSAGE}.\r\n`);
    expect(await client.reply()).toMatch(new RegExp(`^${expected} `));
    expect(mailboxes).toMatchObject({ stored: [], openHandles: 0, openWriters: 0 });
  });

  test('LMTP: a reply for each RCPT in order, aliases of one mailbox too, partial failure', async () => {
    const { lmtp, mailboxes } = await startServer();
    mailboxes.fail('eve', 'finish', 'over-quota');
    const client = await MailClient.introduced(lmtp, 'LHLO client');
    const recipients = ['bob@example.org', 'eve@example.org', 'nobody@example.org', 'b.alias@example.org'];
    const codes = (await client.upToData(recipients)).map((reply) => reply.slice(0, 3));
    expect(codes).toEqual(['250', '250', '550', '250', '354']);
    client.send(`${MESSAGE}.\r\n`);
    expect(await client.reply()).toMatch(/^250 2\.0\.0 /);
    expect(await client.reply()).toMatch(/^452 4\.2\.2 /);
    expect(await client.reply()).toMatch(/^250 2\.0\.0 /);
    expect(await client.ask('NOOP')).toMatch(/^250 2\.0\.0 Ok/);
    expect(mailboxes.stored.map((one) => one.user)).toEqual(['bob']);
    expect(mailboxes.stored[0]!.bytes.toString()).toContain(' with LMTP id ');
  });

  test('LMTP: too large is said to each; the MTA before us counts hops, we take what it sends', async () => {
    const { lmtp } = await startServer({ maxMessageBytes: 65_536 });
    const client = await MailClient.introduced(lmtp, 'LHLO client');
    for (const [body, expected] of [
      ['x'.repeat(70_000), '552 5.3.4'],
      ['Received: x\r\n'.repeat(51), '250 2.0.0'],
    ] as const) {
      await client.upToData(['bob@example.org', 'eve@example.org']);
      client.send(`${body}\r\n.\r\n`);
      for (let count = 0; count < 2; count += 1) expect((await client.reply()).slice(0, 9)).toBe(expected);
    }
    expect(await client.ask('NOOP')).toMatch(/^250/);
  });

  test('MX: a message that goes round in circles is refused', async () => {
    const { mx, mailboxes } = await startServer();
    const client = await MailClient.introduced(mx, 'EHLO client');
    await client.upToData(['bob@example.org']);
    client.send(`${'Received: x\r\n'.repeat(51)}\r\n.\r\n`);
    expect((await client.reply()).slice(0, 9)).toBe('554 5.4.6');
    expect(mailboxes.stored).toEqual([]);
  });

  test('LMTP speaks LHLO only, and greets as LMTP', async () => {
    const { lmtp } = await startServer();
    const client = await MailClient.open(lmtp);
    expect(await client.reply()).toBe('220 mx.example.org LMTP');
    expect(await client.ask('EHLO client')).toMatch(/^500/);
    expect(await client.ask('LHLO client')).toMatch(/^250-/);
  });
});

describe('connection loss', () => {
  test.for([
    'EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n',
    `EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n|${MESSAGE}`,
    `EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n|${MESSAGE}.\r`,
  ])('before the end of the data leaves nothing (%#)', async (script) => {
    for (const leave of ['end', 'destroy'] as const) {
      const { mx, mailboxes, listeners } = await startServer();
      const client = await MailClient.open(mx);
      await client.reply();
      for (const part of script.split('|')) {
        client.send(part);
        await until(() => mailboxes.openHandles === 1);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      client[leave]();
      await until(() => mailboxes.openHandles === 0 && listeners.connectionsCount() === 0);
      expect(mailboxes).toMatchObject({ stored: [], openWriters: 0 });
    }
  });

  test('after it the message is stored all the same', async () => {
    const { mx, mailboxes } = await startServer();
    const gate = Promise.withResolvers<undefined>();
    mailboxes.gates.set('append', gate.promise);
    const client = await MailClient.introduced(mx);
    await client.upToData();
    client.send(`${MESSAGE}.\r\n`);
    await until(() => mailboxes.appendsStarted === 1);
    client.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    gate.resolve(undefined);
    await until(() => mailboxes.stored.length === 1 && mailboxes.openHandles === 0);
  });
});

describe('L3 stop', () => {
  test('idle peers hear 421 at once; a message in flight is finished', async () => {
    const { mx, mailboxes, listeners } = await startServer();
    const [idle, early, busy] = [
      await MailClient.introduced(mx),
      await MailClient.introduced(mx),
      await MailClient.introduced(mx),
    ];
    await early.ask('MAIL FROM:<>');
    await busy.upToData();
    busy.send('Subject: hi\r\n');
    await until(() => mailboxes.openWriters === 1);
    const startMs = performance.now();
    const stopped = listeners.stop(10_000);
    expect(await idle.rest()).toMatch(/^421 4\.3\.2 /);
    expect(await early.rest()).toMatch(/^421 4\.3\.2 /);
    busy.send('\r\nx\r\n.\r\n');
    expect(await busy.reply()).toMatch(/^250/);
    expect(await busy.reply()).toMatch(/^421 4\.3\.2 /);
    await stopped;
    expect(performance.now() - startMs).toBeLessThan(3000);
    expect(mailboxes.stored).toHaveLength(1);
  });

  test('a peer that does not leave is cut too', async () => {
    const { mx, listeners } = await startServer();
    const socket = connect({ port: mx, host: '127.0.0.1', allowHalfOpen: true });
    let received = '';
    socket.on('data', (chunk) => (received += chunk.toString()));
    socket.on('error', () => undefined);
    await until(() => received.startsWith('220'));
    const startMs = performance.now();
    await listeners.stop(50);
    expect(performance.now() - startMs).toBeLessThan(2000);
    socket.destroy();
  });

  test('after the grace period the rest is cut, and leaves nothing', async () => {
    const { mx, mailboxes, listeners } = await startServer();
    const client = await MailClient.introduced(mx);
    await client.upToData();
    client.send('Subject: hi\r\n');
    await listeners.stop(50);
    expect(await client.rest()).toMatch(/^421/);
    await until(() => mailboxes.openHandles === 0);
    expect(mailboxes.stored).toEqual([]);
  });

  test('a port that is taken is an error, and nothing stays open', async () => {
    const { mx } = await startServer();
    await expect(startServer({ lmtp: { listen: [{ host: '127.0.0.1', port: mx }] } })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    });
  });
});

test('T4 the log holds no address and no content', async () => {
  const { mx, logged, mailboxes } = await startServer();
  mailboxes.fail('eve', 'newMessage', 'key-refused');
  const client = await MailClient.introduced(mx, 'EHLO canary-helo');
  await client.upToData(['bob@example.org', 'eve@example.org', 'canary-rcpt@example.org'], 'canary-from@example.net');
  client.send('Subject: canary-subject\r\n\r\ncanary-body\r\n.\r\n');
  await client.reply();
  await client.ask('canary-command');
  await client.ask('QUIT');
  expect(logged.length).toBeGreaterThan(1);
  expect(logged.join('\n')).not.toMatch(/canary|example|bob|eve/);
});
