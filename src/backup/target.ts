/**
 * Where backups go: objects by name, in a folder or in a bucket.
 *
 * TG1  An object is whole or not there: `put` resolves when it is durable, and a put that is cut short leaves none.
 * TG2  Names are relative paths of lower-case letters, digits, dots and hyphens; an object is never changed but replaced.
 *
 * Made by open-target.ts; used by the other files of this folder.
 */

/** A file or bytes to store. */
export type ObjectSource = Readonly<{ file: string; sizeBytes: number }> | Readonly<{ bytes: Buffer }>;
export type ListedObject = Readonly<{ name: string; sizeBytes: number; modifiedAtMs: number }>;

export interface BackupTarget {
  /** As the operator named it. */
  readonly text: string;
  /** Throws ServerError 'storage-failed', 'storage-full', or `signal.reason`. */
  put(name: string, source: ObjectSource, signal?: AbortSignal): Promise<void>;
  /** Null when there is none. Throws ServerError 'storage-failed'. */
  get(name: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array> | null>;
  /** Null when there is none. */
  sizeOf(name: string, signal?: AbortSignal): Promise<number | null>;
  /** Objects below a folder, in any order. */
  list(folder: string, signal?: AbortSignal): AsyncIterable<ListedObject>;
  /** Finding none is success. */
  remove(names: readonly string[], signal?: AbortSignal): Promise<void>;
}
