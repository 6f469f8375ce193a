/**
 * What a message needs of a host, and the parameters with which it is sent there. Pure.
 *
 * PL1  A message is not sent to a host that lacks what it needs (8BITMIME, SMTPUTF8, REQUIRETLS, room): it comes back.
 *      RFC 6152 §3, RFC 6531 §3.2, RFC 8689 §4.2.1, RFC 1870 §6.3.
 * PL2  What the sender wants to be told goes to hosts that know DSN, and is then theirs to carry out. RFC 3461 §5.2.
 * PL3  An address in ASCII but for its domain needs no SMTPUTF8: the domain is sent in A-labels.
 *
 * Called by deliver-domain.ts.
 */
import { domainToASCII } from 'node:url';
import type { QueuedEnvelope, QueuedRecipient } from '../queue/envelope.ts';
import type { Transaction } from './smtp-client.ts';

type Message = Readonly<{ envelope: QueuedEnvelope; sizeBytes: number }>;
type Host = Readonly<{ extensions: ReadonlyMap<string, string>; isTls: boolean }>;

type Plan = Readonly<
  /** `takesDsn`: the host was told what the sender wants to know. */
  | { kind: 'send'; transaction: Omit<Transaction, 'body'>; takesDsn: boolean }
  | { kind: 'lacks'; status: string; text: string }
>;

/** How to send `message` to `recipients` at a host, or why not. */
export function planTransaction(message: Message, recipients: readonly QueuedRecipient[], host: Host): Plan {
  const { extensions, isTls } = host;
  const { envelope, sizeBytes } = message;
  const sender = withAsciiDomain(envelope.sender);
  const addresses = recipients.map(({ address }) => withAsciiDomain(address));
  const needsUtf8 = [sender, ...addresses].some((address) => !isAscii(address)) || (envelope.isUtf8 && envelope.is8Bit);
  const limit = Number(extensions.get('SIZE') ?? 0);
  if (limit > 0 && sizeBytes > limit)
    return lacks('5.3.4', `The message is larger than the ${String(limit)} bytes taken`);
  if (needsUtf8 && !extensions.has('SMTPUTF8')) return lacks('5.6.7', 'Internationalized mail is not supported');
  if (envelope.is8Bit && !extensions.has('8BITMIME')) return lacks('5.6.3', '8-bit content is not supported');
  if (envelope.requiresTls && !(isTls && extensions.has('REQUIRETLS'))) {
    return lacks('5.7.30', 'REQUIRETLS is not supported');
  }
  const takesDsn = extensions.has('DSN');
  const mailParameters = [
    ...(extensions.has('SIZE') ? [`SIZE=${String(sizeBytes)}`] : []),
    ...(envelope.is8Bit ? ['BODY=8BITMIME'] : []),
    ...(needsUtf8 ? ['SMTPUTF8'] : []),
    ...(envelope.requiresTls ? ['REQUIRETLS'] : []),
    ...(takesDsn && envelope.returnContent ? [`RET=${envelope.returnContent === 'full' ? 'FULL' : 'HDRS'}`] : []),
    ...(takesDsn && envelope.envelopeId !== null ? [`ENVID=${xtext(envelope.envelopeId)}`] : []),
  ];
  const planned = recipients.map((recipient, at) => ({
    address: addresses[at] ?? recipient.address,
    parameters: takesDsn ? recipientParameters(recipient) : [],
  }));
  return { kind: 'send', transaction: { sender, mailParameters, recipients: planned }, takesDsn };
}

function lacks(status: string, text: string): Plan {
  return { kind: 'lacks', status, text };
}

function recipientParameters({ notify, originalRecipient }: QueuedRecipient): string[] {
  const words = notify?.map((on) => on.toUpperCase());
  return [
    ...(words ? [`NOTIFY=${words.length > 0 ? words.join(',') : 'NEVER'}`] : []),
    ...(originalRecipient === null ? [] : [`ORCPT=${originalRecipientText(originalRecipient)}`]),
  ];
}

/** RFC 3461 §4.2; addresses that are not ASCII: RFC 6533 §3. */
function originalRecipientText(text: string): string {
  const semicolon = text.indexOf(';');
  const [type, address] = [text.slice(0, semicolon), text.slice(semicolon + 1)];
  if (isAscii(address)) return `${type};${xtext(address)}`;
  const escaped = [...Array.from(address)].map((char) =>
    /^[!-*,-<>-[\]-~]$/.test(char) ? char : `\\x{${(char.codePointAt(0) ?? 0).toString(16).toUpperCase()}}`,
  );
  return `utf-8;${escaped.join('')}`;
}

/** RFC 3461 §4. */
function xtext(text: string): string {
  const hex = (byte: number): string => `+${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  return Array.from(Buffer.from(text), (byte) => {
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x2b && byte !== 0x3d;
    return isPlain ? String.fromCharCode(byte) : hex(byte);
  }).join('');
}

function withAsciiDomain(address: string): string {
  const at = address.lastIndexOf('@');
  if (isAscii(address) || !isAscii(address.slice(0, at))) return address;
  const domain = domainToASCII(address.slice(at + 1));
  return domain === '' ? address : `${address.slice(0, at)}@${domain}`;
}

function isAscii(text: string): boolean {
  return /^[\0-\x7f]*$/.test(text);
}
