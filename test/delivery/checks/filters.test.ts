import { createServer as createHttpServer, type IncomingHttpHeaders } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { deliverChecked, FROM_NET, message } from './world.ts';

const AWAY = '127.0.0.1:1';

/** Reads INSTREAM as clamd does and answers what `answer` says of the message. */
async function fakeClamd(answer: (content: Buffer) => string | null): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    let received = Buffer.alloc(0);
    const parts: Buffer[] = [];
    socket.on('data', (bytes) => {
      received = Buffer.concat([received, bytes]);
      if (received.subarray(0, 10).toString() === 'zINSTREAM\0') received = received.subarray(10);
      while (received.length >= 4 && received.length >= 4 + received.readUInt32BE(0)) {
        const length = received.readUInt32BE(0);
        parts.push(received.subarray(4, 4 + length));
        received = received.subarray(4 + length);
        if (length > 0) continue;
        const text = answer(Buffer.concat(parts));
        if (text === null) socket.destroy();
        else socket.end(`${text}\0`);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

async function fakeRspamd(
  answer: (content: Buffer, headers: IncomingHttpHeaders) => [number, string],
): Promise<string> {
  const server = createHttpServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (bytes: Buffer) => parts.push(bytes));
    request.on('end', () => {
      const [status, text] = request.url === '/checkv2' ? answer(Buffer.concat(parts), request.headers) : [404, ''];
      response.writeHead(status).end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

const clamd = (address: string, whenAway = 'defer', timeLimitMs = 5000) => ({
  clamd: { address, whenAway, timeLimitMs },
});
const rspamd = (url: string, whenAway = 'accept', timeLimitMs = 5000) => ({ rspamd: { url, whenAway, timeLimitMs } });
const rated = (action: string) => fakeRspamd(() => [200, JSON.stringify({ action, score: 7.25, required_score: 15 })]);
const textOf = (bytes: Buffer): string => bytes.toString('latin1');

test('clamd: what is clean is marked so, what is not is refused; it gets every byte', async () => {
  const seen: Buffer[] = [];
  const address = await fakeClamd((content) => {
    seen.push(content);
    return content.includes('EICAR') ? 'stream: Eicar-Test FOUND' : 'stream: OK';
  });
  const large = message(FROM_NET, 'x'.repeat(3_000_000));
  const clean = await deliverChecked(large, { mail: clamd(address), pieceBytes: 65_536 });
  expect(clean.outcomes).toEqual(['stored']);
  expect(textOf(clean.bytes)).toMatch(/^X-Virus-Status: Clean\r$/m);
  expect(seen[0]?.equals(large)).toBe(true);
  expect(clean.bytes.subarray(-large.length).equals(large)).toBe(true);
  const bad = await deliverChecked(message(FROM_NET, 'EICAR'), { mail: clamd(address) });
  expect(bad.outcomes).toEqual(['refused virus']);
});

test.for([
  ['nobody listens', () => Promise.resolve(AWAY)],
  ['it hangs up', () => fakeClamd(() => null)],
  ['it fails', () => fakeClamd(() => 'INSTREAM size limit exceeded. ERROR')],
  ['it says nothing', () => fakeClamd(() => '')],
] as const)('CF1 CD1 clamd is away: %s', async ([, start]) => {
  const address = await start();
  expect((await deliverChecked(message(FROM_NET), { mail: clamd(address) })).outcomes).toEqual(['refused deferred']);
  const accepted = await deliverChecked(message(FROM_NET), { mail: clamd(address, 'accept') });
  expect(accepted.outcomes).toEqual(['stored']);
  expect(textOf(accepted.bytes)).toMatch(/^X-Virus-Status: Unknown\r$/m);
});

test('CF1 a filter that takes too long is away', async () => {
  const address = await fakeClamd(() => 'unused');
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const silent = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  expect(address).not.toBe(silent);
  const both = { ...clamd(silent, 'accept', 100), ...rspamd(`http://${silent}`, 'accept', 100) };
  const { outcomes, bytes } = await deliverChecked(message(FROM_NET), { mail: both });
  expect(outcomes).toEqual(['stored']);
  expect(textOf(bytes)).toContain('X-Virus-Status: Unknown\r\nX-Spam-Status: Unknown\r\n');
});

test.for([
  ['no action', 'stored', 'inbox', 'No, score=7.3 required=15.0'],
  ['greylist', 'stored', 'inbox', 'No, score=7.3 required=15.0'],
  ['add header', 'stored', 'junk', 'Yes, score=7.3 required=15.0'],
  ['rewrite subject', 'stored', 'junk', 'Yes, score=7.3 required=15.0'],
  ['soft reject', 'refused deferred', null, ''],
  ['reject', 'refused spam', null, ''],
  ['something new', 'stored', 'inbox', 'Unknown'],
] as const)('rspamd: %s', async ([action, outcome, folder, status]) => {
  const found = await deliverChecked(message(FROM_NET), { mail: rspamd(await rated(action)) });
  expect([found.outcomes, found.folder]).toEqual([[outcome], folder]);
  if (folder) expect(textOf(found.bytes)).toContain(`X-Spam-Status: ${status}\r\n`);
});

test.for([
  [500, 'oops'],
  [200, 'no JSON'],
  [200, '[]'],
  [200, 'null'],
  [403, '{"action":"no action"}'],
] as const)('RS1 rspamd answers %i %s', async ([status, text]) => {
  const url = await fakeRspamd(() => [status, text]);
  expect((await deliverChecked(message(FROM_NET), { mail: rspamd(url, 'defer') })).outcomes).toEqual([
    'refused deferred',
  ]);
});

test('rspamd is told the envelope, and gets the message as it is stored', async () => {
  const seen: [Buffer, IncomingHttpHeaders][] = [];
  const url = await fakeRspamd((content, headers) => {
    seen.push([content, headers]);
    return [200, '{"action":"no action"}'];
  });
  const bytes = message(['X-Spam-Status: No, forged', ...FROM_NET], 'x'.repeat(2_000_000));
  const found = await deliverChecked(bytes, {
    mail: rspamd(url),
    users: ['bob', 'eve'],
    sender: 'b\u00fcro@example.net',
    pieceBytes: 65_536,
  });
  const [[content, headers] = [Buffer.alloc(0), {}]] = seen;
  expect(headers).toMatchObject({
    ip: '192.0.2.7',
    helo: 'out.example.net',
    'queue-id': 't1',
    'mta-name': 'mx.example.org',
  });
  expect(Buffer.from(String(headers.from), 'latin1').toString()).toBe('b\u00fcro@example.net');
  expect(String(headers['rcpt'])).toBe('bob@example.org, eve@example.org');
  expect(content.equals(message(FROM_NET, 'x'.repeat(2_000_000)))).toBe(true);
  expect(textOf(found.bytes).match(/^X-Spam-Status: .*$/gm)).toEqual(['X-Spam-Status: No, score=0.0 required=0.0']);
});

test('CF2 the stricter answer counts', async () => {
  const infected = clamd(await fakeClamd(() => 'stream: X FOUND'));
  const junk = rspamd(await rated('add header'));
  expect((await deliverChecked(message(FROM_NET), { mail: { ...infected, ...junk } })).outcomes).toEqual([
    'refused virus',
  ]);
  const away = clamd(AWAY);
  const spam = rspamd(await rated('reject'));
  expect((await deliverChecked(message(FROM_NET), { mail: { ...away, ...spam } })).outcomes).toEqual(['refused spam']);
  expect((await deliverChecked(message(FROM_NET), { mail: { ...away, ...junk } })).outcomes).toEqual([
    'refused deferred',
  ]);
});
