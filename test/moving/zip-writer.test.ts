import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ZipArchive } from '../../src/moving/zip-archive.ts';
import { ZipWriter } from '../../src/moving/zip-writer.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const directory = temporaryDirectory();

test('a zip of more entries than 16 bits count is read back whole', async () => {
  const path = join(directory, 'many.zip');
  {
    await using file = await open(path, 'wx');
    const zip = new ZipWriter(file);
    await zip.directory('Ärger/');
    for (let at = 0; at < 66_000; at += 1) await zip.directory(`d${String(at)}/`);
    await zip.entry('Ärger/1.eml', Buffer.from('one'.repeat(100)), 1e12);
    await zip.entry('random', randomBytes(100_000), Date.UTC(2024, 1, 2, 3, 4, 5));
    await zip.end();
  }
  const archive = await ZipArchive.open(path);
  expect(archive.entries).toHaveLength(2);
  expect(archive.directories).toHaveLength(66_001);
  const [last, one] = [archive.entries.at(-1), archive.entries[0]];
  expect(last && { path: last.path, size: last.sizeBytes, at: last.modifiedAtMs }).toEqual({
    path: ['random'],
    size: 100_000,
    at: Date.UTC(2024, 1, 2, 3, 4, 5),
  });
  const pieces: Buffer[] = [];
  if (one) for await (const piece of archive.stream(one)) pieces.push(piece);
  expect(Buffer.concat(pieces).toString()).toBe('one'.repeat(100));
  await archive.close();
});
