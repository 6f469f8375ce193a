import { createSocket } from 'node:dgram';
import { expect, onTestFinished, test } from 'vitest';
import { StubResolver } from '../../src/dns/stub-resolver.ts';
import { startDnsServer, type DnsMode, type Zone } from '../support/dns-server.ts';

type Settings = ConstructorParameters<typeof StubResolver>[0];
type Server = Readonly<{ address: string; port: number }>;

const ZONE: Zone = {
  'example.test': { MX: ['10 mx.example.test', '20 MX2.example.test.'], TXT: ['v=spf1 -all', ['a', 'b']], ttlS: 120 },
  'mx.example.test': { A: ['192.0.2.1', '192.0.2.2'], AAAA: ['2001:db8::1'] },
  'alias.test': { CNAME: 'second.test', ttlS: 30 },
  'second.test': { CNAME: 'mx.example.test' },
  'dangling.test': { CNAME: 'nowhere.test' },
  'circle.test': { CNAME: 'circle2.test' },
  'circle2.test': { CNAME: 'circle.test' },
  'null.test': { MX: ['0 .'] },
  '_25._tcp.mx.example.test': { TLSA: ['3 1 1 00ff'] },
  'xn--mller-kva.test': { A: ['192.0.2.3'] },
  'long.test': { TXT: Array.from({ length: 30 }, (_, at) => `${String(at)} ${'x'.repeat(200)}`) },
};

function resolverFor(servers: readonly Server[], settings: Partial<Settings> = {}) {
  const clock = { nowMs: 0 };
  const usual = { trustAd: 'loopback', tryTimeoutMs: 10_000, triesCount: 1, cacheMaxBytes: 1_000_000 } as const;
  const resolver = new StubResolver({ servers, ...usual, ...settings }, () => clock.nowMs);
  onTestFinished(() => {
    resolver[Symbol.dispose]();
  });
  return { resolver, clock };
}

async function world(settings: Partial<Settings> = {}) {
  const server = await startDnsServer(structuredClone(ZONE));
  return { server, ...resolverFor([server], settings) };
}

test('D1 records come as values, names in lower case without the final dot', async () => {
  const { resolver } = await world();
  expect(await resolver.resolve('Example.TEST.', 'MX')).toEqual({
    kind: 'records',
    records: [
      { type: 'MX', preference: 10, exchange: 'mx.example.test' },
      { type: 'MX', preference: 20, exchange: 'mx2.example.test' },
    ],
    secure: false,
    ttlS: 120,
  });
  const records = async (name: string, type: Parameters<typeof resolver.resolve>[1]) => {
    const answer = await resolver.resolve(name, type);
    return answer.kind === 'records' ? answer.records : answer.kind;
  };
  expect(await records('example.test', 'TXT')).toEqual([
    { type: 'TXT', strings: ['v=spf1 -all'] },
    { type: 'TXT', strings: ['a', 'b'] },
  ]);
  expect(await records('mx.example.test', 'AAAA')).toEqual([{ type: 'AAAA', address: '2001:db8::1' }]);
  expect(await records('_25._tcp.mx.example.test', 'TLSA')).toEqual([
    { type: 'TLSA', usage: 3, selector: 1, matchingType: 1, data: new Uint8Array([0, 255]) },
  ]);
  expect(await records('null.test', 'MX')).toEqual([{ type: 'MX', preference: 0, exchange: '' }]);
  expect(await records('alias.test', 'CNAME')).toEqual([{ type: 'CNAME', host: 'second.test' }]);
});

test('D1 no name and no data are answers, with the lifetime that the SOA gives (RFC 2308 §5)', async () => {
  const { resolver } = await world();
  expect(await resolver.resolve('nowhere.test', 'A')).toEqual({ kind: 'no-name', secure: false, ttlS: 60 });
  expect(await resolver.resolve('example.test', 'A')).toEqual({ kind: 'no-data', secure: false, ttlS: 60 });
  expect(await resolver.resolve('_tcp.mx.example.test', 'A')).toMatchObject({ kind: 'no-data' });
});

test('D1 an internationalised name is asked for in A-labels; what cannot be a name is not asked for', async () => {
  const { resolver, server } = await world();
  expect(await resolver.resolve('Müller.test', 'A')).toMatchObject({ kind: 'records' });
  const asked = server.questions.length;
  for (const name of ['', '.', 'a..b', `${'a'.repeat(64)}.test`, 'a b.test', 'a/b', '[192.0.2.1]', 'x.'.repeat(128)]) {
    expect(await resolver.resolve(name, 'A'), name).toEqual({ kind: 'no-name', secure: false, ttlS: 0 });
  }
  expect(server.questions).toHaveLength(asked);
});

test('M2 CNAME records are followed, and the shortest lifetime counts', async () => {
  const { resolver } = await world();
  expect(await resolver.resolve('alias.test', 'A')).toMatchObject({
    records: [{ address: '192.0.2.1' }, { address: '192.0.2.2' }],
    ttlS: 30,
  });
  expect(await resolver.resolve('dangling.test', 'A')).toMatchObject({ kind: 'no-name' });
  await expect(resolver.resolve('circle.test', 'A')).rejects.toMatchObject({ code: 'dns-unavailable' });
});

test.for<DnsMode>(['servfail', 'refused', 'garbage', 'lame'])(
  'M3 %s is no answer: thrown, as temporary',
  async (mode) => {
    const { resolver, server } = await world();
    server.mode = mode;
    await expect(resolver.resolve('mx.example.test', 'A')).rejects.toMatchObject({
      code: 'dns-unavailable',
      retryable: true,
      message: expect.not.stringContaining('example') as string,
    });
  },
);

test.for<DnsMode>(['black-hole', 'wrong-id', 'wrong-question'])(
  'M1 R1 %s: what is no answer to our question is waited past, up to the time limit of the try',
  async (mode) => {
    const { resolver, server } = await world({ tryTimeoutMs: 150, triesCount: 2 });
    server.mode = mode;
    await expect(resolver.resolve('mx.example.test', 'A')).rejects.toMatchObject({ code: 'dns-unavailable' });
    expect(server.questions).toHaveLength(2);
  },
);

test('R1 the next server is asked when one fails, and one that is not there costs no time limit', async () => {
  const [broken, good] = [await startDnsServer(ZONE), await startDnsServer(ZONE)];
  broken.mode = 'servfail';
  const gone = createSocket('udp4');
  await new Promise<void>((bound) => gone.bind(0, '127.0.0.1', bound));
  const nobody = { address: '127.0.0.1', port: gone.address().port };
  gone.close();
  const { resolver } = resolverFor([nobody, broken, good]);
  expect(await resolver.resolve('mx.example.test', 'A')).toMatchObject({ kind: 'records' });
  expect(broken.questions).toHaveLength(1);
});

test('R1 a failure is remembered for five seconds', async () => {
  const { resolver, server, clock } = await world();
  server.mode = 'servfail';
  const fails = () =>
    expect(resolver.resolve('mx.example.test', 'A')).rejects.toMatchObject({ code: 'dns-unavailable' });
  await fails();
  server.mode = 'normal';
  clock.nowMs = 4999;
  await fails();
  expect(server.questions).toHaveLength(1);
  clock.nowMs = 5000;
  expect(await resolver.resolve('mx.example.test', 'A')).toMatchObject({ kind: 'records' });
});

test('X1 ids and source ports differ from question to question', async () => {
  const heard: { id: number; port: number }[] = [];
  const silent = createSocket('udp4');
  await new Promise<void>((bound) => silent.bind(0, '127.0.0.1', bound));
  onTestFinished(() => void silent.close());
  silent.on('message', (bytes, from) => heard.push({ id: bytes.readUInt16BE(0), port: from.port }));
  const { resolver } = resolverFor([{ address: '127.0.0.1', port: silent.address().port }], { tryTimeoutMs: 300 });
  const names = Array.from({ length: 20 }, (_, at) => `n${String(at)}.test`);
  await Promise.allSettled(names.map((name) => resolver.resolve(name, 'A')));
  expect(new Set(heard.map(({ port }) => port)).size).toBe(20);
  expect(new Set(heard.map(({ id }) => id)).size).toBeGreaterThan(17);
  const ids = heard.map(({ id }) => id);
  expect(ids.slice(1).some((id, at) => Math.abs(id - (ids[at] ?? 0)) > 1000)).toBe(true);
});

test('X2 a flood of forged datagrams moves the question to TCP', async () => {
  const server = await startDnsServer(ZONE);
  const { resolver } = resolverFor([server]);
  server.mode = 'wrong-id';
  const asking = resolver.resolve('mx.example.test', 'A');
  // the server itself is made to send what a forger would: the kernel lets nobody else in
  await expect.poll(() => server.questions.length).toBe(1);
  server.mode = 'normal';
  server.forge(20);
  expect(await asking).toMatchObject({ records: [{ address: '192.0.2.1' }, { address: '192.0.2.2' }] });
  expect(server.questions.map(({ by }) => by)).toEqual(['udp', 'tcp']);
});

test('X3 an answer that was cut is asked for by TCP', async () => {
  const { resolver, server } = await world();
  const answer = await resolver.resolve('long.test', 'TXT');
  expect(answer.kind === 'records' && answer.records).toHaveLength(30);
  server.mode = 'truncated';
  expect(await resolver.resolve('mx.example.test', 'A')).toMatchObject({ kind: 'records' });
  expect(server.questions.map(({ by }) => by)).toEqual(['udp', 'tcp', 'udp', 'tcp']);
});

test('EDNS with DO is asked for, and left out for a server that does not know it (RFC 6891 §7)', async () => {
  const { resolver, server } = await world();
  await resolver.resolve('example.test', 'MX');
  server.mode = 'no-edns';
  expect(await resolver.resolve('mx.example.test', 'A')).toMatchObject({ kind: 'records' });
  expect(server.questions.map(({ flagDo }) => flagDo)).toEqual([true, true, false]);
});

test.for([
  ['loopback', true],
  ['always', true],
  ['never', false],
] as const)('D2 R2 the AD bit of a server on this host, with trustAd %s: secure is %s', async ([trustAd, secure]) => {
  const { resolver, server } = await world({ trustAd });
  server.isSecure = true;
  expect(await resolver.resolve('mx.example.test', 'A')).toMatchObject({ secure });
  expect(await resolver.resolve('nowhere.test', 'A')).toMatchObject({ kind: 'no-name', secure });
  server.isSecure = false;
  expect(await resolver.resolve('example.test', 'MX')).toMatchObject({ secure: false });
});

test('C1 an answer serves for its lifetime, with what is left of it', async () => {
  const { resolver, server, clock } = await world();
  await resolver.resolve('example.test', 'MX');
  await resolver.resolve('nowhere.test', 'A');
  clock.nowMs = 59_000;
  expect(await resolver.resolve('EXAMPLE.test', 'MX')).toMatchObject({ ttlS: 61 });
  expect(await resolver.resolve('nowhere.test', 'A')).toMatchObject({ kind: 'no-name', ttlS: 1 });
  expect(server.questions).toHaveLength(2);
  clock.nowMs = 60_000;
  await resolver.resolve('nowhere.test', 'A');
  expect(server.questions).toHaveLength(3);
  clock.nowMs = 120_000;
  await resolver.resolve('example.test', 'MX');
  expect(server.questions).toHaveLength(4);
});

test('C2 the cache is bounded: what was not used for longest is asked for again', async () => {
  const { resolver, server } = await world({ cacheMaxBytes: 2000 });
  const names = ['example.test', 'null.test', 'example.test', 'second.test', 'example.test', 'null.test'];
  for (const name of names) await resolver.resolve(name, 'MX');
  const asked = server.questions.map(({ name }) => name);
  expect(asked).toEqual(['example.test', 'null.test', 'second.test', 'null.test']);
});

test('R3 lookups of the same at the same time are one, and who gives up leaves the others waiting', async () => {
  const { resolver, server } = await world();
  const leaver = new AbortController();
  const patient = [resolver.resolve('example.test', 'MX'), resolver.resolve('Example.test', 'MX')];
  const hasty = resolver.resolve('example.test', 'MX', leaver.signal);
  leaver.abort(new Error('gone'));
  await expect(hasty).rejects.toThrow('gone');
  for (const answer of await Promise.all(patient)) expect(answer.kind).toBe('records');
  expect(server.questions).toHaveLength(1);
});

test('R4 500 lookups at one time are all answered', async () => {
  const { resolver, server } = await world();
  const names = Array.from({ length: 500 }, (_, at) => `n${String(at)}.test`);
  const answers = await Promise.all(names.map((name) => resolver.resolve(name, 'A')));
  expect(answers.every(({ kind }) => kind === 'no-name')).toBe(true);
  expect(server.questions).toHaveLength(500);
});

test('closing ends what is under way', async () => {
  const { resolver, server } = await world();
  server.mode = 'black-hole';
  const asking = resolver.resolve('example.test', 'MX');
  resolver[Symbol.dispose]();
  await expect(asking).rejects.toMatchObject({ code: 'shutting-down' });
});
