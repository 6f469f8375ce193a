/**
 * Raw clients for tests: exact bytes in, exact bytes out, over one loopback connection each. They do not mend
 * what a server does wrong; a connection that ends fails the call that waits with `ConnectionGone`.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export class ConnectionGone extends Error {}

const CRLF = Buffer.from('\r\n');

/** A socket read by lines and by counted bytes. */
class Wire {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #heldBytes = 0;
  #isClosed = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#heldBytes += chunk.length;
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  send(...parts: readonly (string | Uint8Array)[]): void {
    for (const part of parts) this.#socket.write(typeof part === 'string' ? Buffer.from(part, 'utf8') : part);
  }

  /** One line without its CRLF, as latin1. */
  async line(): Promise<string> {
    for (;;) {
      const held = this.#joined();
      const end = held.indexOf(CRLF);
      if (end >= 0) return this.#take(end + 2).toString('latin1', 0, end);
      await this.#more();
    }
  }

  async bytes(count: number): Promise<Buffer> {
    while (this.#heldBytes < count) await this.#more();
    return this.#take(count);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #joined(): Buffer {
    const [first] = this.#chunks;
    if (first && this.#chunks.length === 1) return first;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }

  #take(count: number): Buffer {
    const all = this.#joined();
    this.#chunks = count < all.length ? [all.subarray(count)] : [];
    this.#heldBytes -= count;
    return all.subarray(0, count);
  }

  async #more(): Promise<void> {
    if (this.#isClosed) throw new ConnectionGone('the server closed the connection');
    await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

function dial(port: number, isTls = false): Wire {
  return new Wire(
    isTls ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }) : connect(port, '127.0.0.1'),
  );
}

export type Transfer = Readonly<{ from?: string; to: readonly string[]; message: Uint8Array }>;

/** SMTP or LMTP. */
export class SmtpClient implements Disposable {
  readonly #wire: Wire;
  readonly #isLmtp: boolean;

  private constructor(wire: Wire, isLmtp: boolean) {
    this.#wire = wire;
    this.#isLmtp = isLmtp;
  }

  /** Connected and introduced. */
  static async open(port: number, protocol: 'smtp' | 'lmtp'): Promise<SmtpClient> {
    const client = new SmtpClient(dial(port), protocol === 'lmtp');
    await client.reply();
    await client.ask(protocol === 'lmtp' ? 'LHLO client.test' : 'EHLO client.test');
    return client;
  }

  /** The last line of the next reply. */
  async reply(): Promise<string> {
    for (;;) {
      const line = await this.#wire.line();
      if (/^\d{3}(?: |$)/.test(line)) return line;
    }
  }

  async ask(command: string): Promise<string> {
    this.#wire.send(`${command}\r\n`);
    return this.reply();
  }

  /** One transaction. The reply that decided it: of the message, or the first refusal before it. */
  async deliver(transfer: Transfer): Promise<string> {
    const [first = ''] = await this.deliverToEach(transfer);
    return first;
  }

  /** As `deliver`; over LMTP one reply for each recipient. */
  async deliverToEach({ from = 'sender@example.net', to, message }: Transfer): Promise<string[]> {
    for (const command of [`MAIL FROM:<${from}>`, ...to.map((address) => `RCPT TO:<${address}>`), 'DATA']) {
      const reply = await this.ask(command);
      if (!/^[23]/.test(reply)) {
        await this.ask('RSET');
        return [reply];
      }
    }
    const replies = [await this.transfer(message)];
    for (let count = this.#isLmtp ? to.length : 1; count > 1; count -= 1) replies.push(await this.reply());
    return replies;
  }

  /** Sends the message after DATA; the first reply to it. */
  async transfer(message: Uint8Array): Promise<string> {
    this.#wire.send(dotStuffed(message), '.\r\n');
    return this.reply();
  }

  [Symbol.dispose](): void {
    this.#wire.destroy();
  }
}

/** RFC 5321 §4.5.2. A last line without an end gets one. */
export function dotStuffed(message: Uint8Array): Buffer {
  const text = Buffer.from(message).toString('latin1');
  const stuffed = text.replaceAll('\r\n.', '\r\n..').replace(/^\./, '..');
  return Buffer.from(text === '' || text.endsWith('\r\n') ? stuffed : `${stuffed}\r\n`, 'latin1');
}

/** What the server must have stored, without the trace fields it put on top. */
export function withoutTrace(stored: Buffer): Buffer {
  const found = /^Return-Path: .*\r\nReceived: .*\r\n(?:\t.*\r\n)*/.exec(stored.toString('latin1', 0, 8192));
  if (!found) throw new Error('no trace fields');
  return stored.subarray(found[0].length);
}

/** A response as text (latin1) with its literals taken out, in order. */
export type ImapResponse = Readonly<{ text: string; literals: readonly Buffer[] }>;
export type ImapAnswer = Readonly<{ status: string; text: string; untagged: readonly ImapResponse[] }>;
export type Fetched = Readonly<{ uid: number; bytes: Buffer }>;

export class ImapClient implements Disposable {
  readonly #wire: Wire;
  #count = 0;

  private constructor(wire: Wire) {
    this.#wire = wire;
  }

  static async open(port: number, options: Readonly<{ tls?: boolean }> = {}): Promise<ImapClient> {
    const client = new ImapClient(dial(port, options.tls));
    await client.#response();
    return client;
  }

  static async login(port: number, user: string, password = 'pw'): Promise<ImapClient> {
    const client = await ImapClient.open(port);
    const answer = await client.command(`LOGIN ${user} ${password}`);
    if (answer.status !== 'OK') throw new Error(`LOGIN: ${answer.text}`);
    return client;
  }

  /** Sends one command; bytes go as synchronising literals. */
  async command(...parts: readonly (string | Uint8Array)[]): Promise<ImapAnswer> {
    const tag = `t${String((this.#count += 1))}`;
    const untagged: ImapResponse[] = [];
    let line = `${tag} `;
    for (const part of parts) {
      if (typeof part === 'string') {
        line += part;
        continue;
      }
      this.#wire.send(`${line}{${String(part.length)}}\r\n`);
      const refusal = await this.#until(tag, untagged, true);
      if (refusal) return refusal;
      this.#wire.send(part);
      line = '';
    }
    this.#wire.send(`${line}\r\n`);
    const answer = await this.#until(tag, untagged, false);
    if (!answer) throw new Error('an unasked continuation');
    return answer;
  }

  /** Bytes as they are, for what `command` does not do: IDLE. */
  send(text: string): void {
    this.#wire.send(text);
  }

  /** The next line, whatever it is; null when the server has closed the connection. */
  async nextLine(): Promise<string | null> {
    try {
      return await this.#wire.line();
    } catch (error) {
      if (error instanceof ConnectionGone) return null;
      throw error;
    }
  }

  /** As `command`, and anything but OK is an error. */
  async ok(...parts: readonly (string | Uint8Array)[]): Promise<ImapAnswer> {
    const answer = await this.command(...parts);
    if (answer.status !== 'OK') throw new Error(`${String(parts[0])}: ${answer.status} ${answer.text}`);
    return answer;
  }

  append(folder: string, message: Uint8Array, flags = ''): Promise<ImapAnswer> {
    return this.command(`APPEND "${folder}" ${flags === '' ? '' : `(${flags}) `}`, message);
  }

  /** Selects `folder` and gives its UIDVALIDITY and number of messages. */
  async select(folder: string): Promise<Readonly<{ uidValidity: number; exists: number }>> {
    const { untagged } = await this.ok(`SELECT "${folder}"`);
    const all = untagged.map(({ text }) => text).join('\n');
    const number = (pattern: RegExp): number => Number(pattern.exec(all)?.[1] ?? Number.NaN);
    return { uidValidity: number(/UIDVALIDITY (\d+)/), exists: number(/^\* (\d+) EXISTS/m) };
  }

  /** Every message of the selected folder, in the order the server gives them. */
  async fetchAll(set = '1:*'): Promise<Fetched[]> {
    const { untagged } = await this.ok(`UID FETCH ${set} (UID BODY.PEEK[])`);
    return untagged
      .filter(({ text }) => /^\* \d+ FETCH /.test(text))
      .map(({ text, literals }) => ({
        uid: Number(/\bUID (\d+)/.exec(text)?.[1]),
        bytes: literals[0] ?? quotedBody(text),
      }));
  }

  [Symbol.dispose](): void {
    this.#wire.destroy();
  }

  /** Collects until the tagged answer; null when a continuation came that was `awaited`. */
  async #until(tag: string, untagged: ImapResponse[], awaited: boolean): Promise<ImapAnswer | null> {
    for (;;) {
      const response = await this.#response();
      const [, status, text = ''] = new RegExp(`^${tag} (\\w+) ?(.*)$`, 's').exec(response.text) ?? [];
      if (status !== undefined) return { status, text, untagged };
      if (awaited && response.text.startsWith('+')) return null;
      untagged.push(response);
    }
  }

  async #response(): Promise<ImapResponse> {
    let text = '';
    const literals: Buffer[] = [];
    for (;;) {
      const line = await this.#wire.line();
      const length = /~?\{(\d+)\}$/.exec(line);
      text += line;
      if (!length || !/^\* (?:\d+ FETCH|LIST|STATUS|LSUB)/.test(text)) return { text, literals };
      literals.push(await this.#wire.bytes(Number(length[1])));
    }
  }
}

/** BODY[] as a quoted string or NIL: servers send short bodies so. */
function quotedBody(text: string): Buffer {
  const quoted = /BODY\[\] "((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? '';
  return Buffer.from(quoted.replaceAll(/\\(.)/g, '$1'), 'latin1');
}
