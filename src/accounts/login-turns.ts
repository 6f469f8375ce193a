/**
 * Whose turn it is to try a login: what every way to log in shares of the back-off.
 *
 * T1  Failures slow down their own client address, and that address with that account; never an owner elsewhere
 *     (backoff.ts). The account plays its part whether or not it exists.
 * T2  What is remembered of failed logins holds no user name: pairs are digests under a key of this process.
 *
 * Called by login.ts, scram-login.ts and verified-login.ts.
 */
import { hash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerError } from '../base/errors.ts';
import type { ParsedAddress } from './address-text.ts';
import { Backoff, clientKey, type BackoffLimits } from './backoff.ts';

export type LoginLimits = Readonly<{ client: BackoffLimits; clientAndAccount: BackoffLimits }>;
/** What is told of how the attempt went; nothing, if it could not be decided. */
type Turn = Readonly<{ failed(): void; succeeded(): void }>;

const SALT_BYTES = 32;
const MEMORY_MS = 15 * 60_000;
const ENTRIES_MAX_COUNT = 20_000;
/** One address may be a whole office: much is free, and then the guesses of all its accounts are spaced a little. */
const DEFAULT_LIMITS: LoginLimits = {
  client: {
    freeCount: 20,
    spaceMs: 100,
    spaceMaxMs: 2000,
    waitMaxMs: 10_000,
    memoryMs: MEMORY_MS,
    entriesMaxCount: ENTRIES_MAX_COUNT,
  },
  clientAndAccount: {
    freeCount: 3,
    spaceMs: 500,
    spaceMaxMs: 15_000,
    waitMaxMs: 10_000,
    memoryMs: MEMORY_MS,
    entriesMaxCount: ENTRIES_MAX_COUNT,
  },
};

export class LoginTurns {
  readonly #nowMs: () => number;
  readonly #salt = randomBytes(SALT_BYTES).toString('base64');
  readonly #byClient: Backoff;
  readonly #byClientAndAccount: Backoff;

  constructor(nowMs: () => number, limits: LoginLimits = DEFAULT_LIMITS) {
    this.#nowMs = nowMs;
    this.#byClient = new Backoff(limits.client);
    this.#byClientAndAccount = new Backoff(limits.clientAndAccount);
  }

  /** Waits for the turn of `address` with `account` (folded). Throws ServerError 'limit-exceeded', or `signal.reason`. */
  async take(address: string, account: ParsedAddress | null, signal?: AbortSignal): Promise<Turn> {
    const client = clientKey(address);
    const pair = this.#digest(JSON.stringify([client, account?.local ?? '', account?.domain ?? '']));
    const nowMs = this.#nowMs();
    const pairWaitMs = this.#byClientAndAccount.takeTurn(pair, nowMs);
    const clientWaitMs = pairWaitMs === null ? null : this.#byClient.takeTurn(client, nowMs);
    if (pairWaitMs === null || clientWaitMs === null) {
      throw new ServerError('limit-exceeded', {
        clientText: 'Too many failed logins from this address. Try again later.',
        detail: 'login back-off',
        retryable: true,
      });
    }
    const waitMs = Math.max(pairWaitMs, clientWaitMs);
    if (waitMs > 0) await sleep(waitMs, undefined, signal ? { signal } : {});
    return {
      failed: () => {
        this.#byClient.failed(client, this.#nowMs());
        this.#byClientAndAccount.failed(pair, this.#nowMs());
      },
      succeeded: () => {
        this.#byClientAndAccount.succeeded(pair);
      },
    };
  }

  #digest(text: string): string {
    return hash('sha256', this.#salt + text, 'base64');
  }
}
