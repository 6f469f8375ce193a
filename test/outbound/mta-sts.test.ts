import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { ServerError } from '../../src/base/errors.ts';
import type { Answer, Resolver } from '../../src/dns/resolver.ts';
import { isListed, StsPolicies } from '../../src/outbound/mta-sts.ts';
import { fetchStsPolicy } from '../../src/outbound/sts-fetch.ts';
import { certificate } from '../smtp/mail-client.ts';

const POLICY = 'version: STSv1\r\nmode: enforce\r\nmx: mx.far.test\r\nmx: *.far.test\r\nmax_age: 1000\r\n';

function policies(text: string | null = POLICY) {
  const world = { text, txt: ['v=STSv1; id=1;'] as string[] | 'fails', fetches: 0, nowMs: 0 };
  const resolver: Resolver = {
    resolve: async (name): Promise<Answer> => {
      expect(name).toBe('_mta-sts.far.test');
      if (world.txt === 'fails') throw new ServerError('dns-unavailable', { clientText: 'x' });
      if (world.txt.length === 0) return { kind: 'no-data', secure: false, ttlS: 1 };
      const records = world.txt.map((one) => ({ type: 'TXT', strings: [one.slice(0, 5), one.slice(5)] }) as const);
      return { kind: 'records', records, secure: false, ttlS: 1 };
    },
  };
  const fetchPolicy = async (): Promise<string> => {
    world.fetches += 1;
    if (world.text === null) throw new Error('404');
    return world.text;
  };
  const sts = new StsPolicies({ resolver, fetchPolicy, nowMs: () => world.nowMs });
  return { world, mode: async () => (await sts.policyOf('far.test'))?.mode ?? null, sts };
}

test('a policy is fetched once, and again when its id changes', async () => {
  const { world, mode, sts } = policies();
  expect(await Promise.all([mode(), mode(), mode()])).toEqual(['enforce', 'enforce', 'enforce']);
  expect(world.fetches).toBe(1);
  expect(await sts.policyOf('far.test')).toMatchObject({ mx: ['mx.far.test', '*.far.test'], maxAgeS: 1000 });
  world.txt = ['v=STSv1; id=2'];
  world.text = POLICY.replace('enforce', 'testing');
  expect(await mode()).toBe('testing');
  expect(world.fetches).toBe(2);
});

test('MS1 a policy holds until it expires, whatever is taken away (RFC 8461 §5.1)', async () => {
  const { world, mode } = policies();
  await mode();
  for (const txt of [[], 'fails', ['v=STSv1; id=3;'], ['v=STSv1; id=1', 'v=STSv1; id=2']] as const) {
    world.txt = txt === 'fails' ? txt : [...txt];
    world.text = null;
    expect(await mode()).toBe('enforce');
  }
  world.nowMs = 1_000_000;
  expect(await mode()).toBe(null);
});

test('a policy that could not be fetched is not asked for again so soon (RFC 8461 §3.3)', async () => {
  const { world, mode } = policies(null);
  expect([await mode(), await mode()]).toEqual([null, null]);
  expect(world.fetches).toBe(1);
  world.text = POLICY;
  world.nowMs = 5 * 60_000;
  expect(await mode()).toBe('enforce');
});

test.for([
  ['another version', 'version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 1'],
  ['no version', 'mode: enforce\nmx: a.test\nmax_age: 1'],
  ['an unknown mode', 'version: STSv1\nmode: strict\nmx: a.test\nmax_age: 1'],
  ['no age', 'version: STSv1\nmode: enforce\nmx: a.test'],
  ['no hosts', 'version: STSv1\nmode: enforce\nmax_age: 1'],
  ['an odd host', 'version: STSv1\nmode: enforce\nmx: a_b..test\nmax_age: 1'],
  ['HTML', '<html>version: STSv1</html>'],
] as const)('MS2 %s is no policy (RFC 8461 §3.2)', async ([, text]) => {
  expect(await policies(text).mode()).toBe(null);
});

test('mode none ends a policy', async () => {
  const { world, mode } = policies();
  await mode();
  world.txt = ['v=STSv1; id=2;'];
  world.text = 'version: STSv1\nmode: none\nmax_age: 100\n';
  expect(await mode()).toBe(null);
});

test('a wildcard stands for one label (RFC 8461 §4.1)', () => {
  const policy = { mode: 'enforce', mx: ['mx.far.test', '*.sub.test'], maxAgeS: 1 } as const;
  for (const host of ['mx.far.test', 'a.sub.test']) expect(isListed(host, policy), host).toBe(true);
  for (const host of ['far.test', 'b.far.test', 'sub.test', 'a.b.sub.test', 'xsub.test']) {
    expect(isListed(host, policy), host).toBe(false);
  }
});

test('MS2 it is fetched over HTTPS with a certificate of its name, without redirections (RFC 8461 §3.3)', async () => {
  const tls = certificate('mta-sts.far.test');
  const server = createServer(tls, (request, response) => {
    const isOdd = /odd/.test(request.headers.host ?? '');
    if (isOdd) response.writeHead(302, { location: 'https://mta-sts.far.test/.well-known/mta-sts.txt' });
    response.end(request.url === '/.well-known/mta-sts.txt' ? POLICY : '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const routes = { addressesOf: async () => ({ addresses: ['127.0.0.1'], isSecure: false }) };
  const { port } = server.address() as AddressInfo;
  const signal = AbortSignal.timeout(10_000);
  expect(await fetchStsPolicy({ routes, port, ca: [tls.cert] }, 'far.test', signal)).toBe(POLICY);
  await expect(fetchStsPolicy({ routes, port, ca: [tls.cert] }, 'odd.test', signal)).rejects.toThrow();
  await expect(fetchStsPolicy({ routes, port }, 'far.test', signal)).rejects.toThrow(/self-signed/);
});
