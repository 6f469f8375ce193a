/** Reading objects of a backup whole, with their hash: what is not what the manifest says is never used. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { ServerError } from '../base/errors.ts';
import type { HashedObject } from './manifest.ts';
import type { BackupTarget } from './target.ts';

/** Manifests and indexes are held in memory. */
const HELD_MAX_BYTES = 512 * 1024 * 1024;

/** The hash of a file on this machine. */
export async function hashFile(file: string, signal?: AbortSignal): Promise<HashedObject> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of createReadStream(file, { ...(signal ? { signal } : {}) }) as AsyncIterable<Buffer>) {
    hash.update(piece);
    sizeBytes += piece.length;
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}

/** A small object. Throws ServerError 'not-found', and 'content-damaged' when it is not the one that is expected. */
export async function readObject(
  target: BackupTarget,
  { name, expected }: Readonly<{ name: string; expected?: HashedObject }>,
  signal?: AbortSignal,
): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let heldBytes = 0;
  const found = await pass(target, name, {
    signal,
    take: (piece) => {
      heldBytes += piece.length;
      if (heldBytes > HELD_MAX_BYTES) throw damaged(name, 'it is too large');
      pieces.push(piece);
    },
  });
  if (expected) requireSame(name, found, expected);
  return Buffer.concat(pieces);
}

/** The hash of an object as it is in the target. Throws ServerError 'not-found'. */
export function hashObject(target: BackupTarget, name: string, signal?: AbortSignal): Promise<HashedObject> {
  return pass(target, name, { signal, take: () => undefined });
}

/**
 * Writes an object to `file`, which is whole and durable when it resolves, but for its folder entry.
 * Throws ServerError 'not-found', 'content-damaged', 'storage-failed'.
 */
export async function fetchObject(
  target: BackupTarget,
  { name, file, expected }: Readonly<{ name: string; file: string; expected: HashedObject }>,
  signal?: AbortSignal,
): Promise<void> {
  const handle = await open(`${file}.new`, 'w', 0o600);
  try {
    const found = await pass(target, name, { signal, take: (piece) => handle.writeFile(piece) });
    requireSame(name, found, expected);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.new`, file);
}

/** Whether two hashes are of the same bytes. */
export function isSame(a: HashedObject, b: HashedObject): boolean {
  return a.sha256 === b.sha256 && a.sizeBytes === b.sizeBytes;
}

type Passing = Readonly<{ signal: AbortSignal | undefined; take(piece: Uint8Array): void | Promise<void> }>;

async function pass(target: BackupTarget, name: string, { signal, take }: Passing): Promise<HashedObject> {
  const bytes = await target.get(name, signal);
  if (!bytes) {
    throw new ServerError('not-found', { clientText: `The backup lacks ${name}.` });
  }
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of bytes) {
    signal?.throwIfAborted();
    hash.update(piece);
    sizeBytes += piece.length;
    await take(piece);
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}

function requireSame(name: string, found: HashedObject, expected: HashedObject): void {
  if (!isSame(found, expected)) throw damaged(name, 'its hash is another one');
}

function damaged(name: string, why: string): ServerError {
  return new ServerError('content-damaged', { clientText: `The backup is damaged: ${name}: ${why}.` });
}
