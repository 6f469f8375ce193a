/**
 * Sealed bodies on their way to and from disk. Small ones lie in the database of their mailbox or of the queue, larger
 * ones are a file each: `blobs/<first two hex digits>/<body id>`. Nothing here sees a key or a plaintext byte.
 *
 * O1  A blob is written to `blobs/tmp/`, synced, renamed, and its directory synced, before its row exists;
 *     so a row without its blob cannot be, and a blob without a row is garbage.
 * O2  A body is held in memory up to `inlineMaxBytes`; beyond that it streams to its file.
 * O3  After a failed write or sync the body cannot be finished; if it was not for want of space, `onFailure` is told.
 */
import { mkdir, open, readdir, rename, rm, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ServerError } from '../base/errors.ts';
import type { BodyId } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import { syncFolder } from '../db/sync-folder.ts';

/** A complete sealed body, durable if it is a file, waiting for its row. */
export type StagedBody = Readonly<{ body: BodyId; inline: Buffer | null }>;

/** What the row of a new body holds. */
export type NewBody = Readonly<{
  staged: StagedBody;
  sizeBytes: number;
  commitment: Uint8Array;
  sealedSummary: Uint8Array;
}>;

/** A stored body: `bodyRow` is its row in the database. */
type BodyPlace = Readonly<{ body: BodyId; bodyRow: number; sealedBytes: number }>;
type ByteSpan = Readonly<{ offset: number; lengthBytes: number }>;

/** Takes one sealed body in pieces; end with `finish` or `discard`. */
export interface BodySink {
  /** Resolves when more may come. Throws ServerError 'storage-failed' or 'storage-full'. */
  write(pieces: readonly Uint8Array[]): Promise<void>;
  finish(): Promise<StagedBody>;
  discard(): Promise<void>;
}

/** Written to a blob at once, to keep the number of system calls low. */
const WRITE_BATCH_BYTES = 256 * 1024;
export const TEMPORARY = 'tmp';
const SHARD = /^[0-9a-f]{2}$/;

type BodyStoreOptions = Readonly<{
  folder: string;
  inlineMaxBytes: number;
  onFailure(error: Error): void;
}>;

/** Gives a new body its row, inside the caller's transaction, for one message that shares it. */
export function insertBody(database: Database, { staged, sizeBytes, commitment, sealedSummary }: NewBody): number {
  const { lastInsertRowid: bodyRow } = database
    .prepare('INSERT INTO bodies (body, row_count, size_bytes, commitment, sealed_summary) VALUES (?, 1, ?, ?, ?)')
    .run(Buffer.from(staged.body, 'hex'), sizeBytes, commitment, sealedSummary);
  keepInline(database, bodyRow, staged);
  return bodyRow;
}

/** The folders of blobs under `folder`, and what else lies there. */
export async function blobFolders(
  folder: string,
): Promise<Readonly<{ shards: readonly string[]; strays: readonly string[] }>> {
  const names = await readdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw storageFailure(error);
  });
  return {
    shards: names.filter((name) => SHARD.test(name)),
    strays: names.filter((name) => !SHARD.test(name) && name !== TEMPORARY),
  };
}

/** Keeps a body in the database, unless it is a file; inside the caller's transaction. */
export function keepInline(database: Database, bodyRow: number, { inline }: StagedBody): void {
  if (inline) database.prepare('INSERT INTO inline_bodies (id, sealed) VALUES (?, ?)').run(bodyRow, inline);
}

export class BodyStore {
  readonly #database: Database;
  readonly #options: BodyStoreOptions;
  /** Shard folders that are known to be durable. */
  readonly #shards = new Map<string, Promise<void>>();
  readonly #held: BodyId[] = [];
  #holdsCount = 0;

  constructor(database: Database, options: BodyStoreOptions) {
    this.#database = database;
    this.#options = options;
  }

  /** Makes the folders and sweeps what a killed process left in `tmp/`. */
  async prepare(): Promise<void> {
    const temporary = join(this.#options.folder, TEMPORARY);
    await mkdir(temporary, { recursive: true, mode: 0o700 });
    for (const file of await readdir(temporary)) await unlink(join(temporary, file));
  }

  newBody(body: BodyId): BodySink {
    const file = this.#file(body);
    return new Sink({
      body,
      temporary: join(this.#options.folder, TEMPORARY, body),
      file,
      inlineMaxBytes: this.#options.inlineMaxBytes,
      prepareShard: () => this.#prepareShard(dirname(file)),
      failed: (cause) => this.#failed(cause),
    });
  }

  /**
   * The sealed bytes `[offset, offset + lengthBytes)` of a body of `sealedBytes` in all.
   * Throws ServerError 'content-damaged' when it has another size.
   */
  async read(place: BodyPlace, range: ByteSpan): Promise<Buffer> {
    const inline = this.#database
      .prepare<{ part: Buffer; size: number }>(
        'SELECT substr(sealed, ?, ?) AS part, length(sealed) AS size FROM inline_bodies WHERE id = ?',
      )
      .get(range.offset + 1, range.lengthBytes, place.bodyRow);
    if (!inline) return this.#readFile(place, range);
    if (inline.size !== place.sealedBytes || inline.part.length !== range.lengthBytes) throw damaged(place.body);
    return inline.part;
  }

  /** Keeps every blob on disk until it is disposed: what is removed meanwhile goes then. */
  hold(): AsyncDisposable {
    this.#holdsCount += 1;
    return {
      [Symbol.asyncDispose]: async () => {
        this.#holdsCount -= 1;
        if (this.#holdsCount === 0) await this.remove(this.#held.splice(0));
      },
    };
  }

  /** Removes blobs whose rows are gone; the rows' removal is durable already. */
  async remove(bodies: readonly BodyId[]): Promise<void> {
    if (this.#holdsCount > 0) {
      this.#held.push(...bodies);
      return;
    }
    for (const body of bodies) await rm(this.#file(body), { force: true });
  }

  async #readFile({ body, sealedBytes }: BodyPlace, range: ByteSpan): Promise<Buffer> {
    let file: FileHandle;
    try {
      file = await open(this.#file(body), 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw damaged(body);
      throw this.#failed(error);
    }
    try {
      if ((await file.stat()).size !== sealedBytes) throw damaged(body);
      const buffer = Buffer.allocUnsafeSlow(range.lengthBytes);
      let filled = 0;
      while (filled < buffer.length) {
        const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, range.offset + filled);
        if (bytesRead === 0) throw damaged(body);
        filled += bytesRead;
      }
      return buffer;
    } finally {
      await file.close();
    }
  }

  #file(body: BodyId): string {
    return join(this.#options.folder, body.slice(0, 2), body);
  }

  #prepareShard(shard: string): Promise<void> {
    const known = this.#shards.get(shard);
    if (known) return known;
    const prepared = mkdir(shard, { recursive: true, mode: 0o700 }).then(() => syncFolder(dirname(shard)));
    this.#shards.set(shard, prepared);
    prepared.catch(() => this.#shards.delete(shard));
    return prepared;
  }

  #failed(cause: unknown): ServerError {
    const failure = storageFailure(cause);
    if (failure.code === 'storage-failed') this.#options.onFailure(failure);
    return failure;
  }
}

type SinkOptions = Readonly<{
  body: BodyId;
  temporary: string;
  file: string;
  inlineMaxBytes: number;
  prepareShard(): Promise<void>;
  failed(cause: unknown): ServerError;
}>;

class Sink implements BodySink {
  readonly #options: SinkOptions;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #handle: FileHandle | null = null;
  #isFile = false;

  constructor(options: SinkOptions) {
    this.#options = options;
  }

  async write(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) {
      this.#held.push(piece);
      this.#heldBytes += piece.length;
    }
    if (this.#heldBytes > (this.#handle ? WRITE_BATCH_BYTES : this.#options.inlineMaxBytes)) await this.#spill();
  }

  async finish(): Promise<StagedBody> {
    const { body, temporary, file } = this.#options;
    if (!this.#handle) return { body, inline: Buffer.concat(this.#held) };
    await this.#spill();
    try {
      await this.#handle.datasync();
      await this.#handle.close();
      this.#handle = null;
      await this.#options.prepareShard();
      await rename(temporary, file);
      await syncFolder(dirname(file));
    } catch (error) {
      throw this.#options.failed(error);
    }
    return { body, inline: null };
  }

  async discard(): Promise<void> {
    this.#held = [];
    if (!this.#isFile) return;
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close();
    await rm(this.#options.temporary, { force: true });
    await rm(this.#options.file, { force: true });
  }

  async #spill(): Promise<void> {
    let rest = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    try {
      this.#isFile = true;
      this.#handle ??= await open(this.#options.temporary, 'wx', 0o600);
      while (rest.length > 0) {
        const { bytesWritten } = await this.#handle.writev(rest);
        rest = after(rest, bytesWritten);
      }
    } catch (error) {
      throw this.#options.failed(error);
    }
  }
}

/** What of `pieces` is left after its first `count` bytes. */
function after(pieces: Uint8Array[], count: number): Uint8Array[] {
  let skip = count;
  let index = 0;
  for (const piece of pieces) {
    if (skip < piece.length) break;
    skip -= piece.length;
    index += 1;
  }
  const [first, ...others] = pieces.slice(index);
  return first ? [first.subarray(skip), ...others] : [];
}

function storageFailure(cause: unknown): ServerError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return new ServerError(full ? 'storage-full' : 'storage-failed', {
    clientText: full ? 'The disk is full.' : 'The server could not use its disk.',
    detail: `blob: ${code}`,
    retryable: full,
    cause,
  });
}

function damaged(body: BodyId): ServerError {
  return new ServerError('content-damaged', {
    clientText: 'The message is damaged on the server.',
    detail: `sealed body ${body} is missing or has another size`,
  });
}
