/**
 * The token for Vault: given, or read from a file; looked at, renewed, and spoken of in the log before it runs out.
 *
 * TK1  A token file is read for each request: whoever replaces it (Vault Agent) needs to tell nobody.
 * TK2  A renewable token is renewed when half of its time is over.
 * TK3  A token that will run out and cannot be renewed, that is refused, or that may do everything, is a warning with
 *      the remedy: once for each such state, and again in its last day.
 * TK4  The token is in no message and no log line.
 *
 * Made by vault-transit.ts.
 */
import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../observe/logger.ts';
import { KeyProviderError } from '../provider.ts';
import type { VaultAnswer, VaultClient } from './vault-client.ts';

/** One of the two. */
export type TokenSource = Readonly<{ token?: string | undefined; tokenFile?: string | undefined }>;
type Finding = 'unseen' | 'fine' | 'root' | 'expiring' | 'last-day' | 'refused' | 'unknown';
/** What a look-up or a renewal says. */
type TokenState = Readonly<{ leftMs: number; lifeMs: number; isRenewable: boolean; isRoot: boolean }>;

const TOKEN_MAX_BYTES = 8192;
const TOKEN = /^[\x21-\x7e]+$/;
const LOOK_MS = 60_000;
const LOOK_MIN_MS = 1000;
const DAY_MS = 24 * 60 * 60 * 1000;

const REMEDY = 'give one that can be renewed: vault token create -orphan -period=24h -policy=NAME';
const WARNINGS: Readonly<Partial<Record<Finding, readonly [message: string, remedy: string]>>> = {
  root: ['the Vault credential may do everything', `${REMEDY}, with a policy for its transit keys only`],
  expiring: ['the Vault credential will expire: no mail can be read after that', REMEDY],
  'last-day': ['the Vault credential expires within a day: no mail can be read after that', REMEDY],
  refused: ['the Vault credential is refused, or may not look itself up', `${REMEDY}; its policies include "default"`],
  unknown: ['the Vault credential could not be looked at', 'see whether Vault runs, is unsealed, and can be reached'],
};

export class VaultToken {
  readonly #source: TokenSource;
  readonly #client: VaultClient;
  readonly #logger: Logger;
  readonly #closing = new AbortController();
  #finding: Finding = 'unseen';

  constructor(source: TokenSource, client: VaultClient, logger: Logger) {
    this.#source = source;
    this.#client = client;
    this.#logger = logger;
  }

  /** Throws KeyProviderError 'unreachable' when the file cannot be read, 'denied' when it holds no token. */
  async current(): Promise<string> {
    const { token, tokenFile } = this.#source;
    const found = tokenFile === undefined ? (token ?? '') : (await readStart(tokenFile)).trim();
    if (!TOKEN.test(found)) {
      const where = tokenFile === undefined ? 'keys.vaultTransit.token' : tokenFile;
      throw new KeyProviderError('denied', `${where} holds no Vault token`);
    }
    return found;
  }

  watch(): void {
    void this.#keepWatching();
  }

  close(): void {
    this.#closing.abort();
  }

  async #keepWatching(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const lookInMs = await this.#look(signal);
      await delay(lookInMs, undefined, { signal, ref: false }).catch(() => undefined); // closing
    }
  }

  /** Looks, and renews if it is time (TK2). Answers when to look again. */
  async #look(signal: AbortSignal): Promise<number> {
    try {
      const token = await this.current();
      const path = 'auth/token/lookup-self';
      let state = lookedUp((await this.#client.send({ method: 'GET', path, token }, signal)).data);
      if (state.isRenewable && state.leftMs * 2 <= state.lifeMs) state = await this.#renew(token, state, signal);
      this.#found(findingOf(state), state);
      return Math.min(LOOK_MS, Math.max(LOOK_MIN_MS, state.leftMs / 8));
    } catch (error) {
      if (signal.aborted) return 0;
      const isRefused = error instanceof KeyProviderError && error.failure === 'denied';
      this.#found(isRefused ? 'refused' : 'unknown', null, error);
      return LOOK_MS / 4;
    }
  }

  async #renew(token: string, { isRoot, lifeMs }: TokenState, signal: AbortSignal): Promise<TokenState> {
    const request = { method: 'POST', path: 'auth/token/renew-self', token, body: {} } as const;
    const { auth } = await this.#client.send(request, signal);
    const leftMs = seconds(auth['lease_duration']);
    this.#logger.debug('the Vault credential is renewed', { leftMs });
    // less than half of its life again: it nears the end that cannot be moved
    return { leftMs, lifeMs, isRoot, isRenewable: auth['renewable'] === true && leftMs * 2 > lifeMs };
  }

  #found(finding: Finding, state: TokenState | null, error?: unknown): void {
    if (finding === this.#finding) return;
    this.#finding = finding;
    const warning = WARNINGS[finding];
    if (!warning) {
      this.#logger.info('the Vault credential is fine', { isRenewable: state?.isRenewable });
      return;
    }
    const [message, remedy] = warning;
    const expiresAt = state && Number.isFinite(state.leftMs) ? { expiresAt: new Date(Date.now() + state.leftMs) } : {};
    this.#logger.warn(message, { remedy, ...expiresAt, ...(error === undefined ? {} : { error }) });
  }
}

function findingOf({ leftMs, isRenewable, isRoot }: TokenState): Finding {
  if (isRoot) return 'root';
  if (isRenewable || !Number.isFinite(leftMs)) return 'fine';
  return leftMs <= DAY_MS ? 'last-day' : 'expiring';
}

/** A token without an end has a time to live of 0, and no time at which it expires. */
function lookedUp(data: VaultAnswer['data']): TokenState {
  if (typeof data['ttl'] !== 'number') throw new KeyProviderError('bad-answer', 'Vault: the look-up gave no ttl');
  const isEndless = data['ttl'] === 0 && (data['expire_time'] ?? null) === null;
  const leftMs = isEndless ? Number.POSITIVE_INFINITY : seconds(data['ttl']);
  const { policies } = data;
  return {
    leftMs,
    lifeMs: isEndless ? leftMs : Math.max(leftMs, seconds(data['creation_ttl'])),
    isRenewable: !isEndless && data['renewable'] === true,
    isRoot: Array.isArray(policies) && policies.includes('root'),
  };
}

function seconds(value: unknown): number {
  return typeof value === 'number' ? value * 1000 : 0;
}

async function readStart(file: string): Promise<string> {
  try {
    await using handle = await open(file, 'r');
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(TOKEN_MAX_BYTES), 0, TOKEN_MAX_BYTES, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw new KeyProviderError('unreachable', `the Vault token file ${file} cannot be read (${reason})`, { cause });
  }
}
