/**
 * Looks names up at the configured name servers, which do the recursion and, it is hoped, validate.
 *
 * R1  The servers are asked one after the other, `triesCount` times round, each for `tryTimeoutMs` at most. The first
 *     answer counts; when nobody has one, that is thrown, and remembered for a moment. RFC 9520 §3.2.
 * R2  The AD bit counts only from a server that is trusted: by default one on this host. RFC 7672 §2.1.3.
 * R3  Lookups of the same at the same time are one; who gives up leaves the others waiting.
 * R4  Questions on the way are bounded in number; further ones wait their turn.
 *
 * Made once by app.ts.
 */
import { raceAbort } from '../base/abort.ts';
import { ServerError } from '../base/errors.ts';
import { AnswerCache, type Remembered } from './answer-cache.ts';
import { toDnsName } from './dns-name.ts';
import { exchange, type Asked, type Exchanged } from './exchange.ts';
import type { Answer, RecordType, Resolver } from './resolver.ts';
import { isLoopback, type NameServer } from './servers.ts';

type ResolverSettings = Readonly<{
  /** At least one. */
  servers: readonly NameServer[];
  /** Whose AD bit counts (R2). */
  trustAd: 'loopback' | 'always' | 'never';
  tryTimeoutMs: number;
  triesCount: number;
  cacheMaxBytes: number;
}>;

const FAILURE_TTL_S = 5;
const UNDER_WAY_MAX_COUNT = 200;

export class StubResolver implements Resolver, Disposable {
  readonly #settings: ResolverSettings;
  readonly #cache: AnswerCache;
  readonly #underWay = new Map<string, Promise<Remembered>>();
  readonly #waiting: (() => void)[] = [];
  readonly #closing = new AbortController();
  #busyCount = 0;

  constructor(settings: ResolverSettings, nowMs: () => number) {
    this.#settings = settings;
    this.#cache = new AnswerCache(settings.cacheMaxBytes, nowMs);
  }

  async resolve(name: string, type: RecordType, signal?: AbortSignal): Promise<Answer> {
    signal?.throwIfAborted();
    const asked = toDnsName(name);
    if (asked === null) return { kind: 'no-name', secure: false, ttlS: 0 };
    const key = `${type} ${asked}`;
    const known = this.#cache.get(key) ?? (await raceAbort(this.#shared(key, { name: asked, type }), signal));
    if (known.kind !== 'failure') return known;
    throw new ServerError('dns-unavailable', {
      clientText: 'A name could not be looked up. Try again later.',
      detail: `no name server answered the question: ${known.reason}`,
      retryable: true,
    });
  }

  /** Ends what is under way. */
  [Symbol.dispose](): void {
    this.#closing.abort(new ServerError('shutting-down', { clientText: 'The server is stopping.' }));
  }

  #shared(key: string, asked: Asked): Promise<Remembered> {
    const shared = this.#underWay.get(key);
    if (shared) return shared;
    const lookup = this.#inTurn(key, asked).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, lookup);
    return lookup;
  }

  async #inTurn(key: string, asked: Asked): Promise<Remembered> {
    this.#closing.signal.throwIfAborted();
    if (this.#busyCount >= UNDER_WAY_MAX_COUNT) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#busyCount += 1; // else the one that woke us has left its place to us
    try {
      const { what, bytes } = await this.#askAll(asked);
      this.#cache.put(key, what, bytes);
      return what;
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#busyCount -= 1;
    }
  }

  async #askAll(asked: Asked): Promise<Readonly<{ what: Remembered; bytes: number }>> {
    const { servers, triesCount } = this.#settings;
    let reason = 'no server';
    for (let round = 0; round < triesCount; round += 1) {
      for (const server of servers) {
        const result = await this.#ask(asked, server);
        if (result.kind === 'answer') {
          const secure = result.answer.secure && this.#isTrusted(server);
          return { what: { ...result.answer, secure }, bytes: result.bytes };
        }
        reason = result.reason;
      }
    }
    return { what: { kind: 'failure', reason, ttlS: FAILURE_TTL_S }, bytes: 0 };
  }

  async #ask(asked: Asked, server: NameServer): Promise<Exchanged> {
    const timeout = AbortSignal.timeout(this.#settings.tryTimeoutMs);
    try {
      return await exchange(asked, server, AbortSignal.any([timeout, this.#closing.signal]));
    } catch (error) {
      this.#closing.signal.throwIfAborted();
      if (timeout.aborted) return { kind: 'failure', reason: 'no answer in time' };
      throw error;
    }
  }

  #isTrusted(server: NameServer): boolean {
    const { trustAd } = this.#settings;
    return trustAd === 'always' || (trustAd === 'loopback' && isLoopback(server));
  }
}
