/** As much of S3 as a backup needs, in memory: path style, one bucket made by its first use, pages of three in lists. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHash } from 'node:crypto';

const PAGE_COUNT = 3;

export type S3Server = AsyncDisposable &
  Readonly<{
    endpoint: string;
    objects: Map<string, Buffer>;
    /** Answers the next so many requests with 500. */ fail(count: number): void;
  }>;

export async function startS3Server(): Promise<S3Server> {
  const objects = new Map<string, Buffer>();
  const parts = new Map<string, Buffer>();
  let failuresCount = 0;
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      if (failuresCount > 0) {
        failuresCount -= 1;
        response.writeHead(500).end();
        return;
      }
      answer({ objects, parts, request, response, body });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${String(port)}`,
    objects,
    fail: (count) => {
      failuresCount = count;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}

type Exchange = Readonly<{
  objects: Map<string, Buffer>;
  parts: Map<string, Buffer>;
  request: IncomingMessage;
  response: ServerResponse;
  body: Buffer;
}>;

function answer({ objects, parts, request, response, body }: Exchange): void {
  const url = new URL(request.url ?? '/', 'http://s3');
  const key = decodeURIComponent(url.pathname.split('/').slice(2).join('/'));
  const etag = { etag: `"${createHash('md5').update(body).digest('hex')}"` };
  const part = url.searchParams.get('partNumber');
  switch (request.method) {
    case 'PUT':
      if (request.headers['content-encoding']?.includes('aws-chunked')) response.writeHead(501).end();
      else if (part === null) objects.set(key, body);
      else parts.set(`${key}#${part.padStart(5, '0')}`, body);
      response.writeHead(200, etag).end();
      return;
    case 'POST':
      if (url.searchParams.has('uploads')) {
        xml(response, `<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>`);
        return;
      }
      objects.set(
        key,
        Buffer.concat(
          [...parts]
            .filter(([name]) => name.startsWith(`${key}#`))
            .sort()
            .map(([, each]) => each),
        ),
      );
      xml(response, `<CompleteMultipartUploadResult><Key>${key}</Key></CompleteMultipartUploadResult>`);
      return;
    case 'DELETE':
      objects.delete(key);
      response.writeHead(204).end();
      return;
    case 'HEAD':
    case 'GET':
      if (key === '') list(objects, url, response);
      else sendObject(objects.get(key), request, response);
      return;
    default:
      response.writeHead(405).end();
  }
}

function sendObject(object: Buffer | undefined, request: IncomingMessage, response: ServerResponse): void {
  if (!object) {
    response.writeHead(404, { 'content-type': 'application/xml' });
    response.end(request.method === 'HEAD' ? undefined : '<Error><Code>NoSuchKey</Code></Error>');
    return;
  }
  response.writeHead(200, { 'content-length': object.length });
  response.end(request.method === 'HEAD' ? undefined : object);
}

function list(objects: Map<string, Buffer>, url: URL, response: ServerResponse): void {
  const prefix = url.searchParams.get('prefix') ?? '';
  const after = url.searchParams.get('continuation-token') ?? '';
  const names = [...objects.keys()].filter((name) => name.startsWith(prefix) && name > after).sort();
  const page = names.slice(0, PAGE_COUNT);
  const rows = page.map(
    (name) =>
      `<Contents><Key>${name}</Key><Size>${String(objects.get(name)?.length)}</Size><LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>`,
  );
  const isTruncated = names.length > page.length;
  const next = isTruncated ? `<NextContinuationToken>${page.at(-1) ?? ''}</NextContinuationToken>` : '';
  xml(
    response,
    `<ListBucketResult><IsTruncated>${String(isTruncated)}</IsTruncated>${next}${rows.join('')}</ListBucketResult>`,
  );
}

function xml(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': 'application/xml' }).end(`<?xml version="1.0"?>${text}`);
}
