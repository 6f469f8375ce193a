import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { Database } from '../../src/db/database.ts';
import { AuditLog } from '../../src/keys/audit-log.ts';
import { mailbox, organization, otherOrganization } from '../crypto/fixtures.ts';
import { directoryDatabases } from './directory-database.ts';

const open = directoryDatabases();
const entry: Parameters<AuditLog['append']>[0] = {
  atMs: 1,
  operation: 'Decrypt',
  provider: 'aws-kms',
  rootKey: 'arn:aws:kms:eu-central-1:111122223333:key/1',
  organization,
  owner: mailbox,
  grant: null,
  requestId: 'request-1',
  use: { purpose: 'fetch', protocol: 'imap', principal: mailbox },
  outcome: 'ok',
};

test('A1 every entry is recorded, newest first, and found by organization', async () => {
  const log = new AuditLog(await open([]));
  log.append(entry);
  log.append({
    ...entry,
    organization: otherOrganization,
    outcome: 'denied',
    use: { purpose: 'deliver', protocol: 'lmtp' },
  });
  log.append({ ...entry, organization: null, owner: null, operation: 'DescribeKey', requestId: null });
  const all = log.list({ limit: 10 });
  expect(all.map((row) => [row.operation, row.purpose, row.outcome])).toEqual([
    ['DescribeKey', 'fetch', 'ok'],
    ['Decrypt', 'deliver', 'denied'],
    ['Decrypt', 'fetch', 'ok'],
  ]);
  expect(log.list({ organization, limit: 10 })).toEqual([
    {
      id: 1,
      atMs: 1,
      operation: 'Decrypt',
      provider: 'aws-kms',
      rootKey: entry.rootKey,
      organization,
      owner: mailbox,
      grant: null,
      requestId: 'request-1',
      purpose: 'fetch',
      protocol: 'imap',
      principal: mailbox,
      session: null,
      outcome: 'ok',
    },
  ]);
  expect(log.list({ limit: 1 })).toHaveLength(1);
});

test('A1 an address given by mistake is withheld', async () => {
  const log = new AuditLog(await open([]));
  log.append({ ...entry, use: { purpose: 'login', protocol: 'imap', principal: 'anna@example.org' } });
  expect(log.list({ limit: 1 })[0]).toMatchObject({ purpose: 'login', protocol: 'imap', principal: 'withheld' });
});

test('A2 an append does not touch the disk; the row follows by itself', async () => {
  const database = await open([]);
  const log = new AuditLog(database);
  const count = () => database.prepare<{ n: number }>('SELECT count(*) AS n FROM key_audit').get()?.n;
  log.append(entry);
  expect(count()).toBe(0);
  await expect.poll(count, { timeout: 2000, interval: 20 }).toBe(1);
});

test('A3 a full queue and a close write everything', async () => {
  const database = await open([]);
  const log = new AuditLog(database);
  const count = () => database.prepare<{ n: number }>('SELECT count(*) AS n FROM key_audit').get()?.n;
  for (let n = 0; n < 1001; n += 1) log.append(entry);
  expect(count()).toBe(1000);
  log.close();
  expect(count()).toBe(1001);
});

test('A3 what could not be written is kept', async () => {
  const database = await open([]);
  const log = new AuditLog(database);
  database.transaction(() => database.prepare('ALTER TABLE key_audit RENAME TO moved').run());
  log.append(entry);
  expect(() => {
    log.flush();
  }).toThrow();
  log.append(entry);
  await delay(150); // the flush in the background fails too, without harm
  database.transaction(() => database.prepare('ALTER TABLE moved RENAME TO key_audit').run());
  expect(log.list({ limit: 10 })).toHaveLength(2);
});

describe('A4 A5 the chain', () => {
  const hours = (n: number) => ({ ...entry, atMs: n * 3_600_000 });
  async function filled(rowsCount: number) {
    const database = await open([]);
    const log = new AuditLog(database);
    for (let n = 0; n < rowsCount; n += 1) log.append(hours(n));
    log.flush();
    return { database, log };
  }
  /** What only someone can do who may write to the file, and takes the triggers away first. */
  function tamper(database: Database, ...statements: readonly string[]) {
    const triggers = database
      .prepare<{ name: string; sql: string }>("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
      .all();
    for (const { name } of triggers) database.prepare(`DROP TRIGGER ${name}`).run();
    for (const statement of statements) database.prepare(statement).run();
    for (const { sql } of triggers) database.prepare(sql).run();
  }

  test('rows cannot be changed, removed, replaced or put in between', async () => {
    const { database, log } = await filled(3);
    const columns = 'id, at_ms, operation, provider, root_key, purpose, protocol, outcome, hash';
    const values = "9, 'Decrypt', 'aws-kms', 'k', 'p', 'p', 'ok', zeroblob(32)";
    for (const statement of [
      "UPDATE key_audit SET outcome = 'ok' WHERE id = 2",
      'DELETE FROM key_audit WHERE id = 3',
      'DELETE FROM key_audit',
      `INSERT OR REPLACE INTO key_audit (${columns}) VALUES (3, ${values})`,
      `INSERT INTO key_audit (${columns}) VALUES (7, ${values})`,
      'UPDATE key_audit_head SET id = 2',
      'DELETE FROM key_audit_head',
    ]) {
      expect(() => database.prepare(statement).run(), statement).toThrow(/never|only added|moves on/);
    }
    expect(await log.verify()).toMatchObject({ kind: 'intact', rowsCount: 3 });
  });

  test('an audit that is whole says so, with a hash that depends on every row', async () => {
    const [one, other] = [await filled(1203), await filled(1204)];
    const verdict = await one.log.verify();
    expect(verdict).toMatchObject({ kind: 'intact', rowsCount: 1203 });
    expect(verdict).not.toEqual({ ...(await other.log.verify()), rowsCount: 1203 });
    expect([one.log.headFault(), new AuditLog(await open([])).headFault()]).toEqual([null, null]);
    expect(await new AuditLog(await open([])).verify()).toEqual({
      kind: 'intact',
      rowsCount: 0,
      headHash: '00'.repeat(32),
    });
  });

  test('the chain goes on after a restart', async () => {
    const { database } = await filled(2);
    const again = new AuditLog(database);
    again.append(hours(2));
    again.close();
    expect(await again.verify()).toMatchObject({ kind: 'intact', rowsCount: 3 });
  });

  const columns = [
    'at_ms = 1',
    "operation = 'Encrypt'",
    "provider = 'local-keyring'",
    "root_key = 'another'",
    `organization = '${otherOrganization}'`,
    'organization = NULL',
    "owner = 'directory'",
    "grant_id = ''",
    "request_id = 'request-2'",
    "purpose = 'append'",
    "protocol = 'lmtp'",
    'principal = NULL',
    "session = 'c1'",
    "outcome = 'denied'",
    'hash = zeroblob(32)',
  ];
  test.for(columns)('a row with %s is found, and named', async (change) => {
    const { database, log } = await filled(4);
    tamper(database, `UPDATE key_audit SET ${change} WHERE id = 2`);
    expect(await log.verify()).toEqual({
      kind: 'broken',
      rowId: 2,
      intactRowsCount: 1,
      reason: 'it was changed, or does not follow the row before it',
    });
    expect(log.headFault()).toBeNull(); // only the end is looked at
  });

  test('two values do not pass for each other by moving from one column to the next', async () => {
    const { database, log } = await filled(1);
    tamper(database, "UPDATE key_audit SET purpose = purpose || protocol, protocol = '' WHERE id = 1");
    expect(await log.verify()).toMatchObject({ kind: 'broken', rowId: 1 });
  });

  test.for([
    [['DELETE FROM key_audit WHERE id = 2'], 2, false],
    [['DELETE FROM key_audit WHERE id = 4'], 4, true],
    [['DELETE FROM key_audit WHERE id > 1'], 2, true],
    [['DELETE FROM key_audit'], 1, true],
    [["UPDATE key_audit SET outcome = 'denied' WHERE id = 4"], 4, true],
    [['DELETE FROM key_audit WHERE id = 4', 'UPDATE key_audit_head SET hash = zeroblob(32), id = 3'], 3, true],
  ] as const)('%j: broken at row %i, at start %s', async ([statements, rowId, isSeenAtStart]) => {
    const { database, log } = await filled(4);
    tamper(database, ...statements);
    expect(await log.verify()).toMatchObject({ kind: 'broken', rowId });
    expect(log.headFault() !== null).toBe(isSeenAtStart);
  });

  test('what is added after a break does not hide it', async () => {
    const { database, log } = await filled(4);
    tamper(database, 'DELETE FROM key_audit WHERE id = 4');
    log.append(hours(9));
    expect(await log.verify()).toMatchObject({ kind: 'broken', rowId: 4 });
  });
});
