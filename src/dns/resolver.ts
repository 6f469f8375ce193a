/**
 * The port through which names are looked up: what an answer is. `stub-resolver.ts` asks real name servers; tests
 * answer from a table.
 *
 * D1  An answer is a value: records, no such name, or no such records. Not knowing is thrown, and is temporary.
 * D2  `secure` means that a validating resolver, which we have reason to believe, vouched for the whole answer, its
 *     CNAME records included. Nothing else makes an answer secure.
 *
 * Called by authentication of mail, routing of outgoing mail and the checks of domains.
 */

export type RecordType = 'A' | 'AAAA' | 'MX' | 'TXT' | 'TLSA' | 'PTR' | 'CNAME' | 'NS' | 'SRV';

/** Names are in lower case without the final dot; the root is the empty name. */
export type DnsRecord =
  | Readonly<{ type: 'A' | 'AAAA'; address: string }>
  | Readonly<{ type: 'MX'; preference: number; exchange: string }>
  /** The strings of one record, not yet joined. */
  | Readonly<{ type: 'TXT'; strings: readonly string[] }>
  | Readonly<{ type: 'TLSA'; usage: number; selector: number; matchingType: number; data: Uint8Array }>
  | Readonly<{ type: 'SRV'; priority: number; weight: number; port: number; target: string }>
  | Readonly<{ type: 'PTR' | 'CNAME' | 'NS'; host: string }>;

/** `ttlS`: for how many seconds it may be kept. Records are of the type that was asked for, at least one. */
export type Answer = Readonly<
  | { kind: 'records'; records: readonly DnsRecord[]; secure: boolean; ttlS: number }
  | { kind: 'no-name' | 'no-data'; secure: boolean; ttlS: number }
>;

export interface Resolver {
  /**
   * Looks up the records of `type` at `name`, which may be internationalised; CNAME records are followed. What cannot
   * be a name has no records: `no-name`. Throws ServerError 'dns-unavailable', or `signal.reason`.
   */
  resolve(name: string, type: RecordType, signal?: AbortSignal): Promise<Answer>;
}
