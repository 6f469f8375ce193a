import { createHash, X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import type { TlsPolicy } from '../../src/outbound/tls-policy.ts';
import { certificate } from '../smtp/mail-client.ts';
import { startSmtpRemote, type RemoteScript } from '../support/smtp-remote.ts';
import { sendingParts } from './outbound-world.ts';

const TLS = certificate('mx.far.test');
const OTHER = certificate('mx.far.test');
const never = new AbortController().signal;
const offersTls: RemoteScript = { tls: TLS, ehlo: (isTls) => (isTls ? ['PIPELINING'] : ['PIPELINING', 'STARTTLS']) };

async function parts(script: RemoteScript, ca?: readonly string[]) {
  const remote = await startSmtpRemote(script);
  const made = await sendingParts({ port: remote.port, ...(ca ? { ca } : {}) });
  const take = (policy: TlsPolicy, relay: 'tls' | 'starttls' | null = null) =>
    made.sessions.take(
      {
        hop: { name: 'mx.far.test', port: remote.port, relay: relay && { tls: relay, credentials: null } },
        addresses: ['127.0.0.1'],
        policy,
      },
      never,
    );
  return { remote, take, sessions: made.sessions };
}

function dane(cert: string): TlsPolicy {
  const key = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' });
  const data = new Uint8Array(createHash('sha256').update(key).digest());
  return {
    kind: 'dane',
    records: [{ type: 'TLSA', usage: 3, selector: 1, matchingType: 1, data }],
    names: ['mx.far.test'],
  };
}

const VERIFIED = { kind: 'verified', names: ['mx.far.test'] } as const;

test('TLS is used where it is offered, whoever has signed the certificate', async () => {
  const { take } = await parts(offersTls);
  const client = await take({ kind: 'opportunistic' });
  expect(client.tls).not.toBe(null);
  expect([...client.extensions.keys()]).toEqual(['PIPELINING']);
});

test('SE2 where TLS is opportunistic, a broken handshake is followed by a connection without (RFC 7435 §3)', async () => {
  const broken = { ehlo: ['STARTTLS'], answer: (line: string) => (line === 'STARTTLS' ? '220 go' : undefined) };
  const { take, remote } = await parts(broken);
  expect((await take({ kind: 'opportunistic' })).tls).toBe(null);
  expect(remote.connectionsCount()).toBe(2);
  const refusing = { ehlo: ['STARTTLS'], answer: (line: string) => (line === 'STARTTLS' ? '454 4.7.0 no' : undefined) };
  expect((await (await parts(refusing)).take({ kind: 'opportunistic' })).tls).toBe(null);
});

test.for([
  ['encrypted', { kind: 'encrypted' }],
  ['verified', VERIFIED],
  ['DANE', dane(TLS.cert)],
] as const)('SE2 %s is not lowered: no STARTTLS, no mail', async ([, policy]) => {
  const without = await parts({ ehlo: ['PIPELINING'] });
  await expect(without.take(policy)).rejects.toMatchObject({ fault: 'tls' });
  expect(without.remote.lines.join()).not.toContain('MAIL');
  const broken = { ehlo: ['STARTTLS'], answer: (line: string) => (line === 'STARTTLS' ? '220 go' : undefined) };
  const damaged = await parts(broken);
  await expect(damaged.take(policy)).rejects.toMatchObject({ fault: 'tls' });
  expect(damaged.remote.connectionsCount()).toBe(1);
});

test('verified asks for a certificate of the right name that an authority signed', async () => {
  const { take } = await parts(offersTls);
  await expect(take(VERIFIED)).rejects.toMatchObject({ fault: 'tls' });
  expect((await take({ kind: 'encrypted' })).tls).not.toBe(null);
  const trusting = await parts(offersTls, [TLS.cert]);
  expect((await trusting.take(VERIFIED)).tls).not.toBe(null);
  await expect(trusting.take({ kind: 'verified', names: ['other.test'] })).rejects.toMatchObject({ fault: 'tls' });
});

test('DANE asks for the certificate that the DNS names, and for no authority', async () => {
  const { take } = await parts(offersTls);
  expect((await take(dane(TLS.cert))).tls).not.toBe(null);
  await expect(take(dane(OTHER.cert))).rejects.toMatchObject({ fault: 'tls' });
});

test('SE1 a session is used again for the same host and policy only', async () => {
  const { take, remote, sessions } = await parts(offersTls);
  const target = (policy: TlsPolicy) => ({
    hop: { name: 'mx.far.test', port: remote.port, relay: null },
    addresses: ['127.0.0.1'],
    policy,
  });
  const first = await take({ kind: 'opportunistic' });
  await sessions.put(target({ kind: 'opportunistic' }), first);
  const second = await take({ kind: 'encrypted' });
  expect(second).not.toBe(first);
  expect(await take({ kind: 'opportunistic' })).toBe(first);
  expect(await take({ kind: 'opportunistic' })).not.toBe(first); // it is in use
  expect(remote.connectionsCount()).toBe(3);
});

test('SE1 a session that the remote has ended is replaced', async () => {
  const { take, remote, sessions } = await parts({
    ...offersTls,
    answer: (line) => (line === 'RSET' ? '421 bye' : undefined),
  });
  const policy = { kind: 'opportunistic' } as const;
  const first = await take(policy);
  const hop = { name: 'mx.far.test', port: remote.port, relay: null };
  await sessions.put({ hop, addresses: ['127.0.0.1'], policy }, first);
  expect(await take(policy)).not.toBe(first);
});
