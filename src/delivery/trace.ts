/**
 * The trace fields that this host adds on top of a message, and the count of those that others added.
 *
 * T1  What a peer chose (HELO name, addresses) cannot end a line or start a field.
 * T2  `for` appears only when one recipient is served: it would disclose the others. RFC 5321 §7.2.
 * T3  A message that has passed more than `MAX_HOPS_COUNT` hosts is going round in circles.
 *
 * Called by deliver.ts. Pure.
 */
import { isIPv6 } from 'node:net';

/** RFC 3848 and RFC 6531 §4.3: what the `with` clause may say. */
export type TransferProtocol =
  | ('SMTP' | 'ESMTP' | 'ESMTPS' | 'ESMTPA' | 'ESMTPSA' | 'LMTP' | 'LMTPS')
  | `UTF8SMTP${'' | 'S' | 'A' | 'SA'}`
  | `UTF8LMTP${'' | 'S'}`;

/** The peer that hands over a message. `helo` is what it calls itself; `tlsCipher` the IANA name of the suite. */
export type TracePeer = Readonly<{ address: string; helo: string; tlsCipher: string | null }>;

type Trace = Readonly<{
  transaction: string;
  hostname: string;
  protocol: TransferProtocol;
  /** The reverse-path without brackets; empty for the null reverse-path. */
  sender: string;
  /** The only recipient, or null when there are several (T2). */
  recipient: string | null;
  /** Null for one of our users, whose whereabouts are nobody's business. */
  peer: TracePeer | null;
  receivedAtMs: number;
  /** The Authentication-Results field, with its line end. It stands above Received: RFC 8601 §5. */
  results?: Buffer | undefined;
}>;

/** RFC 5321 §6.3 asks for at least 100 in general; mail systems that agree on 50 stop loops sooner. */
const MAX_HOPS_COUNT = 50;

const HELO_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_])?$/;
const ADDRESS_LITERAL = /^\[[A-Za-z0-9:.-]{1,64}\]$/;

const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/g;

/** Return-Path and Received, each line ended by CRLF. RFC 5321 §4.4; the `tls` clause: RFC 8314 §4.3. */
export function traceFields(trace: Trace): Buffer {
  const returnPath = Buffer.from(`Return-Path: <${withoutControls(trace.sender)}>\r\n`);
  return Buffer.concat([returnPath, trace.results ?? Buffer.alloc(0), receivedField(trace)]);
}

/** Received alone, for what goes on to another host: Return-Path is the last one's to write. */
export function receivedField(trace: Trace): Buffer {
  const { peer } = trace;
  const clauses = [
    ...(peer ? [`from ${heloName(peer.helo)} (${addressLiteral(peer.address)})`] : []),
    `by ${trace.hostname} with ${trace.protocol} id ${trace.transaction}`,
    ...(trace.recipient === null ? [] : [`for <${withoutControls(trace.recipient)}>`]),
    ...(peer?.tlsCipher ? [`tls ${peer.tlsCipher.replaceAll(/[^A-Za-z0-9_-]/g, '')}`] : []),
  ];
  return Buffer.from(`Received: ${clauses.join('\r\n\t')};\r\n\t${internetDate(trace.receivedAtMs)}\r\n`);
}

/** Counts the Received fields of a message that comes in pieces. */
export class HopCounter {
  #count = 0;
  #matched = 0; // characters of NAME matched on this line; MISMATCH when it is another field
  #isInHeader = true;

  get isLooping(): boolean {
    return this.#count > MAX_HOPS_COUNT;
  }

  /** Takes the next bytes; those after the header are not looked at. */
  push(bytes: Uint8Array): void {
    if (!this.#isInHeader) return;
    for (const byte of bytes) {
      if (byte === LF) {
        if (this.#matched === 0) {
          this.#isInHeader = false; // an empty line
          return;
        }
        this.#matched = 0;
      } else if (this.#matched !== MISMATCH && byte !== CR) {
        this.#match(byte);
      }
    }
  }

  #match(byte: number): void {
    if (byte === SPACE && this.#matched === NAME.length) return; // RFC 5322 §4.5 allows space before the colon
    if (this.#matched === NAME.length) {
      if (byte === COLON) this.#count += 1;
      this.#matched = MISMATCH;
    } else {
      this.#matched = (byte | CASE_BIT) === NAME[this.#matched] ? this.#matched + 1 : MISMATCH;
    }
  }
}

const NAME = Buffer.from('received');
const MISMATCH = -1;
const [CR, LF, SPACE, COLON, CASE_BIT] = [0x0d, 0x0a, 0x20, 0x3a, 0x20] as const;

function heloName(helo: string): string {
  return HELO_NAME.test(helo) || ADDRESS_LITERAL.test(helo) ? helo : 'unknown';
}

/** RFC 5321 §4.1.3. */
function addressLiteral(address: string): string {
  const clean = address.replaceAll(/[^0-9A-Fa-f:.]/g, '');
  return isIPv6(clean) ? `[IPv6:${clean}]` : `[${clean}]`;
}

function withoutControls(text: string): string {
  return text.replaceAll(CONTROL, '');
}

/** RFC 5322 §3.3, in UTC: the server's zone is nobody's business. */
export function internetDate(atMs: number): string {
  return new Date(atMs).toUTCString().replace('GMT', '+0000');
}
