/**
 * What TLS a host must offer before it gets a message.
 *
 * TP1  DANE where DNSSEC vouches for the choice of hosts, for the host's address and for its TLSA records. Then nothing
 *      else can lower what it asks for. RFC 7672 §2.2, RFC 8461 §2.
 * TP2  A TLSA lookup that fails leaves the host alone: an attacker must not win by suppressing it. RFC 7672 §2.1.2.
 * TP3  MTA-STS in force: only hosts of the policy, with a certificate of their name. RFC 8461 §5.
 * TP4  A message with REQUIRETLS goes only to hosts that were found securely and prove who they are. RFC 8689 §4.2.1.
 * TP5  Otherwise TLS is used where it is offered.
 *
 * Called by deliver-domain.ts.
 */
import type { Resolver } from '../dns/resolver.ts';
import { usableRecords, type TlsaRecord } from './dane.ts';
import { isListed, type StsPolicies } from './mta-sts.ts';
import type { Hop } from './routes.ts';

/** `names`: of which the certificate must have one. */
export type TlsPolicy = Readonly<
  | { kind: 'opportunistic' }
  /** Without a proof of who it is. */
  | { kind: 'encrypted' }
  | { kind: 'verified'; names: readonly string[] }
  | { kind: 'dane'; records: readonly TlsaRecord[]; names: readonly string[] }
>;
type TlsRefusal = Readonly<{ kind: 'refused'; status: string; text: string }>;

type TlsPolicyDeps = Readonly<{
  resolver: Resolver;
  sts: Pick<StsPolicies, 'policyOf'>;
  /** Whether TLS is asked of every host. */
  isTlsRequired: boolean;
}>;
type Choice = Readonly<{
  domain: string;
  hop: Hop;
  /** DNSSEC vouches for the choice of hosts, and for the addresses of this one. */
  isRouteSecure: boolean;
  isAddressSecure: boolean;
  requiresTls: boolean;
}>;

/** The policy for one host. Throws ServerError 'dns-unavailable' (TP2). */
export async function tlsPolicyFor(
  deps: TlsPolicyDeps,
  choice: Choice,
  signal?: AbortSignal,
): Promise<TlsPolicy | TlsRefusal> {
  const { domain, hop, isRouteSecure, isAddressSecure, requiresTls } = choice;
  if (hop.relay) {
    const isVerified = hop.relay.tls !== 'opportunistic' || requiresTls;
    return isVerified ? { kind: 'verified', names: [hop.name] } : base(deps);
  }
  const isDaneSecure = isRouteSecure && isAddressSecure;
  const dane = isDaneSecure ? await danePolicy(deps.resolver, { domain, hop }, signal) : null;
  if (dane?.kind === 'dane') return dane;
  const sts = await deps.sts.policyOf(domain, signal);
  if (sts && !isListed(hop.name, sts) && sts.mode === 'enforce') {
    return { kind: 'refused', status: '4.7.1', text: 'The host is not in the MTA-STS policy of the domain' };
  }
  if (sts?.mode === 'enforce') return { kind: 'verified', names: [hop.name] };
  if (!requiresTls) return dane ?? base(deps);
  if (isRouteSecure) return { kind: 'verified', names: [hop.name] };
  return { kind: 'refused', status: '5.7.10', text: 'Secure transport is required, and nothing vouches for the host' };
}

function base({ isTlsRequired }: TlsPolicyDeps): TlsPolicy {
  return { kind: isTlsRequired ? 'encrypted' : 'opportunistic' };
}

/** Null without TLSA records. Those that cannot be used still ask for encryption. RFC 7672 §2.2. */
async function danePolicy(
  resolver: Resolver,
  { domain, hop }: Readonly<{ domain: string; hop: Hop }>,
  signal?: AbortSignal,
): Promise<TlsPolicy | null> {
  for (const base of await tlsaBases(resolver, hop.name, signal)) {
    const answer = await resolver.resolve(`_${String(hop.port)}._tcp.${base}`, 'TLSA', signal);
    if (answer.kind !== 'records' || !answer.secure) continue;
    const records = usableRecords(answer.records);
    const names = [...new Set([base, hop.name, domain])]; // RFC 7672 §3.2.2
    return records.length > 0 ? { kind: 'dane', records, names } : { kind: 'encrypted' };
  }
  return null;
}

/** The name that the host is an alias of comes first, if the whole chain is secure. RFC 7672 §2.2.2. */
async function tlsaBases(resolver: Resolver, host: string, signal?: AbortSignal): Promise<readonly string[]> {
  let name = host;
  for (let count = 0; count < ALIASES_MAX_COUNT; count += 1) {
    const answer = await resolver.resolve(name, 'CNAME', signal);
    const [alias] = answer.kind === 'records' ? answer.records : [];
    if (alias?.type !== 'CNAME') return [...new Set([name, host])];
    if (!answer.secure) return [host];
    name = alias.host;
  }
  return [host];
}

const ALIASES_MAX_COUNT = 8;
