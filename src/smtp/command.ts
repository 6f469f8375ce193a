/**
 * The arguments of MAIL and RCPT. RFC 5321 §4.1.2, RFC 6531 §3.3.
 *
 * P1  What comes out is `local@domain` in one spelling: quoted only where it must be, without a source route.
 * P2  Parameters that no announced extension defines are not passed over: RFC 5321 §4.1.1.11.
 *
 * Called by session.ts. Pure.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { NotifyOn } from '../queue/envelope.ts';
import { parseEnvelopeId, parseNotify, parseOriginalRecipient, parseReturn } from './dsn.ts';
import { REPLIES, type Reply } from './replies.ts';

/** `address` is empty for the null reverse-path. `sizeBytes`: RFC 1870. Those after `isUtf8` are for submission. */
type MailCommand = Readonly<{
  kind: 'mail';
  address: string;
  sizeBytes: number | null;
  isUtf8: boolean;
  envelopeId: string | null;
  returnContent: 'full' | 'headers' | null;
  requiresTls: boolean;
}>;
/** `postmaster` may come without a domain. */
type RcptCommand = Readonly<{
  kind: 'rcpt';
  address: string;
  originalRecipient: string | null;
  notify: readonly NotifyOn[] | null;
}>;
type Refused = Readonly<{ kind: 'refused'; reply: Reply }>;

/** RFC 5321 §4.5.3.1.3: with its brackets. */
const MAX_PATH_BYTES = 256;
/** RFC 5321 §4.5.3.1.2. */
const MAX_DOMAIN_BYTES = 255;

const SOURCE_ROUTE = /^@[^@,:<>\s]+(?:,@[^@,:<>\s]+)*:/; // to be accepted and ignored: RFC 5321 §4.1.1.3, appendix C
const ATOMS = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\u0080-\u{10ffff}-]+$/u; // dots anywhere: senders use `a..b` and `a.`
const DOT_STRING = /^[^.]+(?:\.[^.]+)*$/;
const QUOTED = /^"(?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\u{10ffff}]|\\[\x20-\x7e])*"$/u;
const LABELS = /^(?!-)[A-Za-z0-9_\u0080-\u{10ffff}-]+(?:\.[A-Za-z0-9_\u0080-\u{10ffff}-]+)*$/u;
const PARAMETER = /^([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\u0080-\u{10ffff}]+))?$/u;

const NOT_ASCII = /[^\x00-\x7f]/;
const INVISIBLE = /[\u0080-\u009f\u200b\u2028\u2029\u2060\ufeff\ufffd\u{e0000}-\u{e007f}]/u;

/** What was announced beside SIZE, 8BITMIME and SMTPUTF8. */
type Announced = Readonly<{ dsn: boolean; requireTls: boolean; auth: boolean }>;
const NOTHING_MORE: Announced = { dsn: false, requireTls: false, auth: false };

/** Reads `MAIL FROM:<path> [parameters]`. */
export function parseMail(line: string, announced: Announced = NOTHING_MORE): MailCommand | Refused {
  const parts = split(line, /^MAIL FROM:[ \t]*/i);
  const address = parts?.path === '' ? '' : normalisePath(parts?.path ?? '');
  if (!parts || address === null) return refused(REPLIES.badSender);
  const parameters = readParameters(parts.parameters, [
    ...['SIZE', 'BODY', 'SMTPUTF8'],
    ...(announced.dsn ? ['RET', 'ENVID'] : []),
    ...(announced.requireTls ? ['REQUIRETLS'] : []),
    ...(announced.auth ? ['AUTH'] : []), // who says so is not asked: RFC 4954 §5
  ]);
  if (!(parameters instanceof Map)) return parameters;
  const requiresTls = parameters.has('REQUIRETLS');
  if (parameters.get('REQUIRETLS')) return refused(REPLIES.badSyntax); // it takes no value: RFC 8689 §2
  const returnContent = parseReturn(parameters.get('RET') ?? '');
  const envelopeId = parseEnvelopeId(parameters.get('ENVID') ?? '');
  if (parameters.has('RET') && returnContent === null) return refused(REPLIES.badSyntax);
  if (envelopeId === null || (parameters.has('ENVID') && envelopeId === '')) return refused(REPLIES.badSyntax);
  const [size, body] = [parameters.get('SIZE'), parameters.get('BODY')];
  if (parameters.has('SIZE') && !/^[0-9]{1,20}$/.test(size ?? '')) return refused(REPLIES.badSyntax);
  if (parameters.has('BODY') && !/^(?:7BIT|8BITMIME)$/i.test(body ?? '')) return refused(REPLIES.badSyntax);
  if (parameters.get('SMTPUTF8')) return refused(REPLIES.badSyntax); // it takes no value: RFC 6531 §3.4
  const isUtf8 = parameters.has('SMTPUTF8');
  if (!isUtf8 && NOT_ASCII.test(address)) return refused(REPLIES.utf8NotAnnounced);
  const asked = { envelopeId: envelopeId === '' ? null : envelopeId, returnContent, requiresTls };
  return { kind: 'mail', address, sizeBytes: size ? Number(size) : null, isUtf8, ...asked };
}

/** Reads `RCPT TO:<path> [parameters]`; `isUtf8` as its MAIL said. */
export function parseRcpt(
  line: string,
  { isUtf8, dsn = false }: Readonly<{ isUtf8: boolean; dsn?: boolean }>,
): RcptCommand | Refused {
  const parts = split(line, /^RCPT TO:[ \t]*/i);
  const isPostmaster = parts !== null && /^postmaster$/i.test(parts.path); // RFC 5321 §4.1.1.3
  const address = parts && (isPostmaster ? 'postmaster' : normalisePath(parts.path));
  if (!parts || !address) return refused(REPLIES.badRecipient);
  const parameters = readParameters(parts.parameters, dsn ? ['NOTIFY', 'ORCPT'] : []);
  if (!(parameters instanceof Map)) return parameters;
  if (!isUtf8 && NOT_ASCII.test(address)) return refused(REPLIES.utf8NotAnnounced);
  const notify = parameters.has('NOTIFY') ? parseNotify(parameters.get('NOTIFY') ?? '') : null;
  const original = parameters.has('ORCPT') ? parseOriginalRecipient(parameters.get('ORCPT') ?? '') : null;
  if (parameters.has('NOTIFY') && notify === null) return refused(REPLIES.badSyntax);
  if (parameters.has('ORCPT') && original === null) return refused(REPLIES.badSyntax);
  return { kind: 'rcpt', address, originalRecipient: original, notify };
}

function refused(reply: Reply): Refused {
  return { kind: 'refused', reply };
}

/** The path between its brackets, which a quoted local part may contain too, and the rest of the line. */
function split(line: string, verb: RegExp): { path: string; parameters: string } | null {
  const start = verb.exec(line)?.[0].length;
  if (start === undefined || line[start] !== '<') return null;
  let isQuoted = false;
  for (let at = start + 1; at < line.length; at += 1) {
    const char = line[at];
    if (char === '\\' && isQuoted) at += 1;
    else if (char === '"') isQuoted = !isQuoted;
    else if (char === '>' && !isQuoted) {
      const [path, parameters] = [line.slice(start + 1, at), line.slice(at + 1)];
      const isSeparated = parameters === '' || /^[ \t]/.test(parameters);
      return isSeparated && Buffer.byteLength(path) + 2 <= MAX_PATH_BYTES
        ? { path, parameters: parameters.trim() }
        : null;
    }
  }
  return null;
}

/** `local@domain` (P1), or null. */
function normalisePath(path: string): string | null {
  const mailbox = path.replace(SOURCE_ROUTE, '');
  const at = mailbox.lastIndexOf('@');
  if (at < 1 || INVISIBLE.test(mailbox)) return null;
  const local = normaliseLocal(mailbox.slice(0, at));
  const domain = mailbox.slice(at + 1);
  return local !== null && isDomain(domain) ? `${local}@${domain}` : null;
}

function normaliseLocal(local: string): string | null {
  if (ATOMS.test(local)) return DOT_STRING.test(local) ? local : `"${local}"`;
  if (!QUOTED.test(local)) return null;
  const content = local.slice(1, -1).replaceAll(/\\(.)/g, '$1');
  if (ATOMS.test(content) && DOT_STRING.test(content)) return content;
  return `"${content.replaceAll(/["\\]/g, '\\$&')}"`;
}

/** RFC 5321 §4.1.2 Domain, with the underscore that exists in practice, or §4.1.3 address literal. */
function isDomain(domain: string): boolean {
  if (Buffer.byteLength(domain) > MAX_DOMAIN_BYTES) return false;
  if (!domain.startsWith('[')) return LABELS.test(domain);
  const literal = /^\[(IPv6:)?([^[\]]*)\]$/i.exec(domain);
  return literal !== null && (literal[1] ? isIPv6(literal[2] ?? '') : isIPv4(literal[2] ?? ''));
}

function readParameters(text: string, known: readonly string[]): Map<string, string | null> | Refused {
  const parameters = new Map<string, string | null>();
  for (const word of text.split(/[ \t]+/).filter((one) => one !== '')) {
    const [, key = '', value = null] = PARAMETER.exec(word) ?? [];
    const name = key.toUpperCase();
    if (name === '' || parameters.has(name)) return refused(REPLIES.badSyntax);
    if (!known.includes(name)) return refused(REPLIES.unknownParameter); // P2
    parameters.set(name, value);
  }
  return parameters;
}
