/**
 * A name server on a free loopback port, for UDP and TCP, that answers from a table and can be made to fail. It looks
 * like a resolver that does the recursion: CNAME records are followed within the table.
 */
import { createSocket } from 'node:dgram';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import * as packets from 'dns-packet';
import { onTestFinished } from 'vitest';

/** How questions are answered; `black-hole`: not at all, `truncated`: by datagram only that it does not fit. */
export type DnsMode =
  | 'normal'
  | 'servfail'
  | 'refused'
  | 'black-hole'
  | 'truncated'
  | 'wrong-id'
  | 'wrong-question'
  | 'garbage'
  | 'no-edns'
  | 'lame';

/** What is at one name. */
export type ZoneName = Readonly<{
  A?: readonly string[];
  AAAA?: readonly string[];
  /** `'10 mx.example.org'`; `'0 .'` is the null MX. */
  MX?: readonly string[];
  /** An array: the strings of one record. */
  TXT?: readonly (string | readonly string[])[];
  /** `'3 1 1 <hex>'`. */
  TLSA?: readonly string[];
  /** `'0 1 993 mx.example.org'`. */
  SRV?: readonly string[];
  PTR?: readonly string[];
  NS?: readonly string[];
  CNAME?: string;
  ttlS?: number;
  /** Wins over that of the server. */
  mode?: DnsMode;
  /** Wins over that of the server. */
  isSecure?: boolean;
}>;
export type Zone = Record<string, ZoneName>;

export type DnsServer = AsyncDisposable & {
  readonly address: string;
  readonly port: number;
  /** May be changed at any time. */
  readonly zone: Zone;
  mode: DnsMode;
  /** Whether answers have the AD bit. */
  isSecure: boolean;
  /** Sends the last who asked by datagram answers with ids of other questions. */
  forge(count: number): void;
  readonly questions: { name: string; type: string; by: 'udp' | 'tcp'; flagDo: boolean }[];
};

type Source = Readonly<{ by: 'udp' | 'tcp'; maxBytes: number }>;
const NEGATIVE_TTL_S = 60;
const UDP_BYTES = 512;

/** Stopped when the test ends. */
export async function startDnsServer(zone: Zone = {}): Promise<DnsServer> {
  const server = await openDnsServer(zone);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

/** The same outside of a test: whoever opens it closes it. */
export async function openDnsServer(zone: Zone = {}): Promise<DnsServer> {
  const tcp = createServer();
  const port = await new Promise<number>((resolve, reject) => {
    tcp.once('error', reject);
    tcp.listen(0, '127.0.0.1', () => {
      resolve((tcp.address() as AddressInfo).port);
    });
  });
  const udp = createSocket('udp4');
  await new Promise<void>((resolve, reject) => {
    udp.once('error', reject);
    udp.bind(port, '127.0.0.1', resolve);
  });
  const sockets = new Set<Socket>();
  let last = { id: 0, port: 0, address: '' };
  const state: DnsServer = {
    address: '127.0.0.1',
    port,
    zone,
    mode: 'normal',
    isSecure: false,
    questions: [],
    forge: (count) => {
      for (let at = 0; at < count; at += 1) {
        const forged = { type: 'response', id: (last.id + 1 + at) % 65_536, flags: 0 } as const;
        udp.send(packets.encode(forged), last.port, last.address);
      }
    },
    [Symbol.asyncDispose]: async () => {
      udp.close();
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) =>
        tcp.close(() => {
          resolve();
        }),
      );
    },
  };
  udp.on('message', (bytes, from) => {
    const query = packets.decode(bytes);
    last = { id: query.id ?? 0, port: from.port, address: from.address };
    const payload = query.additionals?.find((entry) => entry.type === 'OPT')?.udpPayloadSize ?? UDP_BYTES;
    const answer = respond(state, query, { by: 'udp', maxBytes: payload });
    if (answer) udp.send(answer, from.port, from.address);
  });
  tcp.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    let received = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      received = Buffer.concat([received, bytes]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const answer = respond(state, packets.decode(received.subarray(2)), { by: 'tcp', maxBytes: 65_535 });
      if (!answer) return;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      socket.write(length); // in two pieces, as may happen
      setImmediate(() => socket.end(answer));
    });
  });
  return state;
}

function respond(state: DnsServer, query: packets.DecodedPacket, source: Source): Buffer | null {
  const [question] = query.questions ?? [];
  if (!question) return null;
  const name = question.name.toLowerCase().replace(/\.$/, '');
  const opt = query.additionals?.find((entry) => entry.type === 'OPT');
  state.questions.push({ name, type: question.type, by: source.by, flagDo: opt?.flag_do ?? false });
  const mode = state.zone[name]?.mode ?? state.mode;
  const id = query.id ?? 0;
  const reply = (code: number, parts: Partial<packets.Packet> = {}, flags = 0): Buffer => {
    const ad = (state.zone[name]?.isSecure ?? state.isSecure) ? packets.AUTHENTIC_DATA : 0;
    const all = packets.RECURSION_DESIRED | packets.RECURSION_AVAILABLE | ad | flags | code;
    return packets.encode({ type: 'response', id, questions: [question], ...parts, flags: all });
  };
  switch (mode) {
    case 'servfail':
      return reply(2);
    case 'refused':
      return reply(5);
    case 'black-hole':
      return null;
    case 'garbage': {
      const bytes = Buffer.alloc(40, 0xff);
      bytes.writeUInt16BE(id);
      return bytes;
    }
    case 'wrong-id':
      return reply(0, { id: (id + 1) % 65_536, answers: [{ name, type: 'A', ttl: 60, data: '192.0.2.66' }] });
    case 'wrong-question':
      return reply(0, { questions: [{ ...question, name: 'other.test' }] });
    case 'no-edns':
      if (opt) return reply(1);
      break;
    case 'lame':
      return packets.encode({ type: 'response', id, questions: [question], flags: 0 });
    case 'truncated':
      if (source.by === 'udp') return reply(0, {}, packets.TRUNCATED_RESPONSE);
      break;
    case 'normal':
      break;
  }
  const { answers, isKnown } = lookUp(state.zone, name, question.type);
  const isPositive = answers.some((answer) => answer.type === question.type);
  const authorities = isPositive ? [] : [SOA];
  const bytes = reply(isKnown ? 0 : 3, { answers, authorities });
  return bytes.length <= source.maxBytes ? bytes : reply(0, {}, packets.TRUNCATED_RESPONSE);
}

const SOA: packets.Answer = {
  name: 'test',
  type: 'SOA',
  ttl: NEGATIVE_TTL_S,
  data: { mname: 'ns.test', rname: 'root.test', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: NEGATIVE_TTL_S },
};

/** The records at `name`, those of its CNAME chain first; a name exists, too, when another one lies below it. */
function lookUp(zone: Zone, asked: string, type: string): { answers: packets.Answer[]; isKnown: boolean } {
  const answers: packets.Answer[] = [];
  let name = asked;
  for (let count = 0; count < 20; count += 1) {
    const target = zone[name]?.CNAME;
    if (target === undefined || type === 'CNAME') break;
    answers.push({ name, type: 'CNAME', ttl: zone[name]?.ttlS ?? 300, data: target });
    name = target;
  }
  const entry = zone[name];
  const isKnown = entry !== undefined || Object.keys(zone).some((other) => other.endsWith(`.${name}`));
  return { answers: [...answers, ...recordsOf(entry ?? {}, name, type)], isKnown };
}

function recordsOf(entry: ZoneName, name: string, type: string): packets.Answer[] {
  const ttl = entry.ttlS ?? 300;
  switch (type) {
    case 'A':
    case 'AAAA':
    case 'PTR':
    case 'NS':
      return (entry[type] ?? []).map((data) => ({ name, type, ttl, data }));
    case 'CNAME':
      return entry.CNAME === undefined ? [] : [{ name, type, ttl, data: entry.CNAME }];
    case 'MX':
      return (entry.MX ?? []).map((written) => {
        const [preference = '', exchange = ''] = written.split(' ');
        return { name, type, ttl, data: { preference: Number(preference), exchange } };
      });
    case 'SRV':
      return (entry.SRV ?? []).map((written) => {
        const [priority, weight, port, target = ''] = written.split(' ');
        const data = { priority: Number(priority), weight: Number(weight), port: Number(port), target };
        return { name, type, ttl, data };
      });
    case 'TXT':
      return (entry.TXT ?? []).map((strings) => ({
        name,
        type,
        ttl,
        data: [strings].flat().map((s) => Buffer.from(s)),
      }));
    case 'TLSA':
      return (entry.TLSA ?? []).map((written) => {
        const [usage, selector, matchingType, hex = ''] = written.split(' ');
        const certificate = Buffer.from(hex, 'hex');
        const data = {
          usage: Number(usage),
          selector: Number(selector),
          matchingType: Number(matchingType),
          certificate,
        };
        return { name, type, ttl, data };
      });
    default:
      return [];
  }
}
