/** A SCRAM client of our own, for tests: RFC 5802 by its text, with nothing of the server's. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

type Settings = Readonly<{
  user: string;
  password: string;
  algorithm?: 'sha256' | 'sha1';
  /** `n,,`, `y,,`, `p=tls-exporter,,` .. */
  header?: string;
  binding?: Buffer;
  nonce?: string;
}>;

export class ScramClient {
  readonly #settings: Required<Settings>;
  #authMessage = '';
  #serverKey = Buffer.alloc(0);

  constructor(settings: Settings) {
    this.#settings = {
      algorithm: 'sha256',
      header: 'n,,',
      binding: Buffer.alloc(0),
      nonce: 'rOprNGfwEbeRWgbNEkqO',
      ...settings,
    };
  }

  get #bare(): string {
    const { user, nonce } = this.#settings;
    return `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`;
  }

  first(): Buffer {
    return Buffer.from(this.#settings.header + this.#bare);
  }

  final(serverFirst: Buffer): Buffer {
    const { algorithm, password, header, binding, nonce } = this.#settings;
    const text = serverFirst.toString();
    const [, both = '', salt = '', count = ''] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(text) ?? [];
    if (!both.startsWith(nonce) || both.length < nonce.length + 16) throw new Error(`bad server-first ${text}`);
    const size = algorithm === 'sha256' ? 32 : 20;
    const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(count), size, algorithm);
    const hmac = (key: Buffer, message: string) => createHmac(algorithm, key).update(message).digest();
    const clientKey = hmac(salted, 'Client Key');
    this.#serverKey = hmac(salted, 'Server Key');
    const channel = Buffer.concat([Buffer.from(header), binding]).toString('base64');
    const withoutProof = `c=${channel},r=${both}`;
    this.#authMessage = `${this.#bare},${text},${withoutProof}`;
    const signature = hmac(createHash(algorithm).update(clientKey).digest(), this.#authMessage);
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ signature[at]!));
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`);
  }

  /** Whether the server knows the password, too. */
  isServer(serverFinal: Buffer): boolean {
    const { algorithm } = this.#settings;
    const expected = createHmac(algorithm, this.#serverKey).update(this.#authMessage).digest('base64');
    return serverFinal.toString() === `v=${expected}`;
  }
}
