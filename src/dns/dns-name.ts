/**
 * Names as the DNS is asked for them: A-labels, lower case, without the final dot. Pure.
 *
 * Unlike the names of hosts they may hold underscores, as `_dmarc` and `_25._tcp` do.
 */
import { domainToASCII } from 'node:url';

const NAME_MAX_CHARS = 253; // RFC 1035 §2.3.4: 255 octets on the wire
const LABEL = /^[a-z0-9_-]{1,63}$/;

/** The spelling of `text` to ask for, or null when no such name can exist. RFC 5890 §2.3.2.1. */
export function toDnsName(text: string): string | null {
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  if (name.length === 0 || name.length > NAME_MAX_CHARS) return null;
  const labels = name.toLowerCase().split('.').map(toALabel);
  if (!labels.every((label) => label !== null)) return null;
  const ascii = labels.join('.');
  return ascii.length <= NAME_MAX_CHARS ? ascii : null;
}

/** Each label by itself: a whole name that ends in a number would be read as an IPv4 address. */
function toALabel(label: string): string | null {
  if (LABEL.test(label)) return label;
  if (/[\0-\x7f]/.test(label.replace(/[a-z0-9-]/g, ''))) return null;
  const ascii = domainToASCII(label);
  return LABEL.test(ascii) && ascii.startsWith('xn--') ? ascii : null;
}
