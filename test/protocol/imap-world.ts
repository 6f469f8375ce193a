/** A real IMAP server on real mailboxes, and a bare client that speaks bytes. */
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { constants, createDeflateRaw, createInflateRaw, type DeflateRaw } from 'node:zlib';
import type { MailboxRef } from '../../src/keys/mailbox-keys.ts';
import { makeSelfSigned } from '../../src/config/self-signed.ts';
import { configSchema, type Config } from '../../src/config/schema.ts';
import { ServerError } from '../../src/base/errors.ts';
import { createImapServer } from '../../src/imap/server.ts';
import type { LoginService } from '../../src/imap/session.ts';
import type { Logger } from '../../src/observe/logger.ts';
import { Sasl } from '../../src/sasl/mechanisms.ts';
import { mailboxWorld, type MailboxWorld } from '../support/mailbox-world.ts';

export const PASSWORD = 'correct horse';
export const certificate = makeSelfSigned({
  hostname: 'mail.example.test',
  notBefore: new Date('2026-01-01T00:00:00Z'),
  validDays: 3650,
});

export type ImapWorld = Readonly<{
  server: ReturnType<typeof createImapServer>;
  mailboxes: MailboxWorld;
  ports: Readonly<{ imap: number; imaps: number }>;
  log: string[];
  /** By mailbox: what is switched off from the next login on. */
  capabilitiesOff: Map<string, readonly string[]>;
  /** A user with a mailbox of its own. */
  addUser(): Promise<Readonly<{ name: string; ref: MailboxRef }>>;
  /** A logged-in client of a new user, or of `name`. */
  loggedIn(name?: string): Promise<ImapClient>;
  connect(): Promise<ImapClient>;
}> &
  AsyncDisposable;

let worldsCount = 0;

export async function imapWorld(
  directory: string,
  options: Partial<Config['imap']> = {},
  progressEveryMs?: number,
): Promise<ImapWorld> {
  worldsCount += 1;
  const folder = join(directory, `world-${String(worldsCount)}`);
  mkdirSync(folder, { recursive: true });
  const mailboxes = await mailboxWorld(folder);
  const users = new Map<string, MailboxRef>();
  const log: string[] = [];
  const capabilitiesOff = new Map<string, readonly string[]>();
  const defaults = (configSchema.parse({ data: {}, tls: {}, server: {} }) as Config).imap;
  const listen = [{ host: '127.0.0.1', port: 0 }];
  const login: LoginService = {
    login: async (name, password) => {
      if (name === 'kms-away') {
        throw new ServerError('key-unavailable', {
          clientText: 'The key service cannot be reached, try again later',
        });
      }
      const ref = users.get(name);
      if (!ref || password !== PASSWORD) return { kind: 'refused' };
      return { kind: 'ok', ref, username: name, isCurrent: () => true };
    },
  };
  const server = createImapServer({
    config: { ...defaults, listen, listenTls: listen, allowCleartextLogin: true, ...options },
    hostname: 'mail.example.test',
    tls: { key: certificate.keyPem, cert: certificate.certificatePem, minimumVersion: 'TLSv1.2' },
    login,
    sasl: new Sasl({ logins: login }),
    capabilitiesOff: ({ mailbox }) => capabilitiesOff.get(mailbox) ?? [],
    mailboxes: mailboxes.mailboxes,
    logger: recordingLogger(log),
    ...(progressEveryMs === undefined ? {} : { progressEveryMs }),
  });
  const bound = await server.start();
  const ports = { imap: bound.imap[0] ?? 0, imaps: bound.imaps[0] ?? 0 };
  const clients: ImapClient[] = [];
  const world: ImapWorld = {
    server,
    mailboxes,
    ports,
    log,
    capabilitiesOff,
    addUser: async () => {
      const name = `user${String(users.size + 1)}`;
      const ref = await mailboxes.addMailbox();
      users.set(name, ref);
      return { name, ref };
    },
    connect: async () => {
      const socket = connectTcp({ port: ports.imap, host: '127.0.0.1', noDelay: true });
      await once(socket, 'connect');
      const client = new ImapClient(socket);
      clients.push(client);
      await client.line();
      return client;
    },
    loggedIn: async (name) => {
      const client = await world.connect();
      await client.command(`LOGIN ${name ?? (await world.addUser()).name} "${PASSWORD}"`);
      return client;
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.close();
      await server.stop(200);
      await mailboxes[Symbol.asyncDispose]();
    },
  };
  return world;
}

function recordingLogger(lines: string[]): Logger {
  const write =
    (level: string) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      const error = fields['error'];
      lines.push(`${level} ${message} ${JSON.stringify(fields)} ${error instanceof Error ? String(error.stack) : ''}`);
    };
  const logger: Logger = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: () => logger,
  };
  return logger;
}

/** Reads lines; a literal belongs to its line. All texts are byte strings. */
export class ImapClient {
  socket: Duplex;
  #buffer = '';
  #isOver = false;
  #sink: DeflateRaw | null = null;
  #wake: (() => void) | null = null;
  #tagsCount = 0;

  constructor(socket: Duplex) {
    this.socket = socket;
    this.#listen(socket);
  }

  send(bytes: string): void {
    (this.#sink ?? this.socket).write(Buffer.from(bytes, 'latin1'));
  }

  /** The next whole response, literals included, without its last line end; null at the end of the stream. */
  async line(): Promise<string | null> {
    for (;;) {
      const end = responseEnd(this.#buffer);
      if (end >= 0) {
        const line = this.#buffer.slice(0, end);
        this.#buffer = this.#buffer.slice(end + 2);
        return line;
      }
      if (this.#isOver) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The responses up to and with the tagged line of `tag`, or to the end of the stream. */
  async until(tag: string): Promise<string[]> {
    const lines: string[] = [];
    for (let line = await this.line(); line !== null; line = await this.line()) {
      lines.push(line);
      if (line.startsWith(`${tag} `)) break;
    }
    return lines;
  }

  async command(text: string): Promise<string[]> {
    this.#tagsCount += 1;
    const tag = `t${String(this.#tagsCount)}`;
    this.send(`${tag} ${text}\r\n`);
    return this.until(tag);
  }

  /** APPEND with a non-synchronising literal. */
  append(folder: string, message: string, options = ''): Promise<string[]> {
    return this.command(`APPEND ${folder} ${options}{${String(message.length)}+}\r\n${message}`);
  }

  async startTls(): Promise<void> {
    const plain = this.socket;
    plain.removeAllListeners('data');
    const secure = connectTls({ socket: plain, rejectUnauthorized: false, ALPNProtocols: ['imap'] });
    await once(secure, 'secureConnect');
    this.socket = secure;
    this.#buffer = '';
    this.#listen(secure);
  }

  /** Everything from now on goes through raw deflate, both ways; `stop` ends that. */
  startCompression(): { stop(): void } {
    const plain = this.socket;
    plain.removeAllListeners('data');
    const [deflate, inflate] = [createDeflateRaw({ flush: constants.Z_SYNC_FLUSH }), createInflateRaw()];
    deflate.pipe(plain, { end: false });
    plain.pipe(inflate);
    inflate.on('data', (chunk: Buffer) => {
      this.#buffer += chunk.toString('latin1');
      this.#wake?.();
    });
    inflate.on('error', () => undefined); // it is not ended in order
    inflate.on('close', () => {
      if (!this.#sink) return;
      this.#isOver = true;
      this.#wake?.();
    });
    this.#sink = deflate;
    return {
      stop: () => {
        plain.unpipe(inflate);
        deflate.unpipe(plain);
        this.#sink = null;
        this.#listen(plain);
        plain.resume();
      },
    };
  }

  close(): void {
    this.socket.destroy();
  }

  #listen(socket: Duplex): void {
    socket.on('data', (chunk: Buffer) => {
      this.#buffer += chunk.toString('latin1');
      this.#wake?.();
    });
    const over = (): void => {
      if (this.#sink) return; // what was inflated comes first
      this.#isOver = true;
      this.#wake?.();
    };
    socket.on('end', over);
    socket.on('close', over);
    socket.on('error', over);
  }
}

/** Where the first response ends: at a line end that announces no literal. -1 when it is not whole. */
function responseEnd(buffer: string): number {
  for (let at = 0; ;) {
    const end = buffer.indexOf('\r\n', at);
    if (end < 0) return -1;
    const literal = /\{(\d+)\}$/.exec(buffer.slice(at, end));
    if (!literal) return end;
    at = end + 2 + Number(literal[1]);
    if (at > buffer.length) return -1;
  }
}
