/**
 * The admin socket: operations over HTTP on a Unix socket.
 *
 * S1  Whoever may open the socket administers the server: it has mode 0600, in a directory of mode 0700.
 * S2  Input is checked by the operation's schema before it runs; unknown members are refused.
 * S3  Answers name the fault in the operator's words; what is unexpected goes to the log, not to the client.
 * S4  Requests are logged by operation, outcome and duration; never their input.
 *
 * Started by app.ts. Browsers cannot reach a Unix socket, so there is no cross-site request to forge.
 */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import { ServerError, type ErrorCode } from '../base/errors.ts';
import type { Logger } from '../observe/logger.ts';
import { operations, type OperationName } from './operations.ts';
import type { AdminContext, Operation } from './operations/context.ts';
import { importBatch } from './operations/imports.ts';
import { exportFrames, exportRequest } from './operations/exports.ts';
import { EXPORT_MESSAGES, FRAMES_TYPE, IMPORT_BATCH, OPERATION_PATH, type AdminFailure } from './protocol.ts';

const BODY_MAX_BYTES = 1024 * 1024;
/** A request's JSON must be here within the first, a batch of messages within the second. */
const JSON_TIMEOUT_MS = 10_000;
const FRAMES_TIMEOUT_MS = 600_000;
const CONNECTIONS_MAX_COUNT = 64;
const CLOSE_GRACE_MS = 5000;

/** HTTP status of each code that an operator's request can end with; all others are 500. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  'invalid-argument': 400,
  'not-allowed': 403,
  'not-found': 404,
  'already-exists': 409,
  'key-unsuitable': 422,
  'key-refused': 422,
  'key-lost': 422,
  suspended: 409,
  'limit-exceeded': 429,
  'key-unavailable': 503,
  'dns-unavailable': 503,
  'shutting-down': 503,
};

export class AdminServer {
  readonly #http: Server;
  readonly #context: AdminContext;
  readonly #logger: Logger;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<void>>();

  constructor(context: AdminContext, logger: Logger) {
    this.#context = context;
    this.#logger = logger;
    this.#http = createServer({ requestTimeout: FRAMES_TIMEOUT_MS }, (request, response) => {
      const serving = this.#serve(request, response).finally(() => this.#underWay.delete(serving));
      this.#underWay.add(serving);
    });
    this.#http.maxConnections = CONNECTIONS_MAX_COUNT;
  }

  /** Listens on `socketFile`; a socket left there by a process that died is replaced. */
  async listen(socketFile: string): Promise<void> {
    removeStaleSocket(socketFile);
    const listening = Promise.withResolvers<void>();
    this.#http.once('error', listening.reject);
    this.#http.listen(socketFile, listening.resolve);
    await listening.promise;
    chmodSync(socketFile, 0o600); // S1; the umask of the process keeps the moment before as narrow
  }

  /** Stops listening, aborts what runs, and waits for its answers to be sent. */
  async close(): Promise<void> {
    if (!this.#http.listening) return;
    const closed = Promise.withResolvers<void>();
    this.#http.close(() => {
      closed.resolve();
    });
    this.#closing.abort(new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true }));
    await Promise.race([Promise.all(this.#underWay), sleep(CLOSE_GRACE_MS, undefined, { ref: false })]);
    this.#http.closeAllConnections(); // what is left asks nothing
    await closed.promise;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedMs = performance.now();
    const name = operationName(request);
    let outcome = 'ok';
    try {
      if (name === null) throw new ServerError('not-found', { clientText: 'There is no such operation.' });
      await this.#answer(name, request, response);
    } catch (error) {
      const failure = failureOf(error);
      outcome = failure.code;
      if (failure.code === 'internal') this.#logger.error('admin request failed', { operation: name, error });
      await send(response, STATUS[failure.code as ErrorCode] ?? 500, { error: failure });
    }
    const durationMs = Math.round(performance.now() - startedMs);
    this.#logger.info('admin request', { operation: name, outcome, durationMs });
  }

  async #answer(name: RequestName, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { signal } = this.#closing;
    if (name === EXPORT_MESSAGES) {
      const frames = exportFrames(checkedInput(exportRequest, await readJson(request)), this.#context, signal);
      await sendFrames(response, frames);
      return;
    }
    const answer =
      name === IMPORT_BATCH
        ? await importBatch(request as AsyncIterable<Buffer>, this.#context, signal)
        : await this.#run(name, await readJson(request));
    await send(response, 200, { answer });
  }

  async #run(name: OperationName, body: unknown): Promise<unknown> {
    const { input, run } = operations[name] as Operation<z.ZodType, unknown>;
    return run(checkedInput(input, body), this.#context, this.#closing.signal);
  }
}

function removeStaleSocket(socketFile: string): void {
  const found = lstatSync(socketFile, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket()) {
    throw new ServerError('not-allowed', { clientText: `${socketFile} is in the way of the admin socket.` });
  }
  unlinkSync(socketFile);
}

type RequestName = OperationName | typeof IMPORT_BATCH | typeof EXPORT_MESSAGES;

function operationName(request: IncomingMessage): RequestName | null {
  const { method, url = '' } = request;
  const name = method === 'POST' && url.startsWith(OPERATION_PATH) ? url.slice(OPERATION_PATH.length) : '';
  if (name === IMPORT_BATCH || name === EXPORT_MESSAGES) return name;
  return Object.hasOwn(operations, name) ? (name as OperationName) : null;
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  const tooLate = setTimeout(() => request.destroy(), JSON_TIMEOUT_MS);
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      if (sizeBytes > BODY_MAX_BYTES)
        throw new ServerError('limit-exceeded', { clientText: 'The request is too large.' });
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(tooLate);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new ServerError('invalid-argument', { clientText: 'The request is not JSON.' });
  }
}

function checkedInput<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const checked = schema.safeParse(body);
  if (!checked.success) throw new ServerError('invalid-argument', { clientText: inputFault(checked.error) });
  return checked.data;
}

/** Names the members at fault without quoting their values, which may be passwords. */
function inputFault(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.map(String).join('.') || 'request'}: ${issue.message}`).join('; ');
}

function failureOf(error: unknown): AdminFailure {
  if (error instanceof ServerError) {
    return { code: error.code, message: error.clientText, retryable: error.retryable };
  }
  return { code: 'internal', message: 'The server failed. Its log says why.', retryable: false };
}

/** Resolves when the answer is sent, or its client is gone. */
function send(response: ServerResponse, status: number, body: unknown): Promise<void> {
  const text = JSON.stringify(body);
  return new Promise((resolve) => {
    if (response.closed || response.destroyed) {
      resolve();
      return;
    }
    response.once('close', resolve);
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    response.end(text);
  });
}

/** Sends frames as they come; what fails before the first one is an answer like any other, and later cuts the stream. */
async function sendFrames(response: ServerResponse, frames: AsyncGenerator<Buffer>): Promise<void> {
  const first = await frames.next();
  response.writeHead(200, { 'content-type': FRAMES_TYPE });
  try {
    if (first.done !== true) response.write(first.value);
    await pipeline(frames, response);
  } catch (error) {
    response.destroy();
    throw error;
  }
}
