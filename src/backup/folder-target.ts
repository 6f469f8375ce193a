/** A folder as a backup target: on another disk, or mounted from another machine. */
import { createReadStream, createWriteStream } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ServerError } from '../base/errors.ts';
import { randomHexId } from '../base/ids.ts';
import { syncFolder } from '../db/sync-folder.ts';
import type { BackupTarget, ListedObject, ObjectSource } from './target.ts';

const TEMPORARY = 'tmp';

export class FolderTarget implements BackupTarget {
  readonly text: string;
  /** Folders that are known to be durable. */
  readonly #folders = new Map<string, Promise<void>>();

  constructor(folder: string) {
    this.text = folder;
  }

  async put(name: string, source: ObjectSource, signal?: AbortSignal): Promise<void> {
    const file = join(this.text, name);
    const temporary = join(this.text, TEMPORARY, randomHexId());
    try {
      await this.#prepare(dirname(temporary));
      await this.#prepare(dirname(file));
      const bytes = 'file' in source ? createReadStream(source.file) : [source.bytes];
      await pipeline(bytes, createWriteStream(temporary, { flags: 'wx', mode: 0o600, flush: true }), {
        ...(signal ? { signal } : {}),
      });
      await rename(temporary, file);
      await syncFolder(dirname(file)); // TG1
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined); // the first failure is the one to tell
      signal?.throwIfAborted();
      throw targetFailure(error, this.text);
    }
  }

  async get(name: string): Promise<AsyncIterable<Uint8Array> | null> {
    try {
      return (await open(join(this.text, name), 'r')).createReadStream();
    } catch (error) {
      if (isMissing(error)) return null;
      throw targetFailure(error, this.text);
    }
  }

  async sizeOf(name: string): Promise<number | null> {
    return (await this.#look(name))?.size ?? null;
  }

  async *list(folder: string): AsyncGenerator<ListedObject> {
    const entries = await readdir(join(this.text, folder), { withFileTypes: true }).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw targetFailure(error, this.text);
    });
    for (const entry of entries) {
      const name = `${folder}/${entry.name}`;
      if (entry.isDirectory()) yield* this.list(name);
      const stats = entry.isFile() ? await this.#look(name) : null;
      if (stats) yield { name, sizeBytes: stats.size, modifiedAtMs: stats.mtimeMs };
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    for (const name of names) await rm(join(this.text, name), { force: true });
  }

  async #look(name: string): Promise<Readonly<{ size: number; mtimeMs: number }> | null> {
    return lstat(join(this.text, name)).catch((error: unknown) => {
      if (isMissing(error)) return null;
      throw targetFailure(error, this.text);
    });
  }

  /** Each new folder is durable in the one above it, up to the one that was there. */
  #prepare(folder: string): Promise<void> {
    const known = this.#folders.get(folder);
    if (known) return known;
    const prepared = makeDurable(folder);
    this.#folders.set(folder, prepared);
    prepared.catch(() => this.#folders.delete(folder));
    return prepared;
  }
}

async function makeDurable(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');
}

function targetFailure(cause: unknown, target: string): ServerError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  const clientText = isFull ? `There is no room left in ${target}.` : `The backup target ${target} failed (${code}).`;
  return new ServerError(isFull ? 'storage-full' : 'storage-failed', { clientText, retryable: true, cause });
}
