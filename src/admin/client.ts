/** Asks a running server over its admin socket. Loads no part of the server, so that commands start fast. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { OperationAnswer, OperationInput, OperationName } from './operations.ts';
import { frameHeader, FrameReader } from './frames.ts';
import type { ExportEnd, ExportHeader, ExportRequest } from './operations/exports.ts';
import type { BatchHeader, MessageHeader, MessagesAnswer } from './operations/imports.ts';
import { EXPORT_MESSAGES, FRAMES_TYPE, IMPORT_BATCH, OPERATION_PATH, type AdminFailure } from './protocol.ts';

const ANSWER_MAX_BYTES = 64 * 1024 * 1024;

/** A request that failed; the message is for the operator. */
export class AdminRequestError extends Error {
  readonly code: string;
  /** The same request may succeed later. */
  readonly isRetryable: boolean;

  constructor(code: string, message: string, options: { cause?: unknown; isRetryable?: boolean } = {}) {
    super(message, options);
    this.name = 'AdminRequestError';
    this.code = code;
    this.isRetryable = options.isRetryable ?? false;
  }
}

/** Runs one operation. Throws AdminRequestError. */
export async function askServer<Name extends OperationName>(
  socketFile: string,
  name: Name,
  input: OperationInput<Name>,
): Promise<OperationAnswer<Name>> {
  return answerOf<OperationAnswer<Name>>(await post(socketFile, name, [Buffer.from(JSON.stringify(input))]));
}

/** Sends a batch of messages of an import. Throws AdminRequestError. */
export async function sendBatch(
  socketFile: string,
  batch: BatchHeader,
  messages: readonly Readonly<{ header: MessageHeader; bytes: Buffer }>[],
): Promise<MessagesAnswer> {
  const frames = messages.flatMap(({ header, bytes }) => [frameHeader(header), bytes]);
  return answerOf<MessagesAnswer>(await post(socketFile, IMPORT_BATCH, [frameHeader(batch), ...frames], FRAMES_TYPE));
}

/** The messages of a folder; each is in memory by itself. Throws AdminRequestError, also when the stream is cut. */
export async function* exportedMessages(
  socketFile: string,
  request: ExportRequest,
): AsyncGenerator<Readonly<{ header: ExportHeader; bytes: Buffer }>> {
  const response = await post(socketFile, EXPORT_MESSAGES, [Buffer.from(JSON.stringify(request))]);
  if (response.headers['content-type'] !== FRAMES_TYPE) await answerOf(response);
  const frames = new FrameReader(unbroken(response, socketFile));
  for (;;) {
    const header = (await frames.header()) as ExportHeader | ExportEnd | null;
    if (!header) throw new AdminRequestError('connection-failed', 'The server broke off the export. Its log says why.');
    if ('isEnd' in header) return;
    const pieces: Buffer[] = [];
    for await (const piece of frames.body()) pieces.push(piece);
    yield { header, bytes: pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces) };
  }
}

async function* unbroken(response: IncomingMessage, socketFile: string): AsyncGenerator<Buffer> {
  try {
    yield* response as AsyncIterable<Buffer>;
  } catch (error) {
    throw connectionError(error as Error, socketFile);
  }
}

async function answerOf<Answer>(response: IncomingMessage): Promise<Answer> {
  const body = JSON.parse(await textOf(response)) as { answer: Answer } | { error: AdminFailure };
  if (!('error' in body)) return body.answer;
  const { code, message, retryable } = body.error;
  throw new AdminRequestError(code, message, { isRetryable: retryable });
}

function post(
  socketFile: string,
  name: string,
  pieces: readonly Buffer[],
  type = 'application/json',
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const lengthBytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const headers = { 'content-type': type, 'content-length': lengthBytes };
    const request = httpRequest(
      { socketPath: socketFile, path: OPERATION_PATH + name, method: 'POST', headers },
      resolve,
    );
    request.on('error', (error) => {
      reject(connectionError(error, socketFile));
    });
    for (const piece of pieces) request.write(piece);
    request.end();
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > ANSWER_MAX_BYTES) throw new AdminRequestError('limit-exceeded', 'The answer is too large.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function connectionError(error: Error, socketFile: string): AdminRequestError {
  const reason = 'code' in error ? String(error.code) : error.message;
  switch (reason) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new AdminRequestError(
        'not-running',
        `No server answers at ${socketFile}. Is it running, with the same configuration? Start it: sealpost serve`,
        { cause: error },
      );
    case 'EACCES':
      return new AdminRequestError(
        'not-permitted',
        `No permission to use ${socketFile}. Run this as the user that runs the server.`,
        { cause: error },
      );
    default:
      return new AdminRequestError('connection-failed', `The server broke off the request (${reason}).`, {
        cause: error,
      });
  }
}
