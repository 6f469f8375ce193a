/**
 * The DNS records that a domain's mail needs, as an operator publishes them. Pure.
 *
 * DR1  A required record is one without which mail does not arrive, or is not believed; the others are advice.
 * DR2  Every value has one spelling, so that what is published can be compared with what is wanted.
 *
 * Called by operations/domains.ts and domain-check.ts.
 */
import { createHash } from 'node:crypto';
import type { DkimKey } from '../accounts/dkim-keys.ts';

type RecordPurpose = 'mx' | 'spf' | 'dkim' | 'dmarc' | 'mta-sts' | 'tls-reports' | 'clients';
/** `value` is text of a TXT record without quotes, otherwise as in a zone file. `name` is absolute, without its final dot. */
export type WantedRecord = Readonly<{
  purpose: RecordPurpose;
  name: string;
  type: 'MX' | 'TXT' | 'SRV';
  value: string;
  isRequired: boolean;
  note: string | null;
}>;
/** `ports` by listener name, as far as they listen. */
export type DomainFacts = Readonly<{
  domain: string;
  hostname: string;
  ports: Readonly<Record<string, number>>;
  keys: readonly DkimKey[];
}>;

const MX_PREFERENCE = 10;
/** RFC 6186 §3.1, §3.2; RFC 8314 §5.1. The one to prefer has the lower priority. */
const CLIENT_SERVICES = [
  ['imaps', '_imaps._tcp', 0],
  ['imap', '_imap._tcp', 10],
  ['submissions', '_submissions._tcp', 0],
  ['submission', '_submission._tcp', 10],
] as const;
/** One string of a TXT record holds so many bytes. RFC 1035 §3.3.14. */
const TXT_STRING_BYTES = 255;

/** All records of a domain, in the order in which they matter. */
export function domainRecords({ domain, hostname, ports, keys }: DomainFacts): readonly WantedRecord[] {
  const text = (name: string, value: string): Pick<WantedRecord, 'name' | 'type' | 'value'> => ({
    name: `${name}${domain}`,
    type: 'TXT',
    value,
  });
  const policyId = createHash('sha256').update(mtaStsPolicy(hostname)).digest('hex').slice(0, 16);
  return [
    {
      purpose: 'mx',
      name: domain,
      type: 'MX',
      value: `${String(MX_PREFERENCE)} ${hostname}.`,
      isRequired: true,
      note: null,
    },
    { purpose: 'spf', ...text('', 'v=spf1 mx -all'), isRequired: true, note: null },
    ...keys.map(dkimRecord),
    {
      purpose: 'dmarc',
      ...text('_dmarc.', `v=DMARC1; p=quarantine; rua=mailto:postmaster@${domain}`),
      isRequired: true,
      note: 'Once nothing of yours fails any more: p=reject.',
    },
    {
      purpose: 'tls-reports',
      ...text('_smtp._tls.', `v=TLSRPTv1; rua=mailto:postmaster@${domain}`),
      isRequired: false,
      note: null,
    },
    {
      purpose: 'mta-sts',
      ...text('_mta-sts.', `v=STSv1; id=${policyId}`),
      isRequired: false,
      note: `Only with the policy at https://mta-sts.${domain}/.well-known/mta-sts.txt: ${mtaStsPolicy(hostname).replaceAll('\n', ' ').trim()}`,
    },
    ...CLIENT_SERVICES.flatMap(([listener, service, priority]): WantedRecord[] => {
      const port = ports[listener];
      if (port === undefined) return [];
      const value = `${String(priority)} 1 ${String(port)} ${hostname}.`;
      return [{ purpose: 'clients', name: `${service}.${domain}`, type: 'SRV', value, isRequired: false, note: null }];
    }),
  ];
}

/** The record that publishes a key. RFC 6376 §3.6.1, RFC 8463 §4. */
export function dkimRecord({ domain, selector, algorithm, publicKey, state }: DkimKey): WantedRecord {
  return {
    purpose: 'dkim',
    name: `${selector}._domainkey.${domain}`,
    type: 'TXT',
    value: `v=DKIM1; k=${algorithm}; p=${publicKey}`,
    isRequired: state !== 'retired',
    note:
      state === 'retired'
        ? `Keep it for a week, for mail on its way; then: sealpost domain dkim retire ${domain} ${selector}`
        : null,
  };
}

/** One line for a zone file. */
export function zoneLine({ name, type, value }: WantedRecord): string {
  return `${name}. ${type} ${type === 'TXT' ? quotedStrings(value) : value}`;
}

/** RFC 8461 §3.2. */
export function mtaStsPolicy(hostname: string): string {
  return `version: STSv1\nmode: testing\nmx: ${hostname}\nmax_age: 604800\n`;
}

function quotedStrings(value: string): string {
  const strings = value.match(new RegExp(`.{1,${String(TXT_STRING_BYTES)}}`, 'gs')) ?? [''];
  return strings.map((string) => `"${string}"`).join(' ');
}
