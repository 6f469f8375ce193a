/**
 * P4, P5: bits that flip, rows that are swapped, blobs that are cut, missing or too long. What is damaged is an error or a
 * named fault, never other bytes, and everything beside it is served.
 */
import { globSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ServerError } from '../../src/base/errors.ts';
import type { FolderId, Uid } from '../../src/base/ids.ts';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import type { Mailbox } from '../../src/mailbox/mailbox.ts';
import { seededRandom } from '../support/ledger.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';
import { appendTo, bytesOf, flatten, folderIdOf } from '../support/messages.ts';
import { DOMAIN, PASSWORD, TestServer } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { ImapClient, SmtpClient } from '../support/wire.ts';

const SEED = 20_270_331;
const random = seededRandom(SEED);
const directory = temporaryDirectory();
const BODY = Buffer.from(`Subject: large\r\n\r\n${'a line of it\r\n'.repeat(4000)}`); // four chunks
const SMALL = Buffer.from('Subject: small\r\n\r\nx\r\n');
const CHUNK_BYTES = 16_400;
let world: MailboxWorld;
let ref: MailboxRef;
let mailbox: Mailbox;
let inbox: FolderId;

beforeAll(async () => {
  world = await mailboxWorld(directory, { inlineBodyMaxBytes: 1000 });
  ref = await world.addMailbox();
  mailbox = await world.open(ref);
  inbox = await folderIdOf(mailbox, 'INBOX');
  for (const message of [BODY, SMALL]) await appendTo(mailbox, inbox, message, { flags: ['\\Seen', 'work'] });
  await appendTo(mailbox, inbox, SMALL);
});
afterAll(async () => {
  mailbox[Symbol.dispose]();
  await world[Symbol.asyncDispose]();
});

const uid = (value: number): Uid => value as Uid;
const folder = (): string => join(directory, 'mailboxes', ref.mailbox);
const blob = (): string => join(folder(), globSync('blobs/??/*', { cwd: folder() })[0] ?? '');

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return 'served';
  } catch (error) {
    if (error instanceof ServerError) return error.code;
    throw error;
  }
}

/** With the blob as `change` makes it, then as it was. */
async function withBlob(change: (bytes: Buffer) => Buffer, look: () => Promise<void>): Promise<void> {
  const bytes = readFileSync(blob());
  const file = blob();
  writeFileSync(file, change(Buffer.from(bytes)));
  try {
    await look();
  } finally {
    writeFileSync(file, bytes);
  }
}

function flipped(bytes: Buffer, bit: number): Buffer {
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return bytes;
}

test(`F9 P4 a flipped bit anywhere in a blob is an error, never other bytes (seed ${String(SEED)})`, async () => {
  const sizeBytes = statSync(blob()).size;
  const starts = [
    0,
    4,
    5,
    6,
    8,
    31,
    32,
    63,
    64,
    64 + CHUNK_BYTES - 16,
    64 + CHUNK_BYTES,
    sizeBytes - 16,
    sizeBytes - 1,
  ];
  const bits = [
    ...starts.map((byte) => byte * 8 + 3), // magic, version, suite, reserve, salt, commitment, chunks, tags
    ...Array.from({ length: 300 }, () => Math.floor(random() * sizeBytes * 8)),
  ];
  for (const bit of bits) {
    await withBlob(
      (bytes) => flipped(bytes, bit),
      async () => {
        const code = await codeOf(() => bytesOf(mailbox, inbox, uid(1)));
        expect([bit, ['content-damaged', 'key-mismatch'].includes(code)]).toEqual([bit, true]);
      },
    );
  }
  expect(await bytesOf(mailbox, inbox, uid(1))).toEqual(BODY);
  expect(await bytesOf(mailbox, inbox, uid(2))).toEqual(SMALL);
});

test('F11 P4 a blob that is cut at any border, lengthened, or gone is an error; the folder lists, the doctor names it', async () => {
  const sizeBytes = statSync(blob()).size;
  const borders = [0, 8, 32, 64];
  for (let at = 64 + CHUNK_BYTES; at < sizeBytes; at += CHUNK_BYTES) borders.push(at - 16, at);
  const look = async (): Promise<void> => {
    expect(await codeOf(() => bytesOf(mailbox, inbox, uid(1)))).toBe('content-damaged');
    expect(await flatten(mailbox.rows(inbox, [{ first: 1, last: 9 }]))).toHaveLength(3);
    expect((await mailbox.examine()).map(({ what }) => what)).toEqual([
      'the file of a body is missing or has another size',
    ]);
  };
  for (const length of [...borders, sizeBytes - 1]) await withBlob((bytes) => bytes.subarray(0, length), look);
  for (const more of [1, 16, CHUNK_BYTES]) await withBlob((bytes) => Buffer.concat([bytes, Buffer.alloc(more)]), look);
  const file = blob();
  renameSync(file, `${folder()}/away`);
  await look();
  renameSync(`${folder()}/away`, file);
  expect(await bytesOf(mailbox, inbox, uid(1))).toEqual(BODY);
  writeFileSync(join(file, '..', 'ab'.repeat(16)), 'sealed by nobody');
  expect([await mailbox.examine(), await bytesOf(mailbox, inbox, uid(1))]).toEqual([[], BODY]); // too young to be garbage
  rmSync(join(file, '..', 'ab'.repeat(16)));
});

/** Runs `look` with a value of one row changed, then puts it back. */
async function withColumn(
  { table, column, where }: Readonly<{ table: string; column: string; where: string }>,
  change: (value: Buffer) => Buffer,
  look: () => Promise<void>,
): Promise<void> {
  const sqlite = new SqliteDatabase(join(folder(), 'mailbox.db'));
  const value = sqlite.prepare(`SELECT ${column} AS value FROM ${table} WHERE ${where}`).get() as { value: Buffer };
  const set = sqlite.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${where}`);
  try {
    set.run(change(Buffer.from(value.value)));
    await look();
  } finally {
    set.run(value.value);
    sqlite.close();
  }
}

const summaryOf = async (of: Uid): Promise<unknown> => {
  using message = await mailbox.message(inbox, of);
  return message?.summary;
};
const namesFail = async (): Promise<void> => {
  if ((await mailbox.nameFaults()).length > 0) throw new ServerError('content-damaged', { clientText: 'named' });
};

test.for([
  ['messages', 'wrapped_key', 'uid = 2', () => bytesOf(mailbox, inbox, uid(2))],
  ['messages', 'message', 'uid = 2', () => bytesOf(mailbox, inbox, uid(2))],
  ['bodies', 'body', 'id = 2', () => bytesOf(mailbox, inbox, uid(2))],
  ['bodies', 'commitment', 'id = 2', () => bytesOf(mailbox, inbox, uid(2))],
  ['bodies', 'sealed_summary', 'id = 2', () => summaryOf(uid(2))],
  ['inline_bodies', 'sealed', 'id = 2', () => bytesOf(mailbox, inbox, uid(2))],
  ['folders', 'sealed_name', 'id = 2', () => mailbox.folders()],
  ['folders', 'name_index', 'id = 2', namesFail],
  ['keywords', 'sealed_name', 'bit = 0', () => mailbox.keywords()],
  ['keywords', 'name_index', 'bit = 0', namesFail],
] as const)('F10 P4 a flipped bit in %s.%s is found out', async ([table, column, where, read]) => {
  for (let round = 0; round < 25; round += 1) {
    await withColumn(
      { table, column, where },
      (value) => flipped(value, Math.floor(random() * value.length * 8)),
      async () => {
        expect(['content-damaged', 'key-mismatch', 'not-found']).toContain(await codeOf(read));
        expect(await bytesOf(mailbox, inbox, uid(3))).toEqual(SMALL); // nothing beside it
      },
    );
  }
  expect(await codeOf(read)).toBe('served');
});

test('F10 P5 values that are swapped between two messages, or put back from another, do not open', async () => {
  const sqlite = new SqliteDatabase(join(folder(), 'mailbox.db'));
  for (const [table, key, column] of [
    ['messages', 'uid', 'wrapped_key'],
    ['messages', 'uid', 'message'],
    ['messages', 'uid', 'body'],
    ['bodies', 'id', 'commitment'],
    ['bodies', 'id', 'sealed_summary'],
    ['inline_bodies', 'id', 'sealed'],
  ] as const) {
    const value = (of: number): unknown =>
      (sqlite.prepare(`SELECT ${column} AS value FROM ${table} WHERE ${key} = ?`).get(of) as { value: unknown }).value;
    const set = (of: number, to: unknown): unknown =>
      sqlite.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${key} = ?`).run(to, of);
    const [two, three] = [value(2), value(3)];
    set(2, three);
    set(3, two);
    for (const of of [2, 3]) {
      const codes = [await codeOf(() => bytesOf(mailbox, inbox, uid(of))), await codeOf(() => summaryOf(uid(of)))];
      expect([column, codes.some((code) => code !== 'served')]).toEqual([column, true]);
    }
    set(2, two);
    set(3, three);
  }
  sqlite.close();
  expect(await bytesOf(mailbox, inbox, uid(2))).toEqual(SMALL);
});

test(
  'B6 a damaged database fails its own mailbox only, is named, and is no end of the others or of the backup',
  { timeout: 240_000 },
  async () => {
    const server = await TestServer.start({ users: 2 });
    const target = join(server.directory, 'backup');
    const deliver = async (user: string): Promise<string> => {
      using client = await SmtpClient.open(server.ports.lmtp, 'lmtp');
      await client.ask('LHLO x.example.net');
      return await client.deliver({ from: 'x@example.net', to: [`${user}@${DOMAIN}`], message: SMALL });
    };
    for (const user of ['u1', 'u1', 'u2']) expect(await deliver(user)).toMatch(/^250/);
    expect((await server.run(['backup', 'create', target])).code).toBe(0);
    await server.kill();
    const damaged = globSync('mailboxes/*/mailbox.db', { cwd: server.data })
      .map((file) => join(server.data, file))
      .find((file) => {
        const sqlite = new SqliteDatabase(file, { readonly: true });
        const { count } = sqlite.prepare('SELECT count(*) AS count FROM messages').get() as { count: number };
        const { page } = sqlite.prepare(`SELECT rootpage AS page FROM sqlite_schema WHERE name = 'messages'`).get() as {
          page: number;
        };
        sqlite.close();
        if (count === 2) writeFileSync(file, readFileSync(file).fill(0x5a, (page - 1) * 4096, page * 4096));
        return count === 2;
      });
    expect(damaged).toBeDefined();
    await server.serve();
    expect(await deliver('u1')).toMatch(/^4/);
    using imap = await ImapClient.open(server.ports.imap);
    await imap.ok(`LOGIN u1@${DOMAIN} ${PASSWORD}`);
    expect((await imap.command('SELECT INBOX')).status).toBe('NO');
    expect(await deliver('u2')).toMatch(/^250/);
    expect(server.isRunning()).toBe(true);
    const { code, out } = await server.run(['doctor', '--json']);
    const { faults } = JSON.parse(out) as { faults: { what: string }[] };
    expect([code, faults.some(({ what }) => /^the database (is damaged|cannot be read)/.test(what))]).toEqual([
      1,
      true,
    ]);
    const again = await server.run(['backup', 'create', target, '--json']);
    const made = JSON.parse(again.out) as { damagedMailboxes: string[]; messagesCount: number; mailboxesCount: number };
    expect([again.code, made]).toMatchObject([1, { messagesCount: 4, mailboxesCount: 2 }]); // its last copy is carried on
    expect(damaged).toContain(made.damagedMailboxes[0]);
    expect((await server.run(['backup', 'verify', target])).code).toBe(0);
    expect(await deliver('u2')).toMatch(/^250/);
  },
);
