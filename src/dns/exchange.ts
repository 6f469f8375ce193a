/**
 * One question to one name server: by datagram, and by TCP when the answer does not fit.
 *
 * X1  Each question has a random id, and a socket and hence a source port of its own, connected to the server: the kernel
 *     drops what comes from elsewhere. RFC 5452 §9.2.
 * X2  Datagrams that do not answer it are passed over. After `FOREIGN_MAX_COUNT` of them somebody is guessing, and the
 *     question goes by TCP.
 * X3  A truncated answer is asked for again by TCP, and never used. RFC 7766 §5.
 *
 * Called by stub-resolver.ts.
 */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { encodeQuestion, readMessage, type Question, type Reading } from './message.ts';
import type { Answer, RecordType } from './resolver.ts';
import type { NameServer } from './servers.ts';

export type Asked = Readonly<{ name: string; type: RecordType }>;
/** The AD bit is in `answer.secure`, whoever set it. */
export type Exchanged = Readonly<{ kind: 'answer'; answer: Answer; bytes: number }> | Failed;
type Failed = Readonly<{ kind: 'failure'; reason: string }>;

type Carried = Readonly<{ reading: Reading; bytes: number }>;
type Transport = (question: Question, server: NameServer, signal: AbortSignal) => Promise<Carried>;

const FOREIGN_MAX_COUNT = 16;
const LENGTH_BYTES = 2;
const IDS = 65_536;

/** Asks until an answer, a failure or the end of `signal`, whose reason is then thrown. */
export async function exchange(asked: Asked, server: NameServer, signal: AbortSignal): Promise<Exchanged> {
  let [transport, edns]: [Transport, boolean] = [overUdp, true];
  for (;;) {
    const question = { id: randomInt(IDS), ...asked, edns };
    const { reading, bytes } = await transport(question, server, signal);
    switch (reading.kind) {
      case 'answer':
        return { kind: 'answer', answer: reading.answer, bytes };
      case 'failure':
        return reading;
      case 'no-edns':
        edns = false;
        break;
      case 'truncated':
      case 'foreign':
        if (transport === overTcp) return { kind: 'failure', reason: 'an answer to another question' };
        transport = overTcp;
        break;
    }
  }
}

async function overUdp(question: Question, server: NameServer, signal: AbortSignal): Promise<Carried> {
  signal.throwIfAborted();
  const done = Promise.withResolvers<Carried>();
  const socket = createSocket(server.address.includes(':') ? 'udp6' : 'udp4');
  let foreignCount = 0;
  socket.on('message', (bytes) => {
    const reading = readMessage(bytes, question);
    if (reading.kind === 'foreign' && ++foreignCount < FOREIGN_MAX_COUNT) return;
    done.resolve({ reading, bytes: bytes.length });
  });
  socket.on('error', (error) => {
    done.resolve(unreachable(error));
  });
  socket.connect(server.port, server.address, () => {
    socket.send(encodeQuestion(question), (error) => {
      if (error) done.resolve(unreachable(error));
    });
  });
  return await ended(done, signal, () => void socket.close());
}

async function overTcp(question: Question, server: NameServer, signal: AbortSignal): Promise<Carried> {
  signal.throwIfAborted();
  const done = Promise.withResolvers<Carried>();
  const socket = connect({ host: server.address, port: server.port });
  let received = Buffer.alloc(0);
  socket.on('connect', () => {
    const message = encodeQuestion(question);
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16BE(message.length);
    socket.write(Buffer.concat([length, message]));
  });
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes]);
    const end = received.length < LENGTH_BYTES ? Infinity : LENGTH_BYTES + received.readUInt16BE(0);
    if (received.length < end) return;
    done.resolve({ reading: readMessage(received.subarray(LENGTH_BYTES, end), question), bytes: end });
  });
  socket.on('error', (error) => {
    done.resolve(unreachable(error));
  });
  socket.on('close', () => {
    done.resolve(failed('a connection that was closed'));
  });
  return await ended(done, signal, () => void socket.destroy());
}

/** Waits for the answer; the socket is closed in any case. */
async function ended(done: PromiseWithResolvers<Carried>, signal: AbortSignal, close: () => void): Promise<Carried> {
  const onAbort = (): void => {
    done.reject(signal.reason as Error);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await done.promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    close();
  }
}

/** The code of the system only: its message may hold more. */
function unreachable(error: Error): Carried {
  return failed('code' in error ? String(error.code) : 'a socket error');
}

function failed(reason: string): Carried {
  return { reading: { kind: 'failure', reason }, bytes: 0 };
}
