/** WP1 WP2 WP3: what anybody may ask over HTTP. */
import { request as httpsRequest } from 'node:https';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { normalizeDomain } from '../../src/accounts/domain-name.ts';
import { makeSelfSigned } from '../../src/config/self-signed.ts';
import { HttpListeners } from '../../src/web/http.ts';
import { plainSite, publicSite } from '../../src/web/public.ts';

type Answer = Readonly<{ status: number; headers: IncomingHttpHeaders; body: string }>;
const POLICY = 'version: STSv1\nmode: testing\nmx: mail.example.org\nmax_age: 604800\n';

async function sites() {
  const { certificatePem: cert, keyPem: key } = makeSelfSigned({
    hostname: 'mail.example.org',
    notBefore: new Date(),
    validDays: 1,
  });
  const listeners = new HttpListeners();
  onTestFinished(() => listeners[Symbol.asyncDispose]());
  const challenge = (token: string): string | null => (token === 'abc' ? 'abc.thumbprint' : null);
  const servers = {
    hostname: 'mail.example.org',
    imap: { port: 993, isImplicitTls: true },
    submission: { port: 587, isImplicitTls: false },
  };
  const site = publicSite({ servers, mtaStsPolicy: POLICY, challenge, domainOf: normalizeDomain });
  const at = [{ host: '127.0.0.1', port: 0 }];
  const [https = 0] = await listeners.open(at, site, { cert, key, minimumVersion: 'TLSv1.2' });
  const [http = 0] = await listeners.open(at, plainSite({ challenge }, true));
  const ask = (
    scheme: 'http' | 'https',
    path: string,
    options: { host?: string; body?: string } = {},
  ): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const { host = 'autoconfig.example.org', body } = options;
      const send = scheme === 'http' ? httpRequest : httpsRequest;
      const sent = send(
        {
          host: '127.0.0.1',
          port: scheme === 'http' ? http : https,
          path,
          method: body === undefined ? 'GET' : 'POST',
          headers: { host },
          rejectUnauthorized: false,
        },
        (response) => {
          let text = '';
          response.on('data', (chunk: Buffer) => (text += chunk.toString()));
          response.on('end', () => {
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
          });
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  return ask;
}

test('WP1 autoconfig names servers and ports, for any address the same', async () => {
  const ask = await sites();
  const known = await ask('https', '/mail/config-v1.1.xml?emailaddress=ann%40example.org');
  const unknown = await ask('https', '/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=nobody%40example.org');
  expect(unknown.body).toBe(known.body);
  expect(known.headers['content-type']).toBe('text/xml; charset=utf-8');
  expect(known.body).toContain('<domain>example.org</domain>');
  expect(known.body.replaceAll(/\s/g, '')).toContain(
    '<hostname>mail.example.org</hostname><port>993</port><socketType>SSL</socketType>',
  );
  expect(known.body.replaceAll(/\s/g, '')).toContain('<port>587</port><socketType>STARTTLS</socketType>');
  expect((await ask('https', '/mail/config-v1.1.xml')).body).toBe(known.body); // the domain is in the host's name
});

test('WP3 what is no address or domain stands in no answer', async () => {
  const ask = await sites();
  for (const bad of ['"><x>@a.b', 'a@<b>.c', `a@${'x'.repeat(400)}`, '&lt;']) {
    const encoded = encodeURIComponent(bad);
    const { body } = await ask('https', `/mail/config-v1.1.xml?emailaddress=${encoded}`);
    expect(body).toMatch(/<domain>(example\.org|a\.b)<\/domain>/);
    expect(body).not.toMatch(/<x>|<b>|xxxx/);
    expect((await ask('https', `/mail.mobileconfig?email=${encoded}`)).status).toBe(400);
    expect(
      (await ask('https', '/autodiscover/autodiscover.xml', { body: `<EMailAddress>${bad}</EMailAddress>` })).status,
    ).toBe(400);
  }
});

test('autodiscover in both forms, a profile for Apple, and the MTA-STS policy', async () => {
  const ask = await sites();
  const request = '<Autodiscover><Request><EMailAddress>ann@example.org</EMailAddress></Request></Autodiscover>';
  const xml = await ask('https', '/Autodiscover/Autodiscover.xml', { body: request });
  expect(xml.body.replaceAll(/\s/g, '')).toContain(
    '<Type>IMAP</Type><Server>mail.example.org</Server><Port>993</Port><LoginName>ann@example.org</LoginName>',
  );
  const json = await ask('https', '/autodiscover/autodiscover.json?Email=a%40b.c&Protocol=AutodiscoverV1');
  expect(JSON.parse(json.body)).toEqual({
    Protocol: 'AutodiscoverV1',
    Url: 'https://mail.example.org/autodiscover/autodiscover.xml',
  });
  const profile = await ask('https', '/mail.mobileconfig?email=ann%2Bx%40example.org');
  expect(profile.headers['content-type']).toBe('application/x-apple-aspen-config');
  expect(profile.body).toContain('<key>IncomingMailServerUsername</key><string>ann+x@example.org</string>');
  expect((await ask('https', '/mail.mobileconfig?email=ann%2Bx%40example.org')).body).toBe(profile.body);
  const policy = await ask('https', '/.well-known/mta-sts.txt', { host: 'mta-sts.example.org' });
  expect([policy.body, policy.headers['content-type']]).toEqual([POLICY, 'text/plain']);
});

test('WP2 without TLS there are the answers to challenges, and the way to https', async () => {
  const ask = await sites();
  expect(await ask('http', '/.well-known/acme-challenge/abc')).toMatchObject({ status: 200, body: 'abc.thumbprint' });
  expect((await ask('http', '/mail/config-v1.1.xml?emailaddress=a%40b.c')).headers.location).toBe(
    'https://autoconfig.example.org/mail/config-v1.1.xml?emailaddress=a%40b.c',
  );
  expect((await ask('http', '/.well-known/acme-challenge/other')).body).not.toContain('thumbprint');
  expect((await ask('http', '//evil.example/x', { host: 'autoconfig.example.org' })).headers.location).toMatch(
    /^https:\/\/autoconfig\.example\.org\//,
  );
  expect(
    (await ask('http', '/x', { host: 'a b' }).catch((): Pick<Answer, 'headers'> => ({ headers: {} }))).headers.location,
  ).toBeUndefined();
  expect((await ask('https', '/nothing')).status).toBe(404);
  expect((await ask('http', '/x', { body: 'post' })).status).toBe(405);
});
