import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type JWTPayload } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { OidcTokens } from '../../src/accounts/oidc.ts';
import { Sasl } from '../../src/sasl/mechanisms.ts';
import { madeDomain, openFixture } from './fixture.ts';

const ANN = 'ann@example.org';
const AUDIENCE = 'mail.example.org';
const { publicKey, privateKey } = await generateKeyPair('RS256');
const stranger = await generateKeyPair('RS256');

const claimsOf = (issuer: string): JWTPayload => ({ email: ANN, email_verified: true, iss: issuer, aud: AUDIENCE });

/** A provider on this machine; `answer` may replace what it says. */
async function provider(
  answer: (path: string, issuer: string) => { status?: number; body: unknown } | null = () => null,
) {
  const asked: string[] = [];
  const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'RS256', use: 'sig' }] };
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    const usual = path.endsWith('/keys') ? keys : { issuer, jwks_uri: `${issuer}/keys` };
    const { status = 200, body } = answer(path, issuer) ?? { body: usual };
    response.writeHead(status, { 'content-type': 'application/json', location: `${issuer}/elsewhere` });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/realm`;
  onTestFinished(() => void server.close());
  const token = (payload: JWTPayload = {}, key = privateKey, header = {}) =>
    new SignJWT({ ...claimsOf(issuer), exp: Math.floor(Date.now() / 1000) + 600, ...payload })
      .setProtectedHeader({ alg: 'RS256', kid: 'k1', ...header })
      .sign(key);
  const options = { issuer, audience: AUDIENCE, addressClaim: 'email', timeoutMs: 2000 };
  return { issuer, asked, token, options, stop: () => server.close() };
}

test('OT1 a token of the issuer for this server names its address', async () => {
  const { token, options, asked } = await provider();
  const tokens = new OidcTokens(options);
  expect(await tokens.addressOf(await token())).toBe(ANN);
  expect(await tokens.addressOf(await token())).toBe(ANN);
  expect(asked).toEqual(['/realm/.well-known/openid-configuration', '/realm/keys']); // once, then remembered
  expect(await new OidcTokens({ ...options, addressClaim: 'upn' }).addressOf(await token({ upn: 'x@y' }))).toBe('x@y');
});

test.for([
  ['another issuer', { iss: 'https://evil.example' }],
  ['another audience', { aud: 'shop.example.org' }],
  ['no audience', { aud: undefined as unknown as string }],
  ['expired', { exp: 1_000_000_000 }],
  ['never expires', { exp: undefined as unknown as number }],
  ['not yet', { nbf: 9_000_000_000 }],
  ['an address that is not verified', { email_verified: false }],
  ['an address of which nobody says that it is', { email_verified: undefined }],
  ['a word in place of that', { email_verified: 'true' }],
  ['no address', { email: undefined }],
  ['addresses in a list', { email: [ANN] }],
] as const)('OT1 refused: %s', async ([, payload]) => {
  const { token, options } = await provider();
  expect(await new OidcTokens(options).addressOf(await token(payload as JWTPayload))).toBeNull();
});

test('OT1 refused: another key, a key that it brings along, no signature, a shared secret, garbage', async () => {
  const { issuer, token, options, asked } = await provider();
  const tokens = new OidcTokens(options);
  const jwk = { ...(await exportJWK(stranger.publicKey)), kid: 'own' };
  expect(await tokens.addressOf(await token({}, stranger.privateKey))).toBeNull();
  expect(await tokens.addressOf(await token({}, stranger.privateKey, { jwk, kid: 'own' }))).toBeNull();
  expect(await tokens.addressOf(await token({}, stranger.privateKey, { jku: `${issuer}/own` }))).toBeNull();
  const claims = { ...claimsOf(issuer), exp: 9_000_000_000 };
  expect(await tokens.addressOf(new UnsecuredJWT(claims).encode())).toBeNull();
  const shared = new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'k1' });
  expect(await tokens.addressOf(await shared.sign(Buffer.from(JSON.stringify(await exportJWK(publicKey)))))).toBeNull();
  for (const garbage of ['', 'a.b.c', 'x'.repeat(100_000), '....', `${await token()}x`]) {
    expect(await tokens.addressOf(garbage)).toBeNull();
  }
  expect(asked.filter((path) => path.endsWith('/own'))).toEqual([]);
});

test.for([
  ['away', () => ({ status: 503, body: '' })],
  ['a redirect', () => ({ status: 302, body: '' })],
  ['another name', (_: string, issuer: string) => ({ body: { issuer: `${issuer}/x`, jwks_uri: `${issuer}/keys` } })],
  ['keys in the clear', (_: string, issuer: string) => ({ body: { issuer, jwks_uri: 'http://192.0.2.1/keys' } })],
  ['no end', () => ({ body: ' '.repeat(300_000) })],
  ['not JSON', () => ({ body: '<html>' })],
] as const)('OT3 a provider that cannot be used is an error, not a refusal: %s', async ([, answer]) => {
  const { token, options, asked } = await provider(answer);
  const tokens = new OidcTokens(options);
  await expect(tokens.addressOf(await token())).rejects.toMatchObject({ code: 'key-unavailable', retryable: true });
  await expect(tokens.addressOf(await token())).rejects.toMatchObject({ code: 'key-unavailable' });
  expect(asked).toHaveLength(2); // tried again; nothing else was asked
});

test('a provider that comes back serves again', async () => {
  let isAway = true;
  const { token, options } = await provider(() => (isAway ? { status: 500, body: '' } : null));
  const tokens = new OidcTokens(options);
  await expect(tokens.addressOf(await token())).rejects.toMatchObject({ code: 'key-unavailable' });
  isAway = false;
  expect(await tokens.addressOf(await token())).toBe(ANN);
});

test('OAUTHBEARER and XOAUTH2: the token decides, and may not be used for somebody else', async () => {
  const { issuer, token, options } = await provider();
  await using fixture = await openFixture({ oidc: options });
  await madeDomain(fixture);
  await fixture.accounts.mailboxes.create({ address: ANN });
  await fixture.accounts.mailboxes.create({ address: 'bob@example.org' });
  await fixture.accounts.addresses.createAlias('sales@example.org', ANN);
  const sasl = new Sasl(fixture.accounts);
  const channel = { peer: { address: '192.0.2.1' }, binding: () => null, certificateAddresses: () => null };
  const answer = async (name: string, text: string) => {
    const exchange = sasl.begin(name, channel)!;
    const step = await exchange.respond(Buffer.from(text));
    if (step.kind !== 'challenge') return step.kind;
    const error = JSON.parse(step.bytes.toString()) as Record<string, string>;
    expect(error['status']).toBe('invalid_token');
    expect(error['openid-configuration']).toBe(`${issuer}/.well-known/openid-configuration`);
    return `then ${(await exchange.respond(Buffer.from('\x01'))).kind}`;
  };
  const good = await token();
  const bearer = (user: string, value: string) => `n,${user},\x01host=x\x01port=143\x01auth=Bearer ${value}\x01\x01`;
  expect(await answer('OAUTHBEARER', bearer(`a=${ANN}`, good))).toBe('ok');
  expect(await answer('OAUTHBEARER', bearer('a=sales@example.org', good))).toBe('ok');
  expect(await answer('OAUTHBEARER', bearer('', good))).toBe('ok');
  expect(await answer('OAUTHBEARER', bearer('a=bob@example.org', good))).toBe('then refused');
  expect(await answer('OAUTHBEARER', bearer(`a=${ANN}`, await token({}, stranger.privateKey)))).toBe('then refused');
  expect(await answer('OAUTHBEARER', bearer('', await token({ email: 'nobody@example.org' })))).toBe('then refused');
  expect(await answer('OAUTHBEARER', `p=tls-exporter,,\x01auth=Bearer ${good}\x01\x01`)).toBe('malformed');
  expect(await answer('OAUTHBEARER', `n,,\x01auth=Basic ${good}\x01\x01`)).toBe('malformed');
  expect(await answer('XOAUTH2', `user=${ANN}\x01auth=Bearer ${good}\x01\x01`)).toBe('ok');
  expect(await answer('XOAUTH2', `user=bob@example.org\x01auth=Bearer ${good}\x01\x01`)).toBe('then refused');
  expect(await answer('XOAUTH2', `auth=Bearer ${good}\x01\x01`)).toBe('malformed');
});
