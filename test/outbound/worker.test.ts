import { expect, test, vi } from 'vitest';
import { CUT, MUTE, startSmtpRemote, type RemoteScript } from '../support/smtp-remote.ts';
import { inboxOf, outboundWorld, send, zoneOf, type OutboundOptions } from './outbound-world.ts';

const USE = { purpose: 'test', protocol: 'test' } as const;
const WAIT = { timeout: 60_000, interval: 20 };
vi.setConfig({ testTimeout: 120_000 });

async function world(script: RemoteScript = {}, options: Partial<OutboundOptions> = {}) {
  const remote = await startSmtpRemote({ ehlo: ['PIPELINING', '8BITMIME', 'SIZE'], ...script });
  const all = await outboundWorld({ port: remote.port, zone: zoneOf('far.test'), ...options });
  const idle = () => expect.poll(() => all.queue.state().messagesCount, WAIT).toBe(0);
  return { remote, idle, ...all };
}

test('a message in the queue reaches the mail exchanger of its recipient, as it was', async () => {
  const all = await world();
  const content = 'Subject: hi\r\n\r\n.hello\r\n..\r\n';
  await send(all, ['bob@far.test', 'eve@far.test'], { content });
  await all.idle();
  expect(all.remote.messages).toHaveLength(1);
  expect(all.remote.messages[0]).toMatchObject({
    sender: 'anna@example.org',
    recipients: ['bob@far.test', 'eve@far.test'],
  });
  expect(all.remote.messages[0]?.data.toString()).toBe('Subject: hi\r\n\r\n..hello\r\n...\r\n');
  expect(await inboxOf(all, all.anna)).toEqual([]);
});

test('a session serves the messages that follow, and many go at once', async () => {
  const all = await world();
  for (let at = 0; at < 60; at += 1) await send(all, [`u${String(at)}@far.test`]);
  await all.idle();
  expect(all.remote.messages.map(({ recipients }) => recipients[0]).toSorted()).toEqual(
    Array.from({ length: 60 }, (_, at) => `u${String(at)}@far.test`).toSorted(),
  );
  expect(all.remote.connectionsCount()).toBeLessThan(15);
});

test('a temporary refusal is tried again, a permanent one is returned to the sender, once', async () => {
  let graylisted = 0;
  const all = await world({
    answer: (line) => {
      if (/<no@/.test(line)) return '550 5.1.1 no such user here';
      return /<grey@/.test(line) && (graylisted += 1) < 3 ? '451 4.7.1 come again' : undefined;
    },
  });
  await send(all, ['bob@far.test', 'no@far.test', 'grey@far.test']);
  await all.idle();
  expect(all.remote.messages.map(({ recipients }) => recipients)).toEqual([['bob@far.test'], ['grey@far.test']]);
  const [report, second] = await inboxOf(all, all.anna);
  expect(second).toBeUndefined();
  expect(report).toMatch(/^Return-Path: <>\r\n/);
  expect(report).toContain('Final-Recipient: rfc822; no@far.test\r\nAction: failed\r\nStatus: 5.1.1\r\n');
  expect(report).toContain('Diagnostic-Code: smtp; 550 5.1.1 no such user here');
  expect(report).toContain('Message-ID: <1@example.org>');
  expect(report).not.toContain('hello');
  expect(report).not.toContain('bob@far.test');
});

test('W8 WK5 neither addresses nor hosts nor texts of remote servers are logged', async () => {
  const all = await world({ answer: (line) => (/^RCPT/.test(line) ? '550 5.1.1 secret reason' : undefined) });
  await send(all, ['bob@far.test']);
  await all.idle();
  expect(all.logged.join()).toContain('failedCount');
  expect(all.logged.join()).not.toMatch(/far\.test|bob|anna|secret reason|127\.0\.0\.1/);
});

test('S8 P23 RP2 nothing is told to the null reverse-path', async () => {
  const all = await world({ answer: (line) => (/^RCPT/.test(line) ? '550 5.1.1 no' : undefined) });
  for (let at = 0; at < 20; at += 1) await send(all, [`u${String(at)}@far.test`], { envelope: { sender: '' } });
  await all.idle();
  expect(await inboxOf(all, all.anna)).toEqual([]);
  expect(all.remote.lines.filter((line) => /^MAIL/.test(line) && !line.startsWith('MAIL FROM:<>'))).toEqual([]);
});

test('a report for a sender elsewhere goes out from the null reverse-path, and a report on it is never made', async () => {
  const all = await world({ answer: (line) => (/<(no|forwarder)@/.test(line) ? '550 5.1.1 no' : undefined) });
  await send(all, ['no@far.test'], { envelope: { sender: 'carl@far.test' } });
  await all.idle();
  expect(all.remote.messages).toHaveLength(1);
  expect(all.remote.messages[0]).toMatchObject({ sender: '', recipients: ['carl@far.test'] });
  await send(all, ['no@far.test'], { envelope: { sender: 'forwarder@far.test' } });
  await all.idle();
  expect(all.remote.messages).toHaveLength(1);
});

test('NOTIFY decides who is told what (RFC 3461 §4.1)', async () => {
  const all = await world({ answer: (line) => (/<no/.test(line) ? '550 5.1.1 no' : undefined) });
  const of = (address: string, notify: ('success' | 'failure' | 'delay')[]) => ({
    address,
    originalRecipient: `rfc822;orig-${address}`,
    notify,
  });
  await send(all, [of('no1@far.test', []), of('ok1@far.test', ['failure']), of('no2@far.test', ['success'])]);
  await all.idle();
  expect(await inboxOf(all, all.anna)).toEqual([]);
  await send(all, [of('ok2@far.test', ['success']), of('no3@far.test', ['failure'])], {
    envelope: { envelopeId: 'E 1', returnContent: 'full' },
  });
  await all.idle();
  await expect.poll(async () => (await inboxOf(all, all.anna)).length, WAIT).toBeGreaterThan(0);
  const text = (await inboxOf(all, all.anna)).join();
  expect(text).toContain('Original-Envelope-Id: E 1');
  expect(text).toContain(
    'Original-Recipient: rfc822; orig-ok2@far.test\r\nFinal-Recipient: rfc822; ok2@far.test\r\nAction: relayed',
  );
  expect(text).toContain('Final-Recipient: rfc822; no3@far.test\r\nAction: failed');
  expect(text).toContain('hello'); // RET=FULL
});

test('a host that knows DSN is told what the sender wants to know, and then it is not told by us', async () => {
  const all = await world({ ehlo: ['PIPELINING', 'DSN'] });
  await send(all, [{ address: 'ok@far.test', originalRecipient: 'rfc822;o+k@x', notify: ['success', 'delay'] }], {
    envelope: { envelopeId: 'a+b=', returnContent: 'headers' },
  });
  await all.idle();
  expect(all.remote.lines).toContain('MAIL FROM:<anna@example.org> RET=HDRS ENVID=a+2Bb+3D');
  expect(all.remote.lines).toContain('RCPT TO:<ok@far.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2Bk@x');
  expect(await inboxOf(all, all.anna)).toEqual([]);
});

test('a delay is told once, and a message that expires is returned', async () => {
  const all = await world(
    { answer: (line) => (/^RCPT/.test(line) ? '451 4.7.1 not yet' : undefined) },
    { schedule: { delayReportAfterMs: 1, giveUpAfterMs: 1500 } },
  );
  const id = await send(all, ['bob@far.test']);
  await expect.poll(async () => (await inboxOf(all, all.anna)).length, WAIT).toBe(1);
  const [delay] = await inboxOf(all, all.anna);
  expect(delay).toContain('Action: delayed\r\nStatus: 4.7.1');
  expect(delay).toContain('Will-Retry-Until:');
  await all.queue.expire(id);
  await all.idle();
  const reports = await inboxOf(all, all.anna);
  expect(reports).toHaveLength(2);
  expect(reports[1]).toContain('Action: failed\r\nStatus: 4.4.7');
  expect(reports[1]).toContain('451 4.7.1 not yet');
});

test('WK2 a domain that does not answer holds up nobody else', async () => {
  const all = await world(
    { answer: (line) => (line.endsWith('@slow.test>') ? MUTE : undefined) },
    { zone: { ...zoneOf('far.test'), ...zoneOf('slow.test') }, replyMs: 60_000, perDomainCount: 2 },
  );
  for (let at = 0; at < 60; at += 1) await send(all, [`u${String(at)}@slow.test`]);
  for (let at = 0; at < 20; at += 1) await send(all, [`u${String(at)}@far.test`]);
  await expect.poll(() => all.remote.messages.length, WAIT).toBe(20);
  await expect.poll(() => all.queue.state().messagesCount, WAIT).toBe(60);
});

test('WK2 what was put aside is delivered when the domain has turns again', async () => {
  const all = await world({ afterData: () => '250 2.0.0 ok' }, { perDomainCount: 1 });
  for (let at = 0; at < 80; at += 1) await send(all, [`u${String(at)}@far.test`]);
  await all.idle();
  expect(all.remote.messages).toHaveLength(80);
});

test('LA2 a domain that cannot be reached is left alone after a while, and its mail still expires', async () => {
  const all = await world({ greeting: CUT }, { schedule: { giveUpAfterMs: 60_000 } });
  const ids = [];
  for (let at = 0; at < 30; at += 1) ids.push(await send(all, [`u${String(at)}@far.test`]));
  await expect.poll(() => all.logged.filter((line) => line.includes('deferredCount')).length, WAIT).toBeGreaterThan(60);
  expect(all.remote.connectionsCount()).toBeLessThan(15);
  for (const id of ids) await all.queue.expire(id);
  await all.idle();
  expect(await inboxOf(all, all.anna)).toHaveLength(30);
});

test('WK3 P8 while the key is away nothing fails, and the mail goes out when it is back', async () => {
  const all = await world();
  await send(all, ['first@far.test']);
  await all.idle();
  all.refuse('unreachable');
  all.advance(61_000);
  const id = await send(all, ['bob@far.test']);
  await expect.poll(() => all.queue.state().keysMissingCount, WAIT).toBe(1);
  expect(all.queue.state()).toMatchObject({ messagesCount: 1, recipientsCount: 1 });
  all.refuse(null);
  await expect.poll(() => all.keys.leaseTransit(all.organization, { use: USE, epoch: 1 as never }), WAIT).toBeTruthy();
  await all.queue.retry(id);
  await all.idle();
  expect(all.remote.messages.map(({ recipients }) => recipients[0])).toEqual(['first@far.test', 'bob@far.test']);
  expect(await inboxOf(all, all.anna)).toEqual([]);
});

test('a recipient without a usable domain is returned', async () => {
  const all = await world();
  await send(all, ['bob@nowhere.test', 'eve@-x-', 'joe@[300.1.1.1]']);
  await all.idle();
  const text = (await inboxOf(all, all.anna)).join();
  expect(text).toContain('nowhere.test\r\nAction: failed\r\nStatus: 5.1.2');
  expect(text).toContain('eve@-x-\r\nAction: failed\r\nStatus: 5.1.3');
  expect(text).toContain('joe@[300.1.1.1]\r\nAction: failed\r\nStatus: 5.1.3');
});

test('WK4 stopping waits for what is under way, and cuts it after the grace period', async () => {
  const all = await world({ afterData: () => null }, { replyMs: 60_000 });
  await send(all, ['bob@far.test']);
  await expect.poll(() => all.remote.raw.length, WAIT).toBe(1);
  const started = performance.now();
  await all.worker.stop(300);
  expect(performance.now() - started).toBeGreaterThan(250);
  expect(all.queue.state()).toMatchObject({ recipientsCount: 1, claimedCount: 0 });
});
