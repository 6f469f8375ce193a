import { expect, test } from 'vitest';
import type { Answer, DnsRecord, RecordType, Resolver } from '../../src/dns/resolver.ts';
import { ServerError } from '../../src/base/errors.ts';
import { Routes } from '../../src/outbound/routes.ts';

type Table = Readonly<Record<string, readonly DnsRecord[] | 'no-name' | 'fails'>>;

/** Answers from `table`, by `'MX example.test'`; what is not in it has no data. */
function resolverOf(table: Table, secure = false): Resolver {
  return {
    resolve: async (name: string, type: RecordType): Promise<Answer> => {
      const found = table[`${type} ${name}`];
      if (found === 'fails') throw new ServerError('dns-unavailable', { clientText: 'x', retryable: true });
      if (found === undefined) return { kind: 'no-data', secure, ttlS: 60 };
      if (found === 'no-name') return { kind: 'no-name', secure, ttlS: 60 };
      return { kind: 'records', records: found, secure, ttlS: 60 };
    },
  };
}

type Settings = ConstructorParameters<typeof Routes>[0];
function routesOver(table: Table, settings: Partial<Settings> = {}, secure = false) {
  let count = 0;
  const random = () => (count += 0.618034) % 1;
  const usual = { port: 25, smarthost: null, transports: new Map(), refusedNetworks: [] };
  const resolver = resolverOf(table, secure);
  return new Routes({ ...usual, ...settings }, { resolver, isOwnName: (name) => name === 'mx.here.test', random });
}

const mx = (...all: readonly (readonly [number, string])[]) =>
  all.map(([preference, exchange]) => ({ type: 'MX', preference, exchange }) as const);
const names = async (routes: Routes, domain = 'far.test') => {
  const route = await routes.routeTo(domain);
  return route.kind === 'hops' ? route.hops.map(({ name }) => name) : `${route.status} ${route.text}`;
};

test('RO1 hosts come in the order of preference, equal ones in changing order', async () => {
  const routes = routesOver({ 'MX far.test': mx([20, 'c.test'], [10, 'a.test'], [10, 'b.test'], [30, 'a.test']) });
  const orders = new Set<string>();
  for (let at = 0; at < 30; at += 1) orders.add(String(await names(routes)));
  expect([...orders].toSorted()).toEqual(['a.test,b.test,c.test', 'b.test,a.test,c.test']);
});

test('RFC 5321 §5.1: without MX records the domain is the host, but not where there is no such domain', async () => {
  expect(await names(routesOver({}))).toEqual(['far.test']);
  expect(await names(routesOver({ 'MX far.test': 'no-name' }))).toMatch(/^5\.1\.2 /);
});

test('RO3 the null MX is believed (RFC 7505); not knowing is thrown', async () => {
  expect(await names(routesOver({ 'MX far.test': mx([0, '']) }))).toMatch(/^5\.1\.10 /);
  expect(await names(routesOver({ 'MX far.test': mx([0, ''], [10, 'a.test']) }))).toEqual(['a.test']);
  await expect(routesOver({ 'MX far.test': 'fails' }).routeTo('far.test')).rejects.toMatchObject({
    code: 'dns-unavailable',
  });
});

test('RO2 this server and all hosts that are not preferred to it are left out', async () => {
  const all = mx([5, 'a.test'], [10, 'mx.here.test'], [10, 'b.test'], [20, 'c.test']);
  expect(await names(routesOver({ 'MX far.test': all }))).toEqual(['a.test']);
  expect(await names(routesOver({ 'MX far.test': all.slice(1) }))).toMatch(/^5\.4\.6 /);
});

test('address literals lead to their address', async () => {
  const routes = routesOver({}, { refusedNetworks: ['127.0.0.0/8'] });
  expect(await names(routes, '[192.0.2.1]')).toEqual(['192.0.2.1']);
  expect(await names(routes, '[IPv6:2001:db8::1]')).toEqual(['2001:db8::1']);
  expect(await names(routes, '[1.2.3]')).toMatch(/^5\.1\.3 /);
  const hop = { name: '127.0.0.1', port: 25, relay: null };
  expect((await routes.addressesOf(hop)).addresses).toEqual([]);
});

test('what the configuration says goes before the DNS: by domain, by domains below, for all others', async () => {
  const to = (host: string) => ({ host, port: 25, tls: 'opportunistic' }) as const;
  const transports = new Map([
    ['a.test', to('exact')],
    ['.a.test', to('below')],
    ['.test', to('last')],
  ]);
  const routes = routesOver({}, { transports, smarthost: to('smart') });
  for (const [domain, host] of [
    ['a.test', 'exact'],
    ['x.a.test', 'below'],
    ['y.x.a.test', 'below'],
    ['b.test', 'last'],
    ['example.org', 'smart'],
  ] as const) {
    expect(await names(routes, domain)).toEqual([host]);
  }
});

test('addresses of both families take turns, IPv6 first (RFC 8305 §4)', async () => {
  const routes = routesOver({
    'AAAA a.test': [{ type: 'AAAA', address: '2001:db8::1' }],
    'A a.test': [1, 2, 3].map((last) => ({ type: 'A', address: `192.0.2.${String(last)}` }) as const),
  });
  const { addresses } = await routes.addressesOf({ name: 'a.test', port: 25, relay: null });
  expect(addresses[0]).toBe('2001:db8::1');
  expect(addresses).toHaveLength(4);
});

test('a family that cannot be looked up does not hide the other, but is no secure answer', async () => {
  const table: Table = { 'AAAA a.test': 'fails', 'A a.test': [{ type: 'A', address: '192.0.2.1' }] };
  const hop = { name: 'a.test', port: 25, relay: null };
  expect(await routesOver(table, {}, true).addressesOf(hop)).toEqual({ addresses: ['192.0.2.1'], isSecure: false });
  await expect(routesOver({ 'AAAA a.test': 'fails' }).addressesOf(hop)).rejects.toMatchObject({
    code: 'dns-unavailable',
  });
});

test('RO4 the exchanger of a foreign domain is not looked for in refused networks; a relay is', async () => {
  const table: Table = {
    'A a.test': ['127.0.0.1', '192.0.2.1', '169.254.169.254'].map((address) => ({ type: 'A', address }) as const),
    'AAAA a.test': ['::1', '::ffff:127.0.0.1', 'fe80::1'].map((address) => ({ type: 'AAAA', address }) as const),
  };
  const routes = routesOver(table, { refusedNetworks: ['127.0.0.0/8', '169.254.0.0/16', '::/127', 'fe80::/10'] });
  const hop = { name: 'a.test', port: 25, relay: null };
  expect((await routes.addressesOf(hop)).addresses).toEqual(['192.0.2.1']);
  const relay = { tls: 'opportunistic', credentials: null } as const;
  expect((await routes.addressesOf({ ...hop, relay })).addresses).toHaveLength(6);
});
