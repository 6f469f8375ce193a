/** Asks a running server over its admin socket. Loads no part of the server, so that commands start fast. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { OperationAnswer, OperationInput, OperationName } from './operations.ts';
import { OPERATION_PATH, type AdminFailure } from './protocol.ts';

const ANSWER_MAX_BYTES = 64 * 1024 * 1024;

/** A request that failed; the message is for the operator. */
export class AdminRequestError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'AdminRequestError';
    this.code = code;
  }
}

/** Runs one operation. Throws AdminRequestError. */
export async function askServer<Name extends OperationName>(
  socketFile: string,
  name: Name,
  input: OperationInput<Name>,
): Promise<OperationAnswer<Name>> {
  const response = await post(socketFile, name, JSON.stringify(input));
  const body = JSON.parse(await textOf(response)) as { answer: OperationAnswer<Name> } | { error: AdminFailure };
  if ('error' in body) throw new AdminRequestError(body.error.code, body.error.message);
  return body.answer;
}

function post(socketFile: string, name: string, body: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const request = httpRequest(
      { socketPath: socketFile, path: OPERATION_PATH + name, method: 'POST', headers },
      resolve,
    );
    request.on('error', (error) => {
      reject(connectionError(error, socketFile));
    });
    request.end(body);
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
