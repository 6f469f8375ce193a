/**
 * Where an address leads: one of our mailboxes, or nowhere.
 *
 * R1  Only addresses of our own domains lead anywhere: there is no relaying, whatever form the address has. What
 *     stands left of the last `@` is never looked into for another destination (`user%other@here`, `"user@other"@here`).
 * R2  `postmaster` without a domain is the postmaster of this host. RFC 5321 §4.1.1.3, §4.5.1.
 *
 * Called by deliver.ts.
 */
import type { Addresses, Resolution } from '../accounts/addresses.ts';

export type RouteDeps = Readonly<{ addresses: Pick<Addresses, 'resolveRecipient'>; hostname: string }>;

/** Routes `address`, a mailbox of RFC 5321 §4.1.2 without brackets. Throws ServerError key-*, or the signal's reason. */
export function route(deps: RouteDeps, address: string, signal?: AbortSignal): Promise<Resolution> {
  const full = address.toLowerCase() === 'postmaster' ? `postmaster@${deps.hostname}` : address;
  return deps.addresses.resolveRecipient(full, signal);
}
