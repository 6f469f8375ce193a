import { execFileSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isVouchedFor, usableRecords, type TlsaRecord } from '../../src/outbound/dane.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const folder = temporaryDirectory();
const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });

/** An authority, and a certificate of it for mx.far.test. */
function issue(
  name: string,
  { isAuthority = true, host = 'mx.far.test' } = {},
): readonly [X509Certificate, X509Certificate] {
  const file = (suffix: string) => join(folder, `${name}${suffix}`);
  const ca = isAuthority ? 'critical,CA:TRUE' : 'critical,CA:FALSE';
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    file('.ca.key'),
    '-out',
    file('.ca.pem'),
    '-subj',
    `/CN=${name}`,
    '-days',
    '30',
    '-addext',
    `basicConstraints=${ca}`,
  );
  openssl('req', ...key, '-keyout', file('.key'), '-out', file('.csr'), '-subj', '/CN=x');
  writeFileSync(file('.ext'), `subjectAltName=DNS:${host}\nbasicConstraints=CA:FALSE\n`);
  openssl(
    'x509',
    '-req',
    '-in',
    file('.csr'),
    '-CA',
    file('.ca.pem'),
    '-CAkey',
    file('.ca.key'),
    '-CAcreateserial',
    '-out',
    file('.pem'),
    '-days',
    '20',
    '-extfile',
    file('.ext'),
  );
  const read = (suffix: string) => new X509Certificate(readFileSync(file(suffix)));
  return [read('.pem'), read('.ca.pem')];
}

const spki = (certificate: X509Certificate) => certificate.publicKey.export({ type: 'spki', format: 'der' });
function record(usage: number, selector: number, matchingType: number, of: X509Certificate): TlsaRecord {
  const bytes = selector === 1 ? spki(of) : of.raw;
  const digest =
    matchingType === 0
      ? bytes
      : createHash(matchingType === 1 ? 'sha256' : 'sha512')
          .update(bytes)
          .digest();
  return { type: 'TLSA', usage, selector, matchingType, data: new Uint8Array(digest) };
}

const [leaf, authority] = issue('one');
const [otherLeaf, otherAuthority] = issue('two');
const nowMs = Date.now();
const vouched = (records: readonly TlsaRecord[], chain = [leaf, authority], names = ['mx.far.test'], atMs = nowMs) =>
  isVouchedFor(chain, { records, names, nowMs: atMs });

const VARIANTS = [0, 1].flatMap((selector) => [0, 1, 2].map((matching) => [selector, matching] as const));

test.for(VARIANTS)('DA2 DANE-EE with selector %i and matching type %i', ([selector, matching]) => {
  expect(vouched([record(3, selector, matching, leaf)])).toBe(true);
  expect(vouched([record(3, selector, matching, otherLeaf)])).toBe(false);
  expect(vouched([record(3, selector, matching, authority)])).toBe(false);
  expect(vouched([record(3, selector, matching, otherLeaf), record(3, selector, matching, leaf)])).toBe(true);
});

test('DA2 with DANE-EE names and dates do not matter (RFC 7672 §3.1.1)', () => {
  expect(vouched([record(3, 1, 1, leaf)], [leaf], ['elsewhere.test'], nowMs + 90 * 86_400_000)).toBe(true);
});

test.for(VARIANTS)('DA3 DANE-TA with selector %i and matching type %i', ([selector, matching]) => {
  expect(vouched([record(2, selector, matching, authority)])).toBe(true);
  expect(vouched([record(2, selector, matching, otherAuthority)])).toBe(false);
  expect(vouched([record(2, selector, matching, authority)], [leaf])).toBe(false); // it was not sent
});

test('DA3 with DANE-TA the name, the dates and the signatures matter (RFC 7672 §3.1.2)', () => {
  const records = [record(2, 0, 1, authority)];
  expect(vouched(records, [leaf, authority], ['other.test'])).toBe(false);
  expect(vouched(records, [leaf, authority], ['other.test', 'mx.far.test'])).toBe(true);
  expect(vouched(records, [leaf, authority], ['mx.far.test'], nowMs + 90 * 86_400_000)).toBe(false);
  expect(vouched(records, [otherLeaf, authority])).toBe(false);
  const [ordinaryLeaf, ordinary] = issue('three', { isAuthority: false });
  expect(vouched([record(2, 0, 1, ordinary)], [ordinaryLeaf, ordinary])).toBe(false);
  expect(vouched(records, [])).toBe(false);
});

test('DA1 records that cannot be used are left out (RFC 7672 §3.1)', () => {
  const good = record(3, 1, 1, leaf);
  const odd = [
    { ...good, usage: 0 },
    { ...good, usage: 1 },
    { ...good, selector: 2 },
    { ...good, matchingType: 3 },
    { ...good, data: new Uint8Array(31) },
    { ...good, matchingType: 0, data: new Uint8Array() },
  ];
  expect(usableRecords([...odd, good, { type: 'A', address: '192.0.2.1' }])).toEqual([good]);
});
