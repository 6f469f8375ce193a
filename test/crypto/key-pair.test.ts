import { AEAD_AES_128_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from 'hpke';
import { expect, test } from 'vitest';
import { epoch } from '../../src/base/ids.ts';
import type { MessageKeyContext } from '../../src/crypto/context.ts';
import { KeyPairOpener, publicKeyOf, sealMessageKey } from '../../src/crypto/key-pair.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import * as ids from './fixtures.ts';

const { organization, mailbox, message, body } = ids;
const CONTEXT: MessageKeyContext = {
  kind: 'message-key',
  organization,
  mailbox,
  epoch: epoch(1),
  message,
  body,
  commitment: Buffer.alloc(32, 9),
};
const SUITES = [0x11, 0x12] as const;
/** RFC 9180 §A.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, mode base. */
const A1 = {
  ikmR: '6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037',
  pkRm: '3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d',
  enc: '37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431',
  info: '4f6465206f6e2061204772656369616e2055726e',
  aad: '436f756e742d30',
  ct: 'f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a',
  pt: '4265617574792069732074727574682c20747275746820626561757479',
};
const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));
const seed = (fill = 7): SecretBytes => new SecretBytes(new Uint8Array(32).fill(fill));

async function sealed(suite: number, context = CONTEXT): Promise<{ publicKey: Buffer; sealed: Buffer; key: Buffer }> {
  const key = SecretBytes.random(32);
  const publicKey = await publicKeyOf(seed(), suite);
  return { publicKey, sealed: await sealMessageKey(publicKey, context, key, 12_345), key: Buffer.from(key.expose()) };
}
const opening = (given: Uint8Array, context = CONTEXT, from = seed()): Promise<unknown> =>
  new KeyPairOpener(from).open(context, given);

test('RFC 9180 §A.1: the pair of a seed, and what was sealed to it', async () => {
  const own = await publicKeyOf(new SecretBytes(bytes(A1.ikmR)), 0x11);
  expect(own.toString('hex')).toBe(`11${A1.pkRm}`);
  const hpke = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_128_GCM);
  const pair = await hpke.DeriveKeyPair(bytes(A1.ikmR));
  const parameters = { info: bytes(A1.info), aad: bytes(A1.aad) };
  expect(Buffer.from(await hpke.Open(pair, bytes(A1.enc), bytes(A1.ct), parameters)).toString('hex')).toBe(A1.pt);
});

test.for(SUITES)('a message key goes to a public key and back (suite %i)', async (suite) => {
  const it = await sealed(suite);
  expect(it.publicKey[0]).toBe(suite);
  expect(it.sealed[0]).toBe(suite);
  expect(it.sealed).toHaveLength(suite === 0x11 ? 1 + 32 + 56 : 1 + 1120 + 56);
  const { key, sizeBytes } = await new KeyPairOpener(seed()).open(CONTEXT, it.sealed);
  expect(Buffer.from(key.expose())).toEqual(it.key);
  expect(sizeBytes).toBe(12_345);
});

test('the hybrid suite is used where this Node has it', async () => {
  expect((await publicKeyOf(seed()))[0]).toBe(0x12);
});

test.for(SUITES)('P1 it opens with its own pair and context only (suite %i)', async (suite) => {
  const it = await sealed(suite);
  const others: MessageKeyContext[] = [
    { ...CONTEXT, organization: ids.otherOrganization },
    { ...CONTEXT, mailbox: ids.otherMailbox },
    { ...CONTEXT, epoch: epoch(2) },
    { ...CONTEXT, message: ids.otherMessage },
    { ...CONTEXT, body: ids.otherBody },
    { ...CONTEXT, commitment: Buffer.alloc(32, 8) },
  ];
  for (const other of others)
    await expect(opening(it.sealed, other)).rejects.toMatchObject({ code: 'content-damaged' });
  await expect(opening(it.sealed, CONTEXT, seed(8))).rejects.toMatchObject({ code: 'content-damaged' });
  for (const at of [0, 1, 40, it.sealed.length - 1]) {
    const altered = Buffer.from(it.sealed);
    altered.writeUInt8(altered.readUInt8(at) ^ 1, at);
    await expect(opening(altered)).rejects.toMatchObject({ code: 'content-damaged' });
  }
  for (const cut of [0, 1, 33, it.sealed.length - 1]) {
    await expect(opening(it.sealed.subarray(0, cut))).rejects.toMatchObject({ code: 'content-damaged' });
  }
});

test('P2 unknown suites are refused', async () => {
  const { sealed: given } = await sealed(0x11);
  given[0] = 0x13;
  await expect(opening(given)).rejects.toMatchObject({ code: 'content-damaged' });
  using key = SecretBytes.random(32);
  for (const publicKey of [Buffer.of(0x13), Buffer.of(), Buffer.of(0x11, 1, 2)]) {
    await expect(sealMessageKey(publicKey, CONTEXT, key, 1)).rejects.toMatchObject({ code: 'content-damaged' });
  }
});
