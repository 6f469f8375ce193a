/**
 * Password hashing with Argon2id (RFC 9106), off the event loop.
 *
 * H3  At most `concurrencyCount` hashes run at once and at most `queueMaxCount` wait; more are refused as retryable.
 * H4  Verifying costs one hash with some parameters, whether or not there is a credential to compare with.
 * H5  A password is prepared as OpaqueString (RFC 8265 §4.2), so that it matches however a client composed it.
 * H6  Tags are compared in constant time; a hash made with other parameters than today's is reported as outdated.
 *
 * Called by login.ts and mailboxes.ts. Hashes run in libuv's thread pool, which file writes need too: keep
 * `concurrencyCount` below the size of that pool.
 */
import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { ServerError } from '../base/errors.ts';
import { formatPhc, isArgon2Parameters, parsePhc, type Argon2Parameters } from './phc.ts';

const SALT_BYTES = 16;
const TAG_BYTES = 32;
/** Longer input is refused before it is hashed. */
const PASSWORD_MAX_BYTES = 1024;

export type PasswordOptions = Readonly<{
  argon2: Argon2Parameters;
  concurrencyCount: number;
  queueMaxCount: number;
}>;
type Verdict = Readonly<{ kind: 'match'; outdated: boolean }> | Readonly<{ kind: 'mismatch' }>;
type HashRequest = Readonly<{ password: string; salt: Buffer; tagBytes: number; parameters: Argon2Parameters }>;
/** Computes one Argon2id tag; tests count its calls. */
export type HashFunction = (request: HashRequest) => Promise<Buffer>;

export class Passwords {
  readonly #options: PasswordOptions;
  readonly #compute: HashFunction;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** Throws TypeError for parameters that Argon2 does not allow. */
  constructor(options: PasswordOptions, compute: HashFunction = argon2id) {
    if (!isArgon2Parameters(options.argon2)) throw new TypeError('Argon2 parameters out of range');
    this.#options = options;
    this.#compute = compute;
  }

  /** A PHC string for `password`. Throws ServerError 'invalid-argument' (empty, too long) or 'limit-exceeded'. */
  async hash(password: string): Promise<string> {
    const prepared = preparePassword(password);
    if (prepared === null) {
      throw new ServerError('invalid-argument', {
        clientText: `A password must have 1 to ${String(PASSWORD_MAX_BYTES)} bytes and no control characters.`,
      });
    }
    const parameters = this.#options.argon2;
    const salt = randomBytes(SALT_BYTES);
    const tag = await this.#run({ password: prepared, salt, tagBytes: TAG_BYTES, parameters });
    return formatPhc({ parameters, salt, tag });
  }

  /**
   * Compares `password` with the PHC string `credential`; null (no such user, no password set) costs the same and
   * never matches. Throws ServerError 'limit-exceeded' when too many hashes wait.
   */
  async verify(password: string, credential: string | null): Promise<Verdict> {
    const stored = credential === null ? null : parsePhc(credential);
    const prepared = preparePassword(password);
    const against = stored ?? {
      parameters: this.#options.argon2,
      salt: Buffer.alloc(SALT_BYTES),
      tag: randomBytes(TAG_BYTES),
    };
    const tag = await this.#run({
      password: prepared ?? '',
      salt: against.salt,
      tagBytes: against.tag.length,
      parameters: against.parameters,
    });
    const equal = timingSafeEqual(tag, against.tag);
    if (!equal || stored === null || prepared === null) return { kind: 'mismatch' };
    return { kind: 'match', outdated: !sameParameters(against.parameters, this.#options.argon2) };
  }

  async #run(request: HashRequest): Promise<Buffer> {
    if (this.#running >= this.#options.concurrencyCount) {
      if (this.#waiting.length >= this.#options.queueMaxCount) {
        throw new ServerError('limit-exceeded', {
          clientText: 'Too many logins at once. Try again in a moment.',
          detail: 'the password hash queue is full',
          retryable: true,
        });
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve)); // the one that ends hands its place over
    } else {
      this.#running += 1;
    }
    try {
      return await this.#compute(request);
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }
}

/** OpaqueString preparation of RFC 8265 §4.2.1: spaces made ASCII, NFC; null when empty, too long or with controls. */
function preparePassword(password: string): string | null {
  if (password.length > PASSWORD_MAX_BYTES) return null;
  const prepared = password.replaceAll(/\p{Zs}/gu, ' ').normalize('NFC');
  if (prepared.length === 0 || /[\0-\x1f\x7f]/.test(prepared)) return null;
  return Buffer.byteLength(prepared) > PASSWORD_MAX_BYTES ? null : prepared;
}

function sameParameters(a: Argon2Parameters, b: Argon2Parameters): boolean {
  return a.memoryKib === b.memoryKib && a.passes === b.passes && a.lanes === b.lanes;
}

function argon2id(request: HashRequest): Promise<Buffer> {
  const { memoryKib, passes, lanes } = request.parameters;
  const settings = { memory: memoryKib, passes, parallelism: lanes, tagLength: request.tagBytes };
  return new Promise((resolve, reject) => {
    argon2('argon2id', { message: request.password, nonce: request.salt, ...settings }, (error, tag) => {
      if (error) reject(error);
      else resolve(tag);
    });
  });
}
