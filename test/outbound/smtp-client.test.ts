import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { SmtpClient, type ClientTimeouts, type Transaction } from '../../src/outbound/smtp-client.ts';
import { certificate } from '../smtp/mail-client.ts';
import { CUT, startSmtpRemote, type RemoteScript } from '../support/smtp-remote.ts';

const TIMEOUTS = { replyMs: 10_000, dataBlockMs: 10_000, dataEndMs: 10_000 };

async function session(script: RemoteScript, timeouts: Partial<ClientTimeouts> = {}) {
  const remote = await startSmtpRemote(script);
  const socket = connect(remote.port, '127.0.0.1');
  await once(socket, 'connect');
  const client = new SmtpClient(socket, { ...TIMEOUTS, ...timeouts });
  onTestFinished(() => {
    client.destroy();
  });
  return { remote, client };
}

async function greeted(script: RemoteScript, timeouts: Partial<ClientTimeouts> = {}) {
  const all = await session(script, timeouts);
  await all.client.greet('client.test');
  return all;
}

async function* pieces(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text, 'latin1');
}

function mail(to: readonly string[], more: Partial<Transaction> = {}): Transaction {
  const recipients = to.map((address) => ({ address, parameters: [] }));
  return {
    sender: 'a@here.test',
    mailParameters: [],
    recipients,
    body: () => pieces('Subject: x\r\n\r\nhi\r\n'),
    ...more,
  };
}

const kinds = (results: readonly Readonly<{ kind: string }>[]) => results.map(({ kind }) => kind);
const refuse = (pattern: RegExp, reply: string | typeof CUT | null) => (line: string) =>
  pattern.test(line) ? reply : undefined;

test.for([[['PIPELINING']], [[]]] as const)('SC3 SC4 each recipient has its own result (%j)', async ([ehlo]) => {
  const { remote, client } = await greeted({
    ehlo,
    answer: (line) => (/<no/.test(line) ? '550 5.1.1 unknown' : /<later/.test(line) ? '451 4.7.1 grey' : undefined),
  });
  const results = await client.send(mail(['b@x', 'no@x', 'later@x', 'c@x']));
  expect(results).toEqual([
    { kind: 'accepted', reply: { code: 250, enhanced: '2.0.0', lines: ['2.0.0 taken'] } },
    { kind: 'refused', reply: { code: 550, enhanced: '5.1.1', lines: ['5.1.1 unknown'] } },
    { kind: 'refused', reply: { code: 451, enhanced: '4.7.1', lines: ['4.7.1 grey'] } },
    { kind: 'accepted', reply: { code: 250, enhanced: '2.0.0', lines: ['2.0.0 taken'] } },
  ]);
  expect(remote.messages).toHaveLength(1);
  expect(remote.messages[0]).toMatchObject({ sender: 'a@here.test' });
  expect(remote.messages[0]?.data.toString()).toBe('Subject: x\r\n\r\nhi\r\n');
});

test('parameters go where they belong', async () => {
  const { remote, client } = await greeted({ ehlo: ['PIPELINING', 'DSN', 'SIZE 1000'] });
  const recipients = [
    { address: 'b@x', parameters: ['NOTIFY=NEVER'] },
    { address: 'c@x', parameters: ['NOTIFY=SUCCESS', 'ORCPT=rfc822;c@x'] },
  ];
  await client.send(mail([], { mailParameters: ['RET=HDRS', 'SIZE=20'], recipients }));
  expect(remote.lines).toEqual([
    'EHLO client.test',
    'MAIL FROM:<a@here.test> RET=HDRS SIZE=20',
    'RCPT TO:<b@x> NOTIFY=NEVER',
    'RCPT TO:<c@x> NOTIFY=SUCCESS ORCPT=rfc822;c@x',
    'DATA',
  ]);
  expect(client.extensions.get('SIZE')).toBe('1000');
});

test.for([[['PIPELINING']], [[]]] as const)(
  'a session serves many messages, also after refusals (%j)',
  async ([ehlo]) => {
    let round = 0;
    const { remote, client } = await greeted({
      ehlo,
      answer: (line) => {
        if (/^MAIL/.test(line)) round += 1;
        if (round === 2 && /^RCPT/.test(line)) return '550 5.1.1 no';
        if (round !== 3) return undefined;
        return /^MAIL/.test(line) ? '451 4.3.0 not now' : /^(RCPT|DATA)/.test(line) ? '503 5.5.1 no MAIL' : undefined;
      },
    });
    const all: string[][] = [];
    for (let at = 0; at < 4; at += 1) {
      all.push(kinds(await client.send(mail(['b@x', 'c@x']))));
      expect(await client.reset()).toBe(true);
    }
    expect(all).toEqual([
      ['accepted', 'accepted'],
      ['refused', 'refused'],
      ['refused', 'refused'],
      ['accepted', 'accepted'],
    ]);
    expect(remote.messages).toHaveLength(2);
    expect(remote.connectionsCount()).toBe(1);
    await client.quit();
    expect(remote.lines.at(-1)).toBe('QUIT');
  },
);

test('SC4 a message refused at its end is refused for all who were accepted', async () => {
  const { client } = await greeted({ ehlo: ['PIPELINING'], afterData: () => '554 5.7.1 spam' });
  const results = await client.send(mail(['b@x', 'c@x']));
  expect(results).toMatchObject([
    { kind: 'refused', reply: { code: 554 } },
    { kind: 'refused', reply: { code: 554 } },
  ]);
});

test.for([
  ['MAIL', /^MAIL/],
  ['RCPT', /^RCPT/],
  ['DATA', /^DATA/],
] as const)('SC3 a connection that is cut at %s loses those who had no answer', async ([stage, pattern]) => {
  for (const ehlo of [['PIPELINING'], []]) {
    const { client } = await greeted({ ehlo, answer: refuse(pattern, CUT) });
    const results = await client.send(mail(['b@x', 'c@x']));
    expect(results[0]).toEqual({ kind: 'lost', fault: 'closed', stage });
    expect(kinds(results)).toEqual(['lost', 'lost']);
    expect(client.isUsable).toBe(false);
  }
});

test('SC3 cut in the data, and after the end of the data: lost, not refused', async () => {
  const long = () => pieces(...Array.from({ length: 200 }, () => 'x'.repeat(99_998) + '\r\n'));
  const during = await greeted({ ehlo: ['PIPELINING'], duringData: (bytes) => (bytes > 50_000 ? CUT : undefined) });
  expect(await during.client.send(mail(['b@x'], { body: long }))).toMatchObject([{ kind: 'lost' }]);
  const after = await greeted({ ehlo: ['PIPELINING'], afterData: () => CUT });
  expect(await after.client.send(mail(['b@x']))).toMatchObject([{ kind: 'lost', stage: 'the end of the message' }]);
});

test('SC3 a recipient that was refused before the connection was cut stays refused', async () => {
  const { client } = await greeted({
    ehlo: ['PIPELINING'],
    answer: (line) => (/<no/.test(line) ? '550 5.1.1 unknown' : /^DATA/.test(line) ? CUT : undefined),
  });
  expect(kinds(await client.send(mail(['no@x', 'b@x'])))).toEqual(['refused', 'lost']);
});

test.for([
  ['greeting', { greeting: null }],
  ['EHLO', { answer: refuse(/^EHLO/, null) }],
] as const)('SC1 a remote that says nothing at the %s is left', async ([stage, script]) => {
  const { client } = await session(script, { replyMs: 100 });
  await expect(client.greet('client.test')).rejects.toMatchObject({ fault: 'timeout', stage });
  expect(client.isUsable).toBe(false);
});

test('SC1 no answer to MAIL, RCPT, DATA or the end of the data: lost by time-out', async () => {
  for (const [stage, pattern] of [
    ['MAIL', /^MAIL/],
    ['RCPT', /^RCPT/],
    ['DATA', /^DATA/],
  ] as const) {
    let isDumb = false;
    const answer = (line: string) => ((isDumb ||= pattern.test(line)) ? null : undefined);
    const { client } = await greeted({ ehlo: ['PIPELINING'], answer }, { replyMs: 150 });
    expect(await client.send(mail(['b@x']))).toEqual([{ kind: 'lost', fault: 'timeout', stage }]);
  }
  const { client } = await greeted({ afterData: () => null }, { dataEndMs: 100 });
  expect(await client.send(mail(['b@x']))).toMatchObject([{ kind: 'lost', fault: 'timeout' }]);
});

test.for([
  ['554 5.3.2 not here', 'refused'],
  ['421 4.3.2 busy', 'refused'],
  ['SSH-2.0-x', 'not-smtp'],
] as const)('the greeting %s ends the session: %s', async ([greeting, fault]) => {
  const { client } = await session({ greeting });
  await expect(client.greet('client.test')).rejects.toMatchObject({ fault });
});

test('HELO where EHLO is not known; then there are no extensions', async () => {
  const { remote, client } = await greeted({ answer: refuse(/^EHLO/, '500 what') });
  expect(client.extensions.size).toBe(0);
  expect(kinds(await client.send(mail(['b@x'])))).toEqual(['accepted']);
  expect(remote.lines.slice(0, 2)).toEqual(['EHLO client.test', 'HELO client.test']);
});

test('421 at any point is an answer to all who have none, and temporary', async () => {
  const { client } = await greeted({ ehlo: ['PIPELINING'], answer: refuse(/^RCPT TO:<c/, '421 4.3.2 closing') });
  const results = await client.send(mail(['b@x', 'c@x']));
  expect(results).toMatchObject([
    { kind: 'refused', reply: { code: 421 } },
    { kind: 'refused', reply: { code: 421 } },
  ]);
  expect(client.isUsable).toBe(false);
});

test('a refusal in the middle of the data is the answer, and the message goes no further', async () => {
  const endless = async function* () {
    for (;;) yield Buffer.from(`${'x'.repeat(998)}\r\n`.repeat(50));
  };
  const { remote, client } = await greeted({
    ehlo: ['PIPELINING'],
    duringData: (bytes) => (bytes > 100_000 ? '552 5.3.4 too big' : undefined),
  });
  expect(await client.send(mail(['b@x'], { body: endless }))).toMatchObject([
    { kind: 'refused', reply: { code: 552 } },
  ]);
  expect(remote.messages).toEqual([]);
});

test('SC1 a body that breaks off is cut, never ended: the remote gets no message', async () => {
  const broken = async function* () {
    yield Buffer.from('Subject: x\r\n\r\nhalf');
    throw new Error('key gone');
  };
  const { remote, client } = await greeted({ ehlo: ['PIPELINING'] });
  await expect(client.send(mail(['b@x'], { body: broken }))).rejects.toThrow('key gone');
  expect(client.isUsable).toBe(false);
  await expect.poll(() => remote.connectionsCount()).toBe(1);
  expect(remote.messages).toEqual([]);
  expect(remote.raw).toEqual([]);
});

test('a reply that nothing asked for is not taken for the next answer', async () => {
  const { client } = await greeted({ ehlo: ['PIPELINING'], afterData: () => '250 ok\r\n550 5.1.1 stray' });
  expect(kinds(await client.send(mail(['b@x'])))).toEqual(['accepted']);
  await expect.poll(() => client.reset()).toBe(false);
  expect(await client.send(mail(['c@x']))).toMatchObject([{ kind: 'lost' }]);
});

test('a server that takes DATA although it refused everyone gets no message', async () => {
  const answer = (line: string) => (/^RCPT/.test(line) ? '550 5.1.1 no' : /^DATA/.test(line) ? '354 go' : undefined);
  const { remote, client } = await greeted({ ehlo: ['PIPELINING'], answer });
  expect(kinds(await client.send(mail(['b@x'])))).toEqual(['refused']);
  expect(client.isUsable).toBe(false);
  expect(remote.raw).toEqual([]);
});

const anyone = () => true;
const TLS = certificate('remote.test');

test('STARTTLS: what was said before it does not count after it', async () => {
  const { remote, client } = await greeted({
    tls: TLS,
    ehlo: (isTls) => (isTls ? ['PIPELINING', 'AUTH PLAIN'] : ['STARTTLS', 'SIZE 5']),
  });
  await client.startTls('client.test', { servername: 'remote.test', rejectUnauthorized: false }, anyone);
  expect([...client.extensions.keys()]).toEqual(['PIPELINING', 'AUTH']);
  expect(client.tls?.getPeerX509Certificate()?.subject).toContain('remote.test');
  expect(kinds(await client.send(mail(['b@x'])))).toEqual(['accepted']);
  expect(remote.messages).toHaveLength(1);
});

test('SC2 commands hidden behind the answer to STARTTLS are not answers under TLS', async () => {
  const { client } = await greeted({ tls: TLS, answer: refuse(/^STARTTLS/, '220 go\r\n250 injected') });
  await expect(
    client.startTls('client.test', { servername: 'remote.test', rejectUnauthorized: false }, anyone),
  ).rejects.toMatchObject({ fault: 'not-smtp' });
});

test('a handshake that fails is a failure of TLS', async () => {
  const { client } = await greeted({ ehlo: ['STARTTLS'], answer: refuse(/^STARTTLS/, '220 go') });
  const plain = client.startTls('client.test', { rejectUnauthorized: false }, anyone);
  await expect(plain).rejects.toMatchObject({ fault: 'tls' });
  const untrusted = await greeted({ tls: TLS, ehlo: ['STARTTLS'] });
  await expect(untrusted.client.startTls('client.test', { servername: 'remote.test' }, anyone)).rejects.toMatchObject({
    fault: 'tls',
  });
});

test('a server that does not prove who it is is told nothing under TLS', async () => {
  const { remote, client } = await greeted({ tls: TLS, ehlo: ['STARTTLS'] });
  const options = { servername: 'remote.test', rejectUnauthorized: false };
  await expect(client.startTls('client.test', options, () => false)).rejects.toMatchObject({ fault: 'tls' });
  expect(remote.lines).toEqual(['EHLO client.test', 'STARTTLS']);
});

test('AUTH goes under TLS only', async () => {
  const remote = { tls: TLS, ehlo: () => ['STARTTLS', 'AUTH PLAIN'], answer: refuse(/^AUTH/, '235 2.7.0 ok') };
  const secure = await greeted(remote);
  await secure.client.startTls('client.test', { servername: 'remote.test', rejectUnauthorized: false }, anyone);
  await secure.client.authenticate('user', 'pass');
  expect(secure.remote.lines).toContain(`AUTH PLAIN ${Buffer.from('\0user\0pass').toString('base64')}`);
  const plain = await greeted(remote);
  await expect(plain.client.authenticate('user', 'pass')).rejects.toMatchObject({ fault: 'local', stage: 'AUTH' });
  expect(plain.remote.lines.join()).not.toContain('AUTH PLAIN');
});
