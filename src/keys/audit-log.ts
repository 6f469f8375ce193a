/**
 * The key audit: one row for each call to a key provider (W10).
 *
 * A1  Every call is recorded, whatever its outcome. Never a key, a plaintext, an address or a name.
 * A2  `append` does not wait for the disk: rows are written together, within `FLUSH_AFTER_MS`.
 * A3  Nothing is dropped: a full queue is written at once, and `close` writes the rest.
 * A4  Rows are only added: the database refuses to change, remove or replace one.
 * A5  Each row is chained to the one before (audit-chain.ts). `headFault` looks at the newest one, `verify` at all.
 *
 * Written by provider-calls.ts; listed and verified by the command line; its head is checked at start by app.ts.
 */
import { Slice } from '../base/abort.ts';
import type { OrganizationId } from '../base/ids.ts';
import type { KeyOwner } from '../crypto/context.ts';
import type { Database } from '../db/database.ts';
import { rowHash, type AuditRow, type ChainHead } from './audit-chain.ts';
import type { KeyFailure, ProviderKind } from './provider.ts';

/**
 * Why a key is asked for, and by whom. `principal` is an id, never an address: the mailbox that logged in, or 'admin',
 * 'delivery', 'login'. `session` names the connection, as the log does.
 */
export type KeyUse = Readonly<{ purpose: string; protocol: string; principal?: string; session?: string }>;

export type KeyOperation = 'Encrypt' | 'Decrypt' | 'ReEncrypt' | 'DescribeKey' | 'CreateGrant' | 'RevokeGrant';
type AuditEntry = Readonly<{
  atMs: number;
  operation: KeyOperation;
  provider: ProviderKind;
  rootKey: string;
  /** Null where a root key was only described. */
  organization: OrganizationId | null;
  owner: KeyOwner | null;
  /** Of CreateGrant and RevokeGrant: our id of it. */
  grant: string | null;
  requestId: string | null;
  use: KeyUse;
  outcome: 'ok' | KeyFailure;
}>;
type StoredRow = AuditRow & Readonly<{ hash: Buffer }>;
/** What is wrong with a row, the first one: its id, and why in words. */
type AuditFault = Readonly<{ rowId: number; reason: string }>;
type AuditVerdict =
  /** `headHash` in hexadecimal, for safe keeping elsewhere. */
  | Readonly<{ kind: 'intact'; rowsCount: number; headHash: string }>
  | (Readonly<{ kind: 'broken'; intactRowsCount: number }> & AuditFault)
  /** No row has the hash that was expected. */
  | Readonly<{ kind: 'another'; rowsCount: number }>;

const QUEUE_MAX_COUNT = 1000;
const FLUSH_AFTER_MS = 100;
const LIST_MAX_COUNT = 10_000;
const VERIFY_PAGE_COUNT = 500;
const COLUMNS = `id, at_ms AS atMs, operation, provider, root_key AS rootKey, organization, owner, grant_id AS "grant",
  request_id AS requestId, purpose, protocol, principal, session, outcome`;
/** What a purpose, protocol, principal or session may look like: words and ids, no address. */
const PLAIN_WORD = /^[A-Za-z0-9_.:-]{1,64}$/;

const GENESIS = Buffer.alloc(32);

export class AuditLog {
  readonly #db: Database;
  #queue: AuditEntry[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(db: Database) {
    this.#db = db;
  }

  append(entry: AuditEntry): void {
    this.#queue.push(entry);
    if (this.#queue.length >= QUEUE_MAX_COUNT) {
      this.flush();
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#flushInBackground();
    }, FLUSH_AFTER_MS).unref();
  }

  /** Commits what is queued. Throws ServerError 'storage-failed', and then still holds it. */
  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#queue.length === 0) return;
    this.#db.transaction(() => {
      let head = this.#head();
      for (const entry of this.#queue) head = this.#insert(head, entry);
    });
    this.#queue = [];
  }

  /** The newest entries first, at most `limit` (and 10,000), of one organization or all. */
  list(options: { organization?: OrganizationId; limit: number }): AuditRow[] {
    this.flush();
    const where = options.organization ? 'WHERE organization = ?' : '';
    const sql = `SELECT ${COLUMNS} FROM key_audit ${where} ORDER BY id DESC LIMIT ?`;
    const statement = this.#db.prepare<AuditRow>(sql);
    const limit = Math.min(options.limit, LIST_MAX_COUNT);
    return options.organization ? statement.all(options.organization, limit) : statement.all(limit);
  }

  /** Checks that the newest row is the one that was written last, and is whole (A5); null when it is. */
  headFault(): AuditFault | null {
    const head = this.#head();
    const sql = `SELECT ${COLUMNS}, hash FROM key_audit WHERE id >= ? ORDER BY id`;
    const rows = this.#db.prepare<StoredRow>(sql).all(Math.max(head.id - 1, 0));
    const before = rows.find((row) => row.id === head.id - 1)?.hash ?? (head.id <= 1 ? GENESIS : null);
    if (before === null) return missingFault(head.id - 1);
    const chain = new Chain({ id: Math.max(head.id - 1, 0), hash: before });
    for (const row of rows) {
      const fault = row.id < head.id ? null : chain.faultOf(row);
      if (fault) return fault;
    }
    return endFault(chain.end, head);
  }

  /**
   * Checks every row, from the first on; with `expected`, 32 bytes, also that this is the audit which once ended with
   * that hash, and not one that was made anew. Throws `signal.reason`.
   */
  async verify(expected: Uint8Array | null = null, signal?: AbortSignal): Promise<AuditVerdict> {
    this.flush();
    const head = this.#head(); // what is added meanwhile is left for the next time
    const sql = `SELECT ${COLUMNS}, hash FROM key_audit WHERE id > ? AND id <= ? ORDER BY id LIMIT ?`;
    const page = this.#db.prepare<StoredRow>(sql);
    const slice = new Slice();
    const chain = new Chain({ id: 0, hash: GENESIS });
    let isMet = expected === null;
    for (;;) {
      signal?.throwIfAborted();
      const rows = page.all(chain.end.id, head.id, VERIFY_PAGE_COUNT);
      for (const row of rows) {
        const fault = chain.faultOf(row);
        if (fault) return { kind: 'broken', intactRowsCount: chain.end.id, ...fault };
        isMet ||= expected !== null && row.hash.equals(expected);
      }
      if (rows.length < VERIFY_PAGE_COUNT) break;
      await slice.pause();
    }
    const fault = endFault(chain.end, head);
    if (fault) return { kind: 'broken', intactRowsCount: chain.end.id, ...fault };
    if (!isMet) return { kind: 'another', rowsCount: head.id };
    return { kind: 'intact', rowsCount: head.id, headHash: Buffer.from(head.hash).toString('hex') };
  }

  close(): void {
    this.flush();
  }

  #head(): ChainHead {
    const row = this.#db.prepare<{ id: number; hash: Buffer }>('SELECT id, hash FROM key_audit_head').get();
    return row ?? { id: 0, hash: GENESIS };
  }

  /** The database moves its head along. */
  #insert(head: ChainHead, entry: AuditEntry): ChainHead {
    const { use, ...called } = entry;
    const row: AuditRow = {
      ...called,
      id: head.id + 1,
      purpose: plainWord(use.purpose),
      protocol: plainWord(use.protocol),
      principal: use.principal === undefined ? null : plainWord(use.principal),
      session: use.session === undefined ? null : plainWord(use.session),
    };
    const hash = rowHash(head.hash, row);
    this.#db
      .prepare(
        `INSERT INTO key_audit (id, at_ms, operation, provider, root_key, organization, owner, grant_id, request_id,
           purpose, protocol, principal, session, outcome, hash)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        row.id,
        row.atMs,
        row.operation,
        row.provider,
        row.rootKey,
        row.organization,
        row.owner,
        row.grant,
        row.requestId,
        row.purpose,
        row.protocol,
        row.principal,
        row.session,
        row.outcome,
        hash,
      );
    return { id: row.id, hash };
  }

  #flushInBackground(): void {
    try {
      this.flush();
    } catch {
      // The database has told its owner, who stops the process; the entries wait for another flush.
    }
  }
}

/** A caller's slip must not put an address into the audit, which is not sealed (W8). */
function plainWord(word: string): string {
  return PLAIN_WORD.test(word) ? word : 'withheld';
}

/** Follows the chain row by row. */
class Chain {
  end: ChainHead;

  constructor(start: ChainHead) {
    this.end = start;
  }

  /** Takes the next row; null when it fits. */
  faultOf({ hash, ...row }: StoredRow): AuditFault | null {
    const wanted = this.end.id + 1;
    if (row.id !== wanted) return missingFault(wanted);
    if (!rowHash(this.end.hash, row).equals(hash)) {
      return { rowId: row.id, reason: 'it was changed, or does not follow the row before it' };
    }
    this.end = { id: row.id, hash };
    return null;
  }
}

function missingFault(rowId: number): AuditFault {
  return { rowId, reason: 'it is missing' };
}

function endFault(end: ChainHead, head: ChainHead): AuditFault | null {
  if (end.id !== head.id) return missingFault(end.id + 1);
  if (Buffer.compare(end.hash, head.hash) === 0) return null;
  return { rowId: head.id, reason: 'it is not the row that was written last' };
}
