import { expect, test } from 'vitest';
import { isScramProof, scramSignature, scramVerifier, decoySalt } from '../../src/crypto/scram.ts';

// The examples of RFC 5802 §5 and RFC 7677 §3.
const VECTORS = [
  {
    algorithm: 'sha1',
    salt: 'QSXCR+Q6sek8bf92',
    authMessage:
      'n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j',
    proof: 'v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    signature: 'rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  },
  {
    algorithm: 'sha256',
    salt: 'W22ZaJ0SNY7soEsUEjb6gQ==',
    authMessage:
      'n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    proof: 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    signature: '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  },
] as const;

test.for(VECTORS)(
  'the example of the RFC for $algorithm',
  async ({ algorithm, salt, authMessage, proof, signature }) => {
    const parameters = { salt: Buffer.from(salt, 'base64'), iterationsCount: 4096 };
    const verifier = await scramVerifier(algorithm, 'pencil', parameters);
    const given = { proof: Buffer.from(proof, 'base64'), authMessage };
    expect(isScramProof(algorithm, verifier, given)).toBe(true);
    expect(scramSignature(algorithm, verifier, authMessage).toString('base64')).toBe(signature);
    for (let at = 0; at < given.proof.length; at += 1) {
      const bent = Buffer.from(given.proof);
      bent[at] = (bent[at] ?? 0) ^ 1;
      expect(isScramProof(algorithm, verifier, { proof: bent, authMessage })).toBe(false);
    }
    expect(isScramProof(algorithm, verifier, { proof: Buffer.alloc(0), authMessage })).toBe(false);
    expect(isScramProof(algorithm, verifier, { ...given, authMessage: `${authMessage},` })).toBe(false);
    const other = await scramVerifier(algorithm, 'pencils', parameters);
    expect(isScramProof(algorithm, other, given)).toBe(false);
  },
);

test('the salt of nobody stays the same, and differs from name to name and from secret to secret', () => {
  const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const salts = [decoySalt(one, 'a'), decoySalt(one, 'b'), decoySalt(two, 'a')].map((salt) => salt.toString('hex'));
  expect(new Set(salts).size).toBe(3);
  expect(decoySalt(one, 'a')).toEqual(decoySalt(one, 'a'));
  expect(decoySalt(one, 'a')).toHaveLength(16);
});
