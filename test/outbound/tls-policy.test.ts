import { expect, test } from 'vitest';
import { ServerError } from '../../src/base/errors.ts';
import type { Answer, DnsRecord, Resolver } from '../../src/dns/resolver.ts';
import { tlsPolicyFor } from '../../src/outbound/tls-policy.ts';

type Entry = Readonly<{ records: readonly DnsRecord[]; secure?: boolean }> | 'fails';
const TLSA = { type: 'TLSA', usage: 3, selector: 1, matchingType: 1, data: new Uint8Array(32) } as const;
const hop = { name: 'mx.far.test', port: 25, relay: null };

function deps(
  table: Readonly<Record<string, Entry>> = {},
  sts: Readonly<{ mode: 'enforce' | 'testing'; mx: readonly string[] }> | null = null,
  isTlsRequired = false,
) {
  const resolver: Resolver = {
    resolve: async (name, type): Promise<Answer> => {
      const found = table[`${type} ${name}`];
      if (found === 'fails') throw new ServerError('dns-unavailable', { clientText: 'x', retryable: true });
      if (!found) return { kind: 'no-data', secure: true, ttlS: 1 };
      return { kind: 'records', records: found.records, secure: found.secure ?? true, ttlS: 1 };
    },
  };
  const policy = sts && { ...sts, maxAgeS: 1 };
  return { resolver, sts: { policyOf: async () => policy }, isTlsRequired };
}

const secureRoute = { domain: 'far.test', hop, isRouteSecure: true, isAddressSecure: true, requiresTls: false };
const plainRoute = { ...secureRoute, isRouteSecure: false, isAddressSecure: false };
const DANE = { 'TLSA _25._tcp.mx.far.test': { records: [TLSA] } };

test('TP1 DANE where everything on the way to the records is secure (RFC 7672 §2.2)', async () => {
  expect(await tlsPolicyFor(deps(DANE), secureRoute)).toEqual({
    kind: 'dane',
    records: [TLSA],
    names: ['mx.far.test', 'far.test'],
  });
  for (const insecure of [{ isRouteSecure: false }, { isAddressSecure: false }]) {
    expect(await tlsPolicyFor(deps(DANE), { ...secureRoute, ...insecure })).toEqual({ kind: 'opportunistic' });
  }
  const unsigned = { 'TLSA _25._tcp.mx.far.test': { records: [TLSA], secure: false } };
  expect(await tlsPolicyFor(deps(unsigned), secureRoute)).toEqual({ kind: 'opportunistic' });
});

test('TP1 MTA-STS does not lower what DANE asks for (RFC 8461 §2)', async () => {
  const sts = { mode: 'enforce', mx: ['other.test'] } as const;
  expect(await tlsPolicyFor(deps(DANE, sts), secureRoute)).toMatchObject({ kind: 'dane' });
});

test('TP1 records that cannot be used still ask for encryption', async () => {
  const unusable = { 'TLSA _25._tcp.mx.far.test': { records: [{ ...TLSA, usage: 1 }] } };
  expect(await tlsPolicyFor(deps(unusable), secureRoute)).toEqual({ kind: 'encrypted' });
  const sts = { mode: 'enforce', mx: ['mx.far.test'] } as const;
  expect(await tlsPolicyFor(deps(unusable, sts), secureRoute)).toMatchObject({ kind: 'verified' });
});

test('TP2 a TLSA lookup that fails is no permission (RFC 7672 §2.1.2)', async () => {
  const failing = { 'TLSA _25._tcp.mx.far.test': 'fails' } as const;
  await expect(tlsPolicyFor(deps(failing), secureRoute)).rejects.toMatchObject({ code: 'dns-unavailable' });
  await expect(tlsPolicyFor(deps({ 'CNAME mx.far.test': 'fails' }), secureRoute)).rejects.toMatchObject({
    code: 'dns-unavailable',
  });
});

test('TP1 the records of a host that is an alias lie at what it is an alias of (RFC 7672 §2.2.2)', async () => {
  const alias = (secure: boolean) => ({
    'CNAME mx.far.test': { records: [{ type: 'CNAME', host: 'real.test' } as const], secure },
    'TLSA _25._tcp.real.test': { records: [TLSA] },
  });
  expect(await tlsPolicyFor(deps(alias(true)), secureRoute)).toMatchObject({
    kind: 'dane',
    names: ['real.test', 'mx.far.test', 'far.test'],
  });
  expect(await tlsPolicyFor(deps(alias(false)), secureRoute)).toEqual({ kind: 'opportunistic' });
});

test('TP3 an MTA-STS policy in force: only its hosts, with their names (RFC 8461 §5)', async () => {
  const enforce = (...mx: string[]) => ({ mode: 'enforce', mx }) as const;
  expect(await tlsPolicyFor(deps({}, enforce('*.far.test')), plainRoute)).toEqual({
    kind: 'verified',
    names: ['mx.far.test'],
  });
  const refused = await tlsPolicyFor(deps({}, enforce('other.test')), plainRoute);
  expect(refused).toMatchObject({ kind: 'refused', status: '4.7.1' });
  const testing = { mode: 'testing', mx: ['other.test'] } as const;
  expect(await tlsPolicyFor(deps({}, testing), plainRoute)).toEqual({ kind: 'opportunistic' });
});

test('TP4 REQUIRETLS: a host that nothing vouches for gets nothing (RFC 8689 §4.2.1)', async () => {
  const required = { ...plainRoute, requiresTls: true };
  expect(await tlsPolicyFor(deps(), required)).toMatchObject({ kind: 'refused', status: '5.7.10' });
  const testing = { mode: 'testing', mx: ['mx.far.test'] } as const;
  expect(await tlsPolicyFor(deps({}, testing), required)).toMatchObject({ kind: 'refused', status: '5.7.10' });
  const sts = { mode: 'enforce', mx: ['mx.far.test'] } as const;
  expect(await tlsPolicyFor(deps({}, sts), required)).toMatchObject({ kind: 'verified' });
  const secure = { ...secureRoute, requiresTls: true };
  expect(await tlsPolicyFor(deps(), secure)).toMatchObject({ kind: 'verified', names: ['mx.far.test'] });
  expect(await tlsPolicyFor(deps(DANE), secure)).toMatchObject({ kind: 'dane' });
});

test('a relay is verified unless the configuration says otherwise', async () => {
  const relayed = (tls: 'opportunistic' | 'starttls' | 'tls', requiresTls = false) =>
    tlsPolicyFor(deps(), { ...secureRoute, requiresTls, hop: { ...hop, relay: { tls, credentials: null } } });
  expect(await relayed('starttls')).toEqual({ kind: 'verified', names: ['mx.far.test'] });
  expect(await relayed('tls')).toMatchObject({ kind: 'verified' });
  expect(await relayed('opportunistic')).toEqual({ kind: 'opportunistic' });
  expect(await relayed('opportunistic', true)).toMatchObject({ kind: 'verified' });
});

test('TLS may be asked of everybody', async () => {
  expect(await tlsPolicyFor(deps({}, null, true), plainRoute)).toEqual({ kind: 'encrypted' });
});
