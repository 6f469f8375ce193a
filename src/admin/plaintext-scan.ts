/**
 * Looks for words in files, in every form of word-forms.ts, to show that nothing of a customer's lies about in the clear.
 *
 * PS1  A word is found wherever it lies in a file, the border between two pieces included, and in the name of a file.
 * PS2  What cannot be read is told, not passed over.
 *
 * Called by the command line; needs no server.
 */
import { constants } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formsOf, type Form } from './word-forms.ts';

export type ScanResult = Readonly<{
  filesCount: number;
  bytesCount: number;
  /** `word`: its place among the words, from 1. */
  findings: readonly Readonly<{ file: string; word: number; form: string }>[];
  unreadable: readonly string[];
}>;

const PIECE_BYTES = 4 * 1024 * 1024;

/** Scans files, and folders with all below them; symbolic links are not followed. What is not there is left out. */
export async function scanForWords(paths: readonly string[], words: readonly string[]): Promise<ScanResult> {
  const wanted = words.flatMap((word, index) => formsOf(word).map((form) => ({ word: index + 1, form })));
  const findings: ScanResult['findings'][number][] = [];
  const unreadable: string[] = [];
  let [filesCount, bytesCount] = [0, 0];
  for (const path of new Set(paths)) {
    for await (const file of filesUnder(path, unreadable)) {
      try {
        const { sizeBytes, found } = await scanFile(file, wanted);
        findings.push(...found.map(({ word, form }) => ({ file, word, form: form.name })));
        filesCount += 1;
        bytesCount += sizeBytes;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') unreadable.push(file); // gone since it was listed
      }
    }
  }
  return { filesCount, bytesCount, findings, unreadable };
}

type Wanted = Readonly<{ word: number; form: Form }>;

async function* filesUnder(path: string, unreadable: string[]): AsyncGenerator<string> {
  const stats = await lstat(path).catch(() => null);
  if (stats?.isFile()) yield path;
  if (!stats?.isDirectory()) return;
  const names = await readdir(path).catch(() => {
    unreadable.push(path);
    return [];
  });
  for (const name of names.sort()) yield* filesUnder(join(path, name), unreadable);
}

async function scanFile(
  file: string,
  wanted: readonly Wanted[],
): Promise<Readonly<{ sizeBytes: number; found: readonly Wanted[] }>> {
  const overlapBytes = Math.max(...wanted.map(({ form }) => form.bytes.length)) - 1;
  const missing = new Set(wanted);
  const found: Wanted[] = [];
  const look = (bytes: Buffer): void => {
    for (const each of missing) {
      if (!bytes.includes(each.form.bytes)) continue;
      found.push(each);
      missing.delete(each);
    }
  };
  look(Buffer.from(`${file}\n`));
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const buffer = Buffer.allocUnsafe(overlapBytes + PIECE_BYTES);
    let [keptBytes, sizeBytes] = [0, 0];
    for (;;) {
      const { bytesRead } = await handle.read(buffer, keptBytes, PIECE_BYTES, null);
      if (bytesRead === 0) return { sizeBytes, found };
      sizeBytes += bytesRead;
      const filled = buffer.subarray(0, keptBytes + bytesRead);
      look(filled);
      keptBytes = Math.min(overlapBytes, filled.length);
      filled.copy(buffer, 0, filled.length - keptBytes); // the border between two pieces
    }
  } finally {
    await handle.close();
  }
}
