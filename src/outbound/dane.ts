/**
 * DANE for SMTP (RFC 7672): whether the certificates of a server are those that its TLSA records name. Pure.
 *
 * DA1  Only DANE-EE(3) and DANE-TA(2) records with known parameters can be used. RFC 7672 §3.1.
 * DA2  DANE-EE: the server's own certificate or key matches; names and dates do not matter. RFC 7672 §3.1.1.
 * DA3  DANE-TA: a certificate above the server's own matches, the chain up to it is whole and in date, and the server's
 *      certificate has the expected name. RFC 7672 §3.1.2, §3.2.
 */
import { createHash, type X509Certificate } from 'node:crypto';
import type { DnsRecord } from '../dns/resolver.ts';

export type TlsaRecord = Extract<DnsRecord, { type: 'TLSA' }>;

const [DANE_TA, DANE_EE] = [2, 3] as const;
const [WHOLE_CERTIFICATE, PUBLIC_KEY] = [0, 1] as const;
const DIGEST_BYTES: ReadonlyMap<number, number> = new Map([
  [1, 32],
  [2, 64],
]);

/** Those that can be used (DA1). */
export function usableRecords(records: readonly DnsRecord[]): readonly TlsaRecord[] {
  return records.flatMap((record) => (record.type === 'TLSA' && isUsable(record) ? [record] : []));
}

function isUsable({ usage, selector, matchingType, data }: TlsaRecord): boolean {
  if (usage !== DANE_TA && usage !== DANE_EE) return false;
  if (selector !== WHOLE_CERTIFICATE && selector !== PUBLIC_KEY) return false;
  return matchingType === 0 ? data.length > 0 : DIGEST_BYTES.get(matchingType) === data.length;
}

type Expected = Readonly<{ records: readonly TlsaRecord[]; names: readonly string[]; nowMs: number }>;

/** Whether one of the records vouches for `chain`: the server's certificate, then those above it, as it sent them. */
export function isVouchedFor(chain: readonly X509Certificate[], { records, names, nowMs }: Expected): boolean {
  const [own, ...above] = chain;
  if (!own) return false;
  if (records.some((record) => record.usage === DANE_EE && matches(own, record))) return true;
  if (!names.some((name) => own.checkHost(name) !== undefined)) return false;
  let below = own;
  if (!isInDate(own, nowMs)) return false;
  for (const issuer of above) {
    const signs = issuer.ca && below.checkIssued(issuer) && below.verify(issuer.publicKey);
    if (!signs || !isInDate(issuer, nowMs)) return false;
    if (records.some((record) => record.usage === DANE_TA && matches(issuer, record))) return true;
    below = issuer;
  }
  return false;
}

function matches(certificate: X509Certificate, { selector, matchingType, data }: TlsaRecord): boolean {
  const selected =
    selector === PUBLIC_KEY ? certificate.publicKey.export({ type: 'spki', format: 'der' }) : certificate.raw;
  if (matchingType === 0) return selected.equals(data);
  const digest = createHash(matchingType === 1 ? 'sha256' : 'sha512')
    .update(selected)
    .digest();
  return digest.equals(data);
}

function isInDate(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs <= certificate.validToDate.getTime();
}
