/**
 * One SQLite database of this process: the only place that knows better-sqlite3.
 *
 * B1  Nothing is acknowledged before `durable()` resolved: a commit alone survives a kill, not a power cut
 *     (WAL with synchronous=NORMAL; the log is synced by group commit, see durable-commit.ts).
 * B2  Checkpoints run on the checkpointer's thread, never on the event loop.
 * B3  A transaction is a synchronous closure; no statement stays open across a turn of the event loop.
 * B4  After an I/O error the database refuses all further work and `onFailure` is told: the process stops.
 * B5  Deleted content is overwritten (secure_delete) and leaves the log by a truncating checkpoint.
 * B6  A damaged file of a database that `containsDamage` fails what touches the damage, and every write from then on, but not
 *     the process: the others are served.
 */
import { close, open as openFile } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import SqliteDatabase from 'better-sqlite3';
import { ServerError } from '../base/errors.ts';
import type { Checkpointer } from './checkpointer.ts';
import { DurableCommit } from './durable-commit.ts';
import { migrate, migrationsOf } from './migrate.ts';
import { syncFolder } from './sync-folder.ts';

type SqlValue = string | number | bigint | Uint8Array | null;
/** A prepared statement; `Row` is what `get` and `all` give. Blobs come back as Buffers. */
type Statement<Row> = Readonly<{
  get(...values: readonly SqlValue[]): Row | undefined;
  all(...values: readonly SqlValue[]): Row[];
  run(...values: readonly SqlValue[]): Readonly<{ changes: number; lastInsertRowid: number }>;
}>;
type DatabaseOptions = Readonly<{
  file: string;
  /** Folder of NNNN-name.sql files. */
  migrations: string;
  checkpointer: Checkpointer;
  onFailure(error: Error): void;
  /** B6. Without it, damage is a failure of the disk. */
  containsDamage?: boolean;
}>;

/** How many durable commits pass before the length of the log is looked at. */
const SYNCS_BETWEEN_LOOKS = 16;
/** Above this many log frames a checkpoint is asked for at once (4 KiB each). */
const BACKLOG_FRAMES_MAX = 1000;
/** Above this many frames the log file is emptied at once: checkpoints under constant writing never let it start over. */
const LOG_FRAMES_MAX = 16_384;
const BUSY_TIMEOUT_MS = 5000;
const DAMAGE = /^SQLITE_(CORRUPT|NOTADB)/;

const openDescriptor = promisify(openFile);
const closeDescriptor = promisify(close);

export class Database {
  readonly #sqlite: SqliteDatabase.Database;
  readonly #options: DatabaseOptions;
  readonly #statements = new Map<string, Statement<unknown>>();
  readonly #commit: DurableCommit;
  readonly #walDescriptor: number;
  readonly #begin: SqliteDatabase.Statement;
  readonly #commitWork: SqliteDatabase.Statement;
  #failure: Error | null = null;
  #damage: Error | null = null;
  #closed = false;
  #syncsSinceLook = 0;
  #usesCount = 0;
  #usesSeenCount = 0;
  #isResting = false;

  constructor(sqlite: SqliteDatabase.Database, options: DatabaseOptions, walDescriptor: number) {
    this.#sqlite = sqlite;
    this.#options = options;
    this.#walDescriptor = walDescriptor;
    this.#begin = sqlite.prepare('BEGIN IMMEDIATE');
    this.#commitWork = sqlite.prepare('COMMIT');
    this.#commit = new DurableCommit(walDescriptor, (error) => {
      this.#fail(error);
    });
  }

  /** Opens or creates the database and brings its schema up to date. Throws ServerError 'storage-failed'. */
  static async open(options: DatabaseOptions): Promise<Database> {
    const sqlite = new SqliteDatabase(options.file, { timeout: BUSY_TIMEOUT_MS });
    try {
      applyPragmas(sqlite);
      migrateTo(sqlite, options.migrations);
      // The log file's directory entry must be durable before a sync of the log means anything.
      await syncFolder(dirname(options.file));
      return new Database(sqlite, options, await openDescriptor(`${options.file}-wal`, 'r'));
    } catch (error) {
      sqlite.close();
      if (!(error instanceof SqliteDatabase.SqliteError)) throw error;
      const isContained = options.containsDamage === true && DAMAGE.test(error.code);
      throw isContained ? damageOf(options.file, error) : failureOf(options.file, error);
    }
  }

  /** The prepared statement for `sql`, made once. */
  prepare<Row>(sql: string): Statement<Row> {
    const known = this.#statements.get(sql);
    if (known) return known as Statement<Row>;
    const inner = this.#sqlite.prepare(sql);
    const statement: Statement<unknown> = {
      get: (...values) => this.#guard(() => inner.get(...values)),
      all: (...values) => this.#guard(() => inner.all(...values)),
      run: (...values) =>
        this.#guardWrite(() => {
          const result = inner.run(...values);
          return { changes: result.changes, lastInsertRowid: Number(result.lastInsertRowid) };
        }),
    };
    this.#statements.set(sql, statement);
    return statement as Statement<Row>;
  }

  /** Runs `work` in one transaction; what it throws undoes all of it. Not durable before `durable()`. */
  transaction<T>(work: () => T): T {
    return this.#guardWrite(() => {
      this.#begin.run();
      try {
        const result = work();
        this.#commitWork.run();
        return result;
      } catch (error) {
        if (this.#sqlite.inTransaction) this.#sqlite.exec('ROLLBACK');
        throw error;
      }
    });
  }

  /** Resolves when everything committed so far is on disk. Throws ServerError 'storage-failed'. */
  async durable(): Promise<void> {
    if (this.#failure) throw this.#failure;
    await this.#commit.durable();
    this.#askForCheckpoint();
  }

  /**
   * Gives memory back, if nothing was asked since the last call: cached pages and prepared statements. Idle sessions hold
   * many databases open.
   */
  restIfIdle(): void {
    if (this.#closed || this.#failure) return;
    const isIdle = this.#usesCount === this.#usesSeenCount;
    this.#usesSeenCount = this.#usesCount;
    if (!isIdle || this.#isResting) return;
    this.#isResting = true;
    this.#statements.clear();
    this.#sqlite.pragma('shrink_memory');
  }

  /** Has deleted content leave the log within the checkpointer's interval (B5). */
  truncateLogSoon(): void {
    this.#options.checkpointer.request(this.#options.file, 'truncate');
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.checkpointer.forget(this.#options.file);
    this.#sqlite.close();
    await closeDescriptor(this.#walDescriptor);
  }

  #askForCheckpoint(): void {
    if (this.#closed) return;
    this.#options.checkpointer.request(this.#options.file, 'later');
    this.#syncsSinceLook += 1;
    if (this.#syncsSinceLook < SYNCS_BETWEEN_LOOKS) return;
    this.#syncsSinceLook = 0;
    const [state] = this.#sqlite.pragma('wal_checkpoint(NOOP)') as { log: number; checkpointed: number }[];
    const backlogFrames = (state?.log ?? 0) - (state?.checkpointed ?? 0);
    if ((state?.log ?? 0) > LOG_FRAMES_MAX) this.#options.checkpointer.request(this.#options.file, 'shrink');
    else if (backlogFrames > BACKLOG_FRAMES_MAX) this.#options.checkpointer.request(this.#options.file, 'now');
  }

  #guardWrite<T>(work: () => T): T {
    if (this.#damage) throw this.#damage;
    return this.#guard(work);
  }

  #guard<T>(work: () => T): T {
    if (this.#failure) throw this.#failure;
    this.#usesCount += 1;
    this.#isResting = false;
    try {
      return work();
    } catch (error) {
      throw this.#translate(error);
    }
  }

  #translate(error: unknown): unknown {
    if (!(error instanceof SqliteDatabase.SqliteError)) return error;
    if (this.#options.containsDamage === true && DAMAGE.test(error.code)) {
      this.#damage ??= damageOf(this.#options.file, error);
      return this.#damage;
    }
    const failure = failureOf(this.#options.file, error);
    if (failure instanceof ServerError && failure.code === 'storage-failed') this.#fail(failure);
    return failure;
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#options.onFailure(error);
  }
}

function damageOf(file: string, error: Error & Readonly<{ code: string }>): ServerError {
  return new ServerError('content-damaged', {
    clientText: 'The mailbox is damaged on the server.',
    detail: `${file}: ${error.code}: ${error.message}`,
    cause: error,
  });
}

/** What an error of SQLite means to a caller; one of our own making stays as it is. */
function failureOf(file: string, error: Error & Readonly<{ code: string }>): Error {
  const detail = `${file}: ${error.code}: ${error.message}`;
  if (error.code === 'SQLITE_FULL') {
    return new ServerError('storage-full', { clientText: 'The disk is full.', detail, retryable: true, cause: error });
  }
  if (/^SQLITE_(IOERR|CORRUPT|NOTADB|READONLY|CANTOPEN)/.test(error.code)) {
    return new ServerError('storage-failed', {
      clientText: 'The server could not use its disk.',
      detail,
      cause: error,
    });
  }
  return error;
}

function applyPragmas(sqlite: SqliteDatabase.Database): void {
  sqlite.pragma('journal_mode = WAL');
  for (const pragma of [
    'synchronous = NORMAL', // B1: durable() syncs the log
    'wal_autocheckpoint = 0', // B2
    'secure_delete = ON', // B5
    'foreign_keys = ON',
    'temp_store = MEMORY', // sorting must not spill to a file
    'mmap_size = 0',
    'trusted_schema = OFF',
    'cell_size_check = ON',
    'cache_size = -2000', // 2 MB for each open database
  ]) {
    sqlite.pragma(pragma);
  }
  const mode: unknown = sqlite.pragma('journal_mode', { simple: true });
  if (mode !== 'wal') throw new ServerError('storage-failed', { clientText: 'The database does not support WAL.' });
}

function migrateTo(sqlite: SqliteDatabase.Database, folder: string): void {
  sqlite.exec(`CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at_ms INTEGER NOT NULL) STRICT`);
  migrate(
    {
      exec: (sql) => {
        sqlite.exec(sql);
      },
      applied: () =>
        sqlite.prepare('SELECT version, name, checksum FROM schema_migrations ORDER BY version').all() as {
          version: number;
          name: string;
          checksum: string;
        }[],
      record: ({ version, name, checksum }) => {
        sqlite
          .prepare('INSERT INTO schema_migrations (version, name, checksum, applied_at_ms) VALUES (?, ?, ?, ?)')
          .run(version, name, checksum, Date.now());
      },
    },
    migrationsOf(folder),
  );
}
