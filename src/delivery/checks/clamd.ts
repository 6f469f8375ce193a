/**
 * The virus scanner clamd: one message, asked for by INSTREAM over its socket.
 *
 * CD1  Only "OK" is clean, and only "FOUND" is a virus; everything else, and no answer in time, is `away`.
 * CD2  What is unpacked is unpacked there, never in this process.
 *
 * Called by filters.ts.
 */
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';

type ScanResult = 'clean' | 'infected' | 'away';
/** A socket file, or host and port. */
export type ClamdAddress = Readonly<{ path: string } | { host: string; port: number }>;

const COMMAND = 'zINSTREAM\0';
const LENGTH_BYTES = 4;
const MAX_ANSWER_BYTES = 4096;

/** Scans `content`. Does not throw. */
export async function scanWithClamd(
  address: ClamdAddress,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<ScanResult> {
  const socket = connect(address);
  try {
    const answer = await raced(exchange(socket, content), signal);
    if (/^stream: OK$/.test(answer)) return 'clean';
    return /^stream: .* FOUND$/.test(answer) ? 'infected' : 'away';
  } catch {
    return 'away'; // CD1
  } finally {
    socket.destroy();
  }
}

async function exchange(socket: Socket, content: AsyncIterable<Uint8Array>): Promise<string> {
  await once(socket, 'connect');
  const answer = answerOf(socket);
  socket.write(COMMAND);
  for await (const piece of content) {
    if (piece.length === 0) continue; // no length but the last is zero
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32BE(piece.length);
    socket.write(length);
    if (!socket.write(piece)) await Promise.race([once(socket, 'drain'), answer]);
    if (socket.destroyed || socket.readableEnded) break; // it has said enough, as when a message is too long for it
  }
  socket.write(Buffer.alloc(LENGTH_BYTES));
  return answer;
}

async function answerOf(socket: Socket): Promise<string> {
  let answer = '';
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    answer += chunk.toString('latin1');
    if (answer.includes('\0') || answer.length > MAX_ANSWER_BYTES) break;
  }
  return answer.split('\0', 1)[0] ?? '';
}

async function raced<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => undefined);
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => {
    aborted.reject(new Error('time limit'));
  };
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
