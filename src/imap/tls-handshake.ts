/** The TLS handshake of one connection, at its beginning or after STARTTLS. Called by connection.ts. */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket, type SecureContext } from 'node:tls';

export type TlsOptions = Readonly<{
  secureContext: SecureContext;
  /** Who signs client certificates; none: no client is asked for one. */
  clientAuthorities: readonly X509Certificate[];
}>;

const HANDSHAKE_TIMEOUT_MS = 15_000;

/** The secured socket; null when the handshake failed, took too long, or `signal` fired. `onClose`: the socket is gone. */
export async function handshake(
  raw: Socket,
  { secureContext, clientAuthorities }: TlsOptions,
  { signal, onClose }: Readonly<{ signal: AbortSignal; onClose: () => void }>,
): Promise<TLSSocket | null> {
  const secure = new TLSSocket(raw, {
    isServer: true,
    secureContext,
    ALPNProtocols: ['imap'],
    ...(clientAuthorities.length > 0 ? { requestCert: true, rejectUnauthorized: false } : {}),
  });
  const done = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => raw.destroy(), HANDSHAKE_TIMEOUT_MS);
  secure.on('error', () => raw.destroy());
  secure.once('close', () => {
    done.resolve(false);
    onClose();
  });
  secure.once('secure', () => {
    done.resolve(true);
  });
  signal.addEventListener('abort', () => {
    done.resolve(false);
  });
  const isSecure = await done.promise;
  clearTimeout(timer);
  return isSecure ? secure : null;
}
