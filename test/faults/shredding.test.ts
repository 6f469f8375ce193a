/**
 * What is deleted is gone: within the checkpointer's interval no live file holds the wrapped key of an expunged
 * message, a deleted folder's messages, a deleted mailbox or a deleted organization (P21), and the last two leave a
 * receipt whose signature holds.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import SqliteDatabase from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { verifyReceipt, type Receipt } from '../../src/admin/receipt.ts';
import { DOMAIN, keyWorld, type KeyWorld } from './key-world.ts';

/** Of an interval of 20 ms; in operation the interval is at most a minute. */
const GONE_WITHIN_MS = 5000;
const SMALL = 'Subject: small\r\n\r\ntext\r\n';
const LARGE = `Subject: large\r\n\r\n${'0123456789abcde\r\n'.repeat(20_000)}`;

async function started(): Promise<KeyWorld> {
  const world = await keyWorld('local');
  onTestFinished(() => world[Symbol.asyncDispose]());
  await world.addUser('ann');
  for (const message of [SMALL, LARGE, SMALL]) {
    expect(await world.deliver('lmtp', 'ann', message)).toMatch(/^250 /);
  }
  return world;
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true);
}

/** Files that hold one of the texts. */
function holders(world: KeyWorld, secrets: readonly Buffer[]): string[] {
  return filesOf(world.folder).filter((file) => {
    const bytes = readFileSync(file);
    return secrets.some((secret) => bytes.includes(secret));
  });
}

function blobsOf(world: KeyWorld): string[] {
  return filesOf(join(world.folder, 'mailboxes')).filter((file) => file.includes('/blobs/'));
}

function column(file: string, sql: string): Buffer[] {
  const sqlite = new SqliteDatabase(file, { readonly: true });
  try {
    return sqlite.prepare(sql).pluck().all() as Buffer[];
  } finally {
    sqlite.close();
  }
}

async function untilGone(world: KeyWorld, secrets: readonly Buffer[]): Promise<void> {
  expect(secrets.length).toBeGreaterThan(0);
  const endMs = performance.now() + GONE_WITHIN_MS;
  while (holders(world, secrets).length > 0 && performance.now() < endMs) await delay(20);
  expect(holders(world, secrets)).toEqual([]);
}

async function mailboxFile(world: KeyWorld): Promise<string> {
  const { ref } = await world.accounts.mailboxes.require(`ann@${DOMAIN}`);
  return join(world.folder, 'mailboxes', ref.mailbox, 'mailbox.db');
}

test('P21 an expunged message leaves no wrapped key, record or blob; the others stay', async () => {
  const world = await started();
  const file = await mailboxFile(world);
  const sealed = 'SELECT wrapped_key FROM messages WHERE uid <= 2';
  const summaries = 'SELECT sealed_summary FROM bodies WHERE id <= 2';
  const secrets = [...column(file, sealed), ...column(file, summaries)];
  const kept = column(file, 'SELECT wrapped_key FROM messages WHERE uid = 3');
  expect([secrets.length, kept.length, blobsOf(world).length]).toEqual([4, 1, 1]);
  expect(holders(world, secrets)).not.toEqual([]); // the scan does find what is there
  const client = await world.login('ann');
  await client.select('INBOX');
  await client.ok('UID STORE 1:2 +FLAGS.SILENT (\\Deleted)');
  await client.ok('EXPUNGE');
  await untilGone(world, secrets);
  expect(blobsOf(world)).toEqual([]);
  expect(holders(world, kept)).not.toEqual([]);
  client[Symbol.dispose]();
});

test('P21 a deleted folder leaves neither the keys of its messages nor its sealed name', async () => {
  const world = await started();
  const file = await mailboxFile(world);
  const client = await world.login('ann');
  await client.ok('CREATE doomed');
  await client.select('INBOX');
  await client.ok('UID COPY 1:2 doomed');
  const folder = `(SELECT max(id) FROM folders)`;
  const names = column(file, `SELECT sealed_name FROM folders WHERE id = ${folder}`);
  const secrets = [...column(file, `SELECT wrapped_key FROM messages WHERE folder = ${folder}`), ...names];
  expect(secrets).toHaveLength(3);
  await client.ok('DELETE doomed');
  await untilGone(world, secrets);
  expect(blobsOf(world)).toHaveLength(1); // INBOX has it still
  client[Symbol.dispose]();
});

test('a mailbox that is closed right after an expunge leaves nothing either', async () => {
  const world = await started();
  const secrets = column(await mailboxFile(world), 'SELECT wrapped_key FROM messages');
  const client = await world.login('ann');
  await client.select('INBOX');
  await client.ok('UID STORE 1:* +FLAGS.SILENT (\\Deleted)');
  await client.ok('CLOSE');
  await client.command('LOGOUT');
  client[Symbol.dispose]();
  while (world.imap.connectionsCount() > 0) await delay(5);
  expect(await world.mailboxes.closeIdle()).toBe(1);
  await untilGone(world, secrets);
});

test('a deleted mailbox: its keys, credential and files are gone, its sessions over, and a signed receipt says so', async () => {
  const world = await started();
  const directory = join(world.folder, 'directory.db');
  const { ref } = await world.accounts.mailboxes.require(`ann@${DOMAIN}`);
  await world.run('alias.create', { alias: `sales@${DOMAIN}`, target: `ann@${DOMAIN}` });
  const secrets = [
    ...column(directory, `SELECT wrapped FROM wrapped_keys WHERE owner = '${ref.mailbox}'`),
    ...column(directory, 'SELECT sealed_credential FROM mailboxes'),
    ...column(directory, 'SELECT sealed_profile FROM mailboxes'),
    ...column(await mailboxFile(world), 'SELECT wrapped_key FROM messages'),
  ];
  expect(secrets).toHaveLength(6);
  const client = await world.login('ann');
  const { receipts } = (await world.run('mailbox.delete', { address: `ann@${DOMAIN}` })) as {
    receipts: { file: string; receipt: Receipt }[];
  };
  expect(await client.nextLine()).toBe('* BYE The mailbox was deleted');
  await untilGone(world, secrets);
  expect(filesOf(join(world.folder, 'mailboxes'))).toEqual([]);
  await expect(world.keys.leaseMailbox(ref, { use: { purpose: 'test', protocol: 'test' } })).rejects.toMatchObject({
    code: 'not-found',
  });

  const [{ file, receipt } = { file: '', receipt: null }] = receipts;
  expect(receipt?.statement).toMatchObject({
    what: 'mailbox deleted',
    ...ref,
    keys: [{ owner: ref.mailbox, epoch: 1, provider: 'local-keyring', rootKey: 'local:default' }],
    addressesCount: 2,
    by: 'admin',
  });
  const { pem } = (await world.run('receipt.publicKey', {})) as { pem: string };
  const text = readFileSync(file, 'utf8');
  expect(verifyReceipt(text, pem)).toEqual({ kind: 'valid', receipt });
  expect(text).not.toContain(DOMAIN);
  for (const folder of ['receipts/signing-key.pem', `receipts/${receipt!.statement.id}.json`]) {
    expect(statSync(join(world.folder, folder)).mode & 0o777).toBe(0o600);
  }
});

test('a deleted organization: every key is gone, each with its receipt; a receipt that was changed does not hold', async () => {
  const world = await started();
  await world.addUser('bob');
  const directory = join(world.folder, 'directory.db');
  const secrets = [
    ...column(directory, 'SELECT wrapped FROM wrapped_keys'),
    ...column(directory, 'SELECT sealed_name FROM organizations'),
  ];
  expect(secrets).toHaveLength(4);
  const contents = { domains: [DOMAIN], mailboxes: [`ann@${DOMAIN}`, `bob@${DOMAIN}`] };
  await world.run('org.delete', { organization: 'Example', ...contents });
  await untilGone(world, secrets);
  expect(world.keys.listKeys()).toEqual([]);
  expect(world.keys.cacheState()).toEqual({ mailboxKeysCount: 0, directoryKeysCount: 0 });
  const all = (await world.run('receipt.list', {})) as { file: string; receipt: Receipt }[];
  expect(all.map(({ receipt }) => receipt.statement.what)).toEqual([
    'mailbox deleted',
    'mailbox deleted',
    'organization deleted',
  ]);
  const { pem } = (await world.run('receipt.publicKey', {})) as { pem: string };
  const file = all[2]!.file;
  const text = readFileSync(file, 'utf8');
  expect(verifyReceipt(text, pem).kind).toBe('valid');
  expect(verifyReceipt(text.replace('"by": "admin"', '"by": "nobody"'), pem).kind).toBe('forged');
  expect(verifyReceipt(text.replace('"epoch": 1', '"epoch": 2'), pem).kind).toBe('forged');
  expect(verifyReceipt(text.replace('"statement": {', '"statement": { "more": 1,'), pem).kind).toBe('forged');
  expect(verifyReceipt('{}', pem).kind).toBe('malformed');
  const other = await keyWorld('local');
  onTestFinished(() => other[Symbol.asyncDispose]());
  const foreign = (await other.run('receipt.publicKey', {})) as { pem: string };
  expect(verifyReceipt(text, foreign.pem)).toEqual({ kind: 'other-key', key: all[2]!.receipt.key });
  writeFileSync(join(world.folder, 'receipts', `${'0'.repeat(32)}.json`), 'no receipt');
  expect(await world.run('receipt.list', {})).toHaveLength(3);
});
