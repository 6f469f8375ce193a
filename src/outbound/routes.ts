/**
 * Where mail for a domain goes next: its mail exchangers, or what the configuration says.
 *
 * RO1  Hosts come in the order of their preference, equal ones in random order. RFC 5321 §5.1.
 * RO2  A host that is this server, and all that are not preferred to it, are left out: mail does not go in circles.
 * RO3  A domain that says it takes no mail is believed (RFC 7505). Not knowing is thrown, and temporary.
 * RO4  Addresses of `refusedNetworks` are not connected to: a domain of somebody else's must not lead to a service of
 *      this host that trusts its neighbours. What the configuration names is exempt.
 *
 * Called by deliver-domain.ts.
 */
import { BlockList, isIP } from 'node:net';
import type { DnsRecord, Resolver } from '../dns/resolver.ts';

export type HopTls = 'opportunistic' | 'starttls' | 'tls';
type Credentials = Readonly<{ user: string; password: string }>;
/** A host to try. `relay` is null for a mail exchanger. */
export type Hop = Readonly<{ name: string; port: number; relay: Relay | null }>;
type Relay = Readonly<{ tls: HopTls; credentials: Credentials | null }>;

/** `isSecure`: DNSSEC vouches for the choice of hosts, or the configuration does. */
export type Route = Readonly<
  { kind: 'hops'; hops: readonly Hop[]; isSecure: boolean } | { kind: 'none'; status: string; text: string }
>;
/** In the order in which to try them. */
type HostAddresses = Readonly<{ addresses: readonly string[]; isSecure: boolean }>;

export type Transport = Readonly<{ host: string; port: number; tls: HopTls; credentials?: Credentials | undefined }>;
type RouteSettings = Readonly<{
  port: number;
  smarthost: Transport | null;
  /** By domain; one that begins with a dot is for all domains below it. */
  transports: ReadonlyMap<string, Transport>;
  /** As `192.0.2.0/24`. */
  refusedNetworks: readonly string[];
}>;
type RouteDeps = Readonly<{
  resolver: Resolver;
  /** Whether `name` is a name of this server. */
  isOwnName(name: string): boolean;
  /** 0 <= n < 1. */
  random(): number;
}>;

const HOPS_MAX_COUNT = 16;
const ADDRESSES_MAX_COUNT = 16;
const LITERAL = /^\[(?:IPv6:([0-9a-f:.]+)|([0-9.]+))\]$/i;

export class Routes {
  readonly #settings: RouteSettings;
  readonly #deps: RouteDeps;
  readonly #refused = new BlockList();

  constructor(settings: RouteSettings, deps: RouteDeps) {
    this.#settings = settings;
    this.#deps = deps;
    for (const network of settings.refusedNetworks) {
      const [address = '', bits] = network.split('/');
      this.#refused.addSubnet(address, Number(bits), familyOf(address));
    }
  }

  /** The hosts for `domain`: A-labels, or an address literal. Throws ServerError 'dns-unavailable'. */
  async routeTo(domain: string, signal?: AbortSignal): Promise<Route> {
    const relay = this.#transportOf(domain);
    if (relay) return { kind: 'hops', hops: [hopOf(relay)], isSecure: true };
    const literal = LITERAL.exec(domain);
    if (literal) {
      const address = literal[1] ?? literal[2] ?? '';
      if (isIP(address) === 0) return { kind: 'none', status: '5.1.3', text: 'Bad address literal' };
      return { kind: 'hops', hops: [this.#hop(address)], isSecure: false };
    }
    return this.#exchangers(domain, signal);
  }

  /** Where `hop` can be reached; no addresses: nowhere. Throws ServerError 'dns-unavailable'. */
  async addressesOf(hop: Hop, signal?: AbortSignal): Promise<HostAddresses> {
    if (isIP(hop.name) > 0) return { addresses: this.#allowed(hop, [hop.name]), isSecure: false };
    const lookups = (['AAAA', 'A'] as const).map((type) => this.#deps.resolver.resolve(hop.name, type, signal));
    const results = await Promise.allSettled(lookups);
    const answers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const families = answers.map((answer) =>
      answer.kind === 'records' ? this.#shuffled(answer.records.flatMap(addressOf)) : [],
    );
    const addresses = this.#allowed(hop, interleaved(families)).slice(0, ADDRESSES_MAX_COUNT);
    const failure = results.find((result) => result.status === 'rejected');
    if (failure && addresses.length === 0) throw failure.reason;
    return { addresses, isSecure: answers.every(({ secure }) => secure) && !failure };
  }

  async #exchangers(domain: string, signal?: AbortSignal): Promise<Route> {
    const answer = await this.#deps.resolver.resolve(domain, 'MX', signal);
    if (answer.kind !== 'records') {
      if (answer.kind === 'no-name') return { kind: 'none', status: '5.1.2', text: 'There is no such domain' };
      // RFC 5321 §5.1: without MX records the domain itself is the host
      return { kind: 'hops', hops: [this.#hop(domain)], isSecure: answer.secure };
    }
    const all = answer.records.flatMap((record) => (record.type === 'MX' ? [record] : []));
    const named = all.filter(({ exchange }) => exchange !== '');
    if (named.length === 0) return { kind: 'none', status: '5.1.10', text: 'The domain takes no mail (null MX)' };
    const own = named.filter(({ exchange }) => this.#deps.isOwnName(exchange)).map(({ preference }) => preference);
    const usable = named.filter(({ preference }) => preference < Math.min(...own));
    if (usable.length === 0) {
      return { kind: 'none', status: '5.4.6', text: 'The mail exchanger of the domain is this server' };
    }
    const hops = this.#shuffled(usable).toSorted((a, b) => a.preference - b.preference);
    const names = [...new Set(hops.map(({ exchange }) => exchange))].slice(0, HOPS_MAX_COUNT);
    return { kind: 'hops', hops: names.map((name) => this.#hop(name)), isSecure: answer.secure };
  }

  #hop(name: string): Hop {
    return { name, port: this.#settings.port, relay: null };
  }

  #transportOf(domain: string): Transport | null {
    const { transports, smarthost } = this.#settings;
    const exact = transports.get(domain);
    if (exact) return exact;
    for (let dot = domain.indexOf('.'); dot >= 0; dot = domain.indexOf('.', dot + 1)) {
      const above = transports.get(domain.slice(dot));
      if (above) return above;
    }
    return smarthost;
  }

  #allowed(hop: Hop, addresses: readonly string[]): readonly string[] {
    return hop.relay ? addresses : addresses.filter((address) => !this.#refused.check(address, familyOf(address)));
  }

  #shuffled<T>(list: readonly T[]): T[] {
    const keyed = list.map((item) => ({ item, key: this.#deps.random() }));
    return keyed.toSorted((a, b) => a.key - b.key).map(({ item }) => item);
  }
}

function hopOf({ host, port, tls, credentials }: Transport): Hop {
  return { name: host, port, relay: { tls, credentials: credentials ?? null } };
}

function addressOf(record: DnsRecord): string[] {
  return record.type === 'A' || record.type === 'AAAA' ? [record.address] : [];
}

/** The first of each list, then the second of each: a family that does not work costs little. RFC 8305 §4. */
function interleaved(lists: readonly (readonly string[])[]): string[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, at) => lists.flatMap((list) => list[at] ?? [])).flat();
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return address.includes(':') ? 'ipv6' : 'ipv4';
}
