/**
 * What the DNS says of a sender: SPF of the envelope's domain, DMARC of the author's. RFC 7208, RFC 9989.
 *
 * SP1  mailauth evaluates; names and addresses are all it gets of a message. It is loaded when it is first needed, since
 *      that takes some tenths of a second.
 * SP2  What is not known for the time being is `temperror`.
 *
 * Called by authentication.ts. The only file that knows mailauth's functions.
 */
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Lookups } from './lookups.ts';

/** RFC 8601 §2.7.2. `domain` is what was checked: that of the reverse-path, or of HELO where that is empty. */
export type SpfResult = Readonly<{
  result: 'none' | 'neutral' | 'pass' | 'fail' | 'softfail' | 'temperror' | 'permerror';
  domain: string | null;
  identity: 'mailfrom' | 'helo';
}>;
/** `policy` is what the domain asks for when the result is `fail`. */
export type DmarcResult = Readonly<{
  result: 'none' | 'pass' | 'fail' | 'temperror' | 'permerror';
  policy: 'none' | 'quarantine' | 'reject';
}>;
export type MailPeer = Readonly<{ address: string; helo: string; sender: string; hostname: string }>;

const SPF_RESULTS = ['none', 'neutral', 'pass', 'fail', 'softfail', 'temperror', 'permerror'] as const;
const DMARC_RESULTS = ['none', 'pass', 'fail', 'temperror', 'permerror'] as const;
const HOST = /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** Loads what the checks need, so that the first message does not wait for it (SP1). */
export async function loadSenderPolicies(): Promise<void> {
  await Promise.all([import('mailauth/lib/spf/index.js'), import('mailauth/lib/dmarc/index.js')]);
}

/** Does not throw. RFC 7208 §4. */
export async function checkSpf(peer: MailPeer, lookups: Lookups, maxElapsedMs: number): Promise<SpfResult> {
  const identity = peer.sender === '' ? 'helo' : 'mailfrom';
  const helo = HOST.test(peer.helo) && isIP(peer.helo) === 0 ? peer.helo : 'unknown';
  const domain = identity === 'helo' ? helo : asciiDomain(peer.sender.split('@').at(-1) ?? '');
  try {
    const { spf } = await import('mailauth/lib/spf/index.js');
    const { status } = await spf({
      sender: peer.sender,
      ip: peer.address,
      helo,
      mta: peer.hostname,
      resolver: lookups.asNode,
      maxElapsedTime: maxElapsedMs,
    });
    const result = SPF_RESULTS.find((known) => known === status.result) ?? 'permerror';
    return { result, identity, domain: HOST.test(domain) ? domain.toLowerCase() : null };
  } catch {
    return { result: 'temperror', identity, domain: HOST.test(domain) ? domain.toLowerCase() : null }; // SP2
  }
}

/** Does not throw. `passed` are the domains whose SPF or DKIM passed. RFC 9989 §5.3. */
export async function checkDmarc(
  author: string,
  passed: Readonly<{ spf: string | null; dkim: readonly string[] }>,
  lookups: Lookups,
): Promise<DmarcResult> {
  try {
    const { dmarc } = await import('mailauth/lib/dmarc/index.js');
    const found = await dmarc({
      headerFrom: [`author@${author}`],
      fromFields: 1,
      spfDomains: passed.spf === null ? [] : [passed.spf],
      dkimDomains: passed.dkim.map((domain) => ({ domain })),
      resolver: lookups.asNode,
    });
    if (!found) return { result: 'permerror', policy: 'none' };
    const result = DMARC_RESULTS.find((known) => known === found.status.result) ?? 'permerror';
    const policy = found.policy === 'reject' || found.policy === 'quarantine' ? found.policy : 'none';
    return { result, policy };
  } catch {
    return { result: 'temperror', policy: 'none' };
  }
}

/** RFC 8616 §4. */
function asciiDomain(domain: string): string {
  return /[^\x00-\x7f]/.test(domain) ? domainToASCII(domain) : domain;
}
