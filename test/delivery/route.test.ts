import { expect, test } from 'vitest';
import { refOf } from './memory-mailboxes.ts';
import { route } from '../../src/delivery/route.ts';

const REF = refOf('bob');
/** What was asked for, and the answer; `known` leads to a mailbox. */
async function routed(address: string, known = '', domains: readonly string[] = []) {
  const asked: string[] = [];
  const resolveRecipient = (text: string) => {
    asked.push(text);
    const found = { kind: 'mailbox', ref: REF, keyKind: 'symmetric' } as const;
    return Promise.resolve(text === known ? found : ({ kind: 'unknown-user' } as const));
  };
  const addresses = { resolveRecipient, localDomains: () => domains };
  const { kind } = await route({ addresses, hostname: 'mx.example.org' }, address);
  return { asked, kind };
}

test('R1 the address is looked up as it is, whatever its local part looks like', async () => {
  for (const address of ['a%b@example.org', '"a@b"@example.org', 'b!a@example.org', 'postmaster@example.net']) {
    expect(await routed(address)).toEqual({ asked: [address], kind: 'unknown-user' });
  }
});

test('R2 postmaster without a domain is this host’s, or that of the first domain that has one', async () => {
  const own = 'postmaster@mx.example.org';
  expect(await routed('PostMaster', own, ['a.example'])).toEqual({ asked: [own], kind: 'mailbox' });
  const found = await routed('postmaster', 'postmaster@b.example', ['a.example', 'b.example', 'c.example']);
  expect(found).toEqual({ asked: [own, 'postmaster@a.example', 'postmaster@b.example'], kind: 'mailbox' });
  expect((await routed('postmaster')).kind).toBe('unknown-user');
});
