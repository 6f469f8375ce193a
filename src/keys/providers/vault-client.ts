/**
 * One request to Vault or OpenBao, over HTTP or HTTPS.
 *
 * VC1  Every failure is a KeyProviderError, mapped from status and error text; what is unknown is 'internal' (5xx) or
 *      'bad-answer', never a success. Nothing is tried twice.
 * VC2  A request, connection and answer included, ends by `timeoutMs` or its signal; an answer has at most
 *      `ANSWER_MAX_BYTES`.
 * VC3  No message quotes an answer that succeeded: it may hold a plaintext key.
 * VC4  The authority of `caFile` counts for these connections only. `fetch` has no setting for that, hence node:https.
 *
 * Called by vault-transit.ts and vault-token.ts.
 */
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { ServerError } from '../../base/errors.ts';
import { KeyProviderError, type KeyFailure } from '../provider.ts';

export type VaultConnection = Readonly<{
  /** Origin, with a path if Vault lies under one. */
  address: string;
  namespace?: string | undefined;
  /** PEM. Absent: the authorities that Node trusts. */
  caFile?: string | undefined;
  timeoutMs: number;
}>;
type VaultRequest = Readonly<{
  method: 'GET' | 'POST';
  /** Below `/v1/`; its segments are checked by the caller. */
  path: string;
  token: string;
  body?: Readonly<Record<string, unknown>>;
}>;
export type VaultAnswer = Readonly<{
  requestId: string | null;
  data: Readonly<Record<string, unknown>>;
  auth: Readonly<Record<string, unknown>>;
}>;

const MAX_SOCKETS = 50;
const ANSWER_MAX_BYTES = 1024 * 1024;
const MAX_TEXT_LENGTH = 500;

/** Of a 400, by what the text says. */
const REFUSED_REQUESTS: readonly (readonly [RegExp, KeyFailure])[] = [
  [/message authentication failed|invalid ciphertext|no such key version/, 'invalid-ciphertext'],
  [/encryption key not found|unknown key type/, 'not-found'], // the second one: see "never makes a key" in vault-transit.ts
  [/disallowed by policy|soft.?deleted/i, 'disabled'],
  [/missing client token/, 'denied'],
  [/not supported|derivation|upsert/, 'unsuitable'],
];

export class VaultClient {
  readonly #connection: VaultConnection;
  readonly #agent: HttpAgent;
  readonly #request: typeof httpRequest;

  /** Throws ServerError 'not-found' when the CA file cannot be read. */
  constructor(connection: VaultConnection) {
    this.#connection = connection;
    const isSecure = connection.address.startsWith('https:');
    const settings = { keepAlive: true, maxSockets: MAX_SOCKETS };
    const ca = connection.caFile === undefined ? {} : { ca: readCa(connection.caFile) };
    this.#agent = isSecure ? new HttpsAgent({ ...settings, ...ca }) : new HttpAgent(settings);
    this.#request = isSecure ? httpsRequest : httpRequest;
  }

  /** Throws KeyProviderError (VC1). */
  async send(request: VaultRequest, signal?: AbortSignal): Promise<VaultAnswer> {
    const timeout = AbortSignal.timeout(this.#connection.timeoutMs);
    const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
    try {
      return await this.#exchange(request, either);
    } catch (error) {
      if (either.aborted) throw new KeyProviderError('unreachable', 'Vault did not answer in time', { cause: error });
      if (error instanceof KeyProviderError) throw error;
      const reason = error instanceof Error && 'code' in error ? String(error.code) : 'connection failed';
      throw new KeyProviderError('unreachable', `Vault: ${reason}`, { cause: error });
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #exchange({ method, path, token, body }: VaultRequest, signal: AbortSignal): Promise<VaultAnswer> {
    signal.throwIfAborted();
    const { address, namespace } = this.#connection;
    const content = body === undefined ? '' : JSON.stringify(body);
    const headers = {
      'x-vault-request': 'true', // an agent in between may insist on it
      'x-vault-token': token,
      'content-length': Buffer.byteLength(content),
      ...(namespace === undefined ? {} : { 'x-vault-namespace': namespace }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    };
    const url = `${address.replace(/\/+$/, '')}/v1/${path}`;
    const answered = Promise.withResolvers<IncomingMessage>();
    const sent = this.#request(url, { method, headers, agent: this.#agent, signal }, answered.resolve);
    sent.on('error', answered.reject);
    sent.end(content);
    const response = await answered.promise;
    const bytes = await contentOf(response);
    try {
      return readAnswer(response.statusCode ?? 0, parsed(bytes));
    } finally {
      bytes.fill(0);
    }
  }
}

function readCa(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    const clientText = `The CA file ${file} cannot be read. See keys.vaultTransit.caFile.`;
    throw new ServerError('not-found', { clientText, cause });
  }
}

async function contentOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > ANSWER_MAX_BYTES) throw new KeyProviderError('bad-answer', 'Vault: the answer is too large');
    chunks.push(chunk);
  }
  const content = Buffer.concat(chunks);
  for (const chunk of chunks) chunk.fill(0);
  return content;
}

/** Null for what is no JSON object. */
function parsed(content: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    return recordOf(JSON.parse(content.toString('utf8')));
  } catch {
    return null;
  }
}

function readAnswer(status: number, body: Readonly<Record<string, unknown>> | null): VaultAnswer {
  const requestId = typeof body?.['request_id'] === 'string' && body['request_id'] !== '' ? body['request_id'] : null;
  if (status === 200) {
    if (!body) throw new KeyProviderError('bad-answer', 'Vault: malformed answer');
    return { requestId, data: recordOf(body['data']) ?? {}, auth: recordOf(body['auth']) ?? {} };
  }
  const errors = Array.isArray(body?.['errors']) ? body['errors'].filter((text) => typeof text === 'string') : [];
  const text = errors.join('; ').replace(/\s+/g, ' ').slice(0, MAX_TEXT_LENGTH);
  throw new KeyProviderError(failureOf(status, text), `Vault: ${String(status)} ${text}`.trimEnd(), { requestId });
}

function failureOf(status: number, text: string): KeyFailure {
  switch (status) {
    case 400:
      return REFUSED_REQUESTS.find(([pattern]) => pattern.test(text))?.[1] ?? 'bad-answer';
    case 401:
    case 403:
      return 'denied';
    case 404:
      return 'not-found';
    case 412: // this node has not caught up with a write yet
      return 'internal';
    case 429:
      return 'throttled';
    case 307: // a standby that does not forward
    case 472: // the standby of another site
    case 473:
    case 503: // sealed, or in maintenance
      return 'unreachable';
    default:
      return status >= 500 ? 'internal' : 'bad-answer';
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | null {
  const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isRecord ? (value as Readonly<Record<string, unknown>>) : null;
}
