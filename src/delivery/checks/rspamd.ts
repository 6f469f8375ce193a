/**
 * The spam filter rspamd: one message, asked for over HTTP (`/checkv2`).
 *
 * RS1  Its action is taken as it is; an answer that is none, and no answer in time, is `away`.
 * RS2  Of what it answers nothing but numbers and known words goes on.
 *
 * Called by filters.ts.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** What rspamd is told besides the message; texts of the peer are encoded. */
export type SpamEnvelope = Readonly<{
  address: string;
  helo: string;
  sender: string;
  recipients: readonly string[];
  transaction: string;
}>;
type SpamResult = Readonly<
  | { kind: 'rated'; action: 'accept' | 'junk' | 'refuse' | 'defer'; score: number; requiredScore: number }
  | { kind: 'away' }
>;

const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** Rates `content`. Does not throw. */
export async function rateWithRspamd(
  url: string,
  message: SpamEnvelope & Readonly<{ content: AsyncIterable<Uint8Array>; hostname: string }>,
  signal: AbortSignal,
): Promise<SpamResult> {
  try {
    const response = await post(new URL('checkv2', url.endsWith('/') ? url : `${url}/`), message, signal);
    const answer = readAnswer(await textOf(response));
    return response.statusCode === 200 && answer ? answer : { kind: 'away' };
  } catch {
    return { kind: 'away' }; // RS1
  }
}

async function post(
  url: URL,
  message: SpamEnvelope & Readonly<{ content: AsyncIterable<Uint8Array>; hostname: string }>,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const headers = {
    ip: message.address,
    helo: clean(message.helo),
    from: clean(message.sender),
    rcpt: message.recipients.map(clean),
    'queue-id': message.transaction,
    'mta-name': message.hostname,
    'content-type': 'message/rfc822',
  };
  const request = send(url, { method: 'POST', headers, signal });
  const response = Promise.withResolvers<IncomingMessage>();
  request.on('response', response.resolve);
  request.on('error', response.reject);
  response.promise.catch(() => undefined);
  await pipeline(Readable.from(message.content, { objectMode: false }), request);
  return response.promise;
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_ANSWER_BYTES) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** UTF-8 bytes as HTTP headers carry them, without anything that could end a line. */
function clean(text: string): string {
  return Buffer.from(text.replaceAll(/[\x00-\x20\x7f]/g, '')).toString('latin1');
}

function readAnswer(text: string): SpamResult | null {
  const value = JSON.parse(text) as unknown;
  if (typeof value !== 'object' || value === null || !('action' in value)) return null;
  const action = ACTIONS.get(String(value.action));
  if (action === undefined) return null;
  return { kind: 'rated', action, score: numberIn(value, 'score'), requiredScore: numberIn(value, 'required_score') };
}

function numberIn(value: object, name: string): number {
  const found = (value as Readonly<Record<string, unknown>>)[name];
  return typeof found === 'number' && Number.isFinite(found) ? found : 0;
}

/** What rspamd says should be done; `greylist` alone is only what it would like to. */
const ACTIONS: ReadonlyMap<string, 'accept' | 'junk' | 'refuse' | 'defer'> = new Map([
  ['no action', 'accept'],
  ['greylist', 'accept'],
  ['add header', 'junk'],
  ['rewrite subject', 'junk'],
  ['quarantine', 'junk'],
  ['soft reject', 'defer'],
  ['discard', 'refuse'],
  ['reject', 'refuse'],
] as const);
