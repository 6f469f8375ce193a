/** Every way to log in, against a real server over TLS: channel bindings, a client certificate, app passwords. */
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { AUTHORITY, CLIENT, CLIENT_KEY, CLIENT_OF_OTHER } from '../sasl/certificates.ts';
import { ImapClient } from '../protocol/imap-world.ts';
import { ScramClient } from '../sasl/scram-client.ts';
import { DOMAIN, PASSWORD, TestServer } from '../support/server.ts';

const USER = `u1@${DOMAIN}`;

class TlsClient implements Disposable {
  readonly socket: TLSSocket;
  readonly #client: ImapClient;

  constructor(socket: TLSSocket) {
    this.socket = socket;
    this.#client = new ImapClient(socket);
  }

  static async open(port: number, options: ConnectionOptions = {}): Promise<TlsClient> {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    await once(socket, 'secureConnect');
    return new TlsClient(socket);
  }

  async line(): Promise<string> {
    return (await this.#client.line()) ?? '';
  }

  async ask(line: string): Promise<string> {
    this.#client.send(`${line}\r\n`);
    return this.line();
  }

  /** One AUTHENTICATE; the last line. */
  async authenticate(name: string, client: ScramClient): Promise<string> {
    let line = await this.ask(`a AUTHENTICATE ${name} ${client.first().toString('base64')}`);
    for (const answer of [(bytes: Buffer) => client.final(bytes), () => Buffer.alloc(0)]) {
      if (!line.startsWith('+ ')) break;
      line = await this.ask(answer(Buffer.from(line.slice(2), 'base64')).toString('base64'));
    }
    return line;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

function authorityFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sealpost-authority-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  writeFileSync(join(folder, 'authority.pem'), AUTHORITY);
  return join(folder, 'authority.pem');
}

const SLOW = { timeout: 60_000 };

test(
  'SCRAM-SHA-256-PLUS is bound to the connection, by both kinds of binding and under both versions of TLS',
  SLOW,
  async () => {
    const server = await TestServer.start({ users: 0 });
    await server.run(['org', 'create', 'Test']);
    await server.run(['domain', 'create', DOMAIN]);
    await server.run(['mailbox', 'create', USER], `${PASSWORD}\n`);
    const pem = readFileSync(join(server.data, 'tls/certificate.pem'), 'utf8');
    const endPoint = createHash('sha256').update(new X509Certificate(pem).raw).digest();
    const logIn = async (type: string, options: ConnectionOptions, change: Partial<{ binding: Buffer }> = {}) => {
      using client = await TlsClient.open(server.ports.imaps, options);
      expect(await client.line()).toMatch(/AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN/);
      const exporter = () => client.socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
      const binding = type === 'tls-exporter' ? exporter() : endPoint;
      const settings = { user: USER, password: PASSWORD, header: `p=${type},,`, binding, ...change };
      return await client.authenticate('SCRAM-SHA-256-PLUS', new ScramClient(settings));
    };
    expect(await logIn('tls-exporter', {})).toMatch(/^a OK \[CAPABILITY /);
    expect(await logIn('tls-server-end-point', {})).toMatch(/^a OK/);
    expect(await logIn('tls-server-end-point', { maxVersion: 'TLSv1.2' })).toMatch(/^a OK/);
    expect(await logIn('tls-exporter', { maxVersion: 'TLSv1.2' })).toMatch(/^a NO/); // RFC 9266 §4.2
    expect(await logIn('tls-exporter', {}, { binding: Buffer.alloc(32) })).toMatch(/^a NO \[AUTHENTICATIONFAILED\]/);
  },
);

test(
  'EXTERNAL: a certificate of our authority logs in its address, and other clients log in as ever',
  SLOW,
  async () => {
    const server = await TestServer.start({ config: { tls: { clientAuthorityFile: authorityFile() } } });
    const open = async (options: ConnectionOptions) => {
      const client = await TlsClient.open(server.ports.imaps, options);
      return { client, greeting: await client.line() };
    };
    const certified = await open({ cert: CLIENT, key: CLIENT_KEY });
    using _certified = certified.client;
    expect(certified.greeting).toMatch(/AUTH=EXTERNAL AUTH=/);
    expect(await certified.client.ask(`a AUTHENTICATE EXTERNAL ${Buffer.from('u2@x').toString('base64')}`)).toMatch(
      /^a NO/,
    );
    expect(await certified.client.ask('b AUTHENTICATE EXTERNAL =')).toMatch(/^b OK/);
    for (const options of [{}, { cert: CLIENT_OF_OTHER, key: CLIENT_KEY }]) {
      const { client, greeting } = await open(options);
      using _client = client;
      expect(greeting).not.toMatch(/EXTERNAL/);
      expect(await client.ask('a AUTHENTICATE EXTERNAL =')).toMatch(/^a NO \[CANNOT\]/);
      expect(await client.ask(`b LOGIN ${USER} ${PASSWORD}`)).toMatch(/^b OK/);
    }
  },
);

test('an app password is made, listed and revoked by command, and a capability switched off', SLOW, async () => {
  const server = await TestServer.start();
  const run = async (...words: string[]) => {
    const { code, out, error } = await server.run(words);
    expect([words[1], code, error]).toEqual([words[1], 0, '']);
    return out;
  };
  const made = await run('mailbox', 'app-password', 'create', USER, 'phone');
  const [, password = '', id = ''] = /now: (\S+)\nIts id: (\S+)/.exec(made) ?? [];
  using client = await TlsClient.open(server.ports.imaps);
  await client.line();
  expect(await client.ask(`a LOGIN ${USER} ${password}`)).toMatch(/^a OK .*CONDSTORE.* QRESYNC/);
  expect(await run('mailbox', 'app-password', 'list', USER)).toMatch(/phone +\d{4}-\d\d-\d\d .*[0-9a-f]{32}/);
  await run('mailbox', 'app-password', 'revoke', USER, id);
  expect(await client.line()).toBe('* BYE An app password was revoked');
  expect(await run('mailbox', 'capability', USER, '--disable', 'qresync')).toBe(`Off for ${USER}: QRESYNC\n`);
  using again = await TlsClient.open(server.ports.imaps);
  await again.line();
  expect(await again.ask(`a LOGIN ${USER} ${password}`)).toMatch(/^a NO/);
  const greeting = await again.ask(`b LOGIN ${USER} ${PASSWORD}`);
  expect(greeting).toMatch(/^b OK .*CONDSTORE/);
  expect(greeting).not.toMatch(/QRESYNC/);
  expect(await again.ask('c ENABLE QRESYNC CONDSTORE')).toBe('* ENABLED CONDSTORE');
  expect((await server.run(['mailbox', 'capability', USER, '--disable', 'IMAP4rev1'])).error).toMatch(/cannot have/);
  expect(await run('mailbox', 'capability', USER, '--enable', 'QRESYNC')).toBe(`Off for ${USER}: nothing\n`);
});
