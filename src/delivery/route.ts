/**
 * Where an address leads: one of our mailboxes, or nowhere.
 *
 * R1  Only addresses of our own domains lead anywhere: there is no relaying, whatever form the address has. What
 *     stands left of the last `@` is never looked into for another destination (`user%other@here`, `"user@other"@here`).
 * R2  `postmaster` without a domain is the postmaster of this host, or else of the first of our domains that has one.
 *     RFC 5321 §4.1.1.3, §4.5.1.
 *
 * Called by deliver.ts.
 */
import type { Addresses, Resolution } from '../accounts/addresses.ts';

export type RouteDeps = Readonly<{
  addresses: Pick<Addresses, 'resolveRecipient' | 'localDomains'>;
  hostname: string;
}>;

/** Domains that are asked for a postmaster of the host. */
const POSTMASTER_DOMAINS_COUNT = 20;

/** Routes `address`, a mailbox of RFC 5321 §4.1.2 without brackets. Throws ServerError key-*, or the signal's reason. */
export async function route(
  { addresses, hostname }: RouteDeps,
  address: string,
  signal?: AbortSignal,
): Promise<Resolution> {
  if (address.toLowerCase() !== 'postmaster') return addresses.resolveRecipient(address, signal);
  for (const domain of [hostname, ...addresses.localDomains(POSTMASTER_DOMAINS_COUNT)]) {
    const found = await addresses.resolveRecipient(`postmaster@${domain}`, signal);
    if (found.kind === 'mailbox') return found;
  }
  return { kind: 'unknown-user' };
}
