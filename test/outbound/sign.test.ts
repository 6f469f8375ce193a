import { createHash, generateKeyPairSync, verify, type KeyObject } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DataEncoder } from '../../src/outbound/message-data.ts';
import { signatureFields } from '../../src/outbound/sign.ts';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ed = generateKeyPairSync('ed25519');
const KEYS = [
  { selector: 'r1', algorithm: 'rsa', privateKey: rsa.privateKey },
  { selector: 'e1', algorithm: 'ed25519', privateKey: ed.privateKey },
] as const;
const PUBLIC: Readonly<Record<string, KeyObject>> = { r1: rsa.publicKey, e1: ed.publicKey };
const MESSAGE = [
  'From: Anna <anna@Example.org>',
  'To: bob@far.test,',
  '\teve@far.test',
  'Subject:  hello   world ',
  'Date: Sat, 28 Nov 2026 10:00:00 +0000',
  'X-Other: not signed',
  '',
  'body  with spaces ',
  '',
  '.',
  '',
  '',
].join('\r\n');

async function signed(message: string, cuts: readonly number[] = [], keys: readonly (typeof KEYS)[number][] = KEYS) {
  const bytes = Buffer.from(message, 'latin1');
  const pieces = async function* () {
    const places = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
    for (const [at, place] of places.slice(0, -1).entries()) yield bytes.subarray(place, places[at + 1]);
  };
  const signingKeys = async (domain: string) => (domain === 'example.org' ? keys : []);
  const fields = await signatureFields({ signingKeys, nowMs: () => 1_795_000_000_000 }, pieces());
  return fields.toString('latin1');
}

/** Another reading of RFC 6376, of a whole message in memory; gives the selectors whose signatures are good. */
function goodSelectors(message: string): string[] {
  const [head = '', ...rest] = message.split('\r\n\r\n');
  const body = `${rest.join('\r\n\r\n').replace(/(\r\n)+$/, '')}\r\n`;
  const fields = head.split(/\r\n(?![ \t])/);
  const relaxed = (field: string): string => {
    const [, name = '', value = ''] = /^([^:]*):(.*)$/s.exec(field) ?? [];
    return `${name.trim().toLowerCase()}:${value
      .replaceAll('\r\n', '')
      .replaceAll(/[ \t]+/g, ' ')
      .trim()}`;
  };
  return fields.flatMap((field) => {
    if (!/^dkim-signature:/i.test(field)) return [];
    const tags = new Map(
      relaxed(field)
        .slice('dkim-signature:'.length)
        .split(';')
        .map((tag) => [tag.slice(0, tag.indexOf('=')).trim(), tag.slice(tag.indexOf('=') + 1).replaceAll(' ', '')]),
    );
    const left = [...fields];
    const lines = (tags.get('h') ?? '').split(':').map((name) => {
      const at = left.findLastIndex((one) => relaxed(one).startsWith(`${name}:`));
      return at < 0 ? '' : `${relaxed(left.splice(at, 1)[0] ?? '')}\r\n`;
    });
    const data = Buffer.from(`${lines.join('')}${relaxed(field.replace(/b=[^;]*$/, 'b='))}`, 'latin1');
    const signature = Buffer.from(tags.get('b') ?? '', 'base64');
    const key = PUBLIC[tags.get('s') ?? ''];
    if (!key || createHash('sha256').update(body, 'latin1').digest('base64') !== tags.get('bh')) return [];
    const isGood =
      tags.get('a') === 'rsa-sha256'
        ? verify('sha256', data, key, signature)
        : verify(null, createHash('sha256').update(data).digest(), key, signature);
    return isGood ? [tags.get('s') ?? ''] : [];
  });
}

test('both signatures are good, however the message comes in pieces', async () => {
  for (let cut = 0; cut <= MESSAGE.length; cut += 3) {
    expect(goodSelectors((await signed(MESSAGE, [cut])) + MESSAGE)).toEqual(['r1', 'e1']);
  }
});

test.for([
  ['a body that was changed', (text: string) => text.replace('body', 'bodi')],
  ['a body that goes on', (text: string) => `${text}more\r\n`],
  ['a second From (SG1)', (text: string) => `From: evil@example.org\r\n${text}`],
  ['a second Subject (SG1)', (text: string) => text.replace('\r\nDate:', '\r\nSubject: x\r\nDate:')],
  ['a Reply-To that was not there (SG1)', (text: string) => `Reply-To: evil@example.net\r\n${text}`],
  ['another content type (SG1)', (text: string) => `Content-Type: text/html\r\n${text}`],
] as const)('%s is noticed', async ([, change]) => {
  expect(goodSelectors(change((await signed(MESSAGE)) + MESSAGE))).toEqual([]);
});

test('fields that were folded anew, and others that came on top, do no harm', async () => {
  const text = (await signed(MESSAGE)) + MESSAGE;
  const relayed = `Received: by relay\r\n${text.replace('To: bob@far.test,\r\n\teve', 'To: bob@far.test,  \r\n  eve')}`;
  expect(goodSelectors(relayed)).toEqual(['r1', 'e1']);
});

test('SG2 odd line ends are signed as they go over the wire', async () => {
  const text = fc.array(fc.constantFrom('\r', '\n', 'a', ' ', '\r\n'), { maxLength: 20 }).map((all) => all.join(''));
  await fc.assert(
    fc.asyncProperty(text, fc.nat(30), async (body, cut) => {
      const message = `From: a@example.org\r\n\r\n${body}`;
      const fields = await signed(message, [Math.min(cut, message.length)], [KEYS[1]]);
      const wire = new DataEncoder();
      const sent = wire.push(Buffer.from(message, 'latin1')).toString('latin1') + wire.end().toString('latin1');
      expect(goodSelectors(fields + sent.replace(/\.\r\n$/, ''))).toEqual(['e1']);
    }),
    { numRuns: 300, seed: 3 },
  );
});

test('SG3 mail of other domains, without an author or with an endless header, is not signed', async () => {
  expect(await signed(MESSAGE.replace('Example.org', 'far.test'))).toBe('');
  expect(await signed('Subject: x\r\n\r\nx')).toBe('');
  expect(await signed(`From: a@example.org\r\nX: ${'x'.repeat(300_000)}\r\n\r\n`)).toBe('');
});

test('an internationalised domain signs under its A-labels', async () => {
  const bytes = Buffer.from('From: Anna <anna@bücher.example>\r\n\r\nhi\r\n');
  const pieces = async function* () {
    yield await Promise.resolve(bytes);
  };
  const signingKeys = (domain: string) => Promise.resolve(domain === 'xn--bcher-kva.example' ? KEYS : []);
  const fields = await signatureFields({ signingKeys, nowMs: () => 0 }, pieces());
  expect(fields.toString().match(/d=xn--bcher-kva\.example;/g)).toHaveLength(2);
});
