import { deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { imapWorld, PASSWORD, type ImapWorld } from '../protocol/imap-world.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();
let world: ImapWorld;
beforeAll(async () => {
  world = await imapWorld(directory);
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
});

test('RFC 4978 §3: commands and literals of any size go through, both ways, and the tagged OK is not compressed', async () => {
  const client = await world.loggedIn();
  expect((await client.command('CAPABILITY'))[0]).toMatch(/ COMPRESS=DEFLATE /);
  expect((await client.command('COMPRESS GZIP')).at(-1)).toMatch(/^t\d+ NO/);
  expect(await client.command('COMPRESS DEFLATE')).toEqual(['t4 OK Compression begins']);
  client.startCompression();
  expect((await client.command('CAPABILITY'))[0]).not.toMatch(/COMPRESS/);
  expect((await client.command('COMPRESS DEFLATE')).at(-1)).toMatch(/NO \[COMPRESSIONACTIVE\]/);
  const message = `Subject: x\r\n\r\n${Array.from({ length: 40_000 }, (_, at) => `line ${String(at * 7919)}\r\n`).join('')}`;
  expect((await client.append('INBOX', message)).at(-1)).toMatch(/OK \[APPENDUID/);
  await client.command('SELECT INBOX');
  const [fetched = ''] = await client.command('FETCH 1 BODY.PEEK[]');
  expect(fetched.includes(message)).toBe(true);
  client.send('i IDLE\r\n');
  expect(await client.line()).toBe('+ idling');
  client.send('DONE\r\nj NOOP\r\n');
  expect(await client.until('j')).toEqual(['i OK Done', 'j OK Done']);
  expect((await client.command('LOGOUT'))[0]).toMatch(/^\* BYE/);
});

test('I12 a packet that inflates without end is read no further than the limits of a command', async () => {
  const client = await world.loggedIn();
  await client.command('COMPRESS DEFLATE');
  const bomb = deflateRawSync(Buffer.alloc(200 << 20, 0x61), { level: 9 });
  expect(bomb.length).toBeLessThan(300_000);
  const before = process.memoryUsage().rss;
  client.socket.write(bomb);
  await new Promise((resolve) => client.socket.once('close', resolve)); // 64 MiB of one bad line are enough
  expect(process.memoryUsage().rss - before).toBeLessThan(150 << 20);
});

test('Z3 what is not deflate ends the connection', async () => {
  const client = await world.loggedIn();
  await client.command('COMPRESS DEFLATE');
  client.socket.write('a NOOP\r\n\xff\xff\xff\xff');
  await new Promise((resolve) => client.socket.once('close', resolve));
});

test('a client that is known to stall is not offered compression; the log names known clients only', async () => {
  const client = await world.loggedIn();
  await client.command('ID ("name" "iOS Mail" "version" "18.0")');
  expect((await client.command('CAPABILITY'))[0]).not.toMatch(/COMPRESS/);
  expect((await client.command('COMPRESS DEFLATE')).at(-1)).toMatch(/NO \[CANNOT\]/);
  await client.command('ID ("name" "secret project of Ann")');
  expect(world.log.filter((line) => line.includes(' client '))).toEqual([
    'info client {"name":"iOS Mail"} ',
    'info client {"name":"other"} ',
  ]);
});

test('RFC 8437 §2: UNAUTHENTICATE ends the login, what was enabled, and compression; another user may follow', async () => {
  const [ann, bob] = [await world.addUser(), await world.addUser()];
  const client = await world.loggedIn(ann.name);
  await client.command('CREATE of-ann');
  await client.command('ENABLE IMAP4rev2 QRESYNC');
  await client.command('COMPRESS DEFLATE');
  const compression = client.startCompression();
  await client.command('SELECT of-ann');
  client.send('u UNAUTHENTICATE\r\n');
  expect(await client.line()).toMatch(/^u OK \[CAPABILITY IMAP4rev1 IMAP4rev2 STARTTLS AUTH=PLAIN/);
  compression.stop();
  expect((await client.command('SELECT of-ann')).at(-1)).toMatch(/BAD Log in first/);
  expect((await client.command('UNAUTHENTICATE')).at(-1)).toMatch(/BAD/);
  expect((await client.command(`LOGIN ${bob.name} "${PASSWORD}"`)).at(-1)).toMatch(/OK .* COMPRESS=DEFLATE/);
  expect((await client.command('SELECT of-ann')).at(-1)).toMatch(/NO \[NONEXISTENT\]/);
  await client.append('INBOX', 'x');
  expect((await client.command('SELECT INBOX')).join('\n')).toMatch(/RECENT/); // rev2 is off again
  expect((await client.command('SELECT INBOX (QRESYNC (1 1))')).at(-1)).toMatch(/BAD Enable QRESYNC first/);
  await client.command('COMPRESS DEFLATE');
  client.startCompression();
  expect((await client.command('NOOP')).at(-1)).toMatch(/OK/);
});

test('RFC 9585 §4: a long command says that it goes on, between whole lines', async () => {
  await using busy = await imapWorld(directory, {}, 1);
  const client = await busy.loggedIn();
  const message = 'Subject: a\r\nContent-Type: text/html\r\n\r\n<p>some text to look through</p>';
  const text = Array.from({ length: 300 }, () => `{${String(message.length)}+}\r\n${message}`).join(' ');
  expect((await client.command(`APPEND INBOX ${text}`)).at(-1)).toMatch(/OK/);
  await client.command('SELECT INBOX');
  client.send('s1 UID SEARCH TEXT nowhere\r\n');
  const lines = await client.until('s1');
  expect(lines.slice(-2)).toEqual(['* SEARCH', 's1 OK Done']);
  expect(lines.length).toBeGreaterThan(2);
  for (const line of lines.slice(0, -2)) expect(line).toBe('* OK [INPROGRESS ("s1" NIL NIL)] Still at work');
});

test('RFC 7888 §5: with LITERAL+ off, LITERAL- takes its place, and a larger literal must synchronise', async () => {
  const user = await world.addUser();
  world.capabilitiesOff.set(user.ref.mailbox, ['LITERAL+']);
  const client = await world.loggedIn(user.name);
  expect((await client.command('CAPABILITY'))[0]).toMatch(/ LITERAL- (?!.*LITERAL\+)/);
  expect((await client.append('INBOX', 'x'.repeat(4096))).at(-1)).toMatch(/OK/);
  const inside = 'x'.repeat(4000) + '\r\nz LOGOUT\r\n' + 'x'.repeat(1000);
  expect(await client.append('INBOX', inside)).toEqual(['t4 BAD A literal of that size must synchronise']);
  expect((await client.command('NOOP')).at(-1)).toBe('t5 OK Done');
  client.send('w APPEND INBOX {5000}\r\n');
  expect(await client.line()).toMatch(/^\+ /);
  client.send(`${'x'.repeat(5000)}\r\n`);
  expect(await client.line()).toMatch(/^w OK/);
});

test('X2 a command of an extension that is off is refused', async () => {
  const user = await world.addUser();
  world.capabilitiesOff.set(user.ref.mailbox, ['COMPRESS=DEFLATE', 'UNAUTHENTICATE', 'QRESYNC', 'IMAP4REV2']);
  const client = await world.loggedIn(user.name);
  expect((await client.command('CAPABILITY'))[0]).not.toMatch(/COMPRESS|UNAUTHENTICATE|QRESYNC|REV2/i);
  expect((await client.command('COMPRESS DEFLATE')).at(-1)).toMatch(/BAD/);
  expect((await client.command('UNAUTHENTICATE')).at(-1)).toMatch(/BAD/);
  expect(await client.command('ENABLE QRESYNC IMAP4rev2 CONDSTORE')).toEqual(['* ENABLED CONDSTORE', 't5 OK Done']);
});
