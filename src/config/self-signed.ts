/**
 * A self-signed certificate for a first start: an EC P-256 key and an X.509 v3 certificate, in DER
 * by hand, since node:crypto reads certificates and does not write them.
 *
 * C1  The certificate names the host and localhost, is good for servers only, and signs no other.
 *
 * Called by the admin command `init`.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

type CertificateRequest = Readonly<{ hostname: string; notBefore: Date; validDays: number }>;
type SelfSigned = Readonly<{ certificatePem: string; keyPem: string }>;

const DAY_MS = 86_400_000;
const OID = {
  commonName: '550403',
  basicConstraints: '551d13',
  keyUsage: '551d0f',
  extendedKeyUsage: '551d25',
  subjectAltName: '551d11',
  serverAuth: '2b06010505070301',
  ecdsaWithSha256: '2a8648ce3d040302',
} as const;

/** Makes key and certificate for `hostname`. RFC 5280 §4.1 is the layout. */
export function makeSelfSigned({ hostname, notBefore, validDays }: CertificateRequest): SelfSigned {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const name = sequence(set(sequence(oid(OID.commonName), der(0x0c, Buffer.from(hostname.slice(0, MAX_NAME_LENGTH))))));
  const notAfter = new Date(notBefore.getTime() + validDays * DAY_MS);
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))), // version 3
    integer(positive(randomBytes(16))),
    algorithm,
    name,
    sequence(time(notBefore), time(notAfter)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions(hostname))),
  );
  const certificate = sequence(body, algorithm, bitString(sign('sha256', body, privateKey)));
  return {
    certificatePem: pem('CERTIFICATE', certificate),
    keyPem: pem('PRIVATE KEY', privateKey.export({ type: 'pkcs8', format: 'der' })),
  };
}

const MAX_NAME_LENGTH = 64; // ub-common-name; the whole name stands in subjectAltName
const DER_TRUE = 0xff;

function extensions(hostname: string): Buffer[] {
  const names = [...new Set([hostname, 'localhost'])].map((host) => der(0x82, Buffer.from(host)));
  const loopback = der(0x87, Buffer.from([127, 0, 0, 1]));
  return [
    extension(OID.basicConstraints, { isCritical: true, value: sequence() }),
    extension(OID.keyUsage, { isCritical: true, value: der(0x03, Buffer.from([7, 0x80])) }), // digitalSignature
    extension(OID.extendedKeyUsage, { isCritical: false, value: sequence(oid(OID.serverAuth)) }),
    extension(OID.subjectAltName, { isCritical: false, value: sequence(...names, loopback) }),
  ];
}

function extension(id: string, { isCritical, value }: Readonly<{ isCritical: boolean; value: Buffer }>): Buffer {
  const critical = isCritical ? [der(0x01, Buffer.from([DER_TRUE]))] : [];
  return sequence(oid(id), ...critical, der(0x04, value));
}

/** Tag, length in the shortest form, content. */
function der(tag: number, content: Buffer): Buffer {
  const size = content.length;
  if (size < 0x80) return Buffer.concat([Buffer.from([tag, size]), content]);
  if (size < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, size]), content]);
  return Buffer.concat([Buffer.from([tag, 0x82, size >> 8, size & 0xff]), content]);
}

const sequence = (...members: readonly Buffer[]): Buffer => der(0x30, Buffer.concat(members));
const set = (...members: readonly Buffer[]): Buffer => der(0x31, Buffer.concat(members));
const explicit = (number: number, content: Buffer): Buffer => der(0xa0 | number, content);
const integer = (bytes: Buffer): Buffer => der(0x02, bytes);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const bitString = (bytes: Buffer): Buffer => der(0x03, Buffer.concat([Buffer.from([0]), bytes]));

/** As a positive integer in its shortest form: the first byte is neither zero nor negative. */
function positive(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([((bytes[0] ?? 0) & 0x3f) | 0x40]), bytes.subarray(1)]);
}

/** RFC 5280 §4.1.2.5: UTCTime until 2049, GeneralizedTime from 2050. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/\.\d+|[-:T]/g, ''); // 20261123220000Z
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits));
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
