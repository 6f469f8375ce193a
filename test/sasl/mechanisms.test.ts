import fc from 'fast-check';
import { X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { Sasl } from '../../src/sasl/mechanisms.ts';
import type { SaslChannel, SaslStep } from '../../src/sasl/exchange.ts';
import { verifiedAddresses } from '../../src/sasl/external.ts';
import { madeDomain, openFixture, type Fixture } from '../accounts/fixture.ts';
import { AUTHORITY, CLIENT, CLIENT_OF_OTHER, OTHER_AUTHORITY, SERVER } from './certificates.ts';
import { ScramClient } from './scram-client.ts';

const USER = 'ann@example.org';
const PASSWORD = 'pencil';
const EXPORTER = Buffer.from('exported keying material of this connection');
const END_POINT = Buffer.from('hash of the certificate');

const plainChannel: SaslChannel = {
  peer: { address: '192.0.2.1', protocol: 'imap' },
  binding: () => null,
  certificateAddresses: () => null,
};
const tlsChannel: SaslChannel = {
  ...plainChannel,
  binding: (type) => (type === 'tls-exporter' ? EXPORTER : END_POINT),
};

async function withUser(options: Parameters<typeof openFixture>[0] = {}): Promise<Fixture> {
  const fixture = await openFixture(options);
  await madeDomain(fixture);
  await fixture.accounts.mailboxes.create({ address: USER, password: PASSWORD });
  return fixture;
}

/** Runs the exchange to its end; `answers` are given in turn. */
async function run(
  sasl: Sasl,
  { name, channel = plainChannel }: { name: string; channel?: SaslChannel },
  ...answers: (string | Buffer | ((challenge: Buffer) => Buffer))[]
): Promise<SaslStep> {
  const exchange = sasl.begin(name, channel)!;
  let step: SaslStep = { kind: 'challenge', bytes: Buffer.alloc(0) };
  for (const answer of answers) {
    if (step.kind !== 'challenge') break;
    step = await exchange.respond(typeof answer === 'function' ? answer(step.bytes) : Buffer.from(answer));
  }
  return step;
}

function scramSteps(client: ScramClient): ((challenge: Buffer) => Buffer)[] {
  return [
    () => client.first(),
    (bytes) => client.final(bytes),
    (bytes) => {
      expect(client.isServer(bytes)).toBe(true);
      return Buffer.alloc(0);
    },
  ];
}

test('M1 what can succeed on this connection is offered', async () => {
  await using fixture = await withUser();
  const sasl = new Sasl(fixture.accounts);
  expect(sasl.names(plainChannel)).toEqual(['SCRAM-SHA-256', 'PLAIN', 'LOGIN']);
  expect(sasl.names(tlsChannel)).toEqual(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256', 'PLAIN', 'LOGIN']);
  const certified = { ...tlsChannel, certificateAddresses: () => [USER] };
  expect(sasl.names(certified)[0]).toBe('EXTERNAL');
  expect(sasl.begin('CRAM-MD5', tlsChannel)).toBeNull();
  expect(sasl.begin('SCRAM-SHA-256-PLUS', plainChannel)).toBeNull();
  expect(new Sasl(fixture.accounts, ['plain']).names(plainChannel)).toEqual(['SCRAM-SHA-256', 'LOGIN']);
  await using withSha1 = await withUser({ scram: { iterationsCount: 4096, hasSha1: true } });
  const oidc = { issuer: 'https://id.example', audience: 'mail', addressClaim: 'email', timeoutMs: 1000 };
  await using withTokens = await withUser({ oidc });
  expect(new Sasl(withSha1.accounts).names(plainChannel)).toContain('SCRAM-SHA-1');
  expect(new Sasl(withTokens.accounts).names(plainChannel)).toContain('OAUTHBEARER');
});

test.for([
  ['PLAIN', [`\0${USER}\0${PASSWORD}`], 'ok'],
  ['PLAIN', [`${USER}\0${USER}\0${PASSWORD}`], 'ok'],
  ['PLAIN', [`\0${USER}\0wrong`], 'refused'],
  ['PLAIN', [`bob@example.org\0${USER}\0${PASSWORD}`], 'not-authorized'],
  ['PLAIN', [`\0${USER}`], 'malformed'],
  ['PLAIN', [`\0${USER}\0`], 'malformed'],
  ['PLAIN', [`\0${USER}\0${PASSWORD}\0`], 'malformed'],
  ['PLAIN', [Buffer.from([0, 0xff, 0, 0x61])], 'malformed'],
  ['LOGIN', [USER, PASSWORD], 'ok'],
  ['LOGIN', [USER, 'wrong'], 'refused'],
  ['LOGIN', [Buffer.from([0xff])], 'malformed'],
] as const)('%s %j: %s', async ([name, answers, kind]) => {
  await using fixture = await withUser();
  expect((await run(new Sasl(fixture.accounts), { name }, ...answers)).kind).toBe(kind);
});

test('LOGIN asks for the user name and then for the password', async () => {
  await using fixture = await withUser();
  const exchange = new Sasl(fixture.accounts).begin('LOGIN', plainChannel)!;
  expect(await exchange.respond(null)).toEqual({ kind: 'challenge', bytes: Buffer.from('Username:') });
  expect(await exchange.respond(Buffer.from(USER))).toEqual({ kind: 'challenge', bytes: Buffer.from('Password:') });
});

const BINDINGS = [
  ['SCRAM-SHA-256', plainChannel, {}, 'ok'],
  ['SCRAM-SHA-256', tlsChannel, {}, 'ok'],
  ['SCRAM-SHA-256', plainChannel, { header: 'y,,' }, 'ok'],
  // S1: the client was made to believe that there is no -PLUS.
  ['SCRAM-SHA-256', tlsChannel, { header: 'y,,' }, 'refused'],
  ['SCRAM-SHA-256', tlsChannel, { header: 'p=tls-exporter,,', binding: EXPORTER }, 'malformed'],
  ['SCRAM-SHA-256-PLUS', tlsChannel, { header: 'p=tls-exporter,,', binding: EXPORTER }, 'ok'],
  ['SCRAM-SHA-256-PLUS', tlsChannel, { header: 'p=tls-server-end-point,,', binding: END_POINT }, 'ok'],
  // The proof was made for another connection.
  ['SCRAM-SHA-256-PLUS', tlsChannel, { header: 'p=tls-exporter,,', binding: END_POINT }, 'refused'],
  ['SCRAM-SHA-256-PLUS', tlsChannel, { header: 'p=tls-exporter,,' }, 'refused'],
  ['SCRAM-SHA-256-PLUS', tlsChannel, { header: 'p=tls-unique,,', binding: EXPORTER }, 'malformed'],
  ['SCRAM-SHA-256-PLUS', tlsChannel, { header: 'n,,' }, 'malformed'],
  ['SCRAM-SHA-256', plainChannel, { header: `n,a=${USER},` }, 'ok'],
  ['SCRAM-SHA-256', plainChannel, { header: 'n,a=bob@example.org,' }, 'not-authorized'],
  ['SCRAM-SHA-256', plainChannel, { password: 'wrong' }, 'refused'],
  ['SCRAM-SHA-256', plainChannel, { user: 'nobody@example.org' }, 'refused'],
] as const;

test.for(BINDINGS)('S1 %s %#: %j', async ([name, channel, settings, kind]) => {
  await using fixture = await withUser();
  const client = new ScramClient({ user: USER, password: PASSWORD, ...settings });
  const step = await run(new Sasl(fixture.accounts), { name, channel }, ...scramSteps(client));
  expect(step.kind).toBe(kind);
  if (step.kind === 'ok') expect(step.login.username).toBe(USER);
});

test('S2 another nonce, another header and another order are refused', async () => {
  await using fixture = await withUser();
  const sasl = new Sasl(fixture.accounts);
  const bent = (change: (final: string) => string) => {
    const client = new ScramClient({ user: USER, password: PASSWORD });
    const [first, final] = scramSteps(client);
    return run(sasl, { name: 'SCRAM-SHA-256' }, first!, (bytes) => Buffer.from(change(final!(bytes).toString())));
  };
  expect((await bent((text) => text)).kind).toBe('challenge');
  expect((await bent((text) => text.replace(/r=[^,]+/, 'r=rOprNGfwEbeRWgbNEkqO'))).kind).toBe('malformed');
  expect((await bent((text) => text.replace('c=biws', 'c=eSws'))).kind).toBe('refused');
  expect((await bent((text) => text.replace('p=', 'x=1,p='))).kind).toBe('refused'); // the proof does not cover it
  expect((await bent((text) => text.replace(/,p=.*/, ''))).kind).toBe('malformed');
  const client = new ScramClient({ user: USER, password: PASSWORD });
  const steps = scramSteps(client).slice(0, 2);
  expect((await run(sasl, { name: 'SCRAM-SHA-256' }, ...steps, 'more')).kind).toBe('malformed');
});

test('S2 a mandatory extension that we do not know is refused. RFC 5802 §5.1', async () => {
  await using fixture = await withUser();
  const first = `n,,m=future,n=${USER},r=abc`;
  expect((await run(new Sasl(fixture.accounts), { name: 'SCRAM-SHA-256' }, first)).kind).toBe('malformed');
  const badName = 'n,,n=a=b,r=abc';
  expect((await run(new Sasl(fixture.accounts), { name: 'SCRAM-SHA-256' }, badName)).kind).toBe('malformed');
});

test('no response of any bytes makes a mechanism throw or succeed', async () => {
  await using fixture = await withUser({
    scram: { iterationsCount: 4096, hasSha1: true },
    oidc: { issuer: 'http://127.0.0.1:9', audience: 'mail', addressClaim: 'email', timeoutMs: 100 },
    loginLimits: {
      client: { freeCount: 1e9, spaceMs: 0, spaceMaxMs: 0, waitMaxMs: 1, memoryMs: 1, entriesMaxCount: 10 },
      clientAndAccount: { freeCount: 1e9, spaceMs: 0, spaceMaxMs: 0, waitMaxMs: 1, memoryMs: 1, entriesMaxCount: 10 },
    },
  });
  const sasl = new Sasl(fixture.accounts);
  const pieces = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc.constantFrom('n,,n=', 'p=tls-exporter,,', ',r=', 'c=', USER, '\0', '\x01', 'user=', ',', '=2C').map(Buffer.from),
  );
  const response = fc.array(pieces, { maxLength: 8 }).map((parts) => Buffer.concat(parts));
  const channel = { ...tlsChannel, certificateAddresses: () => ['nobody@example.org'] };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...sasl.names(channel)),
      fc.array(response, { minLength: 1, maxLength: 4 }),
      async (name, answers) => {
        expect((await run(sasl, { name, channel }, ...answers)).kind).not.toBe('ok');
      },
    ),
    { numRuns: 500 },
  );
});

test.for([
  ['the address in the certificate', '', 'ok'],
  ['the same, named', USER, 'ok'],
  ['another one', 'bob@example.org', 'refused'],
  ['garbage', 'a\0b', 'malformed'],
] as const)('EXTERNAL as %s', async ([, wanted, kind]) => {
  await using fixture = await withUser();
  await fixture.accounts.mailboxes.create({ address: 'bob@example.org', password: PASSWORD });
  const channel = { ...tlsChannel, certificateAddresses: () => ['not an address', 'x@example.net', USER] };
  expect((await run(new Sasl(fixture.accounts), { name: 'EXTERNAL', channel }, wanted)).kind).toBe(kind);
});

test('E1 a certificate counts when an authority of ours signed it for clients, in its time', () => {
  const nowMs = Date.UTC(2030, 0);
  const authorities = [OTHER_AUTHORITY, AUTHORITY].map((pem) => new X509Certificate(pem));
  const addresses = (pem: string, known = authorities, atMs = nowMs) =>
    verifiedAddresses(new X509Certificate(pem), known, atMs);
  expect(addresses(CLIENT)).toEqual(['u1@bench.test']);
  expect(addresses(CLIENT_OF_OTHER, authorities.slice(1))).toBeNull();
  expect(addresses(CLIENT_OF_OTHER)).toEqual(['u1@bench.test']);
  expect(addresses(SERVER)).toBeNull();
  expect(addresses(AUTHORITY)).toBeNull();
  expect(addresses(CLIENT, [])).toBeNull();
  expect(addresses(CLIENT, [new X509Certificate(CLIENT)])).toBeNull();
  expect(addresses(CLIENT, authorities, Date.UTC(2020, 0))).toBeNull();
  expect(addresses(CLIENT, authorities, Date.UTC(2200, 0))).toBeNull();
});
