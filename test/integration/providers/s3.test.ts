/**
 * Backups in a bucket of a service that is not ours: moto (scripts/test-providers starts it), or any other at
 * SEALPOST_TEST_S3_ENDPOINT with the bucket SEALPOST_TEST_S3_BUCKET, which it may lack.
 */
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { S3Target } from '../../../src/backup/s3-target.ts';
import { targetSuite } from '../../backup/target-suite.ts';
import { DOMAIN, PASSWORD, TestServer } from '../../support/server.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { ImapClient } from '../../support/wire.ts';

const endpoint = process.env['SEALPOST_TEST_S3_ENDPOINT'] ?? '';
const bucket = process.env['SEALPOST_TEST_S3_BUCKET'] ?? 'sealpost-test';
const accessKeyId = process.env['SEALPOST_TEST_S3_KEY'] ?? 'test';
const secretAccessKey = process.env['SEALPOST_TEST_S3_SECRET'] ?? 'test';
const s3 = { endpoint, accessKeyId, secretAccessKey, usesPathStyle: true };

if (endpoint === '') process.stdout.write('skipped: SEALPOST_TEST_S3_ENDPOINT is not set (scripts/test-providers)\n');

describe.skipIf(endpoint === '')('a bucket of a third party', () => {
  beforeAll(async () => {
    const credentials = { accessKeyId, secretAccessKey };
    const admin = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
    await admin.send(new CreateBucketCommand({ Bucket: bucket })).catch(() => undefined); // it may be there
    admin.destroy();
  });
  const prefix = `suite-${String(Date.now())}`;
  targetSuite(() => new S3Target({ bucket, prefix }, s3), temporaryDirectory());

  test('a backup goes there, is proven, and restores', { timeout: 120_000 }, async () => {
    const server = await TestServer.start({ users: 1, config: { backup: { s3 } } });
    using imap = await ImapClient.open(server.ports.imap);
    await imap.ok(`LOGIN u1@${DOMAIN} ${PASSWORD}`);
    const message = Buffer.from(`Subject: large\r\n\r\n${'sealed\r\n'.repeat(30_000)}`);
    await imap.append('INBOX', message);
    const target = `s3://${bucket}/server-${String(Date.now())}`;
    for (const words of [
      ['backup', 'create', target, '--keep', '1'],
      ['backup', 'create', target, '--keep', '1'],
      ['backup', 'verify', target],
      ['backup', 'restore', target, '--mailbox', `u1@${DOMAIN}`, '--beside'],
      ['backup', 'restore', target, '--into', join(server.directory, 'restored')],
    ]) {
      const { code, error } = await server.run(words);
      expect([words.slice(0, 2), code, error]).toEqual([words.slice(0, 2), 0, expect.any(String)]);
    }
    const all = JSON.parse((await server.run(['backup', 'list', target, '--json'])).out) as unknown[];
    expect(all).toHaveLength(1);
  });
});
