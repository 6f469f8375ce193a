import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FolderTarget } from '../../src/backup/folder-target.ts';
import { openTarget } from '../../src/backup/open-target.ts';
import { S3Target } from '../../src/backup/s3-target.ts';
import { startS3Server, type S3Server } from '../support/s3-server.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { targetSuite } from './target-suite.ts';

const directory = temporaryDirectory();
const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };

describe('a folder', () => {
  const folder = join(directory, 'a', 'b');
  targetSuite(() => new FolderTarget(folder), directory);

  test('TG1 no temporary file is left', () => {
    expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
  });

  test('a folder that cannot be used is named', async () => {
    writeFileSync(join(directory, 'file'), '');
    const target = new FolderTarget(join(directory, 'file', 'below'));
    await expect(target.put('x/y', { bytes: Buffer.of(1) })).rejects.toMatchObject({ code: 'storage-failed' });
  });
});

describe('a bucket', () => {
  let server: S3Server;
  const place = { bucket: 'bucket', prefix: 'mail' };
  const target = (): S3Target =>
    new S3Target(place, { endpoint: server.endpoint, ...credentials, usesPathStyle: true });
  beforeAll(async () => {
    server = await startS3Server();
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });
  targetSuite(target, directory);

  test('S3 a large file goes in parts and comes back whole', async () => {
    const sizeBytes = 34 * 1024 * 1024;
    const file = join(directory, 'huge');
    const bytes = Buffer.alloc(sizeBytes, 'all of it ');
    writeFileSync(file, bytes);
    await target().put('huge', { file, sizeBytes });
    expect(server.objects.get('mail/huge')?.equals(bytes)).toBe(true);
    server.objects.clear();
  });

  test('one failure is tried again; a service that keeps failing is named', async () => {
    server.fail(1);
    await target().put('tried', { bytes: Buffer.from('again') });
    expect(server.objects.get('mail/tried')?.toString()).toBe('again');
    server.fail(1000);
    await expect(target().sizeOf('tried')).rejects.toMatchObject({ code: 'storage-failed' });
    server.fail(0);
  });
});

test.for([
  ['/backup/mail/', '/backup/mail'],
  ['/', '/'],
  ['s3://bucket', 's3://bucket/'],
  ['s3://bucket/a/b/', 's3://bucket/a/b'],
])('%s is a target', ([text, shown]) => {
  expect(openTarget(text ?? '', { usesPathStyle: true }).text).toBe(shown);
});

test.for(['relative', '', 's3://', 's3://B', 's3://bucket//x', 'https://bucket/x'])('%s is none', (text) => {
  expect(() => openTarget(text, { usesPathStyle: true })).toThrow(/no backup target/);
});
