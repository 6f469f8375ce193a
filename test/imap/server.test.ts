import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect, test } from 'vitest';
import { ImapFlow } from 'imapflow';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { imapWorld, ImapClient, PASSWORD } from '../protocol/imap-world.ts';

const directory = temporaryDirectory();

test('I4 without TLS nobody logs in; STARTTLS forgets what came with it; then it works', async () => {
  await using world = await imapWorld(directory, { allowCleartextLogin: false });
  const { name } = await world.addUser();
  const client = await world.connect();
  expect((await client.command('CAPABILITY'))[0]).toMatch(/ STARTTLS LOGINDISABLED /);
  expect(await client.command(`LOGIN ${name} "${PASSWORD}"`)).toEqual([
    't2 NO [PRIVACYREQUIRED] Start TLS before you log in',
  ]);
  expect(await client.command('AUTHENTICATE PLAIN AGEAYg==')).toEqual([
    't3 NO [PRIVACYREQUIRED] Start TLS before you log in',
  ]);
  client.send(`s STARTTLS\r\ni LOGIN ${name} "${PASSWORD}"\r\n`);
  expect(await client.line()).toBe('s OK Begin TLS now');
  await client.startTls();
  const capability = (await client.command('CAPABILITY'))[0];
  expect(capability).not.toMatch(/STARTTLS|LOGINDISABLED/);
  expect(capability).toMatch(/AUTH=PLAIN/);
  expect(await client.command('STARTTLS')).toEqual(['t5 BAD TLS is on already']);
  expect((await client.command(`LOGIN ${name} "${PASSWORD}"`))[0]).toMatch(/^t6 OK \[CAPABILITY /);
  expect(world.log.join('\n')).not.toMatch(new RegExp(`${name}|${PASSWORD}`));
});

test('implicit TLS speaks ALPN imap and nothing else', async () => {
  await using world = await imapWorld(directory);
  const options = { port: world.ports.imaps, host: '127.0.0.1', rejectUnauthorized: false };
  const good = connectTls({ ...options, ALPNProtocols: ['imap'] });
  await once(good, 'secureConnect');
  expect(good.alpnProtocol).toBe('imap');
  expect(await new ImapClient(good).line()).toMatch(/^\* OK \[CAPABILITY .*AUTH=PLAIN/);
  good.destroy();
  await expect.poll(() => world.server.connectionsCount()).toBe(0);
  const bad = connectTls({ ...options, ALPNProtocols: ['h2'] });
  await expect(once(bad, 'secureConnect')).rejects.toThrow();
  const old = connectTls({ ...options, maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1' });
  await expect(once(old, 'secureConnect')).rejects.toThrow();
  await expect.poll(() => world.server.connectionsCount()).toBe(0);
  const idle = connectTls(options);
  await once(idle, 'secureConnect');
  const greeted = new ImapClient(idle);
  expect(await greeted.line()).toMatch(/^\* OK/);
  await world.server.stop(1_000);
  expect(await greeted.line()).toMatch(/^\* BYE/);
});

test('QRESYNC tells what happened since the client was last here; what the client does not know is left out', async () => {
  await using world = await imapWorld(directory);
  const client = await world.loggedIn();
  for (const body of ['one', 'two', 'three', 'four']) await client.append('INBOX', body);
  await client.command('ENABLE QRESYNC');
  const opened = (await client.command('SELECT INBOX')).join('\n');
  const uidValidity = /UIDVALIDITY (\d+)/.exec(opened)?.[1] ?? '';
  const modSeq = /HIGHESTMODSEQ (\d+)/.exec(opened)?.[1] ?? '';
  await client.command('UID STORE 2,4 +FLAGS (\\Deleted)');
  await client.command('EXPUNGE');
  await client.command('UID STORE 1,3 +FLAGS (\\Flagged)');
  await client.command('UNSELECT');
  const whole = await client.command(`SELECT INBOX (QRESYNC (${uidValidity} ${modSeq}))`);
  expect(
    whole.filter((line) => /VANISHED|FETCH/.test(line)).map((line) => line.replace(/MODSEQ \(\d+\)/, 'M')),
  ).toEqual([
    '* VANISHED (EARLIER) 2,4',
    '* 1 FETCH (UID 1 FLAGS (\\Flagged) M)',
    '* 2 FETCH (UID 3 FLAGS (\\Flagged) M)',
  ]);
  const part = await client.command(`SELECT INBOX (QRESYNC (${uidValidity} ${modSeq} 3:4))`);
  expect(part.filter((line) => /VANISHED|FETCH/.test(line)).map((line) => line.replace(/MODSEQ \(\d+\)/, 'M'))).toEqual(
    ['* VANISHED (EARLIER) 4', '* 2 FETCH (UID 3 FLAGS (\\Flagged) M)'],
  );
});

test('F3 a damaged message does not hide the others', async () => {
  await using world = await imapWorld(directory);
  const { name, ref } = await world.addUser();
  const client = await world.loggedIn(name);
  for (const body of ['one', 'two', 'three']) await client.append('INBOX', body);
  const file = join(world.mailboxes.directory, 'mailboxes', ref.mailbox, 'mailbox.db');
  const database = new SqliteDatabase(file);
  database.exec(
    'UPDATE inline_bodies SET sealed = zeroblob(length(sealed)) WHERE id = (SELECT body FROM messages WHERE uid = 2)',
  );
  database.close();
  await client.command('SELECT INBOX');
  expect(await client.command('FETCH 1:* (UID BODY.PEEK[])')).toEqual([
    '* 1 FETCH (UID 1 BODY[] {3}\r\none)',
    '* 3 FETCH (UID 3 BODY[] {5}\r\nthree)',
    expect.stringMatching(/^t\d+ NO \[CORRUPTION\]/),
  ]);
});

test('imapflow makes a round trip', async () => {
  await using world = await imapWorld(directory);
  const { name } = await world.addUser();
  const client = new ImapFlow({
    host: '127.0.0.1',
    port: world.ports.imaps,
    secure: true,
    auth: { user: name, pass: PASSWORD },
    tls: { rejectUnauthorized: false },
    logger: false,
  });
  await client.connect();
  const source = Buffer.from(`Subject: Größe\r\nFrom: "A B" <a@example.com>\r\n\r\n${'body line\r\n'.repeat(1000)}`);
  const made = await client.mailboxCreate('Über/Ordner');
  expect(made.created).toBe(true);
  const appended = await client.append('Über/Ordner', source, ['\\Flagged'], new Date('2026-05-01T10:00:00Z'));
  expect(appended).toMatchObject({ uid: 1 });
  const lock = await client.getMailboxLock('Über/Ordner');
  const message = await client.fetchOne('1', {
    source: true,
    envelope: true,
    flags: true,
    internalDate: true,
    bodyStructure: true,
  });
  if (!message) throw new Error('no message');
  expect(message.source?.equals(source)).toBe(true);
  expect(message.flags?.has('\\Flagged')).toBe(true);
  expect(message.envelope?.from?.[0]?.address).toBe('a@example.com');
  await client.messageFlagsAdd('1', ['\\Seen']);
  expect(await client.search({ seen: true, body: 'BODY line' })).toEqual([1]);
  await client.messageMove('1', 'INBOX');
  lock.release();
  expect(await client.status('INBOX', { messages: true })).toMatchObject({ messages: 1 });
  const names = (await client.list()).map((folder) => folder.path);
  expect(names).toEqual(expect.arrayContaining(['INBOX', 'Sent', 'Über/Ordner']));
  await client.logout();
});

const SESSION = [
  `a LOGIN USER "${PASSWORD}"\r\n`,
  'b APPEND INBOX (\\Seen) {14+}\r\nSubject: 1\r\n\r\n\r\n',
  'c SELECT INBOX\r\nd FETCH 1 (FLAGS BODY.PEEK[])\r\n',
  'e SEARCH RETURN (ALL) SUBJECT {1+}\r\n1\r\n',
  'f IDLE\r\nDONE\r\ng LIST "" {1+}\r\n*\r\n',
  'h LOGOUT\r\n',
].join('');

/** The answers without what differs from one mailbox to the next. */
async function answersTo(client: ImapClient): Promise<string[]> {
  const lines = await client.until('h');
  return lines.map((line) =>
    line.replace(/\[(UIDVALIDITY|APPENDUID|HIGHESTMODSEQ|MAILBOXID) (?:\d+|\(\w+-\d+\))/, '[$1'),
  );
}

test('a session that comes byte by byte, and one in a single packet, get the same answers', async () => {
  await using world = await imapWorld(directory);
  const [slow, fast] = [await world.connect(), await world.connect()];
  for (const byte of SESSION.replace('USER', (await world.addUser()).name)) {
    slow.send(byte);
    if (Math.random() < 0.2) await new Promise((resolve) => setImmediate(resolve));
  }
  fast.send(SESSION.replace('USER', (await world.addUser()).name));
  const answers = await answersTo(fast);
  expect(answers.filter((line) => /^[a-h] /.test(line)).map((line) => line.slice(0, 4))).toEqual(
    ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((tag) => `${tag} OK`),
  );
  expect(await answersTo(slow)).toEqual(answers);
});

test('50 pipelined FETCH BODY[] are answered in order, whole', async () => {
  await using world = await imapWorld(directory);
  const client = await world.loggedIn();
  const bodies = Array.from({ length: 50 }, (_, index) => `Subject: ${String(index)}\r\n\r\n${'x'.repeat(index * 97)}`);
  for (const body of bodies) await client.append('INBOX', body);
  await client.command('SELECT INBOX');
  client.send(bodies.map((_, index) => `f${String(index)} UID FETCH ${String(index + 1)} (BODY.PEEK[])\r\n`).join(''));
  for (const [index, body] of bodies.entries()) {
    const number = String(index + 1);
    expect(await client.line()).toBe(`* ${number} FETCH (UID ${number} BODY[] {${String(body.length)}}\r\n${body})`);
    expect(await client.line()).toBe(`f${String(index)} OK Done`);
  }
});

test('I2 a refused literal is never run as commands', async () => {
  await using world = await imapWorld(directory);
  const client = await world.loggedIn();
  client.send('a APPEND INBOX {99999999+}\r\nb LOGOUT\r\n');
  expect(await client.line()).toMatch(/^a NO \[TOOBIG\]/);
  expect(await client.line()).toMatch(/^\* BYE /);
  expect(await client.line()).toBeNull();
  const early = await world.connect();
  early.send('a LOGIN {400000000}\r\nb LOGIN {99999999999999999999}\r\nc LOGIN {-1}\r\nd NOOP\r\n');
  expect((await early.until('d')).map((line) => line.slice(0, 5))).toEqual(['a BAD', 'b BAD', 'c BAD', 'd OK ']);
});

test('I5 nothing in a message forges a response line', async () => {
  await using world = await imapWorld(directory);
  const client = await world.loggedIn();
  const evil = [
    'Subject: a\0b\r\n\tc "quoted" \\ {3}\r\n',
    'From: "x\\"y\\\\" <a\r\n b@c>, =?utf-8?q?=0D=0A*_9_EXISTS?= <b@c>\r\n',
    'Content-Type: text/plain; charset="x\r\n\ty"; name*0="a"; name*1="\r\n * 8 EXISTS"\r\n',
    'Content-Disposition: attachment; filename="../../a)\r\n (b"\r\n\r\n* 7 EXISTS\r\n',
  ].join('');
  await client.append('INBOX', evil);
  await client.command('SELECT INBOX');
  const lines = await client.command('FETCH 1 (ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[HEADER] UID)');
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^\* 1 FETCH \(UID 1 ENVELOPE \(/);
  expect(lines[1]).toMatch(/^t\d+ OK Done$/);
});

test('garbage in every state ends at worst the connection', async () => {
  await using world = await imapWorld(directory);
  const alphabet = 'abAZ09 "\\(){}[]<>*%+~.,:;$\0\r\n\x80\xff';
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  const words = [
    'FETCH',
    'STORE',
    'SEARCH',
    'UID',
    'LIST',
    'APPEND',
    'SELECT',
    'BODY[',
    '1:*',
    '(',
    ')',
    'IDLE',
    'COPY',
  ];
  const garbage = (): string => {
    let text = random(3) === 0 ? '' : `a${String(random(9))} ${words[random(words.length)] ?? ''} `;
    for (let count = random(60); count > 0; count -= 1) text += alphabet.charAt(random(alphabet.length));
    return `${text}\r\n`;
  };
  for (const state of ['before login', 'logged in', 'selected'] as const) {
    for (let sent = 0; sent < 1_000;) {
      const client = state === 'before login' ? await world.connect() : await world.loggedIn();
      if (state === 'selected') {
        await client.append('INBOX', 'Subject: x\r\n\r\nx');
        await client.command('SELECT INBOX');
      }
      for (let count = 0; count < 200; count += 1) client.send(garbage());
      sent += 200;
      client.socket.end();
      while ((await client.line()) !== null); // read to the end
      client.close();
    }
  }
  expect(world.log.filter((line) => line.startsWith('error'))).toEqual([]);
  expect(world.mailboxes.failures).toEqual([]);
  expect((await (await world.connect()).command('NOOP'))[0]).toBe('t1 OK Done');
});

test('a large body is streamed, and a client that does not read it holds up nobody', async () => {
  await using world = await imapWorld(directory, { maxOutputBufferBytes: 65_536 });
  const { name } = await world.addUser();
  const client = await world.loggedIn(name);
  const body = `Subject: big\r\n\r\n${'0123456789abcde\n'.repeat(500_000)}`;
  expect((await client.append('INBOX', body)).at(-1)).toMatch(/OK \[APPENDUID/);
  const lazy = await world.loggedIn(name);
  await lazy.command('SELECT INBOX');
  lazy.socket.pause();
  lazy.send('f FETCH 1 BODY.PEEK[]\r\n');
  await client.command('SELECT INBOX');
  const [line] = await client.command('FETCH 1 BODY.PEEK[]');
  expect(line).toBe(`* 1 FETCH (BODY[] {${String(body.length)}}\r\n${body})`);
  expect(await client.command('FETCH 1 BODY.PEEK[]<4000000.20>')).toEqual([
    `* 1 FETCH (BODY[]<4000000> {20}\r\n${body.slice(4_000_000, 4_000_020)})`,
    't5 OK Done',
  ]);
});

test('while the key is away: lists fail whole, flags work, the session stays', async () => {
  await using world = await imapWorld(directory);
  const client = await world.loggedIn();
  await client.append('INBOX', 'Subject: x\r\n\r\nx');
  await client.command('SELECT INBOX');
  world.mailboxes.refuse('unreachable');
  world.mailboxes.advance(61_000);
  for (const text of ['LIST "" *', 'FETCH 1 ENVELOPE', 'STATUS INBOX (MESSAGES)', 'SEARCH SUBJECT x', 'COPY 1 Trash']) {
    expect(await client.command(text), text).toEqual([expect.stringMatching(/^t\d+ NO \[UNAVAILABLE\] /)]);
  }
  expect(await client.command('APPEND INBOX {3}')).toEqual([expect.stringMatching(/ NO \[UNAVAILABLE\] /)]);
  expect(await client.command('UID FETCH 1 (FLAGS RFC822.SIZE)')).toEqual([
    '* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 15)',
    expect.stringMatching(/OK/),
  ]);
  world.mailboxes.refuse(null);
  world.mailboxes.advance(31_000);
  expect((await client.command('FETCH 1 BODY.PEEK[]'))[0]).toBe('* 1 FETCH (BODY[] {15}\r\nSubject: x\r\n\r\nx)');
});

test('limits: connections, time to log in, commands before login', async () => {
  await using world = await imapWorld(directory, { maxConnectionsCount: 2, loginTimeoutMs: 300 });
  const [first] = [await world.connect(), await world.connect()];
  const third = new ImapClient(connectTcp({ port: world.ports.imap, host: '127.0.0.1' }));
  expect(await third.line()).toMatch(/^\* BYE \[UNAVAILABLE\] Too many connections/);
  for (let count = 0; count < 19; count += 1) await first.command('NOOP');
  expect(await first.command('NOOP')).toEqual(['t20 OK Done']);
  expect(await first.line()).toBe('* BYE Too many commands before login');
  expect(await first.line()).toBeNull();
  const slow = await world.connect();
  expect(await slow.line()).toBe('* BYE Too slow to log in');
  expect(await slow.line()).toBeNull();
});

test('stop says BYE, also in IDLE, and ends', async () => {
  await using world = await imapWorld(directory);
  const [waiting, idling] = [await world.loggedIn(), await world.loggedIn()];
  idling.send('a IDLE\r\n');
  expect(await idling.line()).toBe('+ idling');
  await world.server.stop(2_000);
  expect(await waiting.line()).toBe('* BYE The server is shutting down');
  expect(await idling.line()).toBe('* BYE The server is shutting down');
  expect(world.server.connectionsCount()).toBe(0);
});
