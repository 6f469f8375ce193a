/** A server on free loopback ports over mailboxes in memory, and a client that sends exact bytes. */
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { Config } from '../../src/config/schema.ts';
import { makeSelfSigned } from '../../src/config/self-signed.ts';
import type { Delivery } from '../../src/delivery/deliver.ts';
import type { Logger } from '../../src/observe/logger.ts';
import { createSmtpListeners } from '../../src/smtp/listener.ts';
import type { SubmissionDeps } from '../../src/smtp/submission.ts';
import { memoryDelivery } from '../delivery/memory-mailboxes.ts';

const LISTEN = { listen: [{ host: '127.0.0.1', port: 0 }] };
const CONFIG: Config['smtp'] = {
  maxMessageBytes: 50_000_000,
  maxRecipientsCount: 100,
  maxConnectionsCount: 1000,
  idleTimeoutMs: 60_000,
  bareNewlines: 'normalise',
  dataTimeoutMs: 60_000,
  dataMinimumBytesPerSecond: 256,
  mx: LISTEN,
  lmtp: LISTEN,
  submission: {
    ...LISTEN,
    allowCleartextLogin: false,
    maxMessagesPerHourCount: 1000,
    maxRecipientsPerHourCount: 1000,
    traceClientAddress: false,
  },
  submissions: LISTEN,
};

export function certificate(hostname = 'mx.example.org') {
  const { keyPem, certificatePem } = makeSelfSigned({ hostname, notBefore: new Date(), validDays: 2 });
  return { key: keyPem, cert: certificatePem };
}
const CERTIFICATE = certificate();

/** Stopped when the test ends. `logged` holds every line as JSON. */
export async function startServer(config: Partial<Config['smtp']> = {}) {
  const { delivery, mailboxes } = memoryDelivery();
  return { mailboxes, ...(await listenFor(delivery, config)) };
}

/** The listeners in front of `delivery`, stopped when the test ends. */
export async function listenFor(
  delivery: Delivery,
  config: Partial<Config['smtp']> = {},
  submission: SubmissionDeps | null = null,
) {
  const logged: string[] = [];
  const listeners = createSmtpListeners({
    config: { ...CONFIG, ...config },
    hostname: 'mx.example.org',
    tls: CERTIFICATE,
    delivery,
    submission,
    logger: recorder(logged),
  });
  const ports = await listeners.start();
  onTestFinished(() => listeners.stop(0));
  const [mx = 0, lmtp = 0, submissionPort = 0, submissions = 0] = [
    ports.mx,
    ports.lmtp,
    ports.submission,
    ports.submissions,
  ].map(([first]) => first);
  return { listeners, logged, mx, lmtp, submission: submissionPort, submissions };
}

function recorder(lines: string[]): Logger {
  const write = (message: string, fields?: unknown): void => void lines.push(JSON.stringify([message, fields]));
  return { debug: write, info: write, warn: write, error: write, child: () => recorder(lines) };
}

/** Everything is latin1: one character, one byte. */
export class MailClient {
  #socket: Socket;
  #received = '';
  #isClosed = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen(socket);
  }

  static async open(port: number): Promise<MailClient> {
    const client = new MailClient(connect({ port, host: '127.0.0.1', noDelay: true }));
    onTestFinished(() => client.destroy());
    return client;
  }

  /** Connected, greeted, and introduced with EHLO or LHLO. */
  static async introduced(port: number, hello = 'EHLO client.example.net'): Promise<MailClient> {
    const client = await MailClient.open(port);
    await client.reply();
    await client.ask(hello);
    return client;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  send(bytes: string): void {
    this.#socket.write(Buffer.from(bytes, 'latin1'));
  }

  /** The next reply, all its lines, without the last CRLF; '' when the connection ends before it is complete. */
  async reply(): Promise<string> {
    for (;;) {
      const match = /^(?:\d{3}-[^\r\n]*\r\n)*\d{3} [^\r\n]*\r\n/.exec(this.#received);
      if (match) {
        this.#received = this.#received.slice(match[0].length);
        return match[0].trimEnd();
      }
      if (this.#isClosed) return '';
      await this.#more();
    }
  }

  async ask(command: string): Promise<string> {
    this.send(`${command}\r\n`);
    return this.reply();
  }

  /** What comes until the peer closes. */
  async rest(): Promise<string> {
    while (!this.#isClosed) await this.#more();
    return this.#received;
  }

  /** Nothing came for `ms`. */
  async isSilentFor(ms: number): Promise<boolean> {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return this.#received === '';
  }

  /** MAIL, RCPT and DATA; the replies to RCPT. */
  async upToData(recipients: readonly string[] = ['bob@example.org'], sender = 'ann@example.net'): Promise<string[]> {
    await this.ask(`MAIL FROM:<${sender}>`);
    const replies: string[] = [];
    for (const recipient of recipients) replies.push(await this.ask(`RCPT TO:<${recipient}>`));
    replies.push(await this.ask('DATA'));
    return replies;
  }

  async startTls(options: object = {}): Promise<TLSSocket> {
    this.#socket.removeAllListeners('data');
    const secure = connectTls({ socket: this.#socket, rejectUnauthorized: false, ...options });
    this.#received = '';
    this.#listen(secure);
    this.#socket = secure;
    await new Promise<void>((resolve, reject) => {
      secure.once('secureConnect', resolve);
      secure.once('error', reject);
    });
    return secure;
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

export async function until(condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not within ${String(timeoutMs)} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** The message without the trace fields that the server puts on top. */
export function withoutTrace(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/^Return-Path: .*\r\nReceived: .*\r\n(?:\t.*\r\n)*/, '');
}
