/**
 * What is known of a peer before its message: DNS block lists, and greylisting.
 *
 * GA1  A list that does not answer lists nobody. Answers outside of 127.0.0.0/8, and those of 127.255.255.0/24, with which
 *      lists say that they will not answer us, are none either. RFC 5782 §2.1, §2.3.
 * GA2  Greylisting remembers digests under a key of this process, in memory only: a restart begins anew.
 * GA3  `postmaster` is reached also from a listed host. RFC 5321 §4.5.1.
 *
 * Called by smtp/, for peers that are not trusted.
 */
import { createHash, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { Config } from '../../config/schema.ts';
import type { Resolver } from '../../dns/resolver.ts';

type GateDeps = Readonly<{ config: Config['mail']; resolver: Pick<Resolver, 'resolve'>; nowMs(): number }>;
export type Admission = Readonly<{ kind: 'admitted' } | { kind: 'listed'; zone: string } | { kind: 'greylisted' }>;

const ADMITTED = { kind: 'admitted' } as const;
const LOOKUP_TIME_LIMIT_MS = 5000;
const MAX_ENTRIES_COUNT = 200_000;
/** A sender that does not come again within this time begins anew. RFC 6647 §5. */
const RETRY_WINDOW_MS = 24 * 3_600_000;
const REMEMBERED_MS = 35 * 24 * 3_600_000;
const DIGEST_BYTES = 16;
const IPV6_GROUPS_COUNT = 8;

export class PeerGate {
  readonly #deps: GateDeps;
  readonly #greylist: Greylist;

  constructor(deps: GateDeps) {
    this.#deps = deps;
    this.#greylist = new Greylist(deps.config.greylist.delayMs, deps.nowMs);
  }

  /** For one connection; lookups begin now. */
  open(address: string): OpenGate {
    const { resolver, config } = this.#deps;
    return new OpenGate(
      plainAddress(address),
      listedIn(plainAddress(address), config.dnsbl.zones, resolver),
      this.#greylist,
    );
  }
}

/** Of one connection. */
export class OpenGate {
  readonly #address: string;
  readonly #listed: Promise<string | null>;
  readonly #greylist: Greylist;

  constructor(address: string, listed: Promise<string | null>, greylist: Greylist) {
    this.#address = address;
    this.#listed = listed;
    this.#greylist = greylist;
  }

  /** Whether mail of `sender` for `recipient` may come now. Does not throw. */
  async admit(sender: string, recipient: string): Promise<Admission> {
    const isPostmaster = /^postmaster(?:@|$)/i.test(recipient); // GA3
    const zone = isPostmaster ? null : await this.#listed;
    if (zone !== null) return { kind: 'listed', zone };
    return this.#greylist.isDelayed(this.#address, sender, recipient) ? { kind: 'greylisted' } : ADMITTED;
  }
}

/** The first zone that lists `address`, or null. */
async function listedIn(
  address: string,
  zones: readonly string[],
  resolver: Pick<Resolver, 'resolve'>,
): Promise<string | null> {
  const reversed = reversedName(address);
  if (reversed === null || zones.length === 0) return null;
  const signal = AbortSignal.timeout(LOOKUP_TIME_LIMIT_MS);
  const found = await Promise.all(zones.map((zone) => isListed(`${reversed}.${zone}`, resolver, signal)));
  return zones.find((_zone, at) => found[at]) ?? null;
}

async function isListed(name: string, resolver: Pick<Resolver, 'resolve'>, signal: AbortSignal): Promise<boolean> {
  try {
    const answer = await resolver.resolve(name, 'A', signal);
    if (answer.kind !== 'records') return false;
    return answer.records.some((one) => one.type === 'A' && /^127\.(?!255\.255\.)/.test(one.address)); // GA1
  } catch {
    return false; // GA1
  }
}

/** RFC 5782 §2.1, §2.4. */
function reversedName(address: string): string | null {
  if (isIP(address) === 4) return address.split('.').toReversed().join('.');
  if (isIP(address) !== 6) return null;
  return Array.from(expandedIpv6(address).replaceAll(':', '')).toReversed().join('.');
}

/** An IPv4 address that a socket shows as `::ffff:..`, as it is. */
function plainAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  return mapped ?? address.replace(/%.*$/, '');
}

function expandedIpv6(address: string): string {
  const [head = '', tail = ''] = address.split('::', 2);
  const groupsOf = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [before, after] = [groupsOf(head), groupsOf(tail)];
  const missing = Array.from({ length: Math.max(0, IPV6_GROUPS_COUNT - before.length - after.length) }, () => '0');
  return [...before, ...missing, ...after].map((group) => group.padStart(4, '0')).join(':');
}

/** Triplets of client network, sender and recipient, by digest (GA2). */
class Greylist {
  readonly #delayMs: number;
  readonly #nowMs: () => number;
  readonly #key = randomBytes(32);
  /** Digest to the time of the first attempt, and whether a later one has passed; least recently used first. */
  readonly #seen = new Map<string, Readonly<{ sinceMs: number; hasPassed: boolean }>>();

  constructor(delayMs: number, nowMs: () => number) {
    this.#delayMs = delayMs;
    this.#nowMs = nowMs;
  }

  isDelayed(address: string, sender: string, recipient: string): boolean {
    if (this.#delayMs === 0) return false;
    const nowMs = this.#nowMs();
    const digest = this.#digest([networkOf(address), sender.toLowerCase(), recipient.toLowerCase()]);
    const known = this.#seen.get(digest);
    const isStale = known && nowMs - known.sinceMs > (known.hasPassed ? REMEMBERED_MS : RETRY_WINDOW_MS);
    const first = !known || isStale ? { sinceMs: nowMs, hasPassed: false } : known;
    const passes = first.hasPassed || nowMs - first.sinceMs >= this.#delayMs;
    this.#seen.delete(digest);
    this.#seen.set(digest, passes ? { sinceMs: nowMs, hasPassed: true } : first);
    const [oldest] = this.#seen.keys();
    if (oldest !== undefined && this.#seen.size > MAX_ENTRIES_COUNT) this.#seen.delete(oldest);
    return !passes;
  }

  #digest(parts: readonly string[]): string {
    return createHash('sha256')
      .update(this.#key)
      .update(JSON.stringify(parts))
      .digest()
      .toString('base64', 0, DIGEST_BYTES);
  }
}

/** Large senders come again from another host of the same network. RFC 6647 §2.3. */
function networkOf(address: string): string {
  if (isIP(address) === 4) return address.split('.').slice(0, 3).join('.');
  return isIP(address) === 6 ? expandedIpv6(address).split(':').slice(0, 4).join(':') : address;
}
