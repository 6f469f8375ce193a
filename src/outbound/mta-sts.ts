/**
 * MTA-STS (RFC 8461): what the domains that we send to say about the TLS of their servers.
 *
 * MS1  A policy holds until it expires, also when the domain's record or web server is gone: taking them away is what an
 *      attacker would do. RFC 8461 §3.1, §5.1.
 * MS2  A policy is fetched over HTTPS with a certificate for `mta-sts.<domain>`, without redirections. What is not a
 *      policy in every respect is none. RFC 8461 §3.2, §3.3.
 * MS3  Policies are kept in memory only: the domains that users write to are theirs.
 *
 * Called by tls-policy.ts.
 */
import type { Resolver } from '../dns/resolver.ts';

/** `mx`: names; one that begins with `*.` stands for one label. */
type StsPolicy = Readonly<{ mode: 'enforce' | 'testing' | 'none'; mx: readonly string[]; maxAgeS: number }>;

type StsDeps = Readonly<{
  resolver: Resolver;
  /** The text of a domain's policy. Throws when there is none to be had. */
  fetchPolicy(domain: string, signal: AbortSignal): Promise<string>;
  nowMs(): number;
}>;
type Kept = Readonly<{ id: string; policy: StsPolicy; expiresMs: number }>;

const FETCH_TIMEOUT_MS = 30_000;
/** After a policy could not be fetched, it is not asked for again so soon. RFC 8461 §3.3. */
const FAILURE_PAUSE_MS = 5 * 60_000;
const POLICIES_MAX_COUNT = 10_000;
const MAX_AGE_MAX_S = 31_557_600; // RFC 8461 §3.2
const MX_MAX_COUNT = 100;
const MX_PATTERN = /^(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*$/;

export class StsPolicies {
  readonly #deps: StsDeps;
  readonly #kept = new Map<string, Kept>(); // least recently used first
  readonly #failed = new Map<string, number>(); // until when
  readonly #fetches = new Map<string, Promise<Kept | null>>();

  constructor(deps: StsDeps) {
    this.#deps = deps;
  }

  /** The policy of `domain` that is in force, or null. */
  async policyOf(domain: string, signal?: AbortSignal): Promise<StsPolicy | null> {
    const kept = this.#get(domain);
    const id = await this.#currentId(domain, signal);
    const current = id === null || id === kept?.id ? kept : ((await this.#renew(domain, id)) ?? kept);
    return current && current.policy.mode !== 'none' ? current.policy : null;
  }

  #get(domain: string): Kept | null {
    const kept = this.#kept.get(domain);
    if (!kept) return null;
    this.#kept.delete(domain);
    if (kept.expiresMs <= this.#deps.nowMs()) return null;
    this.#kept.set(domain, kept);
    return kept;
  }

  /** Null when there is none, or none to be had. */
  async #currentId(domain: string, signal?: AbortSignal): Promise<string | null> {
    try {
      const answer = await this.#deps.resolver.resolve(`_mta-sts.${domain}`, 'TXT', signal);
      const texts = answer.kind === 'records' ? answer.records : [];
      return policyId(texts.flatMap((record) => (record.type === 'TXT' ? [record.strings.join('')] : [])));
    } catch {
      signal?.throwIfAborted();
      return null; // MS1
    }
  }

  #renew(domain: string, id: string): Promise<Kept | null> {
    const under = this.#fetches.get(domain);
    if (under) return under;
    const fetch = this.#fetch(domain, id).finally(() => this.#fetches.delete(domain));
    this.#fetches.set(domain, fetch);
    return fetch;
  }

  async #fetch(domain: string, id: string): Promise<Kept | null> {
    const { fetchPolicy, nowMs } = this.#deps;
    if ((this.#failed.get(domain) ?? 0) > nowMs()) return null;
    this.#failed.delete(domain);
    try {
      const policy = parsePolicy(await fetchPolicy(domain, AbortSignal.timeout(FETCH_TIMEOUT_MS)));
      if (!policy) throw new TypeError('no policy');
      const kept = { id, policy, expiresMs: nowMs() + policy.maxAgeS * 1000 };
      this.#kept.set(domain, kept);
      dropOldest(this.#kept);
      return kept;
    } catch {
      this.#failed.set(domain, nowMs() + FAILURE_PAUSE_MS);
      dropOldest(this.#failed);
      return null;
    }
  }
}

function dropOldest(map: Map<string, unknown>): void {
  const [oldest] = map.keys();
  if (oldest !== undefined && map.size > POLICIES_MAX_COUNT) map.delete(oldest);
}

/** The id in the TXT records at `_mta-sts`, or null unless exactly one is of this kind. RFC 8461 §3.1. */
function policyId(texts: readonly string[]): string | null {
  const [record, second] = texts.filter((text) => /^v=STSv1\s*;/.test(text));
  if (record === undefined || second !== undefined) return null;
  return /;\s*id\s*=\s*([A-Za-z0-9]{1,32})\s*(?:;|$)/.exec(record)?.[1] ?? null;
}

/** The policy that `text` is, or null. RFC 8461 §3.2. */
function parsePolicy(text: string): StsPolicy | null {
  const fields = new Map<string, string>();
  const mx: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    const [, key = '', value = ''] = /^([A-Za-z0-9][\w.-]{0,31})\s*:\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === 'mx') mx.push(value.toLowerCase().replace(/\.$/, ''));
    else if (!fields.has(key)) fields.set(key, value);
  }
  const [mode, maxAge] = [fields.get('mode'), fields.get('max_age') ?? ''];
  if (fields.get('version') !== 'STSv1' || !/^\d{1,10}$/.test(maxAge)) return null;
  if (mode !== 'enforce' && mode !== 'testing' && mode !== 'none') return null;
  if (mx.length > MX_MAX_COUNT || !mx.every((pattern) => MX_PATTERN.test(pattern))) return null;
  if (mode !== 'none' && mx.length === 0) return null;
  return { mode, mx, maxAgeS: Math.min(Number(maxAge), MAX_AGE_MAX_S) };
}

/** RFC 8461 §4.1. */
export function isListed(host: string, policy: StsPolicy): boolean {
  return policy.mx.some((pattern) => {
    if (!pattern.startsWith('*.')) return pattern === host;
    return host.includes('.') && host.slice(host.indexOf('.')) === pattern.slice(1);
  });
}
