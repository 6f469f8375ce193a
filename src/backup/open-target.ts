/** From what an operator writes to a backup target. */
import { isAbsolute, normalize } from 'node:path';
import { ServerError } from '../base/errors.ts';
import { FolderTarget } from './folder-target.ts';
import { S3Target, type S3Options } from './s3-target.ts';
import type { BackupTarget } from './target.ts';

const BUCKET = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/?((?:[A-Za-z0-9_.-]+\/)*[A-Za-z0-9_.-]*)\/?$/;

/** An absolute path, or `s3://bucket/prefix`. Throws ServerError 'invalid-argument'. */
export function openTarget(text: string, s3: S3Options): BackupTarget {
  const bucket = BUCKET.exec(text);
  if (bucket) return new S3Target({ bucket: bucket[1] ?? '', prefix: (bucket[2] ?? '').replace(/\/$/, '') }, s3);
  if (isAbsolute(text)) return new FolderTarget(normalize(text).replace(/(?<=.)\/$/, ''));
  throw new ServerError('invalid-argument', {
    clientText: `${JSON.stringify(text)} is no backup target: name a folder by its whole path, or s3://BUCKET/PREFIX.`,
  });
}
