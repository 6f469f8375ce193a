import { expect, test } from 'vitest';
import { route } from '../../src/delivery/route.ts';

function asked(address: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const resolveRecipient = async (text: string) => {
    resolve(text);
    return { kind: 'unknown-user' } as const;
  };
  void route({ addresses: { resolveRecipient }, hostname: 'mx.example.org' }, address);
  return promise;
}

test('R1 the address is looked up as it is, whatever its local part looks like', async () => {
  for (const address of ['a%b@example.org', '"a@b"@example.org', 'b!a@example.org']) {
    expect(await asked(address)).toBe(address);
  }
});

test('R2 postmaster without a domain is this host’s', async () => {
  expect(await asked('PostMaster')).toBe('postmaster@mx.example.org');
  expect(await asked('postmaster@example.net')).toBe('postmaster@example.net');
});
