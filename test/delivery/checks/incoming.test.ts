import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { IncomingMessage } from '../../../src/delivery/checks/incoming.ts';
import { HeldMemory } from '../../../src/delivery/checks/held-body.ts';
import { checksWith, deliverChecked, FROM_NET, HOSTNAME, keyName, message, signedBy, signerOf } from './world.ts';
import type { MemoryZone } from './world.ts';

const signer = signerOf('example.net');
const other = signerOf('eve.example');
const SPF = 'v=spf1 ip4:192.0.2.7 -all';
const zoneWith = (policy: string): MemoryZone => ({
  'example.net': { TXT: [SPF] },
  'eve.example': { TXT: [SPF] },
  [`_dmarc.example.net`]: { TXT: [`v=DMARC1; p=${policy}`] },
  [keyName(signer)]: { TXT: [signer.record] },
  [keyName(other)]: { TXT: [other.record] },
});
const dmarcOf = (results: string): string | undefined => /dmarc=(\w+)/.exec(results)?.[1];

describe('mail that is what it says', () => {
  test('by SPF, or by DKIM alone, passes and is marked so on top', async () => {
    const zone = zoneWith('reject');
    const bySpf = await deliverChecked(message(FROM_NET), { zone });
    expect([bySpf.outcomes, bySpf.folder, dmarcOf(bySpf.results)]).toEqual([['stored'], 'inbox', 'pass']);
    expect(bySpf.results).toMatch(
      /^mx\.example\.org; spf=pass smtp\.mailfrom=example\.net; dkim=none; dmarc=pass header\.from=example\.net$/,
    );
    expect(bySpf.bytes.toString()).toMatch(
      /^Return-Path: <ann@example\.net>\r\nAuthentication-Results: mx[^]*?\r\nReceived: from/,
    );
    const signed = await signedBy(signer, message(FROM_NET));
    const byDkim = await deliverChecked(signed, { zone, sender: 'x@elsewhere.example', address: '198.51.100.9' });
    expect([byDkim.folder, dmarcOf(byDkim.results)]).toEqual(['inbox', 'pass']);
    expect(byDkim.bytes.subarray(-signed.length)).toEqual(signed);
  });

  test('of a domain without a policy is marked `none`', async () => {
    const { folder, results } = await deliverChecked(message(FROM_NET));
    expect([folder, dmarcOf(results)]).toEqual(['inbox', 'none']);
  });
});

describe('P24 what is not what it says never shows as authenticated', () => {
  const spoofed = { sender: 'eve@eve.example' } as const; // whose SPF passes
  test.for([
    ['no signature', async () => message(FROM_NET)],
    ['a signature of another domain', () => signedBy(other, message(FROM_NET))],
    [
      'a changed body',
      async () => Buffer.from((await signedBy(signer, message(FROM_NET))).toString().replace('Hello', 'Jello')),
    ],
    [
      'text after l=',
      async () =>
        Buffer.concat([await signedBy(signer, message(FROM_NET), { maxBodyLength: 7 }), Buffer.from('more\r\n')]),
    ],
    [
      'a second Subject',
      async () =>
        Buffer.concat([
          Buffer.from('Subject: x\r\n'),
          await signedBy(signer, message(FROM_NET), { headerList: ['From', 'Subject'] }),
        ]),
    ],
    [
      'forged results',
      async () => message([`Authentication-Results: ${HOSTNAME}; dmarc=pass header.from=example.net`, ...FROM_NET]),
    ],
    [
      'forged ARC results',
      async () => message([`ARC-Authentication-Results: i=1; ${HOSTNAME}; dmarc=pass`, ...FROM_NET]),
    ],
  ] as const)('%s', async ([, make]) => {
    const bytes = await make();
    const refused = await deliverChecked(bytes, { zone: zoneWith('reject'), ...spoofed });
    expect([refused.outcomes, refused.mailboxes.openWriters]).toEqual([['refused dmarc'], 0]);
    const junk = await deliverChecked(bytes, { zone: zoneWith('quarantine'), ...spoofed });
    expect([junk.outcomes, junk.folder, dmarcOf(junk.results)]).toEqual([['stored'], 'junk', 'fail']);
    expect(junk.bytes.toString().match(/^authentication-results:/gim)).toHaveLength(1);
    const tagged = await deliverChecked(bytes, { zone: zoneWith('reject'), mail: { dmarc: 'tag' }, ...spoofed });
    expect([tagged.folder, dmarcOf(tagged.results)]).toEqual(['inbox', 'fail']);
    const milder = await deliverChecked(bytes, { zone: zoneWith('reject'), mail: { dmarc: 'quarantine' }, ...spoofed });
    expect(milder.folder).toBe('junk');
    const none = await deliverChecked(bytes, { zone: zoneWith('none'), ...spoofed });
    expect([none.folder, dmarcOf(none.results)]).toEqual(['inbox', 'fail']);
  });

  test.for([
    ['two From fields', ['From: a@eve.example', ...FROM_NET], 'refused dmarc'],
    ['no From field', FROM_NET.slice(1), 'refused dmarc'],
    ['two authors', ['From: ann@example.net, eve@eve.example', ...FROM_NET.slice(1)], 'stored'],
  ] as const)('M5 %s, signed by everybody', async ([, header, expected]) => {
    const bytes = header.some((line) => line.startsWith('From'))
      ? await signedBy(other, await signedBy(signer, message(header)))
      : message(header);
    const { outcomes, folder } = await deliverChecked(bytes, { zone: zoneWith('none') });
    expect([outcomes, folder]).toEqual([[expected], expected === 'stored' ? 'junk' : null]);
    const tagged = await deliverChecked(bytes, { zone: zoneWith('none'), mail: { dmarc: 'tag' } });
    expect([tagged.folder, dmarcOf(tagged.results)]).toEqual(['inbox', 'fail']);
  });
});

describe('IN2 what is not known is not refused', () => {
  const fromElsewhere = { address: '198.51.100.9' } as const;
  test.for([
    ['the policy', { '_dmarc.example.net': 'away' }],
    ['the SPF record', { 'example.net': 'away' }],
    ['the key', { [keyName(signer)]: 'away' }],
  ] as const)('%s cannot be looked up', async ([, away]) => {
    const zone = { ...zoneWith('reject'), ...(away as MemoryZone) };
    const bytes = await signedBy(signer, message(FROM_NET), { maxBodyLength: 1 }); // which does not pass by itself
    const good = await signedBy(signer, message(FROM_NET));
    const found = await deliverChecked(keyName(signer) in away ? good : bytes, { zone, ...fromElsewhere });
    expect([found.outcomes, found.folder, dmarcOf(found.results)]).toEqual([['stored'], 'inbox', 'temperror']);
  });

  test("AU2 a forger's own broken name servers do not help", async () => {
    const zone: MemoryZone = { ...zoneWith('reject'), 'eve.example': 'away', [keyName(other)]: 'away' };
    const forged = await signedBy(other, message(FROM_NET));
    const { outcomes } = await deliverChecked(forged, { zone, sender: 'eve@eve.example', ...fromElsewhere });
    expect(outcomes).toEqual(['refused dmarc']);
  });

  test('AU2 a DNS that does not answer holds a message for the time limit, and no longer', async () => {
    const { checks, resolver } = checksWith(zoneWith('reject'), { timeLimitMs: 100 });
    resolver.delayMs = 60_000;
    const incoming = checks.begin({ address: '192.0.2.7', helo: 'out.example.net', sender: 'ann@example.net' });
    await incoming?.write(await signedBy(signer, message(FROM_NET)));
    const verdict = await incoming?.end({ recipients: [], transaction: 't' });
    expect(verdict).toMatchObject({ kind: 'deliver', to: 'inbox' });
    const text = verdict?.kind === 'deliver' ? verdict.fields.toString() : '';
    expect(text).toMatch(/spf=temperror/);
    expect(text).toMatch(/dkim=temperror/);
    expect(text).toMatch(/dmarc=temperror/);
    await incoming?.discard();
  });
});

test('IN4 a trusted peer is not checked, and its results stay', async () => {
  const bytes = message([`Authentication-Results: ${HOSTNAME}; dmarc=pass`, ...FROM_NET]);
  for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
    const { results, asked } = await deliverChecked(bytes, { zone: zoneWith('reject'), address });
    expect([results, asked]).toEqual([`${HOSTNAME}; dmarc=pass`, []]);
  }
  const networks = [{ address: '203.0.113.0', prefixBits: 24 }];
  const { asked } = await deliverChecked(bytes, { address: '203.0.113.9', mail: { trustedPeers: networks } });
  expect(asked).toEqual([]);
});

test('IN3 M1 a header that is too large is refused, however it comes', async () => {
  const long = message([`X: ${'y'.repeat(1_100_000)}`, ...FROM_NET]);
  const many = message([...Array.from({ length: 6000 }, () => 'X: y'), ...FROM_NET]);
  for (const bytes of [long, many]) {
    const { outcomes, mailboxes } = await deliverChecked(bytes, { pieceBytes: 65_536 });
    expect([outcomes, mailboxes.openWriters]).toEqual([['refused header'], 0]);
  }
});

test('hostile headers of the size that is allowed take no time worth speaking of', async () => {
  const megabyte = 1_000_000;
  for (const header of [
    ['X: ', ' \r\n b'],
    ['From: ', 'a@b,'],
    ['From: ', 'g0:'],
    ['From: ', '('],
    ['DKIM-Signature: v=1; ', 'a=b; '],
    ['DKIM-Signature: v=1; a=rsa-sha256; d=a.b; s=c; bh=AAAA; b=AAAA; h=', 'from:'],
    ['Authentication-Results: ', '('],
    ['ARC-Seal: i=1; ', 'x=y; '],
    ['Content-Type: text/plain; ', 'a=b; '],
  ] as const) {
    const [name, filler] = header;
    const startedMs = process.cpuUsage().user;
    const bytes = message([`${name}${filler.repeat(Math.floor(megabyte / filler.length))}`, ...FROM_NET.slice(1)]);
    await deliverChecked(bytes, { pieceBytes: 65_536 });
    expect([name, (process.cpuUsage().user - startedMs) / 1e6]).toEqual([name, expect.closeTo(0, -1)]); // seconds: below 5
  }
});

test('a message comes out as it came in, whatever its size and pieces; several recipients get the same', async () => {
  for (const body of ['', 'x', '\r\n', 'line\r\n'.repeat(300_000)]) {
    const bytes = message(FROM_NET, body);
    const { mailboxes, outcomes } = await deliverChecked(bytes, {
      pieceBytes: bytes.length > 1000 ? 65_536 : 3,
      users: ['bob', 'eve'],
    });
    expect(outcomes).toEqual(['stored', 'stored']);
    for (const one of mailboxes.stored) expect(one.bytes.subarray(-bytes.length).equals(bytes)).toBe(true);
  }
  for (const bytes of [Buffer.from('Subject: only a header\r\n'), Buffer.from('\r\n'), Buffer.from('\r\nbody\r\n')]) {
    const { bytes: stored } = await deliverChecked(bytes, { mail: { dmarc: 'tag' }, pieceBytes: 1 });
    expect(stored.subarray(-bytes.length).toString()).toBe(bytes.toString());
  }
});

test('HB1 HB2 HB3 a large body is in a sealed file without a name, and memory is given back', async () => {
  const memory = new HeldMemory(100_000);
  const { deps, folder } = checksWith({}, { timeLimitMs: 1000, dmarc: 'tag' });
  const incoming = new IncomingMessage(deps, memory, { address: '192.0.2.7', helo: 'x', sender: '' });
  await incoming.write(message(FROM_NET, 'small\r\n'));
  expect(memory.heldBytes).toBe(7);
  const canary = Buffer.alloc(50_000, 'canary ');
  for (let count = 0; count < 20; count += 1) await incoming.write(canary);
  expect([memory.heldBytes, readdirSync(folder)]).toEqual([0, []]);
  const held = readdirSync('/proc/self/fd')
    .map((fd) => `/proc/self/fd/${fd}`)
    .filter((fd) => linkTarget(fd)?.startsWith(folder));
  expect(held).toHaveLength(1);
  const onDisk = readFileSync(held[0]!);
  expect([onDisk.length > 950_000, onDisk.includes('canary')]).toEqual([true, false]);
  await incoming.end({ recipients: [], transaction: 't' });
  let size = 0;
  for await (const piece of incoming.content()) size += piece.length;
  expect(size).toBe(message(FROM_NET, 'small\r\n').length + 1_000_000);
  await incoming.discard();
  await incoming.discard();
  expect(memory.heldBytes).toBe(0);
});

function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null; // closed meanwhile
  }
}
