/**
 * Whether the DNS says of a domain what it should: each record that is wanted against what is published.
 *
 * DC1  A lookup that fails for the time being is `unknown`, never `missing`.
 * DC2  What serves as well as the wanted record is `ok`: another preference, a stricter policy, a longer SPF list.
 *
 * Called by operations/domains.ts and operations/dkim.ts.
 */
import { ServerError } from '../base/errors.ts';
import type { Answer, DnsRecord, RecordType, Resolver } from '../dns/resolver.ts';
import { domainRecords, type DomainFacts, type WantedRecord } from './domain-records.ts';

type Status = 'ok' | 'missing' | 'differs' | 'unknown';
/** `found`: what is published there instead, or as well. `advice`: what to change. */
type Verdict = Readonly<{ status: Status; found: readonly string[]; advice: string | null }>;
type CheckedRecord = Verdict &
  Pick<WantedRecord, 'name' | 'value' | 'isRequired'> &
  Readonly<{ purpose: string; type: string }>;
type Lookup = Pick<Resolver, 'resolve'>;

const OK: Verdict = { status: 'ok', found: [], advice: null };

/** Checks the host and every record of a domain. Throws `signal.reason` only. */
export async function checkDomain(
  facts: DomainFacts,
  resolver: Lookup,
  signal?: AbortSignal,
): Promise<CheckedRecord[]> {
  const checked = domainRecords(facts).map(async (record) => ({
    ...record,
    ...(await checkRecord(record, facts.hostname, { resolver, signal })),
  }));
  return [await checkHost(facts.hostname, { resolver, signal }), ...(await Promise.all(checked))];
}

type Asking = Readonly<{ resolver: Lookup; signal: AbortSignal | undefined }>;

/** One wanted record. Throws `signal.reason` only. */
export async function checkRecord(record: WantedRecord, hostname: string, asking: Asking): Promise<Verdict> {
  return judged(record.name, record.type, asking, (records) => {
    if (record.type === 'MX') return judgeMx(records, hostname);
    if (record.type === 'SRV') return judgeService(records, record.value);
    const texts = records.flatMap((one) => (one.type === 'TXT' ? [one.strings.join('')] : []));
    switch (record.purpose) {
      case 'spf':
        return judgeSpf(texts, record);
      case 'dkim':
        return judgeDkim(texts, record);
      default:
        return judgeTagged(texts, record);
    }
  });
}

/** MX may not point at an alias, nor at nothing. RFC 5321 §5.1, RFC 2181 §10.3. */
async function checkHost(hostname: string, asking: Asking): Promise<CheckedRecord> {
  const about = { purpose: 'host', name: hostname, type: 'A', value: '(the address of this server)', isRequired: true };
  const alias = await judged(hostname, 'CNAME', asking, () => ({
    status: 'differs',
    found: [],
    advice: 'The name of a mail server must not be an alias (CNAME): give it addresses of its own.',
  }));
  if (alias.status === 'differs') return { ...about, ...alias };
  const verdicts = [
    await judged(hostname, 'A', asking, foundAddresses),
    await judged(hostname, 'AAAA', asking, foundAddresses),
  ];
  const best = verdicts.find(({ status }) => status === 'ok') ?? verdicts.find(({ status }) => status === 'unknown');
  const missing = {
    status: 'missing',
    found: [],
    advice: 'Other servers cannot find this one: set its addresses, and server.hostname.',
  } as const;
  return { ...about, ...(best ?? missing) };
}

function foundAddresses(records: readonly DnsRecord[]): Verdict {
  return { ...OK, found: records.flatMap((one) => ('address' in one ? [one.address] : [])) };
}

async function judged(
  name: string,
  type: RecordType,
  { resolver, signal }: Asking,
  judge: (records: readonly DnsRecord[]) => Verdict,
): Promise<Verdict> {
  let answer: Answer;
  try {
    answer = await resolver.resolve(name, type, signal);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    return { status: 'unknown', found: [], advice: 'The name servers do not answer: try again later.' }; // DC1
  }
  return answer.kind === 'records' ? judge(answer.records) : { status: 'missing', found: [], advice: 'Publish it.' };
}

function judgeMx(records: readonly DnsRecord[], hostname: string): Verdict {
  const found = records.flatMap((one) => (one.type === 'MX' ? [`${String(one.preference)} ${one.exchange}.`] : []));
  const isOurs = records.some((one) => one.type === 'MX' && one.exchange === hostname);
  if (isOurs) return { ...OK, found };
  return { status: 'differs', found, advice: `Mail goes elsewhere: replace it, or add ${hostname}.` };
}

function judgeService(records: readonly DnsRecord[], value: string): Verdict {
  const found = records.flatMap((one) =>
    one.type === 'SRV' ? [`${String(one.priority)} ${String(one.weight)} ${String(one.port)} ${one.target}.`] : [],
  );
  const targetOf = (text: string): string => text.split(' ').slice(2).join(' ');
  if (found.some((text) => targetOf(text) === targetOf(value))) return { ...OK, found };
  return { status: 'differs', found, advice: 'Clients are sent elsewhere: replace it.' };
}

/** RFC 7208 §3.2, §4.5: exactly one; ours lets the hosts of the MX records send. */
function judgeSpf(texts: readonly string[], { value }: WantedRecord): Verdict {
  const found = texts.filter((text) => /^v=spf1(?: |$)/i.test(text));
  const [only, second] = found;
  if (only === undefined) return { status: 'missing', found, advice: 'Publish it.' };
  if (second !== undefined) return { status: 'differs', found, advice: 'Two SPF records make both void: leave one.' };
  const terms = only.toLowerCase().split(/ +/).slice(1);
  if (terms.some((term) => /^\+?all$/.test(term))) {
    return { status: 'differs', found, advice: 'It lets everybody send in your name: end it with -all.' };
  }
  if (terms.some((term) => /^\+?mx(?:$|[:/])/.test(term))) return { ...OK, found };
  return { status: 'differs', found, advice: `Add mx to it, so that this server may send: ${value}` };
}

function judgeDkim(texts: readonly string[], { value }: WantedRecord): Verdict {
  const found = texts.filter((text) => tagsOf(text).has('p'));
  const [only, second] = found;
  if (only === undefined) return { status: 'missing', found, advice: 'Publish it.' };
  if (second !== undefined) return { status: 'differs', found, advice: 'There are several: leave one.' };
  const [published, wanted] = [tagsOf(only), tagsOf(value)];
  const isSame = published.get('p') === wanted.get('p') && (published.get('k') ?? 'rsa') === wanted.get('k');
  return isSame ? { ...OK, found } : { status: 'differs', found, advice: 'It publishes another key: replace it.' };
}

/** DMARC, TLS reports and MTA-STS: one record of its version; what it says beyond that is the operator's choice. */
function judgeTagged(texts: readonly string[], { value, purpose }: WantedRecord): Verdict {
  const version = tagsOf(value).get('v');
  const found = texts.filter((text) => tagsOf(text).get('v') === version);
  const [only, second] = found;
  if (only === undefined) return { status: 'missing', found, advice: 'Publish it.' };
  if (second !== undefined) return { status: 'differs', found, advice: 'There are several: leave one.' };
  if (purpose === 'dmarc' && !/^(?:none|quarantine|reject)$/i.test(tagsOf(only).get('p') ?? '')) {
    return { status: 'differs', found, advice: 'It has no policy: add p=quarantine or p=reject.' };
  }
  return { ...OK, found };
}

/** `tag=value; ..` of RFC 6376 §3.2, white space left out, names in lower case. */
function tagsOf(text: string): ReadonlyMap<string, string> {
  const pairs = text.split(';').map((part) => part.replaceAll(/\s/g, ''));
  return new Map(
    pairs.flatMap((pair): [string, string][] => {
      const at = pair.indexOf('=');
      return at > 0 ? [[pair.slice(0, at).toLowerCase(), pair.slice(at + 1)]] : [];
    }),
  );
}
