import SqliteDatabase from 'better-sqlite3';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { RosterLine } from '../../src/gateway/lines.ts';
import { gatewayWorld } from './world.ts';

async function* told(...lines: readonly RosterLine[]): AsyncGenerator<RosterLine> {
  for (const line of lines) yield await Promise.resolve(line);
}

test('RO2 before the first roster nobody is known, and nobody is refused', async () => {
  const { roster } = await gatewayWorld();
  await expect(roster.resolveRecipient('ann@example.org')).rejects.toMatchObject({
    code: 'key-unavailable',
    retryable: true,
  });
});

test('recipients are found as on the main server: any case, with a tag, by an alias, suspended or not', async () => {
  const { main, ref, roster, collection } = await gatewayWorld();
  const { addresses, mailboxes, domains } = main.accounts;
  await addresses.createAlias('info@example.org', 'ann@example.org');
  await addresses.createAlias('a+b@example.org', 'ann@example.org');
  await collection.run();
  const found = { kind: 'mailbox', ref, keyKind: 'pair' };
  for (const local of ['ann', 'ANN', 'ann+tag', '"ann"', 'Info', 'a+b']) {
    expect(await roster.resolveRecipient(`${local}@Example.ORG`)).toEqual(found);
  }
  for (const local of ['a', 'a+c', 'annn', 'postmaster']) {
    expect(await roster.resolveRecipient(`${local}@example.org`)).toEqual({ kind: 'unknown-user' });
  }
  expect(await roster.resolveRecipient('ann@example.net')).toEqual({ kind: 'unknown-domain' });
  expect(roster.localDomains(5)).toEqual(['example.org']);
  await mailboxes.setState(ref, 'suspended');
  await collection.run();
  expect(await roster.resolveRecipient('ann@example.org')).toEqual({ kind: 'suspended' });
  await mailboxes.setState(ref, 'active');
  await domains.setState('example.org', 'suspended');
  await collection.run();
  expect(await roster.resolveRecipient('ann@example.org')).toEqual({ kind: 'suspended' });
});

test('RO1 a row that was changed, or moved to another name, does not open; no address is in the file', async () => {
  const { main, roster, collection, ticketFile } = await gatewayWorld();
  await main.accounts.mailboxes.create({ address: 'beatrice@example.org' });
  await collection.run();
  const file = new SqliteDatabase(join(ticketFile, '../gateway.db'));
  const rows = file.prepare('SELECT local_index AS id, sealed FROM recipients').all() as {
    id: Buffer;
    sealed: Buffer;
  }[];
  expect(rows).toHaveLength(2);
  for (const { id } of rows) expect(id.toString('latin1')).not.toContain('beatrice');
  const swap = file.prepare('UPDATE recipients SET sealed = ? WHERE local_index = ?');
  swap.run(rows[1]?.sealed, rows[0]?.id);
  swap.run(rows[0]?.sealed, rows[1]?.id);
  const keys = file.prepare('SELECT mailbox, sealed_public AS sealed FROM mailbox_keys').all() as {
    mailbox: string;
    sealed: Buffer;
  }[];
  file.prepare('UPDATE mailbox_keys SET sealed_public = ? WHERE mailbox = ?').run(keys[0]?.sealed, keys[1]?.mailbox);
  file.close();
  for (const local of ['ann', 'beatrice']) {
    await expect(roster.resolveRecipient(`${local}@example.org`)).rejects.toMatchObject({ code: 'content-damaged' });
  }
  const [, moved] = keys;
  const known = moved && roster.mailbox(moved.mailbox as never);
  await expect(roster.publicKey({ ...known!.ref, epoch: known!.epoch })).rejects.toMatchObject({
    code: 'content-damaged',
  });
});

test('RO3 a roster that is not whole changes nothing', async () => {
  const { roster, collection } = await gatewayWorld();
  await collection.run();
  const before = roster.state();
  const domain = { kind: 'domain', name: 'example.com', isSuspended: false } as const;
  const broken: RosterLine[][] = [
    [],
    [domain],
    [{ kind: 'end', linesCount: 1 }],
    [domain, { kind: 'end', linesCount: 2 }],
    [{ kind: 'end', linesCount: 0 }, domain],
  ];
  for (const lines of broken) {
    await expect(roster.replace('other', told(...lines))).rejects.toMatchObject({ code: 'invalid-argument' });
    expect(roster.state()).toEqual(before);
    expect(await roster.resolveRecipient('ann@example.org')).toMatchObject({ kind: 'mailbox' });
  }
  await roster.replace('other', told(domain, { kind: 'end', linesCount: 1 }));
  expect(roster.localDomains(5)).toEqual(['example.com']);
  expect(await roster.resolveRecipient('ann@example.org')).toEqual({ kind: 'unknown-domain' });
});
