import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { expect, test } from 'vitest';
import { makeSelfSigned } from '../../src/config/self-signed.ts';

const notBefore = new Date('2026-11-23T22:00:00Z');

test('C1 the certificate names host and localhost, signs itself and nothing else', () => {
  const { certificatePem } = makeSelfSigned({ hostname: 'mail.example', notBefore, validDays: 825 });
  const certificate = new X509Certificate(certificatePem);
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  expect(certificate.ca).toBe(false);
  expect(certificate.subject).toBe('CN=mail.example');
  expect(certificate.subjectAltName).toBe('DNS:mail.example, DNS:localhost, IP Address:127.0.0.1');
  expect(certificate.checkHost('mail.example')).toBe('mail.example');
  expect(certificate.checkHost('other.example')).toBeUndefined();
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  expect(certificate.validFromDate).toEqual(notBefore);
  expect(certificate.validToDate.toISOString()).toBe('2029-02-25T22:00:00.000Z');
});

test('certificates after 2049 are valid, too', () => {
  const { certificatePem } = makeSelfSigned({ hostname: 'localhost', notBefore, validDays: 36_500 });
  const certificate = new X509Certificate(certificatePem);
  expect(certificate.validToDate.getUTCFullYear()).toBe(2126);
  expect(certificate.subjectAltName).toBe('DNS:localhost, IP Address:127.0.0.1');
});

test('a long host name is not lost', () => {
  const hostname = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.example`;
  const { certificatePem } = makeSelfSigned({ hostname, notBefore, validDays: 1 });
  expect(new X509Certificate(certificatePem).checkHost(hostname)).toBe(hostname);
});

test('two certificates differ in key and serial number', () => {
  const [one, other] = [1, 2].map(() => {
    const { certificatePem } = makeSelfSigned({ hostname: 'localhost', notBefore, validDays: 1 });
    return new X509Certificate(certificatePem);
  });
  expect(one!.serialNumber).not.toBe(other!.serialNumber);
  expect(one!.fingerprint256).not.toBe(other!.fingerprint256);
});

test.for(['TLSv1.2', 'TLSv1.3'] as const)('a client that trusts it connects with %s', async (version) => {
  const { certificatePem, keyPem } = makeSelfSigned({ hostname: 'mail.example', notBefore: new Date(), validDays: 1 });
  const server = tls.createServer({ cert: certificatePem, key: keyPem, minVersion: version, maxVersion: version });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = tls.connect({ port, host: '127.0.0.1', servername: 'mail.example', ca: certificatePem });
  await once(client, 'secureConnect');
  expect(client.authorized).toBe(true);
  expect(client.getProtocol()).toBe(version);
  client.destroy();
  server.close();
});
