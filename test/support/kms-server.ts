/**
 * A key management service for tests: AWS KMS's protocol (JSON 1.1 over HTTP, Signature Version 4 checked on every
 * request, the encryption context bound as associated data), with the ways in which the real one fails.
 *
 * An operation is one entry of `OPERATIONS`: another one is added there. The caller is `CALLER`; with `grantsOnly` a key
 * serves it only through a grant. A grant is known to all only once it `hasSpread`; until then a call carries its token.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  randomBytes,
  randomUUID,
  timingSafeEqual,
} from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const CREDENTIALS = { accessKeyId: 'AKIATESTTESTTESTTEST', secretAccessKey: 'a-secret-for-tests' };
export const REGION = 'eu-central-1';
export const CALLER = 'arn:aws:iam::111122223333:role/sealpost';

/** What goes wrong, until it is set back to null. */
export type Fault =
  | Readonly<{ kind: 'error'; name: string; status?: number }> // an exception by its exact name
  | Readonly<{ kind: 'throttle'; probability: number }>
  | Readonly<{ kind: 'black-hole' }> // takes the request and never answers
  | Readonly<{ kind: 'reset' }> // closes the connection
  | Readonly<{ kind: 'slow-drip' }> // one byte of the answer every 50 ms
  | Readonly<{ kind: 'garbage' }> // 200, and no JSON
  | Readonly<{ kind: 'html-500' }> // a proxy's own error page
  | Readonly<{ kind: 'wrong-key' }> // a Decrypt answer that names another key
  | Readonly<{ kind: 'short-plaintext' }>; // 31 bytes

export type KmsKey = {
  readonly arn: string;
  readonly id: string;
  keySpec: string;
  keyUsage: string;
  state: 'Enabled' | 'Disabled' | 'PendingDeletion' | 'PendingImport' | 'Unavailable';
  /** AccessDeniedException for everything, as after a revoked grant. */
  denied: boolean;
  /** The key policy allows the caller nothing but DescribeKey, CreateGrant and RevokeGrant. */
  grantsOnly: boolean;
  readonly grants: KmsGrant[];
  readonly secret: Buffer;
};
export type KmsGrant = {
  readonly id: string;
  readonly token: string;
  readonly name: unknown;
  readonly grantee: unknown;
  readonly operations: string[];
  readonly constraint: Readonly<Record<string, string>>;
  hasSpread: boolean;
};
/** One request that carried a valid signature. */
export type SeenRequest = Readonly<{
  operation: string;
  keyId: unknown;
  encryptionContext: unknown;
  grantTokens?: unknown;
}>;

type Input = Readonly<Record<string, unknown>>;
class KmsException extends Error {
  readonly status: number;
  constructor(name: string, status = 400) {
    super(`${name} by the test server`);
    this.name = name;
    this.status = status;
  }
}

export class KmsServer implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  fault: Fault | null = null;
  /** Changes a grant as it is made. */
  onGrant: ((grant: KmsGrant) => void) | null = null;
  readonly #keys = new Map<string, KmsKey>();
  readonly #server: Server;
  /** 0 <= n < 1, for the throttling. */
  readonly #random: () => number;

  private constructor(server: Server, random: () => number) {
    this.#server = server;
    this.#random = random;
  }

  static async start(random: () => number = Math.random): Promise<KmsServer> {
    const server = createServer();
    const kms = new KmsServer(server, random);
    server.on('request', (request, response) => {
      void kms.#serve(request, response);
    });
    server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    return kms;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  addKey(shape: Partial<Pick<KmsKey, 'keySpec' | 'keyUsage' | 'state' | 'grantsOnly'>> = {}): KmsKey {
    const id = randomUUID();
    const key: KmsKey = {
      id,
      arn: `arn:aws:kms:${REGION}:111122223333:key/${id}`,
      keySpec: 'SYMMETRIC_DEFAULT',
      keyUsage: 'ENCRYPT_DECRYPT',
      state: 'Enabled',
      denied: false,
      grantsOnly: false,
      grants: [],
      secret: randomBytes(32),
      ...shape,
    };
    this.#keys.set(id, key);
    return key;
  }

  deleteKey(key: KmsKey): void {
    this.#keys.delete(key.id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** The key, if it may be used for `operation` with this encryption context. */
  usableKey(keyId: unknown, operation: string, input: Input): KmsKey {
    const key = this.describedKey(keyId);
    if (key.grantsOnly && !isGranted(key, operation, input)) throw new KmsException('AccessDeniedException');
    if (key.state === 'Disabled') throw new KmsException('DisabledException');
    if (key.state !== 'Enabled') throw new KmsException('KMSInvalidStateException');
    if (key.keyUsage !== 'ENCRYPT_DECRYPT') throw new KmsException('InvalidKeyUsageException');
    return key;
  }

  describedKey(keyId: unknown): KmsKey {
    const key = this.#keys.get(String(keyId).replace(/^arn:aws:kms:[^:]+:\d+:key\//, ''));
    if (!key) throw new KmsException('NotFoundException');
    if (key.denied) throw new KmsException('AccessDeniedException');
    return key;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const answer = (status: number, value: unknown): void => {
      const text = JSON.stringify(value);
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-requestid': randomUUID() });
      if (this.fault?.kind === 'slow-drip') drip(response, text);
      else response.end(text);
    };
    try {
      checkSignature(request, body);
      const operation = String(request.headers['x-amz-target']).replace(/^TrentService\./, '');
      const input = JSON.parse(body.toString()) as Input;
      const { KeyId: keyId, EncryptionContext: encryptionContext, GrantTokens: grantTokens } = input;
      this.seen.push({ operation, keyId, encryptionContext, ...(grantTokens ? { grantTokens } : {}) });
      if (this.#misbehave(request, response)) return;
      const run = OPERATIONS[operation];
      if (!run) throw new KmsException('UnsupportedOperationException');
      answer(200, this.#bend(operation, run(this, input)));
    } catch (error) {
      const known = error instanceof KmsException ? error : new KmsException('KMSInternalException', 500);
      answer(known.status, { __type: known.name, message: known.message });
    }
  }

  /** The faults that need no answer of ours; true when one took over. */
  #misbehave(request: IncomingMessage, response: ServerResponse): boolean {
    const { fault } = this;
    switch (fault?.kind) {
      case 'error':
        throw new KmsException(fault.name, fault.status);
      case 'throttle':
        if (this.#random() < fault.probability) throw new KmsException('ThrottlingException');
        return false;
      case 'black-hole':
        return true;
      case 'reset':
        request.socket.resetAndDestroy();
        return true;
      case 'garbage':
        response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' }).end('{"Plaintext": "AAAA');
        return true;
      case 'html-500':
        response.writeHead(502, { 'content-type': 'text/html' }).end('<html>Bad Gateway</html>');
        return true;
      default:
        return false;
    }
  }

  /** The faults that bend an answer. */
  #bend(operation: string, answer: object): object {
    if (operation !== 'Decrypt') return answer;
    if (this.fault?.kind === 'wrong-key') return { ...answer, KeyId: this.addKey().arn };
    if (this.fault?.kind === 'short-plaintext') return { ...answer, Plaintext: randomBytes(31).toString('base64') };
    return answer;
  }
}

const OPERATIONS: Readonly<Record<string, (kms: KmsServer, input: Input) => object>> = {
  DescribeKey(kms, input) {
    const key = kms.describedKey(input['KeyId']);
    const { arn: Arn, id: KeyId, keySpec: KeySpec, keyUsage: KeyUsage, state: KeyState } = key;
    return { KeyMetadata: { Arn, KeyId, KeySpec, KeyUsage, KeyState, Enabled: KeyState === 'Enabled' } };
  },
  Encrypt(kms, input) {
    const key = kms.usableKey(input['KeyId'], 'Encrypt', input);
    const plaintext = Buffer.from(String(input['Plaintext']), 'base64');
    const sealed = seal(key, plaintext, input['EncryptionContext']);
    return { CiphertextBlob: sealed.toString('base64'), KeyId: key.arn, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
  },
  Decrypt(kms, input) {
    const key = kms.usableKey(input['KeyId'], 'Decrypt', input);
    const plaintext = open(key, Buffer.from(String(input['CiphertextBlob']), 'base64'), input['EncryptionContext']);
    return { Plaintext: plaintext.toString('base64'), KeyId: key.arn, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
  },
  ReEncrypt(kms, input) {
    const from = kms.usableKey(input['SourceKeyId'], 'ReEncryptFrom', {
      ...input,
      EncryptionContext: input['SourceEncryptionContext'],
    });
    const to = kms.usableKey(input['DestinationKeyId'], 'ReEncryptTo', {
      ...input,
      EncryptionContext: input['DestinationEncryptionContext'],
    });
    const plaintext = open(
      from,
      Buffer.from(String(input['CiphertextBlob']), 'base64'),
      input['SourceEncryptionContext'],
    );
    const sealed = seal(to, plaintext, input['DestinationEncryptionContext']);
    return { CiphertextBlob: sealed.toString('base64'), SourceKeyId: from.arn, KeyId: to.arn };
  },
  /** The same name and contents give the same grant again, with a token of its own. */
  CreateGrant(kms, input) {
    const key = kms.describedKey(input['KeyId']);
    const { Name: name, GranteePrincipal: grantee, Operations: operations = [], Constraints: constraints } = input;
    const constraint = (constraints as { EncryptionContextSubset?: KmsGrant['constraint'] } | undefined)
      ?.EncryptionContextSubset;
    const known = key.grants.find((grant) => grant.name === name);
    const grant: KmsGrant = known ?? {
      id: createHash('sha256').update(randomUUID()).digest('hex'),
      token: randomBytes(60).toString('base64'),
      name,
      grantee,
      operations: [...(operations as string[])],
      constraint: constraint ?? {},
      hasSpread: false,
    };
    if (!known) key.grants.push(grant);
    kms.onGrant?.(grant);
    return { GrantId: grant.id, GrantToken: grant.token };
  },
  RevokeGrant(kms, input) {
    const key = kms.describedKey(input['KeyId']);
    const at = key.grants.findIndex((grant) => grant.id === input['GrantId']);
    if (at < 0) throw new KmsException('NotFoundException');
    key.grants.splice(at, 1);
    return {};
  },
};

function isGranted(key: KmsKey, operation: string, input: Input): boolean {
  const context = (input['EncryptionContext'] ?? {}) as Record<string, string>;
  const tokens = (input['GrantTokens'] ?? []) as string[];
  return key.grants.some(
    (grant) =>
      grant.grantee === CALLER &&
      grant.operations.includes(operation) &&
      (grant.hasSpread || tokens.includes(grant.token)) &&
      Object.entries(grant.constraint).every(([name, value]) => context[name] === value),
  );
}

/** key id (36) | nonce (12) | ciphertext | tag (16) */
function seal(key: KmsKey, plaintext: Buffer, context: unknown): Buffer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key.secret, nonce, { authTagLength: 16 }).setAAD(contextData(context));
  return Buffer.concat([Buffer.from(key.id), nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function open(key: KmsKey, sealed: Buffer, context: unknown): Buffer {
  if (sealed.length < 64) throw new KmsException('InvalidCiphertextException');
  if (sealed.toString('latin1', 0, 36) !== key.id) throw new KmsException('IncorrectKeyException');
  const decipher = createDecipheriv('aes-256-gcm', key.secret, sealed.subarray(36, 48), { authTagLength: 16 });
  decipher.setAAD(contextData(context)).setAuthTag(sealed.subarray(-16));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(48, -16)), decipher.final()]);
  } catch {
    throw new KmsException('InvalidCiphertextException');
  }
}

function contextData(context: unknown): Buffer {
  return Buffer.from(JSON.stringify(Object.entries((context ?? {}) as Input).sort(([a], [b]) => (a < b ? -1 : 1))));
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

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();

/** Signature Version 4, as AWS documents it, for a POST to "/" without a query. */
function checkSignature(request: IncomingMessage, body: Buffer): void {
  const header = request.headers.authorization ?? '';
  const [, credential = '', signedHeaders = '', signature = ''] =
    /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(header) ?? [];
  const [accessKeyId, date = '', region = '', service = '', end = ''] = credential.split('/');
  if (accessKeyId !== CREDENTIALS.accessKeyId || service !== 'kms' || region !== REGION || end !== 'aws4_request') {
    throw new KmsException('UnrecognizedClientException');
  }
  const names = signedHeaders.split(';');
  for (const needed of ['host', 'x-amz-date', 'x-amz-target']) {
    if (!names.includes(needed)) throw new KmsException('IncompleteSignature');
  }
  const headers = names.map((name) => `${name}:${String(request.headers[name] ?? '').trim()}\n`).join('');
  const canonical = [request.method, request.url, '', headers, signedHeaders, sha256(body)].join('\n');
  const scope = `${date}/${region}/${service}/${end}`;
  const toSign = ['AWS4-HMAC-SHA256', String(request.headers['x-amz-date']), scope, sha256(canonical)].join('\n');
  const dateKey = hmac(`AWS4${CREDENTIALS.secretAccessKey}`, date);
  const signingKey = hmac(hmac(hmac(dateKey, region), service), end);
  const expected = createHmac('sha256', signingKey).update(toSign).digest();
  if (!timingSafeEqual(expected, Buffer.from(signature, 'hex')))
    throw new KmsException('InvalidSignatureException', 403);
}
