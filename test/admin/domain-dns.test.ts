import { expect, test } from 'vitest';
import { StubResolver } from '../../src/dns/stub-resolver.ts';
import { startDnsServer, type Zone } from '../support/dns-server.ts';
import { openAdmin } from './fixture.ts';

type Listed = Readonly<{ name: string; type: string; value: string; isRequired: boolean; purpose: string }>;
type Checked = Listed & Readonly<{ status: string; advice: string | null; found: string[] }>;

async function setUp() {
  const dns = await startDnsServer({});
  const settings = { trustAd: 'never', tryTimeoutMs: 2000, triesCount: 1, cacheMaxBytes: 0 } as const;
  const resolver = new StubResolver({ servers: [dns], ...settings }, () => performance.now());
  const admin = await openAdmin({ resolver });
  for (const line of ['org create A', 'domain create example.org']) expect((await admin.run(line)).code).toBe(0);
  const records = await admin.json<Listed[]>('domain records example.org');
  return { dns, admin, records };
}

/** Publishes what the server asks for. */
function publish(zone: Zone, records: readonly Listed[]): void {
  zone['mx.example.org'] = { A: ['192.0.2.1'] };
  for (const { name, type, value } of records) {
    const entry = { ...zone[name] } as Record<string, unknown[]>;
    const text = value.match(/.{1,255}/g) ?? [];
    entry[type] = [...(entry[type] ?? []), type === 'TXT' ? text : value];
    zone[name] = entry;
  }
}

test('what `domain records` shows, published as it is, is what `domain check` finds right', async () => {
  const { dns, admin, records } = await setUp();
  await using _admin = admin;
  publish(dns.zone, records);
  const checked = await admin.json<Checked[]>('domain check example.org');
  expect(checked.map(({ status, purpose }) => [purpose, status])).toEqual([
    ['host', 'ok'],
    ...records.map(({ purpose }) => [purpose, 'ok']),
  ]);
  expect(records.map(({ type, name }) => `${type} ${name}`)).toEqual([
    'MX example.org',
    'TXT example.org',
    expect.stringMatching(/^TXT s\d{8}[a-z]{3}-ed25519\._domainkey\.example\.org$/),
    expect.stringMatching(/^TXT s\d{8}[a-z]{3}-rsa\._domainkey\.example\.org$/),
    'TXT _dmarc.example.org',
    'TXT _smtp._tls.example.org',
    'TXT _mta-sts.example.org',
    'SRV _imap._tcp.example.org',
  ]);
});

test('the zone lines split long text into strings of 255 bytes', async () => {
  const { admin } = await setUp();
  await using _admin = admin;
  const { out } = await admin.run('domain records example.org');
  expect(out).toContain('example.org. MX 10 mx.example.org.\n');
  const rsa = out.split('\n').find((line) => line.includes('-rsa._domainkey')) ?? '';
  const strings = rsa.match(/"[^"]*"/g) ?? [];
  expect(strings).toHaveLength(2);
  expect(Math.max(...strings.map((string) => string.length))).toBeLessThanOrEqual(257);
});

test.for([
  ['mx', 'missing', (zone: Zone) => delete zone['example.org']],
  ['mx', 'differs', (zone: Zone) => (zone['example.org'] = { ...zone['example.org'], MX: ['10 other.example'] })],
  [
    'mx',
    'ok',
    (zone: Zone) => (zone['example.org'] = { ...zone['example.org'], MX: ['5 other.example', '50 MX.example.org'] }),
  ],
  ['spf', 'missing', (zone: Zone) => (zone['example.org'] = { TXT: ['v=spf10 mx'] })],
  ['spf', 'differs', (zone: Zone) => (zone['example.org'] = { TXT: ['v=spf1 include:other.example -all'] })],
  ['spf', 'differs', (zone: Zone) => (zone['example.org'] = { TXT: ['v=spf1 mx +all'] })],
  ['spf', 'differs', (zone: Zone) => (zone['example.org'] = { TXT: ['v=spf1 mx -all', 'v=spf1 -all'] })],
  [
    'spf',
    'ok',
    (zone: Zone) =>
      (zone['example.org'] = { MX: ['10 mx.example.org'], TXT: ['other=1', ['v=spf1 include:o.example ', 'mx ~all']] }),
  ],
  ['dmarc', 'differs', (zone: Zone) => (zone['_dmarc.example.org'] = { TXT: ['v=DMARC1; rua=mailto:x@example.org'] })],
  ['dmarc', 'ok', (zone: Zone) => (zone['_dmarc.example.org'] = { TXT: ['v=DMARC1;p=Reject'] })],
  ['dmarc', 'unknown', (zone: Zone) => (zone['_dmarc.example.org'] = { mode: 'servfail' })],
  ['host', 'missing', (zone: Zone) => delete zone['mx.example.org']],
  [
    'host',
    'differs',
    (zone: Zone) =>
      Object.assign(zone, { 'mx.example.org': { CNAME: 'a.example' }, 'a.example': { A: ['192.0.2.1'] } }),
  ],
  ['clients', 'differs', (zone: Zone) => (zone['_imap._tcp.example.org'] = { SRV: ['0 1 143 old.example'] })],
] as const)('%s is %s', async ([purpose, status, change]) => {
  const { dns, admin, records } = await setUp();
  await using _admin = admin;
  publish(dns.zone, records);
  change(dns.zone);
  const { out, code } = await admin.run('domain check example.org --json');
  const found = (JSON.parse(out) as Checked[]).filter((one) => one.purpose === purpose);
  expect([code, found.map((one) => one.status)]).toEqual([0, [status]]);
  expect(process.exitCode ?? 0).toBe(found[0]?.isRequired === true && status !== 'ok' ? 1 : 0);
  process.exitCode = 0;
  if (status !== 'ok') expect((await admin.run('domain check example.org')).out).toContain(found[0]?.advice);
  process.exitCode = 0;
});

test('a key that is published wrongly is told, with what is there instead', async () => {
  const { dns, admin, records } = await setUp();
  await using _admin = admin;
  publish(dns.zone, records);
  const [first, second] = records.filter(({ purpose }) => purpose === 'dkim');
  dns.zone[first!.name] = { TXT: [`v=DKIM1; k=ed25519; p=${'A'.repeat(43)}=`] };
  dns.zone[second!.name] = { TXT: ['unrelated'] };
  const checked = await admin.json<Checked[]>('domain check example.org');
  const dkim = checked.filter(({ purpose }) => purpose === 'dkim');
  expect(dkim.map(({ status, found }) => [status, found.length])).toEqual([
    ['differs', 1],
    ['missing', 0],
  ]);
  process.exitCode = 0;
});

test('keys are rotated in two steps, with the DNS in between', async () => {
  const { dns, admin, records } = await setUp();
  await using _admin = admin;
  publish(dns.zone, records);
  const selectors = async (state: string) =>
    (await admin.json<{ selector: string; state: string }[]>('domain dkim list example.org'))
      .filter((key) => key.state === state)
      .map(({ selector }) => selector);
  const old = await selectors('signing');
  const made = await admin.run('domain dkim rotate example.org');
  expect(made.out).toMatch(/^Made the next keys\. Publish their records:\n(s\S+ TXT ".*"\n){2}Then, to use them/);
  expect(await selectors('signing')).toEqual(old);

  const early = await admin.run('domain dkim rotate example.org');
  expect(early).toMatchObject({ code: 1, error: expect.stringContaining('is missing') as string });
  expect(await selectors('signing')).toEqual(old);

  const next = await selectors('next');
  const all = await admin.json<Listed[]>('domain records example.org');
  publish(
    dns.zone,
    all.filter(({ name }) => next.some((selector) => name.startsWith(selector))),
  );
  expect((await admin.run('domain dkim rotate example.org')).out).toContain(`Mail is signed with ${next.join(', ')}`);
  expect(await selectors('signing')).toEqual(next);
  expect(await selectors('retired')).toEqual(old);
  const kept = (await admin.json<Listed[]>('domain records example.org')).filter(({ purpose }) => purpose === 'dkim');
  expect(kept.map(({ isRequired }) => isRequired)).toEqual([true, true, false, false]);

  expect((await admin.run(`domain dkim retire example.org ${next[0] ?? ''}`)).code).toBe(1); // it signs, and no --yes
  for (const selector of old) expect((await admin.run(`domain dkim retire example.org ${selector}`)).code).toBe(0);
  expect(await selectors('retired')).toEqual([]);
  expect((await admin.run('domain dkim rotate example.org')).code).toBe(0);
  expect((await admin.run('domain dkim rotate example.org --unchecked')).out).toContain('Mail is signed with');
});

test('a domain without keys gets one by `create`', async () => {
  const { admin } = await setUp();
  await using _admin = admin;
  const [first] = await admin.json<{ selector: string }[]>('domain dkim list example.org');
  expect((await admin.run(`domain dkim retire example.org ${first!.selector} --yes`)).code).toBe(0);
  const made = await admin.run('domain dkim create example.org --algorithm ed25519 --selector mail');
  expect(made.out).toMatch(
    /^Created key mail\. Publish its record:\nmail\._domainkey\.example\.org\. TXT "v=DKIM1; k=ed25519; p=/,
  );
  expect((await admin.run('domain dkim create example.org --algorithm ed25519')).error).toContain('already has a key');
  expect((await admin.run('domain dkim list nowhere.example')).error).toContain('There is no domain nowhere.example');
  expect((await admin.run('domain dkim create example.org --algorithm dsa')).code).toBe(2);
});
