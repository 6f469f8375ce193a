/** What every backup target does. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { BackupTarget } from '../../src/backup/target.ts';

async function whole(bytes: AsyncIterable<Uint8Array> | null): Promise<Buffer | null> {
  if (!bytes) return null;
  const pieces: Uint8Array[] = [];
  for await (const piece of bytes) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function names(target: BackupTarget, folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, sizeBytes } of target.list(folder)) found.push(`${name} ${String(sizeBytes)}`);
  return found.sort();
}

export function targetSuite(open: () => BackupTarget, scratch: string): void {
  test('TG1 bytes and files come back whole; sizes, lists and removals agree', async () => {
    const target = open();
    const file = join(scratch, 'large');
    const large = Buffer.alloc(200_000, 'sealed ');
    writeFileSync(file, large);
    await target.put('blobs/ab/large', { file, sizeBytes: large.length });
    for (let at = 0; at < 7; at += 1) await target.put(`blobs/cd/${String(at)}`, { bytes: Buffer.from(String(at)) });
    await target.put('backups/x.json', { bytes: Buffer.from('old') });
    await target.put('backups/x.json', { bytes: Buffer.from('{"newer":1}') });
    expect(await whole(await target.get('blobs/ab/large'))).toEqual(large);
    expect(String(await whole(await target.get('backups/x.json')))).toBe('{"newer":1}');
    expect(
      await Promise.all(['blobs/ab/large', 'blobs/cd/1', 'blobs/cd/9'].map((name) => target.sizeOf(name))),
    ).toEqual([200_000, 1, null]);
    expect(await target.get('none')).toBeNull();
    expect(await names(target, 'none')).toEqual([]);
    expect(await names(target, 'blobs')).toHaveLength(8);
    await target.remove(['blobs/cd/0', 'blobs/cd/1', 'none']);
    expect(await names(target, 'blobs/cd')).toEqual(['2', '3', '4', '5', '6'].map((name) => `blobs/cd/${name} 1`));
  });

  test('TG1 a put that is given up leaves nothing', async () => {
    const target = open();
    const signal = AbortSignal.abort(new Error('stopped'));
    await expect(target.put('given/up', { bytes: Buffer.from('x') }, signal)).rejects.toThrow('stopped');
    expect(await target.sizeOf('given/up')).toBeNull();
    await expect(target.put('given/up', { file: join(scratch, 'missing'), sizeBytes: 3 })).rejects.toThrow();
    expect(await target.sizeOf('given/up')).toBeNull();
  });
}
