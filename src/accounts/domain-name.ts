/**
 * Domain names as the directory stores them: A-labels, lower case, without a final dot. Pure.
 *
 * N1  One spelling for one domain: every lookup and every stored name went through `normalizeDomain`.
 * N2  What is not a host name (address literals, ports, paths, percent escapes, numbers) is null, never guessed.
 */
import { domainToASCII } from 'node:url';

const NAME_MAX_CHARS = 253;
const LABEL = /^(?!-)[a-z0-9-]{1,63}(?<!-)$/;
const PLAIN_NAME = /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/;
/** ASCII that no domain name holds. The converter below would decode or cut some of it off, and so invent a name. */
const FOREIGN_ASCII = /[\0-,/:-@[-`{-\x7f]/; // everything below DEL but letters, digits, '-' and '.'

/** The A-label form of `text` (UTS-46, non-transitional), or null when it names no domain. RFC 5891 §4, RFC 5321 §4.1.2. */
export function normalizeDomain(text: string): string | null {
  if (text.length > NAME_MAX_CHARS) return null;
  const lower = text.toLowerCase();
  if (!PLAIN_NAME.test(lower) && FOREIGN_ASCII.test(lower)) return null;
  const name = PLAIN_NAME.test(lower) && !lower.includes('xn--') && !endsInNumber(lower) ? lower : domainToASCII(lower);
  if (name.length === 0 || name.length > NAME_MAX_CHARS || endsInNumber(name)) return null;
  return name.split('.').every((label) => LABEL.test(label)) ? name : null;
}

/** A last label of digits makes an IPv4 address of the whole (and URL rules rewrite it as one). */
function endsInNumber(name: string): boolean {
  return /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$/.test(name);
}
