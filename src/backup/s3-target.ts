/**
 * A bucket of an S3-compatible service as a backup target. The only file that knows its SDK.
 *
 * S1  Checksums that not every service knows are sent only where they are required; objects are checked by their own
 *     SHA-256, which the manifest holds (manifest.ts).
 * S2  No write depends on a condition that a service may ignore.
 * S3  What is larger than `PART_BYTES` goes in parts, each held in memory so that it can be tried again; parts of an upload
 *     that failed are given up.
 */
import { open, readFile } from 'node:fs/promises';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { ServerError } from '../base/errors.ts';
import type { BackupTarget, ListedObject, ObjectSource } from './target.ts';

/** What is absent is left to the SDK's own environment, files and credential chain. */
export type S3Options = Readonly<{
  endpoint?: string | undefined;
  region?: string | undefined;
  profile?: string | undefined;
  accessKeyId?: string | undefined;
  secretAccessKey?: string | undefined;
  usesPathStyle: boolean;
}>;
type Sdk = typeof import('@aws-sdk/client-s3');
type Opened = Readonly<{ sdk: Sdk; client: S3Client }>;

const PART_BYTES = 16 * 1024 * 1024;
const PARTS_MAX_COUNT = 9000;
const TRIES_COUNT = 4;

export class S3Target implements BackupTarget {
  readonly text: string;
  readonly #bucket: string;
  /** '' or ends with a slash. */
  readonly #prefix: string;
  readonly #options: S3Options;
  #opened: Promise<Opened> | null = null;

  constructor(place: Readonly<{ bucket: string; prefix: string }>, options: S3Options) {
    this.text = `s3://${place.bucket}/${place.prefix}`;
    this.#bucket = place.bucket;
    this.#prefix = place.prefix === '' ? '' : `${place.prefix}/`;
    this.#options = options;
  }

  put(name: string, source: ObjectSource, signal?: AbortSignal): Promise<void> {
    return this.#do(signal, async ({ sdk, client }) => {
      if ('file' in source && source.sizeBytes > PART_BYTES) {
        await this.#putParts({ sdk, client }, { ...source, key: this.#prefix + name }, signal);
        return;
      }
      const Body = 'file' in source ? await readFile(source.file) : source.bytes; // in memory, so that it can be tried again
      if ('file' in source && Body.length !== source.sizeBytes) throw new TypeError('the file has another size');
      const command = new sdk.PutObjectCommand({ ...this.#at(name), Body });
      await client.send(command, { ...(signal ? { abortSignal: signal } : {}) });
    });
  }

  get(name: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array> | null> {
    return this.#do(signal, async ({ sdk, client }) => {
      try {
        const answer = await client.send(new sdk.GetObjectCommand(this.#at(name)), {
          ...(signal ? { abortSignal: signal } : {}),
        });
        return answer.Body ? (answer.Body as AsyncIterable<Uint8Array>) : null;
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
    });
  }

  sizeOf(name: string, signal?: AbortSignal): Promise<number | null> {
    return this.#do(signal, async ({ sdk, client }) => {
      try {
        return (await client.send(new sdk.HeadObjectCommand(this.#at(name)))).ContentLength ?? null;
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
    });
  }

  async *list(folder: string, signal?: AbortSignal): AsyncGenerator<ListedObject> {
    let token: string | undefined;
    do {
      const page = await this.#do(signal, ({ sdk, client }) =>
        client.send(
          new sdk.ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: `${this.#prefix}${folder}/`,
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      );
      for (const { Key: key = '', Size: sizeBytes = 0, LastModified: at } of page.Contents ?? [])
        yield { name: key.slice(this.#prefix.length), sizeBytes, modifiedAtMs: at?.getTime() ?? 0 };
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async remove(names: readonly string[], signal?: AbortSignal): Promise<void> {
    for (const name of names) {
      await this.#do(signal, ({ sdk, client }) => client.send(new sdk.DeleteObjectCommand(this.#at(name))));
    }
  }

  #at(name: string): Readonly<{ Bucket: string; Key: string }> {
    return { Bucket: this.#bucket, Key: this.#prefix + name };
  }

  async #putParts(
    { sdk, client }: Opened,
    { file, sizeBytes, key }: Readonly<{ file: string; sizeBytes: number; key: string }>,
    signal?: AbortSignal,
  ): Promise<void> {
    const place = { Bucket: this.#bucket, Key: key };
    const { UploadId } = await client.send(new sdk.CreateMultipartUploadCommand(place));
    const partBytes = Math.max(PART_BYTES, Math.ceil(sizeBytes / PARTS_MAX_COUNT));
    try {
      await using handle = await open(file, 'r');
      const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
      for (let start = 0; start < sizeBytes; start += partBytes) {
        signal?.throwIfAborted();
        const Body = Buffer.allocUnsafe(Math.min(partBytes, sizeBytes - start));
        const { bytesRead } = await handle.read(Body, 0, Body.length, start);
        if (bytesRead !== Body.length) throw new TypeError('the file has another size');
        const PartNumber = Parts.length + 1;
        const { ETag } = await client.send(new sdk.UploadPartCommand({ ...place, UploadId, PartNumber, Body }));
        Parts.push({ PartNumber, ETag });
      }
      await client.send(new sdk.CompleteMultipartUploadCommand({ ...place, UploadId, MultipartUpload: { Parts } }));
    } catch (error) {
      await client.send(new sdk.AbortMultipartUploadCommand({ ...place, UploadId })).catch(() => undefined);
      throw error;
    }
  }

  async #do<T>(signal: AbortSignal | undefined, work: (opened: Opened) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    try {
      this.#opened ??= openSdk(this.#options);
      return await work(await this.#opened);
    } catch (cause) {
      signal?.throwIfAborted();
      const name = cause instanceof Error ? cause.name : 'unknown';
      throw new ServerError('storage-failed', {
        clientText: `The backup target ${this.text} failed (${name}).`,
        retryable: true,
        cause,
      });
    }
  }
}

async function openSdk({ accessKeyId, secretAccessKey, usesPathStyle, ...given }: S3Options): Promise<Opened> {
  const sdk = await import('@aws-sdk/client-s3'); // installations without a bucket never load it
  const named = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const config: S3ClientConfig = {
    ...named,
    ...(accessKeyId !== undefined && secretAccessKey !== undefined
      ? { credentials: { accessKeyId, secretAccessKey } }
      : {}),
    ...(given.endpoint !== undefined && given.region === undefined ? { region: 'us-east-1' } : {}), // only a name there
    forcePathStyle: usesPathStyle,
    maxAttempts: TRIES_COUNT,
    requestChecksumCalculation: 'WHEN_REQUIRED', // S1
    responseChecksumValidation: 'WHEN_REQUIRED',
  };
  return { sdk, client: new sdk.S3Client(config) };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && ['NoSuchKey', 'NotFound'].includes(error.name);
}
