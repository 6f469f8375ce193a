/**
 * A Transit engine for tests: the part of HashiCorp Vault's and OpenBao's HTTP protocol that a key provider uses
 * (keys, encrypt, decrypt, tokens), with their error texts, and the ways in which the real one fails.
 */
import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export const MOUNT = 'transit';

/** What goes wrong, until it is set back to null. */
export type VaultFault =
  | Readonly<{ kind: 'error'; status: number; text: string }>
  | Readonly<{ kind: 'black-hole' }> // takes the request and never answers
  | Readonly<{ kind: 'reset' }> // closes the connection
  | Readonly<{ kind: 'slow-drip' }> // one byte of the answer every 50 ms
  | Readonly<{ kind: 'garbage' }> // 200, and no JSON
  | Readonly<{ kind: 'endless' }> // 200, and an answer without end
  | Readonly<{ kind: 'html-502' }> // a proxy's own error page
  | Readonly<{ kind: 'empty' }> // 200, and none of the expected members
  | Readonly<{ kind: 'short-plaintext' }> // 31 bytes
  | Readonly<{ kind: 'foreign-text' }> // a ciphertext of another form
  | Readonly<{ kind: 'ignores-context' }>; // as versions without associated_data

export type VaultKey = {
  readonly name: string;
  type: string;
  derived: boolean;
  deletionAllowed: boolean;
  supportsEncryption: boolean;
  softDeleted: boolean;
  minDecryptionVersion: number;
  /** By version, from 1. */
  readonly secrets: Buffer[];
};
export type VaultTestToken = {
  readonly id: string;
  policies: string[];
  renewable: boolean;
  /** Seconds; 0: it never expires. */
  ttl: number;
  creationTtl: number;
  renewals: number;
  /** Granted by a renewal; less than `creationTtl` when the end that cannot be moved is near. */
  renewedTtl: number;
};
export type SeenVaultRequest = Readonly<{ method: string; path: string; namespace: unknown; body: VaultBody }>;
type VaultBody = Readonly<Record<string, unknown>>;

class VaultRefusal extends Error {
  readonly status: number;
  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

export class VaultServer implements AsyncDisposable {
  readonly seen: SeenVaultRequest[] = [];
  fault: VaultFault | null = null;
  /** With it, requests without this namespace find nothing. */
  namespace: string | null = null;
  readonly token: VaultTestToken;
  readonly #keys = new Map<string, VaultKey>();
  readonly #tokens = new Map<string, VaultTestToken>();
  readonly #server: Server;
  readonly #scheme: string;

  private constructor(server: Server, scheme: string) {
    this.#server = server;
    this.#scheme = scheme;
    this.token = this.addToken();
  }

  /** With `tls` over HTTPS. */
  static async start(tls?: Readonly<{ cert: string; key: string }>): Promise<VaultServer> {
    const listener: RequestListener = (request, response) => {
      void vault.#serve(request, response);
    };
    const server = tls ? createTlsServer(tls, listener) : createServer(listener);
    const vault = new VaultServer(server, tls ? 'https' : 'http');
    server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    return vault;
  }

  get address(): string {
    return `${this.#scheme}://localhost:${String((this.#server.address() as AddressInfo).port)}`;
  }

  addKey(shape: Partial<Omit<VaultKey, 'secrets'>> = {}): VaultKey {
    const key: VaultKey = {
      name: randomUUID(),
      type: 'aes256-gcm96',
      derived: false,
      deletionAllowed: false,
      supportsEncryption: true,
      softDeleted: false,
      minDecryptionVersion: 1,
      secrets: [randomBytes(32)],
      ...shape,
    };
    this.#keys.set(key.name, key);
    return key;
  }

  deleteKey(key: VaultKey): void {
    this.#keys.delete(key.name);
  }

  hasKey(name: string): boolean {
    return this.#keys.has(name);
  }

  addToken(shape: Partial<VaultTestToken> = {}): VaultTestToken {
    const token: VaultTestToken = {
      id: `hvs.${randomBytes(18).toString('base64url')}`,
      policies: ['default', 'sealpost'],
      renewable: true,
      ttl: 3600,
      creationTtl: 3600,
      renewals: 0,
      renewedTtl: 3600,
      ...shape,
    };
    this.#tokens.set(token.id, token);
    return token;
  }

  revokeToken(token: VaultTestToken): void {
    this.#tokens.delete(token.id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const answer = (status: number, value: unknown): void => {
      const text = JSON.stringify(value);
      response.writeHead(status, { 'content-type': 'application/json' });
      if (this.fault?.kind === 'slow-drip') drip(response, text);
      else response.end(text);
    };
    try {
      const { method = '', url = '', headers } = request;
      const content = Buffer.concat(chunks).toString();
      const body = (content === '' ? {} : JSON.parse(content)) as VaultBody;
      const path = url.replace(/^\/v1\//, '');
      this.seen.push({ method, path, namespace: headers['x-vault-namespace'], body });
      if (this.#misbehave(request, response)) return;
      if (headers['x-vault-request'] !== 'true') throw new VaultRefusal(412, 'missing required header');
      const token = this.#tokens.get(String(headers['x-vault-token']));
      if (!token) throw new VaultRefusal(403, 'permission denied');
      if (this.namespace !== null && headers['x-vault-namespace'] !== this.namespace) throw new VaultRefusal(404, '');
      answer(200, { request_id: randomUUID(), ...this.#bend(this.#run(`${method} ${path}`, body, token)) });
    } catch (error) {
      const known = error instanceof VaultRefusal ? error : new VaultRefusal(500, 'internal error');
      answer(known.status, { errors: known.message === '' ? [] : [known.message] });
    }
  }

  #run(operation: string, body: VaultBody, token: VaultTestToken): object {
    const found = new RegExp(`^(GET|POST) (?:${MOUNT}/(keys|encrypt|decrypt)|(auth/token))/([^/]+)$`).exec(operation);
    if (!found) throw new VaultRefusal(404, `no handler for route "${operation}". route entry not found.`);
    const [, method, action, auth, name = ''] = found;
    if (auth !== undefined) return tokenAnswer(token, name);
    const key = this.#keys.get(name);
    if (method === 'GET') {
      if (!key) throw new VaultRefusal(404, '');
      return { data: described(key) };
    }
    if (!key && action === 'encrypt') return this.#upsert(name, body);
    if (!key) throw new VaultRefusal(400, 'encryption key not found');
    if (key.softDeleted) throw new VaultRefusal(400, 'policy is soft deleted');
    const context = this.fault?.kind === 'ignores-context' ? '' : textOf(body, 'associated_data');
    return action === 'encrypt' ? encrypted(key, body, context) : decrypted(key, body, context);
  }

  /** The real one makes a key here, unless it does not know the type. */
  #upsert(name: string, body: VaultBody): object {
    const type = textOf(body, 'type') || 'aes256-gcm96';
    if (type !== 'aes256-gcm96') throw new VaultRefusal(400, `unknown key type ${type}`);
    return encrypted(this.addKey({ name }), body, textOf(body, 'associated_data'));
  }

  /** The faults that need no answer of ours; true when one took over. */
  #misbehave(request: IncomingMessage, response: ServerResponse): boolean {
    const { fault } = this;
    switch (fault?.kind) {
      case 'error':
        throw new VaultRefusal(fault.status, fault.text);
      case 'black-hole':
        return true;
      case 'reset':
        request.socket.resetAndDestroy();
        return true;
      case 'garbage':
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"data": {"plaintext": "AAAA');
        return true;
      case 'endless':
        response.writeHead(200, { 'content-type': 'application/json' });
        flood(response);
        return true;
      case 'html-502':
        response.writeHead(502, { 'content-type': 'text/html' }).end('<html>Bad Gateway</html>');
        return true;
      case 'empty':
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"data": null}');
        return true;
      default:
        return false;
    }
  }

  /** The faults that bend an answer. */
  #bend(answer: object): object {
    if (this.fault?.kind === 'short-plaintext') return { data: { plaintext: randomBytes(31).toString('base64') } };
    if (this.fault?.kind === 'foreign-text') return { data: { ciphertext: 'vault:v01:AAAA' } };
    return answer;
  }
}

function described(key: VaultKey): object {
  return {
    name: key.name,
    type: key.type,
    derived: key.derived,
    deletion_allowed: key.deletionAllowed,
    supports_encryption: key.supportsEncryption,
    supports_decryption: key.supportsEncryption,
    latest_version: key.secrets.length,
    min_decryption_version: key.minDecryptionVersion,
    soft_deleted: key.softDeleted,
    keys: Object.fromEntries(key.secrets.map((_, at) => [String(at + 1), 1_700_000_000])),
  };
}

function tokenAnswer(token: VaultTestToken, name: string): object {
  const { ttl, renewable, policies, creationTtl, id } = token;
  switch (name) {
    case 'lookup-self': {
      const expires = ttl === 0 ? null : new Date(Date.now() + ttl * 1000).toISOString();
      return { data: { id, ttl, renewable, policies, creation_ttl: creationTtl, expire_time: expires } };
    }
    case 'renew-self':
      token.renewals += 1;
      token.ttl = token.renewedTtl;
      return { data: null, auth: { client_token: id, lease_duration: token.ttl, renewable } };
    default:
      throw new VaultRefusal(404, 'unsupported path');
  }
}

function encrypted(key: VaultKey, body: VaultBody, context: string): object {
  const version = key.secrets.length;
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key.secrets[version - 1]!, nonce, { authTagLength: 16 });
  cipher.setAAD(Buffer.from(context, 'base64'));
  const plaintext = Buffer.from(textOf(body, 'plaintext'), 'base64');
  const sealed = Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  return { data: { ciphertext: `vault:v${String(version)}:${sealed.toString('base64')}`, key_version: version } };
}

function decrypted(key: VaultKey, body: VaultBody, context: string): object {
  const [, versionText, text] = /^vault:v(\d+):(.*)$/.exec(textOf(body, 'ciphertext')) ?? [];
  if (versionText === undefined || text === undefined) throw new VaultRefusal(400, 'invalid ciphertext: no prefix');
  const version = Number(versionText) || 1; // as the real one: version 0 is taken for the first
  const secret = key.secrets[version - 1];
  if (!secret) throw new VaultRefusal(400, 'invalid ciphertext: version is too new');
  if (version < key.minDecryptionVersion) {
    throw new VaultRefusal(400, 'ciphertext or signature version is disallowed by policy (too old)');
  }
  const sealed = Buffer.from(text, 'base64');
  if (sealed.length < 28) throw new VaultRefusal(400, 'invalid ciphertext length');
  const decipher = createDecipheriv('aes-256-gcm', secret, sealed.subarray(0, 12), { authTagLength: 16 });
  decipher.setAAD(Buffer.from(context, 'base64')).setAuthTag(sealed.subarray(-16));
  try {
    const plaintext = Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
    return { data: { plaintext: plaintext.toString('base64') } };
  } catch {
    throw new VaultRefusal(400, 'cipher: message authentication failed');
  }
}

function textOf(body: VaultBody, name: string): string {
  const value = body[name];
  return typeof value === 'string' ? value : '';
}

function flood(response: ServerResponse): void {
  const chunk = Buffer.alloc(65_536, ' ');
  const pour = (): void => {
    while (!response.destroyed && response.write(chunk));
    if (!response.destroyed) response.once('drain', pour);
  };
  pour();
}

function drip(response: ServerResponse, text: string): void {
  let at = 0;
  const timer = setInterval(() => {
    response.write(text.slice(at, (at += 1)));
    if (at < text.length && !response.destroyed) return;
    clearInterval(timer);
    response.end();
  }, 50);
}
