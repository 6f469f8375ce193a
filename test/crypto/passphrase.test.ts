import { expect, test } from 'vitest';
import { areScryptParameters, passphraseKey } from '../../src/crypto/passphrase.ts';

const salt = Buffer.from('SodiumChloride');

test('the vector of RFC 7914 §12', async () => {
  using key = await passphraseKey('pleaseletmein', { logN: 14, r: 8, p: 1, salt });
  expect(Buffer.from(key.expose()).toString('hex')).toBe(
    '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2',
  );
});

test('PP1 a passphrase fits however its letters were composed', async () => {
  const parameters = { logN: 10, r: 8, p: 1, salt };
  using composed = await passphraseKey('Schl\u00fcssel', parameters);
  using decomposed = await passphraseKey('Schlu\u0308ssel', parameters);
  using other = await passphraseKey('Schlussel', parameters);
  expect(Buffer.from(decomposed.expose())).toEqual(Buffer.from(composed.expose()));
  expect(Buffer.from(other.expose())).not.toEqual(Buffer.from(composed.expose()));
});

test.for([
  { logN: 9 },
  { logN: 21 },
  { logN: 14.5 },
  { logN: Number.NaN },
  { r: 0 },
  { r: 17 },
  { p: 5 },
  { salt: Buffer.alloc(7) },
])('PP2 %o is refused before it takes memory', async (change) => {
  const parameters = { logN: 14, r: 8, p: 1, salt, ...change };
  expect(areScryptParameters(parameters)).toBe(false);
  await expect(passphraseKey('x', parameters)).rejects.toThrow('out of range');
});
