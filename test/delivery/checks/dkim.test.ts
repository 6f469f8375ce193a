import { dkimVerify } from 'mailauth/lib/dkim/verify.js';
import { sealMessage } from 'mailauth/lib/arc/index.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FROM_NET, deliverChecked, keyName, memoryResolver, message, signedBy, signerOf } from './world.ts';
import { Lookups } from '../../../src/delivery/checks/lookups.ts';
import type { MemoryZone, Signer } from './world.ts';

const BODIES: Record<string, string> = {
  plain: 'Hello\r\n',
  empty: '',
  'only empty lines': '\r\n\r\n\r\n',
  'white space': ' \t a \t\t b  \r\n\t\r\n  c\t\r\n\r\n \r\n',
  'no line end': 'x',
  '8-bit': 'gr\u00fc\u00dfe\r\n\r\n\r\n',
  'empty lines inside': `a${'\r\n'.repeat(3000)}b\r\n\r\n`,
};
const zoneOf = (signer: Signer, record = signer.record): MemoryZone => ({ [keyName(signer)]: { TXT: [record] } });
const dkimOf = (results: string): string[] =>
  [...results.matchAll(/dkim=(\w+)(?: reason="([^"]*)")?/g)].map(([, one, why]) => (why ? `${one!} ${why}` : one!));

describe('what mailauth signs is verified', () => {
  for (const algorithm of ['rsa', 'ed25519'] as const) {
    for (const canonicalization of ['simple/simple', 'simple/relaxed', 'relaxed/simple', 'relaxed/relaxed']) {
      test.for(Object.entries(BODIES))(`${algorithm} ${canonicalization}, %s`, async ([, body]) => {
        const signer = signerOf('example.net', algorithm);
        const header = [...FROM_NET, 'X-Folded:  a\r\n\t b \t c  ', 'Content-Type: text/plain'];
        const signed = await signedBy(signer, message(header, body), { canonicalization });
        for (const pieceBytes of [signed.length, 1, 7]) {
          const { results } = await deliverChecked(signed, { zone: zoneOf(signer), pieceBytes });
          expect([pieceBytes, dkimOf(results)]).toEqual([pieceBytes, ['pass']]);
        }
        expect((await deliverChecked(signed, { zone: zoneOf(signer) })).results).toContain(
          `header.d=example.net header.s=${signer.selector} header.a=${algorithm}-sha256`,
        );
      });
    }
  }
});

test('whatever is changed on the way, we say `pass` only where mailauth does', async () => {
  const signer = signerOf('example.net');
  const resolver = memoryResolver(zoneOf(signer));
  const original = await signedBy(signer, message([...FROM_NET, 'X: y'], 'one\r\ntwo  words\r\n\r\n'), {
    canonicalization: 'relaxed/relaxed',
  });
  let [passedCount, failedCount, strictCount] = [0, 0, 0];
  await fc.assert(
    fc.asyncProperty(
      fc.nat(original.length - 1),
      fc.constantFrom('', ' ', '\t', 'x', '\r\n', '\r\n ', ':', ';', '=', 'A'),
      fc.boolean(),
      async (at, inserted, replaces) => {
        const changed = Buffer.concat([
          original.subarray(0, at),
          Buffer.from(inserted),
          original.subarray(at + (replaces ? 1 : 0)),
        ]);
        const normal = Buffer.from(changed.toString('latin1').replaceAll(/\r\n|\r|\n/g, '\r\n'), 'latin1');
        const ours = dkimOf(
          (await deliverChecked(normal, { zone: zoneOf(signer), mail: { dmarc: 'tag' } })).results,
        ).includes('pass');
        const lookups = new Lookups(resolver, new AbortController().signal);
        const theirs = (await dkimVerify(normal, { resolver: lookups.asNode })).results.some(
          ({ status }) => status.result === 'pass',
        );
        if (ours) passedCount += 1;
        else failedCount += 1;
        if (ours) expect(theirs).toBe(true);
        if (theirs && !ours) strictCount += 1;
      },
    ),
    { numRuns: 300, seed: 7 },
  );
  expect(Math.min(passedCount, failedCount)).toBeGreaterThan(5);
  expect(strictCount).toBeLessThan(30); // of form: lines that are no fields, base64 that is none
});

test.for([
  ['no key', '', 'permerror no key'],
  ['a revoked key', 'v=DKIM1; k=ed25519; p=', 'permerror key revoked'],
  ['a key of another algorithm', 'v=DKIM1; k=rsa; p=AAAA', 'permerror key of another algorithm'],
  ['a key for other hashes', 'v=DKIM1; k=ed25519; h=sha1; p=AAAA', 'permerror key for other hashes'],
  ['a key for another service', 'v=DKIM1; k=ed25519; s=tlsrpt; p=AAAA', 'permerror key for another service'],
  ['a broken key', 'v=DKIM1; k=ed25519; p=AAAA', 'permerror bad key'],
  ['an unknown version', 'v=DKIM2; k=ed25519; p=AAAA', 'permerror unknown version of key'],
  ['another text', 'hello', 'permerror no key'],
] as const)('%s', async ([, record, expected]) => {
  const signer = signerOf('example.net');
  const zone = record === '' ? {} : zoneOf(signer, record);
  const { results } = await deliverChecked(await signedBy(signer, message(FROM_NET)), { zone });
  expect(dkimOf(results)).toEqual([expected]);
});

test('SI4 a key that cannot be looked up is a temporary error', async () => {
  const signer = signerOf('example.net');
  const zone = { [keyName(signer)]: 'away' } as const;
  const { results, outcomes } = await deliverChecked(await signedBy(signer, message(FROM_NET)), { zone });
  expect([outcomes, dkimOf(results)]).toEqual([['stored'], ['temperror key could not be looked up']]);
});

test('SI2 short RSA keys do not pass', async () => {
  const signer = signerOf('example.net', 'rsa', 1024);
  const short = signerOf('example.net', 'rsa', 768);
  const signed = await signedBy(signer, message(FROM_NET));
  expect(dkimOf((await deliverChecked(signed, { zone: zoneOf(signer) })).results)).toEqual(['pass']);
  expect(dkimOf((await deliverChecked(signed, { zone: zoneOf(signer, short.record) })).results)).toEqual([
    'policy weak key',
  ]);
});

test('SI1 M6 text after what `l=` covers does not pass; a limit that covers all does', async () => {
  const signer = signerOf('example.net');
  const signed = await signedBy(signer, message(FROM_NET, 'Hello\r\n'), { maxBodyLength: 7 });
  const zone = zoneOf(signer);
  expect(signed.toString()).toMatch(/; l=7/);
  expect(dkimOf((await deliverChecked(signed, { zone })).results)).toEqual(['pass']);
  const longer = Buffer.concat([signed, Buffer.from('and more\r\n')]);
  expect(dkimOf((await deliverChecked(longer, { zone })).results)).toEqual(['policy part of the body is not signed']);
});

test('SI3 M6 a second Subject above the signed one does not pass', async () => {
  const signer = signerOf('example.net');
  const signed = await signedBy(signer, message(FROM_NET), { headerList: ['From', 'Subject'] });
  const added = Buffer.concat([Buffer.from('Subject: other\r\n'), signed]);
  const zone = zoneOf(signer);
  expect(dkimOf((await deliverChecked(signed, { zone })).results)).toEqual(['pass']);
  expect(dkimOf((await deliverChecked(added, { zone })).results)).toEqual(['policy a repeated field is not signed']);
});

test('M8 500 signatures make 10 lookups of keys', async () => {
  const signature = (n: number): string =>
    `DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=d${String(n)}.example.net; s=a; h=from; bh=AAAA; b=AAAA; l=${String(n)}`;
  const all = Array.from({ length: 500 }, (_, n) => signature(n));
  const { asked, results } = await deliverChecked(message([...all, ...FROM_NET]));
  expect(asked.filter((one) => one.includes('_domainkey'))).toHaveLength(10);
  expect(dkimOf(results)).toHaveLength(10);
});

test.for([
  ['v=2; a=rsa-sha256; d=a.example; s=b; h=from; bh=AAAA; b=AAAA', 'permerror unknown version'],
  ['v=1; a=rsa-sha1; d=a.example; s=b; h=from; bh=AAAA; b=AAAA', 'policy SHA-1'],
  ['v=1; a=rsa-md5; d=a.example; s=b; h=from; bh=AAAA; b=AAAA', 'permerror unknown algorithm'],
  ['v=1; a=rsa-sha256; d=a.example; s=b; h=to; bh=AAAA; b=AAAA', 'permerror From is not signed'],
  ['v=1; a=rsa-sha256; d=a b; s=b/c; h=from; bh=AAAA; b=AAAA', 'permerror bad domain or selector'],
  [
    'v=1; a=rsa-sha256; d=a.example; i=@b.example; s=b; h=from; bh=AAAA; b=AAAA',
    'permerror identity of another domain',
  ],
  ['v=1; v=1; a=rsa-sha256; d=a.example; s=b; h=from; bh=AAAA; b=AAAA', 'permerror syntax error'],
  ['v=1; a=rsa-sha256; d=a.example; s=b; h=from; bh=AA!A; b=AAAA', 'permerror syntax error'],
  ['v=1; a=rsa-sha256; c=other; d=a.example; s=b; h=from; bh=AAAA; b=AAAA', 'permerror unknown canonicalization'],
  ['nonsense', 'permerror syntax error'],
  [`v=1; x${'y'.repeat(20_000)}=1`, 'permerror signature field too long'],
] as const)('a signature %s', async ([tags, expected]) => {
  const { results } = await deliverChecked(message([`DKIM-Signature: ${tags}`, ...FROM_NET]));
  expect(dkimOf(results)).toEqual([expected]);
});

test('a signature that has expired does not pass', async () => {
  const signer = signerOf('example.net');
  const signed = (await signedBy(signer, message(FROM_NET))).toString().replace('v=1;', 'v=1; x=1000;');
  expect(dkimOf((await deliverChecked(Buffer.from(signed), { zone: zoneOf(signer) })).results)).toEqual([
    'policy signature expired',
  ]);
});

describe('ARC', () => {
  const seal = async (input: Buffer, signer: Signer, cv: 'none' | 'pass'): Promise<Buffer> =>
    Buffer.concat([
      await sealMessage(input, {
        signingDomain: signer.domain,
        selector: signer.selector,
        privateKey: signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
        algorithm: `${signer.algorithm}-sha256`,
        authResults: `${signer.domain}; spf=pass smtp.mailfrom=example.net`,
        cv,
      }),
      input,
    ]);
  const first = signerOf('lists.example', 'rsa');
  const second = signerOf('relay.example', 'ed25519');
  const zone = { ...zoneOf(first), ...zoneOf(second) };
  const arcOf = (results: string): string | undefined =>
    /(?<!dm)arc=\w+(?: header\.d=\S+)?/.exec(results)?.[0]?.replace(';', '');

  test('AR1 a chain of two sets that mailauth made is whole', async () => {
    const one = await seal(message(FROM_NET), first, 'none');
    expect(arcOf((await deliverChecked(one, { zone })).results)).toBe('arc=pass header.d=lists.example');
    const two = await seal(one, second, 'pass');
    expect(arcOf((await deliverChecked(two, { zone })).results)).toBe('arc=pass header.d=relay.example');
    expect(arcOf((await deliverChecked(message(FROM_NET), { zone })).results)).toBeUndefined();
  });

  test('AR1 a chain that was changed, cut or repeated is broken', async () => {
    const two = (await seal(await seal(message(FROM_NET), first, 'none'), second, 'pass')).toString();
    const fields = two.match(/^ARC-[A-Za-z-]+: (?:.*\r\n)(?:[ \t].*\r\n)*/gm) ?? [];
    expect(fields).toHaveLength(6);
    const changed = [
      two.replace('Hello', 'Jello'),
      two.replace('smtp.mailfrom=example.net', 'smtp.mailfrom=example.com'),
      ...fields.map((field) => two.replace(field, '')),
      ...fields.map((field) => field + two),
      two.replace(/cv=pass/, 'cv=none'),
    ];
    for (const text of changed) {
      expect(arcOf((await deliverChecked(Buffer.from(text), { zone })).results)).toBe('arc=fail');
    }
    const away = { ...zone, [keyName(first)]: 'away' as const };
    expect(arcOf((await deliverChecked(Buffer.from(two), { zone: away })).results)).toBe('arc=temperror');
  });

  test('AR2 a chain of 51 sets, or one that is too long, is none', async () => {
    const sets = Array.from({ length: 51 }, (_, at) => {
      const i = String(at + 1);
      return [
        `ARC-Seal: i=${i}; a=rsa-sha256; cv=${at === 0 ? 'none' : 'pass'}; d=x.example; s=a; b=AAAA`,
        `ARC-Message-Signature: i=${i}; a=rsa-sha256; d=x.example; s=a; h=from; bh=AAAA; b=AAAA`,
        `ARC-Authentication-Results: i=${i}; x.example; spf=pass`,
      ];
    });
    const { results, asked } = await deliverChecked(message([...sets.flat(), ...FROM_NET]));
    expect([arcOf(results), asked.some((one) => one.includes('x.example'))]).toEqual(['arc=fail', false]);
  });
});
