/**
 * EXTERNAL: the client's TLS certificate says who it is. RFC 4422 appendix A; RFC 5280 §4.2.1.6.
 *
 * E1  A certificate counts if an authority of the configured file signed it itself, both are within their time, and it
 *     is for clients. The handshake has proven that the client holds its key.
 * E2  The addresses are those of its subjectAltName; the subject's own fields are nobody's to rely on.
 *
 * Called by mechanisms.ts and tls-channel.ts.
 */
import type { X509Certificate } from 'node:crypto';
import { challenge, malformed, stepOf, textOf, REFUSED } from './exchange.ts';
import type { SaslChannel, SaslExchange, SaslLogins } from './exchange.ts';

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ADDRESSES_MAX_COUNT = 20;

/** The response is the address to be, or nothing. */
export function external({ verifiedLogins }: SaslLogins, channel: SaslChannel): SaslExchange {
  return {
    respond: async (response, signal) => {
      if (response === null) return challenge('');
      const wanted = textOf(response);
      if (wanted === null || wanted.includes('\0')) return malformed('The authentication response is malformed');
      const addresses = channel.certificateAddresses();
      if (!addresses || !verifiedLogins) return REFUSED;
      return stepOf(await verifiedLogins.byCertificate(addresses, wanted === '' ? null : wanted, channel.peer, signal));
    },
  };
}

/** The addresses that `certificate` vouches for; null if it counts for nothing (E1). */
export function verifiedAddresses(
  certificate: X509Certificate,
  authorities: readonly X509Certificate[],
  nowMs: number,
): readonly string[] | null {
  const isInTime = ({ validFromDate, validToDate }: X509Certificate): boolean =>
    validFromDate.getTime() <= nowMs && nowMs <= validToDate.getTime();
  const signer = authorities.find(
    (authority) => authority.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey),
  );
  if (!signer || certificate.ca || !isInTime(certificate) || !isInTime(signer)) return null;
  if (!(certificate.keyUsage as readonly string[] | undefined)?.includes(CLIENT_AUTH)) return null;
  return addressesIn(certificate.subjectAltName ?? '');
}

/** `email:ann@example.org, DNS:..`; what had to be quoted is left out. */
function addressesIn(subjectAltName: string): readonly string[] {
  if (subjectAltName.includes('"')) return [];
  const names = subjectAltName.split(', ').filter((name) => name.startsWith('email:'));
  return names.slice(0, ADDRESSES_MAX_COUNT).map((name) => name.slice('email:'.length));
}
