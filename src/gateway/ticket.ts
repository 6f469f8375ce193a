/**
 * A gateway's ticket: the file by which its main server finds and trusts it, and it the main server.
 *
 * TI1  The ticket is made once, by `gateway init`, readable by its owner only. It holds a secret: it is carried to the main
 *      server as a private key would be, and opens no mail.
 * TI2  The certificate in it is the gateway's own, and the only one that the main server accepts.
 *
 * Called by the other files of this folder and by gateway-app.ts.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { ServerError } from '../base/errors.ts';
import { makeSelfSigned } from '../config/self-signed.ts';
import { GATEWAY_SECRET_BYTES, GatewayKeys } from '../crypto/gateway-secret.ts';
import { SecretBytes } from '../crypto/secret-bytes.ts';

/** `address`: where the gateway is collected from, `host:port`. `certificatePem`: the one that it shows there. */
export type Ticket = Readonly<{ address: string; host: string; port: number; certificatePem: string }>;
/** The gateway's own part, in a file beside the ticket. */
type GatewayFiles = Readonly<{ ticketFile: string; keyFile: string }>;

const VERSION = 1;
const VALID_DAYS = 3650; // nobody but the main server looks at the certificate, and it has it from the ticket
const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/;

/** Makes the ticket and the private key of its certificate, unless both are there. Gives the files it made. */
export function makeTicket({ ticketFile, keyFile }: GatewayFiles, address: string): readonly string[] {
  const parts = addressParts(address);
  if (!parts) throw new ServerError('invalid-argument', { clientText: `${address} is not HOST:PORT.` });
  const [hasTicket, hasKey] = [existsSync(ticketFile), existsSync(keyFile)];
  if (hasTicket && hasKey) return [];
  if (hasTicket || hasKey) {
    const [present, missing] = hasTicket ? [ticketFile, keyFile] : [keyFile, ticketFile];
    throw new ServerError('not-allowed', { clientText: `${present} is there, but ${missing} is not. Remove it.` });
  }
  const made = makeSelfSigned({ hostname: parts.host, notBefore: new Date(), validDays: VALID_DAYS });
  const secret = randomBytes(GATEWAY_SECRET_BYTES).toString('hex');
  const ticket = { version: VERSION, address, certificate: made.certificatePem, secret };
  writeFileSync(keyFile, made.keyPem, { mode: 0o600, flag: 'wx' });
  writeFileSync(ticketFile, `${JSON.stringify(ticket, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  return [keyFile, ticketFile];
}

/** Reads a ticket; the caller disposes `keys`. Throws ServerError 'not-found', 'invalid-argument'. */
export function readTicket(file: string): Ticket & Readonly<{ keys: GatewayKeys }> {
  const value = parsed(file);
  const { version, address, certificate, secret } = value;
  const parts = typeof address === 'string' ? addressParts(address) : null;
  const isWhole = version === VERSION && typeof certificate === 'string' && typeof secret === 'string' && parts;
  if (!isWhole || !/^[0-9a-f]{64}$/.test(secret)) {
    throw new ServerError('invalid-argument', { clientText: `${file} is not a ticket of a gateway.` });
  }
  using bytes = SecretBytes.copyOf(Buffer.from(secret, 'hex'));
  return { address: String(address), ...parts, certificatePem: certificate, keys: new GatewayKeys(bytes) };
}

function parsed(file: string): Readonly<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const clientText = `The ticket ${file} cannot be read. A gateway makes it: sealpost gateway init`;
    throw new ServerError('not-found', { clientText, cause });
  }
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // the parser's message would quote the secret
  }
}

function addressParts(address: string): { host: string; port: number } | null {
  const [, ipv6, name, port] = ADDRESS.exec(address) ?? [];
  const host = ipv6 ?? name;
  return host === undefined || Number(port) > 65_535 ? null : { host, port: Number(port) };
}
