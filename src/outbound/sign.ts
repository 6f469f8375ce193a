/**
 * Signs outgoing mail of our domains (DKIM, RFC 6376): with each key of the author's domain that signs, Ed25519
 * (RFC 8463) and RSA.
 *
 * SG1  The body is signed whole, never a part of it (`l=`), and the header fields that clients show are signed once more
 *      than they occur: none can be added. RFC 6376 §5.4.2, §8.15.
 * SG2  What is signed is what is sent: the message is read twice, and a message without line ends as they should be is
 *      brought into their form first, as it is on the wire.
 * SG3  A domain without keys, or not ours, gets no signature. A key that cannot be had is thrown: the message waits.
 *
 * Called by worker.ts.
 */
import { createHash, sign, type KeyObject } from 'node:crypto';
import { normalizeDomain } from '../accounts/domain-name.ts';
import { parseAddressList } from '../mime/addresses.ts';
import { binaryString, fieldValue, parseHeaderFields, type HeaderField } from '../mime/headers.ts';

type SigningKey = Readonly<{ selector: string; algorithm: 'rsa' | 'ed25519'; privateKey: KeyObject }>;
type SignDeps = Readonly<{
  /** The keys of a domain that sign; none where it is not ours. Throws ServerError 'key-*'. */
  signingKeys(domain: string, signal?: AbortSignal): Promise<readonly SigningKey[]>;
  nowMs(): number;
}>;

const HEADER_MAX_BYTES = 256 * 1024;
/** Signed once more than they occur. */
const PROTECTED = ['from', 'to', 'cc', 'subject', 'date', 'reply-to', 'message-id', 'mime-version', 'content-type'];
/** Signed where they occur. */
const SIGNED = ['sender', 'in-reply-to', 'references', 'content-transfer-encoding', 'content-disposition', 'autocrypt'];
const [CR, LF] = [0x0d, 0x0a] as const;
const CRLF = Buffer.from('\r\n');
const END_OF_HEADER = Buffer.from('\r\n\r\n');

/** The signature fields to put before `message`, each with its line end; empty without a key. */
export async function signatureFields(
  { signingKeys, nowMs }: SignDeps,
  message: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<Buffer> {
  const digested = await digest(message);
  const domain = digested && authorDomain(digested.header);
  if (!digested || domain === null) return Buffer.alloc(0);
  const keys = await signingKeys(domain, signal);
  const timestampS = Math.floor(nowMs() / 1000);
  const fields = keys.map((key) => signatureField({ domain, key, timestampS, ...digested }));
  return Buffer.from(fields.join(''), 'latin1');
}

type Digested = Readonly<{ header: string; bodyHash: string }>;

/** Null for a header that is too long to be one. */
async function digest(message: AsyncIterable<Uint8Array>): Promise<Digested | null> {
  const body = new BodyHash();
  let header = Buffer.alloc(0);
  let isInHeader = true;
  for await (const piece of message) {
    if (!isInHeader) {
      body.push(piece);
      continue;
    }
    header = Buffer.concat([header, piece]);
    const end = header.indexOf(END_OF_HEADER);
    if ((end < 0 ? header.length : end) > HEADER_MAX_BYTES) return null;
    if (end < 0) continue;
    isInHeader = false;
    body.push(header.subarray(end + END_OF_HEADER.length));
    header = header.subarray(0, end + CRLF.length);
  }
  return { header: binaryString(header), bodyHash: body.end() };
}

/** The body in its simple form, with CRLF for every line end (SG2). RFC 6376 §3.4.3. */
class BodyHash {
  readonly #hash = createHash('sha256');
  #lineEndsCount = 0; // not given yet: they may be empty lines at the end
  #endedInCr = false;

  push(piece: Uint8Array): void {
    const out: Buffer[] = [];
    let from = 0;
    for (const [at, byte] of piece.entries()) {
      if (byte === LF || byte === CR) {
        if (at > from) this.#give(out, piece.subarray(from, at));
        from = at + 1;
        if (byte === CR || !this.#endedInCr) this.#lineEndsCount += 1;
      }
      this.#endedInCr = byte === CR;
    }
    if (piece.length > from) this.#give(out, piece.subarray(from));
    for (const bytes of out) this.#hash.update(bytes);
  }

  end(): string {
    return this.#hash.update(CRLF).digest('base64');
  }

  #give(out: Buffer[], text: Uint8Array): void {
    for (; this.#lineEndsCount > 0; this.#lineEndsCount -= 1) out.push(CRLF);
    out.push(Buffer.from(text.buffer, text.byteOffset, text.byteLength));
  }
}

/** The domain of the first author, in A-labels, as `d=` has it. RFC 5322 §3.6.2. */
function authorDomain(header: string): string | null {
  const from = parseHeaderFields(header).find(({ name }) => name === 'from');
  const [author] = from ? parseAddressList(fieldValue(header, from), 1) : [];
  return author?.host ? normalizeDomain(Buffer.from(author.host, 'latin1').toString()) : null;
}

type Signature = Digested & Readonly<{ domain: string; key: SigningKey; timestampS: number }>;

function signatureField({ header, bodyHash, domain, key, timestampS }: Signature): string {
  const { names, text } = signedHeader(header);
  const algorithm = key.algorithm === 'rsa' ? 'rsa-sha256' : 'ed25519-sha256';
  const start = [
    `DKIM-Signature: v=1; a=${algorithm}; c=relaxed/simple; d=${domain};`,
    `s=${key.selector}; t=${String(timestampS)}; h=${names.join(':\r\n\t ')};`,
    `bh=${bodyHash};`,
    'b=',
  ].join('\r\n\t');
  const signed = Buffer.from(`${text}${relaxed(start)}`, 'latin1');
  const signature =
    key.algorithm === 'rsa'
      ? sign('sha256', signed, key.privateKey)
      : sign(null, createHash('sha256').update(signed).digest(), key.privateKey); // RFC 8463 §3
  const folded = signature.toString('base64').replaceAll(/.{70}(?=.)/g, '$&\r\n\t ');
  return `${start}${folded}\r\n`;
}

/** The names for `h=`, and the text of their fields: the last of a name first. RFC 6376 §5.4.2. */
function signedHeader(header: string): Readonly<{ names: readonly string[]; text: string }> {
  const fields = parseHeaderFields(header);
  const names: string[] = [];
  let text = '';
  for (const wanted of [...PROTECTED, ...SIGNED]) {
    const found = fields.filter(({ name }) => name === wanted).toReversed();
    for (const field of found) text += `${relaxedField(header, field)}\r\n`;
    const count = found.length + (PROTECTED.includes(wanted) ? 1 : 0); // SG1
    names.push(...Array.from({ length: count }, () => wanted));
  }
  return { names, text };
}

function relaxedField(header: string, { start, end }: HeaderField): string {
  return relaxed(header.slice(start, end));
}

/** A field in its relaxed form, without its line end. RFC 6376 §3.4.2. */
function relaxed(field: string): string {
  const colon = field.indexOf(':');
  const value = field.slice(colon + 1).replaceAll(/\r\n/g, '');
  return `${field.slice(0, colon).trim().toLowerCase()}:${value.replaceAll(/[ \t]+/g, ' ').trim()}`;
}
