/**
 * Who a message says it is from, where that is beyond doubt: what DMARC protects. RFC 9989 §5.3.1.
 *
 * AU1  There is exactly one From field. RFC 5322 §3.6.
 * AU2  Whatever looks like an address in it, quoted text and comments aside, is of one domain: programs that read the
 *      field in another way than we do then still show the domain that was checked.
 *
 * Called by authentication.ts. Pure.
 */
import { domainToASCII } from 'node:url';
import { parseAddressList } from '../../mime/addresses.ts';
import { fieldValue, type HeaderField } from '../../mime/headers.ts';

/** `domain` in A-labels and lower case. */
export type Author = Readonly<{ kind: 'known'; domain: string } | { kind: 'missing' | 'repeated' | 'unclear' }>;

const MAX_AUTHORS_COUNT = 20;
const MAX_FROM_CHARS = 8192;

const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;
const DOMAIN = /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export function authorOf(block: string, fields: readonly HeaderField[]): Author {
  const [from, second] = fields.filter(({ name }) => name === 'from');
  if (!from) return { kind: 'missing' };
  if (second) return { kind: 'repeated' };
  const value = fieldValue(block, from);
  if (value.length > MAX_FROM_CHARS || CONTROL.test(value)) return { kind: 'unclear' };
  const authors = parseAddressList(Buffer.from(value, 'latin1').toString(), MAX_AUTHORS_COUNT + 1);
  const hosts = authors.flatMap(({ mailbox, host }) => (mailbox !== null && host ? [host] : []));
  const [domain, another] = new Set([...hosts, ...apparentHosts(value)].map(canonicalDomain));
  if (hosts.length === 0 || authors.length > MAX_AUTHORS_COUNT) return { kind: 'unclear' };
  return domain && another === undefined ? { kind: 'known', domain } : { kind: 'unclear' };
}

/** Null for what is no domain name. */
function canonicalDomain(host: string): string | null {
  const lower = host.toLowerCase().replace(/\.$/, '');
  const ascii = /[^\x00-\x7f]/.test(lower) ? domainToASCII(lower) : lower;
  return DOMAIN.test(ascii) ? ascii : null;
}

/** What stands after each `@` outside of quoted text and comments. */
function apparentHosts(value: string): string[] {
  const bare = Buffer.from(withoutQuoted(value), 'latin1').toString();
  return [...bare.matchAll(/@\s*([^\s@,;:<>()[\]"\\]*)/g)].map(([, host = '']) => host);
}

function withoutQuoted(value: string): string {
  let [bare, depth, isQuoted] = ['', 0, false];
  for (let at = 0; at < value.length; at += 1) {
    const char = value[at] ?? '';
    if (char === '\\' && (isQuoted || depth > 0)) at += 1;
    else if (char === '"' && depth === 0) isQuoted = !isQuoted;
    else if (!isQuoted && char === '(') depth += 1;
    else if (!isQuoted && char === ')' && depth > 0) depth -= 1;
    else if (!isQuoted && depth === 0) bare += char;
  }
  return isQuoted || depth > 0 ? `${bare}@` : bare; // what never ends may hide anything
}
