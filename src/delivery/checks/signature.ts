/**
 * Signatures over a message, of DKIM and of ARC: read, and verified against what was hashed. RFC 6376 §6.1.
 *
 * SI1  A signature that leaves part of the body unsigned (`l=`) does not pass. RFC 6376 §8.2.
 * SI2  RSA with SHA-1, or with less than 1024 bits, does not pass. RFC 8301 §3.
 * SI3  Where a field that may stand once stands several times, all must be signed, and every line of the header belongs
 *      to a field: nobody knows what a reader makes of anything else. RFC 6376 §8.15.
 * SI4  A key that cannot be looked up is `temperror`, never `fail`.
 *
 * Called by dkim.ts and arc.ts.
 */
import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto';
import { ServerError } from '../../base/errors.ts';
import { parseTags, relaxedField, simpleField, withoutSignature } from '../../mime/dkim.ts';
import type { HeaderField } from '../../mime/headers.ts';
import type { Lookups } from './lookups.ts';

/** RFC 8601 §2.7.1. */
type Result = 'pass' | 'fail' | 'policy' | 'neutral' | 'temperror' | 'permerror';
export type Outcome = Readonly<{ result: Result; reason: string | null }>;
export type Canonicalization = 'simple' | 'relaxed';
export type Signature = Readonly<{
  field: HeaderField;
  domain: string;
  selector: string;
  algorithm: 'rsa' | 'ed25519';
  headerForm: Canonicalization;
  bodyForm: Canonicalization;
  signedNames: readonly string[];
  bodyHash: Buffer;
  signature: Buffer;
  bodyLimitBytes: number | null;
  expiresAtMs: number | null;
  /** Where the identity is of a subdomain of `domain`. */
  isOfSubdomain: boolean;
}>;
/** The header as it came; `relaxed` forms are made once for all signatures. */
export class SignedHeader {
  readonly block: string;
  readonly fields: readonly HeaderField[];
  readonly #relaxed = new Map<HeaderField, string>();

  constructor(block: string, fields: readonly HeaderField[]) {
    this.block = block;
    this.fields = fields;
  }

  text(field: HeaderField, form: Canonicalization): string {
    if (form === 'simple') return simpleField(this.block, field);
    const known = this.#relaxed.get(field) ?? relaxedField(this.block, field);
    this.#relaxed.set(field, known);
    return known;
  }
}
/** What a form of the body hashes to, and its length in that form. */
export type BodyDigest = Readonly<{ digest: Buffer; sizeBytes: number }>;

const MAX_SIGNATURE_FIELD_CHARS = 16_384;
const MAX_SIGNED_NAMES_COUNT = 500;
const MIN_RSA_BITS = 1024;
const MAX_RSA_BITS = 4096;
const DOMAIN = /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

export const failure = (result: Result, reason: string): Outcome => ({ result, reason });

/** Reads a signature field; an outcome for what cannot be verified. RFC 6376 §6.1.1, RFC 8617 §4.1.2. */
export function readSignature(
  header: SignedHeader,
  field: HeaderField,
  kind: 'dkim' | 'arc-message' | 'arc-seal',
): Signature | Outcome {
  const text = header.block.slice(field.valueStart, field.end);
  if (text.length > MAX_SIGNATURE_FIELD_CHARS) return failure('permerror', 'signature field too long');
  const tags = parseTags(text);
  if (!tags) return failure('permerror', 'syntax error');
  if (kind === 'dkim' && tags.get('v') !== '1') return failure('permerror', 'unknown version');
  const tag = (name: string): string => (tags.get(name) ?? '').replaceAll(/[ \t\r\n]/g, '');
  const [domain, selector] = [tag('d').toLowerCase().replace(/\.$/, ''), tag('s').toLowerCase()];
  if (!DOMAIN.test(domain) || !DOMAIN.test(selector)) return failure('permerror', 'bad domain or selector');
  const algorithm = /^(rsa|ed25519)-sha256$/.exec(tag('a').toLowerCase())?.[1];
  if (tag('a').toLowerCase() === 'rsa-sha1') return failure('policy', 'SHA-1'); // SI2
  if (algorithm !== 'rsa' && algorithm !== 'ed25519') return failure('permerror', 'unknown algorithm');
  const forms = /^(simple|relaxed)(?:\/(simple|relaxed))?$/.exec(tag('c').toLowerCase() || 'simple');
  if (!forms) return failure('permerror', 'unknown canonicalization');
  if (!BASE64.test(tag('b'))) return failure('permerror', 'syntax error');
  const isSeal = kind === 'arc-seal';
  if (!isSeal && !BASE64.test(tag('bh'))) return failure('permerror', 'syntax error');
  const signedNames = isSeal
    ? []
    : tag('h')
        .toLowerCase()
        .split(':', MAX_SIGNED_NAMES_COUNT + 1);
  if (signedNames.length > MAX_SIGNED_NAMES_COUNT) return failure('permerror', 'too many signed fields');
  if (!isSeal && !signedNames.includes('from')) return failure('permerror', 'From is not signed');
  const identity = kind === 'dkim' ? (tags.get('i') ?? '').split('@').at(-1)?.trim().toLowerCase() || domain : domain;
  if (identity !== domain && !identity.endsWith(`.${domain}`))
    return failure('permerror', 'identity of another domain');
  if (tags.has('l') && !/^[0-9]{1,76}$/.test(tag('l'))) return failure('permerror', 'syntax error');
  if (tags.has('x') && !/^[0-9]{1,12}$/.test(tag('x'))) return failure('permerror', 'syntax error');
  return {
    ...{ field, domain, selector, algorithm, signedNames },
    headerForm: isSeal ? 'relaxed' : (forms[1] as Canonicalization),
    bodyForm: (forms[2] ?? 'simple') as Canonicalization,
    bodyHash: Buffer.from(tag('bh'), 'base64'),
    signature: Buffer.from(tag('b'), 'base64'),
    bodyLimitBytes: tags.has('l') ? Number(tag('l')) : null,
    expiresAtMs: tags.has('x') ? Number(tag('x')) * 1000 : null,
    isOfSubdomain: identity !== domain,
  };
}

/** Verifies a signature over header and body. Does not throw. RFC 6376 §6.1.3. */
export async function verifySignature(
  header: SignedHeader,
  signature: Signature,
  at: Readonly<{ body: BodyDigest; keys: SigningKeys; nowMs: number }>,
): Promise<Outcome> {
  const { body, keys, nowMs } = at;
  if (signature.expiresAtMs !== null && signature.expiresAtMs < nowMs) return failure('policy', 'signature expired');
  if (signature.bodyLimitBytes !== null && signature.bodyLimitBytes < body.sizeBytes) {
    return failure('policy', 'part of the body is not signed'); // SI1
  }
  if (!body.digest.equals(signature.bodyHash)) return failure('fail', 'body changed');
  if (header.fields.some(({ name }) => name === '')) return failure('policy', 'malformed header'); // SI3
  if (hasUnsignedCopy(header, signature)) return failure('policy', 'a repeated field is not signed'); // SI3
  return verifyText(signedText(header, signature), signature, keys);
}

/** Verifies a signature over `text`, of bytes as Latin-1. */
export async function verifyText(text: string, signature: Signature, keys: SigningKeys): Promise<Outcome> {
  const key = await keys.find(signature);
  if ('result' in key) return key;
  const bytes = Buffer.from(text, 'latin1');
  const isRsa = signature.algorithm === 'rsa';
  const data = isRsa ? bytes : createHash('sha256').update(bytes).digest(); // RFC 8463 §3
  const isGood = verify(isRsa ? 'sha256' : null, data, key, signature.signature);
  return isGood ? { result: 'pass', reason: null } : failure('fail', 'header changed, or not by this key');
}

/** RFC 5322 §3.6, RFC 2045 §3. */
const SINGLE_FIELDS = [
  ...['from', 'sender', 'reply-to', 'to', 'cc', 'subject', 'date', 'message-id'],
  ...['mime-version', 'content-type', 'content-transfer-encoding'],
];

function hasUnsignedCopy({ fields }: SignedHeader, { signedNames }: Signature): boolean {
  return SINGLE_FIELDS.some((name) => {
    const count = fields.filter((field) => field.name === name).length;
    return count > 1 && signedNames.filter((signed) => signed === name).length < count;
  });
}

/** Of each name the last field that is not taken yet. RFC 6376 §5.4.2, §3.7. */
function signedText(header: SignedHeader, { field, signedNames, headerForm }: Signature): string {
  const left = new Map<string, HeaderField[]>();
  for (const one of header.fields) {
    const ofName = left.get(one.name);
    if (ofName) ofName.push(one);
    else left.set(one.name, [one]);
  }
  const lines: string[] = [];
  for (const name of signedNames) {
    const next = left.get(name)?.pop();
    if (next && next !== field) lines.push(header.text(next, headerForm));
  }
  return [...lines, withoutSignature(header.text(field, headerForm))].join('\r\n');
}

/** The public keys that a message's signatures name, each looked up once. RFC 6376 §3.6. */
export class SigningKeys {
  readonly #lookups: Lookups;
  readonly #records = new Map<string, Promise<readonly string[] | Outcome>>();

  constructor(lookups: Lookups) {
    this.#lookups = lookups;
  }

  /** Asks for a key ahead of its use. */
  prefetch({ domain, selector }: Pick<Signature, 'domain' | 'selector'>): void {
    void this.#record(`${selector}._domainkey.${domain}`);
  }

  async find({ domain, selector, algorithm, isOfSubdomain }: Signature): Promise<KeyObject | Outcome> {
    const texts = await this.#record(`${selector}._domainkey.${domain}`);
    if ('result' in texts) return texts;
    const records = texts.map(parseTags).filter((tags) => tags?.has('p'));
    const [tags, second] = records;
    if (!tags) return failure('permerror', 'no key');
    if (second) return failure('permerror', 'several keys');
    const tag = (name: string): string | null => tags.get(name)?.replaceAll(/[ \t\r\n]/g, '') ?? null;
    const list = (name: string): readonly string[] | null => tag(name)?.toLowerCase().split(':') ?? null;
    if ((tag('v') ?? 'DKIM1') !== 'DKIM1') return failure('permerror', 'unknown version of key');
    if ((tag('k')?.toLowerCase() ?? 'rsa') !== algorithm) return failure('permerror', 'key of another algorithm');
    if (list('h')?.includes('sha256') === false) return failure('permerror', 'key for other hashes');
    const services = list('s');
    if (services && !services.includes('*') && !services.includes('email')) {
      return failure('permerror', 'key for another service');
    }
    if (isOfSubdomain && list('t')?.includes('s')) return failure('permerror', 'key not for subdomains');
    if (tag('p') === '') return failure('permerror', 'key revoked');
    return publicKey(Buffer.from(tag('p') ?? '', 'base64'), algorithm);
  }

  #record(name: string): Promise<readonly string[] | Outcome> {
    const known = this.#records.get(name);
    if (known) return known;
    const record = this.#lookups.texts(name).catch((error: unknown): Outcome => {
      if (error instanceof ServerError && error.code === 'limit-exceeded') return failure('permerror', 'too many keys');
      return failure('temperror', 'key could not be looked up'); // SI4
    });
    this.#records.set(name, record);
    return record;
  }
}

/** RFC 6376 §3.6.1, RFC 8463 §4.2. */
function publicKey(bytes: Buffer, algorithm: 'rsa' | 'ed25519'): KeyObject | Outcome {
  const spki = algorithm === 'rsa' ? bytes : Buffer.concat([ED25519_SPKI_PREFIX, bytes]);
  const forms = algorithm === 'rsa' ? (['spki', 'pkcs1'] as const) : (['spki'] as const);
  for (const type of forms) {
    try {
      const key = createPublicKey({ key: spki, format: 'der', type });
      if (key.asymmetricKeyType !== algorithm) return failure('permerror', 'key of another algorithm');
      const bits = key.asymmetricKeyDetails?.modulusLength;
      if (bits !== undefined && bits < MIN_RSA_BITS) return failure('policy', 'weak key'); // SI2
      if (bits !== undefined && bits > MAX_RSA_BITS) return failure('permerror', 'key too long');
      return key;
    } catch {
      // of the other form, or none
    }
  }
  return failure('permerror', 'bad key');
}

const ED25519_SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex'); // RFC 8410 §4
