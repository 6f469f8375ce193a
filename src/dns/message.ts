/**
 * DNS messages: a question as bytes, and what the bytes that came back mean. Pure; the only file that knows dns-packet.
 *
 * M1  What does not carry the id and the question that were sent is not an answer: `foreign`. RFC 5452 §9.1.
 * M2  Records count only if they stand at the end of a chain of CNAME records that begins at the name that was asked.
 *     A chain that goes in circles is a failure.
 * M3  Every code but NOERROR and NXDOMAIN is a failure of the server, and so is an answer of a server that neither
 *     knows the name itself nor asks others.
 *
 * Called by exchange.ts.
 */
import * as packets from 'dns-packet';
import type { Answer, DnsRecord, RecordType } from './resolver.ts';

/** `name` as toDnsName made it. `edns` is left out for servers that do not understand it. */
export type Question = Readonly<{ id: number; name: string; type: RecordType; edns: boolean }>;

/** What a message from the asked server is. `no-edns`: ask again without. */
export type Reading =
  | Readonly<{ kind: 'answer'; answer: Answer }>
  | Readonly<{ kind: 'foreign' | 'truncated' | 'no-edns' }>
  | Readonly<{ kind: 'failure'; reason: string }>;

type Decoded = packets.DecodedPacket & { readonly rcode: string; readonly flag_ra: boolean };
type Entry = packets.Answer;
/** Where the CNAME records led, and for how long that is so. */
type Chain = Readonly<{ name: string; ttlS: number }>;

/** What fits into a datagram on every path. RFC 9715 §3. */
const UDP_PAYLOAD_BYTES = 1232;
const HEADER_BYTES = 12;
const CHAIN_MAX_COUNT = 16;
/** Longer is no use, and hides a mistake for longer. RFC 2308 §5 for negative answers. */
const TTL_MAX_S = 24 * 3600;
const NEGATIVE_TTL_MAX_S = 3 * 3600;
const TTL_VALID_MAX_S = 2 ** 31 - 1;

/** The bytes that ask `question`: recursion desired, and DNSSEC answers understood (DO). RFC 6891 §6.1, RFC 3225 §3. */
export function encodeQuestion({ id, name, type, edns }: Question): Buffer {
  const opt: packets.OptAnswer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_PAYLOAD_BYTES,
    flags: packets.DNSSEC_OK,
    extendedRcode: 0,
    ednsVersion: 0,
    flag_do: true,
    options: [],
  };
  return packets.encode({
    type: 'query',
    id,
    flags: packets.RECURSION_DESIRED | packets.AUTHENTIC_DATA, // AD asks for AD: RFC 6840 §5.7
    questions: [{ name, type, class: 'IN' }],
    additionals: edns ? [opt] : [],
  });
}

/** What `bytes` say to `question`. `secure` of an answer is the AD bit as it came: the caller decides whom to believe. */
export function readMessage(bytes: Buffer, question: Question): Reading {
  if (bytes.length < HEADER_BYTES || bytes.readUInt16BE(0) !== question.id) return { kind: 'foreign' };
  const message = decode(bytes);
  if (!message) return { kind: 'failure', reason: 'an answer that cannot be read' };
  if (message.type !== 'response') return { kind: 'foreign' };
  const isFormatError = message.rcode === 'FORMERR' || message.rcode === 'NOTIMP';
  const isEcho = message.questions?.length === 1 && message.questions.every((asked) => isSame(asked, question));
  if (!isEcho && !(isFormatError && message.questions?.length === 0)) return { kind: 'foreign' };
  if (message.flag_tc) return { kind: 'truncated' };
  if (isFormatError && question.edns) return { kind: 'no-edns' };
  if (extendedCode(message) !== 0) return { kind: 'failure', reason: 'an EDNS error' };
  if (message.rcode !== 'NOERROR' && message.rcode !== 'NXDOMAIN') {
    return { kind: 'failure', reason: message.rcode };
  }
  const chain = followAliases(message.answers ?? [], question);
  if (!chain) return { kind: 'failure', reason: 'a circle of CNAME records' };
  const found = (message.answers ?? []).filter(
    (entry) => isIn(entry) && entry.type === question.type && nameOf(entry.name) === chain.name,
  );
  const secure = message.flag_ad;
  if (found.length > 0) {
    const ttlS = Math.min(chain.ttlS, ...found.map(ttlOf));
    return { kind: 'answer', answer: { kind: 'records', records: found.flatMap(toRecord), secure, ttlS } };
  }
  if (!message.flag_ra && !message.flag_aa) return { kind: 'failure', reason: 'a server that does not recurse' };
  const ttlS = Math.min(chain.ttlS, negativeTtlOf(message));
  return { kind: 'answer', answer: { kind: message.rcode === 'NXDOMAIN' ? 'no-name' : 'no-data', secure, ttlS } };
}

function decode(bytes: Buffer): Decoded | null {
  try {
    return packets.decode(bytes) as Decoded;
  } catch {
    return null;
  }
}

function isSame(asked: packets.Question, question: Question): boolean {
  return asked.type === question.type && (asked.class ?? 'IN') === 'IN' && nameOf(asked.name) === question.name;
}

/** The upper eight bits of the code, of which only BADVERS is in use. RFC 6891 §6.1.3. */
function extendedCode({ additionals }: Decoded): number {
  return additionals?.find((entry) => entry.type === 'OPT')?.extendedRcode ?? 0;
}

/** Null when it does not end. RFC 1034 §3.6.2. */
function followAliases(entries: readonly Entry[], question: Question): Chain | null {
  const aliases = new Map<string, Readonly<{ target: string; ttlS: number }>>();
  for (const entry of entries) {
    if (entry.type === 'CNAME' && isIn(entry)) {
      aliases.set(nameOf(entry.name), { target: nameOf(entry.data), ttlS: ttlOf(entry) });
    }
  }
  let chain: Chain = { name: question.name, ttlS: TTL_MAX_S };
  if (question.type === 'CNAME') return chain;
  for (let count = 0; count <= CHAIN_MAX_COUNT; count += 1) {
    const alias = aliases.get(chain.name);
    if (!alias) return chain;
    chain = { name: alias.target, ttlS: Math.min(chain.ttlS, alias.ttlS) };
  }
  return null;
}

function isIn(entry: Entry): boolean {
  return entry.type !== 'OPT' && (entry.class ?? 'IN') === 'IN';
}

/** Lower case without the final dot; dns-packet names the root `.`. */
function nameOf(written: string): string {
  return written.toLowerCase().replace(/\.$/, '');
}

/** RFC 2181 §8: a TTL with the top bit set counts as zero. */
function ttlOf(entry: Entry): number {
  const ttlS = 'ttl' in entry ? (entry.ttl ?? 0) : 0;
  return ttlS > TTL_VALID_MAX_S ? 0 : Math.min(ttlS, TTL_MAX_S);
}

/** As the SOA record says; without one the answer is not kept. RFC 2308 §5. */
function negativeTtlOf({ authorities }: Decoded): number {
  const soa = authorities?.find((entry) => entry.type === 'SOA');
  return soa ? Math.min(ttlOf(soa), soa.data.minimum ?? 0, NEGATIVE_TTL_MAX_S) : 0;
}

/** One record as a value; none for a type that is not asked for. */
function toRecord(entry: Entry): DnsRecord[] {
  switch (entry.type) {
    case 'A':
    case 'AAAA':
      return [{ type: entry.type, address: entry.data }];
    case 'MX':
      return [{ type: 'MX', preference: entry.data.preference ?? 0, exchange: nameOf(entry.data.exchange) }];
    case 'TXT':
      return [{ type: 'TXT', strings: [entry.data].flat().map((chunk) => chunk.toString('utf8')) }];
    case 'TLSA': {
      const { usage, selector, matchingType, certificate } = entry.data;
      return [{ type: 'TLSA', usage, selector, matchingType, data: new Uint8Array(certificate) }];
    }
    case 'SRV': {
      const { priority = 0, weight = 0, port, target } = entry.data;
      return [{ type: 'SRV', priority, weight, port, target: nameOf(target) }];
    }
    case 'PTR':
    case 'CNAME':
    case 'NS':
      return [{ type: entry.type, host: nameOf(entry.data) }];
    default:
      return [];
  }
}
