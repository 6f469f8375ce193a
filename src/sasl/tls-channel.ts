/** What a TLS connection gives to SASL: its channel bindings and its client's certificate. Called by imap/ and smtp/. */
import { hash, type X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { BindingType, SaslChannel } from './exchange.ts';
import { verifiedAddresses } from './external.ts';

const EXPORTER_LABEL = 'EXPORTER-Channel-Binding';
const EXPORTER_BYTES = 32;

/** `authorities` sign client certificates; none: no certificate counts. */
export function tlsChannel(
  socket: TLSSocket,
  authorities: readonly X509Certificate[],
): Pick<SaslChannel, 'binding' | 'certificateAddresses'> {
  return {
    binding: (type) => bindingOf(socket, type),
    certificateAddresses: () => {
      const certificate = authorities.length > 0 ? socket.getPeerX509Certificate() : undefined;
      return certificate ? verifiedAddresses(certificate, authorities, Date.now()) : null;
    },
  };
}

function bindingOf(socket: TLSSocket, type: BindingType): Buffer | null {
  switch (type) {
    case 'tls-exporter':
      // RFC 9266 §4.2: before TLS 1.3 it is unique only with extensions that Node does not tell of.
      if (socket.getProtocol() !== 'TLSv1.3') return null;
      return socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
    case 'tls-server-end-point': {
      const certificate = socket.getX509Certificate();
      const algorithm = certificate ? endPointHash(certificate.signatureAlgorithm ?? '') : null;
      return certificate && algorithm ? hash(algorithm, certificate.raw, 'buffer') : null;
    }
  }
}

/** The hash of the certificate's signature, SHA-256 instead of the broken ones; null for one without. RFC 5929 §4.1. */
function endPointHash(signatureAlgorithm: string): 'sha256' | 'sha384' | 'sha512' | null {
  const name = /sha-?(1|224|256|384|512)|md5/i.exec(signatureAlgorithm);
  if (!name) return null;
  if (name[1] === '384' || name[1] === '512') return `sha${name[1]}`;
  return name[1] === '224' ? null : 'sha256';
}
