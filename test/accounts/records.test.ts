import { expect, test } from 'vitest';
import { LOCAL_KEY, madeDomain, openFixture, deletion } from './fixture.ts';

/** The texts as they might lie in a file: raw, UTF-16, hex, and base64 at each of its three alignments. */
function spellings(text: string): Buffer[] {
  const raw = Buffer.from(text);
  const aligned = [0, 1, 2].map((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), raw]).toString('base64');
    return encoded.slice(shift === 0 ? 0 : shift + 1, Math.floor((shift + raw.length) / 3) * 4);
  });
  const utf16 = Buffer.from(text, 'utf16le');
  return [
    raw,
    utf16,
    Buffer.from(utf16).swap16(),
    Buffer.from(raw.toString('hex')),
    ...aligned.map((it) => Buffer.from(it)),
  ];
}

test('the search below would find a text in any of these spellings', () => {
  for (const before of ['', 'x', 'xx', 'xxx']) {
    const around = `${before}CanaryText${before}y`;
    const planted = [around, Buffer.from(around).toString('base64'), Buffer.from(around).toString('hex')].map((it) =>
      Buffer.from(it),
    );
    for (const file of [...planted, Buffer.from(around, 'utf16le'), Buffer.from(around, 'utf16le').swap16()]) {
      expect(spellings('CanaryText').some((it) => file.includes(it))).toBe(true);
    }
  }
});

test('R1 nothing a customer provides is on disk in the clear', async () => {
  await using fixture = await openFixture();
  const { organizations, domains, mailboxes, addresses, passwords, logins } = fixture.accounts;
  const texts = [
    'CanaryGmbhName',
    'canarylocalpart',
    'CanaryDisplayName',
    'canaryaliasname',
    'CanaryPassword',
    'canarygoneuser',
  ];
  const [name = '', local = '', displayName = '', alias = '', password = '', gone = ''] = texts;
  await domains.create('example.org', await organizations.create({ name, ...LOCAL_KEY }));
  const phc = await passwords.hash(password);
  const ref = await mailboxes.create({ address: `${local}@example.org`, displayName, credential: phc });
  await addresses.createAlias(`${alias}@example.org`, `${local}@example.org`);
  await logins.login(`${local}@example.org`, password, { address: '192.0.2.1' });
  await logins.login(`${gone}@example.org`, password, { address: '192.0.2.1' });
  await addresses.resolveRecipient(`${gone}@example.org`);
  await mailboxes.delete(await mailboxes.create({ address: `${gone}@example.org` }), deletion());
  await mailboxes.list(ref.organization, { limitCount: 9 });

  const disk = await fixture.closeAndReadAll();
  expect(disk.includes('example.org')).toBe(true); // the search does find what is in the clear
  const hashed = phc.split('$').slice(-2);
  for (const text of [...texts, ...texts.map((it) => it.toLowerCase()), phc, 'argon2id', ...hashed]) {
    for (const spelling of spellings(text))
      expect(disk.includes(spelling), `${text} as ${spelling.toString('latin1')}`).toBe(false);
  }
});

test('R1 a credential, profile or address moved to another row does not open', async () => {
  await using fixture = await openFixture();
  const organization = await madeDomain(fixture);
  const { mailboxes, addresses, logins } = fixture.accounts;
  const ann = await mailboxes.create({ address: 'ann@example.org', password: 'known to the thief' });
  const bob = await mailboxes.create({ address: 'bob@example.org', password: 'secret' });
  const move = (column: string): void => {
    const update = `UPDATE mailboxes SET ${column} = (SELECT ${column} FROM mailboxes WHERE id = ?) WHERE id = ?`;
    fixture.directory.prepare(update).run(ann.mailbox, bob.mailbox);
  };
  const damaged = { code: 'content-damaged' };
  move('sealed_credential');
  const stolen = logins.login('bob@example.org', 'known to the thief', { address: '192.0.2.1' });
  await expect(stolen).rejects.toMatchObject(damaged);
  move('sealed_profile');
  await expect(mailboxes.find('bob@example.org')).rejects.toMatchObject(damaged);
  fixture.directory
    .prepare('UPDATE addresses SET sealed_local = (SELECT sealed_local FROM addresses WHERE mailbox = ?)')
    .run(ann.mailbox);
  await expect(addresses.list(organization, bob.mailbox)).rejects.toMatchObject(damaged);
  await expect(addresses.list(organization, ann.mailbox)).resolves.toHaveLength(1);
});

test('R2 one address has different indexes in two organizations and two domains', async () => {
  await using fixture = await openFixture();
  await madeDomain(fixture);
  await madeDomain(fixture, 'example.net');
  const { organizations, domains, mailboxes } = fixture.accounts;
  await domains.create('example.com', await organizations.create({ name: 'Other', ...LOCAL_KEY }));
  for (const domain of ['example.org', 'example.net', 'example.com'])
    await mailboxes.create({ address: `ann@${domain}` });
  const rows = fixture.directory.prepare<{ local_index: Buffer }>('SELECT local_index FROM addresses').all();
  expect(new Set(rows.map((row) => row.local_index.toString('hex'))).size).toBe(3);
});
