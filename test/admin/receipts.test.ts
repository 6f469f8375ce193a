/** What operators see of suspensions, deletions and their receipts. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { madeDomain } from '../accounts/fixture.ts';
import { openAdmin } from './fixture.ts';

test('sessions end at a suspension, a new password and a deletion', async () => {
  await using admin = await openAdmin();
  await madeDomain(admin.base);
  const { mailbox } = await admin.base.accounts.mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  await admin.run('mailbox suspend ann@example.org');
  await admin.run('mailbox resume ann@example.org');
  await admin.run('password set ann@example.org', 'other\n');
  await admin.run('org suspend Example');
  await admin.run('org resume Example');
  expect(admin.ended).toEqual([
    `${mailbox}: The mailbox is suspended`,
    `${mailbox}: The password was changed`,
    'organization: The organization is suspended',
  ]);
  await admin.run('mailbox delete ann@example.org --yes');
  expect(admin.ended.at(-1)).toBe(`${mailbox}: The mailbox was deleted`);
  expect(admin.erased).toEqual([mailbox]);
});

test('a deletion prints its receipt, which can be listed, and checked with or without the server', async () => {
  await using admin = await openAdmin();
  await madeDomain(admin.base);
  const { mailbox } = await admin.base.accounts.mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  expect((await admin.run('receipt list')).out).toMatch(/^COMPLETED.*\n$/);
  const deleted = await admin.run('mailbox delete ann@example.org --yes');
  const [, file = ''] = /^Receipt: (.*)$/m.exec(deleted.out) ?? [];
  expect((await admin.run('receipt list')).out).toContain(file);
  expect((await admin.run('receipt list')).out).toContain(mailbox);

  const checked = await admin.run(`receipt verify ${file}`);
  expect(checked).toMatchObject({ code: 0 });
  expect(checked.out).toContain(`key destroyed: ${mailbox}, epoch 1, wrapped by local:default`);
  const publicKey = join(admin.base.folder, 'receipts/public-key.pem');
  const alone = await admin.run(`--socket /nowhere receipt verify ${file} --public-key ${publicKey}`);
  expect([alone.code, alone.out]).toEqual([0, checked.out]);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(await admin.json(`receipt verify ${file}`));

  const forged = join(admin.base.folder, 'forged.json');
  writeFileSync(forged, readFileSync(file, 'utf8').replace(mailbox, '0'.repeat(32)));
  expect(await admin.run(`receipt verify ${forged}`)).toMatchObject({ code: 1, out: '' });
  expect((await admin.run(`receipt verify ${forged}`)).error).toContain('The signature is wrong');
  expect((await admin.run(`receipt verify ${publicKey}`)).error).toContain('This is no receipt');
  expect((await admin.run('receipt verify /nowhere')).error).toContain('cannot be read');
});

test('deleting an organization prints the receipts of everything in it', async () => {
  await using admin = await openAdmin();
  await madeDomain(admin.base);
  await admin.base.accounts.mailboxes.create({ address: 'ann@example.org', password: 'pw' });
  const deleted = await admin.run('org delete Example --domains example.org --mailboxes ann@example.org --yes');
  expect(deleted.out.match(/^Receipt: /gm)).toHaveLength(2);
});

test('dropping caches closes what is idle, too', async () => {
  await using admin = await openAdmin();
  await madeDomain(admin.base);
  expect((await admin.run('cache drop')).out).toBe('Forgot the keys of 1 organizations, closed 3 mailboxes.\n');
});
