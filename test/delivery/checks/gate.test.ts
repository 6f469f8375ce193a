import { expect, test } from 'vitest';
import { loadConfig } from '../../../src/config/load.ts';
import { PeerGate } from '../../../src/delivery/checks/gate.ts';
import { memoryResolver } from './world.ts';
import type { MemoryZone } from './world.ts';

const HOUR_MS = 3_600_000;

function gateWith(zone: MemoryZone, mail: Readonly<{ zones?: readonly string[]; delayMs?: number }> = {}) {
  const { mail: defaults } = loadConfig({ env: {} });
  const config = { ...defaults, dnsbl: { zones: mail.zones ?? [] }, greylist: { delayMs: mail.delayMs ?? 0 } };
  const clock = { nowMs: 0 };
  const resolver = memoryResolver(zone);
  return { gate: new PeerGate({ config, resolver, nowMs: () => clock.nowMs }), clock, resolver };
}

const LISTED = { '9.100.51.198.bl.example': { A: ['127.0.0.4'] } } as const;

test.for([
  ['198.51.100.9', LISTED, 'listed'],
  ['::ffff:198.51.100.9', LISTED, 'listed'],
  ['198.51.100.8', LISTED, 'admitted'],
  ['198.51.100.9', { '9.100.51.198.bl.example': { A: ['127.255.255.254'] } }, 'admitted'],
  ['198.51.100.9', { '9.100.51.198.bl.example': { A: ['192.0.2.1'] } }, 'admitted'],
  ['198.51.100.9', { '9.100.51.198.bl.example': 'away' }, 'admitted'],
  ['2001:db8::7', { [`7.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.bl.example`]: { A: ['127.0.0.2'] } }, 'listed'],
  ['not an address', {}, 'admitted'],
] as const)('GA1 %s is %s', async ([address, zone, kind]) => {
  const { gate } = gateWith(zone, { zones: ['other.example', 'bl.example'] });
  expect((await gate.open(address).admit('ann@example.net', 'bob@example.org')).kind).toBe(kind);
});

test('GA3 postmaster is reached from a listed host, and the list is told', async () => {
  const { gate } = gateWith(LISTED, { zones: ['bl.example'] });
  const open = gate.open('198.51.100.9');
  expect(await open.admit('ann@example.net', 'bob@example.org')).toEqual({ kind: 'listed', zone: 'bl.example' });
  for (const to of ['postmaster', 'Postmaster@example.org']) expect((await open.admit('', to)).kind).toBe('admitted');
  expect((await open.admit('', 'postmasters@example.org')).kind).toBe('listed');
});

test('without lists nobody is asked', async () => {
  const { gate, resolver } = gateWith(LISTED);
  expect((await gate.open('198.51.100.9').admit('', 'bob@example.org')).kind).toBe('admitted');
  expect(resolver.asked).toEqual([]);
});

test('a sender that is new must come again after a while, from the same network', async () => {
  const { gate, clock } = gateWith({}, { delayMs: 300_000 });
  const admit = async (address: string, sender = 'ann@example.net', to = 'bob@example.org') =>
    (await gate.open(address).admit(sender, to)).kind;
  expect(await admit('198.51.100.9')).toBe('greylisted');
  clock.nowMs = 299_999;
  expect(await admit('198.51.100.10')).toBe('greylisted');
  clock.nowMs = 300_000;
  expect(await admit('198.51.100.11', 'ANN@example.net', 'Bob@example.org')).toBe('admitted');
  expect(await admit('198.51.101.9')).toBe('greylisted');
  expect(await admit('198.51.100.9', 'other@example.net')).toBe('greylisted');
  expect(await admit('198.51.100.9', 'ann@example.net', 'eve@example.org')).toBe('greylisted');
  clock.nowMs = 30 * 24 * HOUR_MS;
  expect(await admit('198.51.100.9')).toBe('admitted'); // it passed once
  expect(await admit('198.51.101.9')).toBe('greylisted'); // came again too late
  expect(await admit('2001:db8:1:2:3::1')).toBe('greylisted');
  clock.nowMs += 300_000;
  expect(await admit('2001:db8:1:2:ffff::1')).toBe('admitted');
});
