/**
 * A second implementation of the sealed formats, written from src/crypto/README.md, over WebCrypto instead of node:crypto.
 * It shares no code with src/ and is slow and plain on purpose.
 */
import type { webcrypto } from 'node:crypto';

const { subtle } = globalThis.crypto;

type Bytes = Uint8Array<ArrayBuffer>;
type Field = string | Bytes | { u32: number } | { u64: number };

const utf8 = (text: string): Bytes => new Uint8Array(new TextEncoder().encode(text));
export const fromHex = (text: string): Bytes => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
export const toHex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');

export function concat(...parts: Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function integer(value: number, widthBytes: number): Bytes {
  const bytes = new Uint8Array(widthBytes);
  let rest = BigInt(value);
  for (let at = widthBytes - 1; at >= 0; at -= 1) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

function fieldBytes(field: Field): Bytes {
  if (typeof field === 'string') return utf8(field);
  if (field instanceof Uint8Array) return field;
  return 'u32' in field ? integer(field.u32, 4) : integer(field.u64, 8);
}

const lengthPrefixed = (bytes: Bytes): Bytes => concat(integer(bytes.length, 2), bytes);

export function context(suite: number, kind: string, fields: readonly Field[]): Bytes {
  const parts = [utf8('sealpost/v1'), utf8(kind), ...fields.map(fieldBytes)];
  return concat(Uint8Array.of(suite), ...parts.map(lengthPrefixed));
}

async function hmac(hash: 'SHA-256' | 'SHA-512', key: Bytes, data: Bytes): Promise<Bytes> {
  const imported = await subtle.importKey('raw', key, { name: 'HMAC', hash }, false, ['sign']);
  return new Uint8Array(await subtle.sign('HMAC', imported, data));
}

/** RFC 5869 §2.3 with HMAC-SHA-512. */
export async function expand(key: Bytes, info: Bytes, lengthBytes: number): Promise<Bytes> {
  let previous: Bytes = new Uint8Array(0);
  let output: Bytes = new Uint8Array(0);
  for (let counter = 1; output.length < lengthBytes; counter += 1) {
    previous = await hmac('SHA-512', key, concat(previous, info, Uint8Array.of(counter)));
    output = concat(output, previous);
  }
  return output.slice(0, lengthBytes);
}

type Gcm = Readonly<{ key: Bytes; nonce: Bytes; data?: Bytes }>;

async function gcmKey(key: Bytes): Promise<webcrypto.CryptoKey> {
  return subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt', 'decrypt']);
}

function gcmParameters(gcm: Gcm): webcrypto.AeadParams {
  return { name: 'AES-GCM', iv: gcm.nonce, tagLength: 128, ...(gcm.data ? { additionalData: gcm.data } : {}) };
}

export async function gcmSeal(gcm: Gcm, plain: Bytes): Promise<Bytes> {
  return new Uint8Array(await subtle.encrypt(gcmParameters(gcm), await gcmKey(gcm.key), plain));
}

export async function gcmOpen(gcm: Gcm, sealed: Bytes): Promise<Bytes> {
  return new Uint8Array(await subtle.decrypt(gcmParameters(gcm), await gcmKey(gcm.key), sealed));
}

type Scope = Readonly<{ organization: string; mailbox: string; epoch: number }>;

export async function mailboxSubkey(key: Bytes, scope: Scope, purpose: 'wrap' | 'record' | 'blind-index'): Promise<Bytes> {
  const fields = [purpose, scope.organization, scope.mailbox, { u32: scope.epoch }];
  return expand(key, context(0, 'derive-mailbox', fields), 32);
}

export async function messageSubkey(key: Bytes, purpose: 'body' | 'summary' | 'text'): Promise<Bytes> {
  return expand(key, context(0, 'derive-message', [purpose]), 32);
}

/** The name and fields of a context, as the vectors state them. */
export type Named = Readonly<{ kind: string; fields: readonly Field[] }>;
type Randomly = Readonly<{ key: Bytes; suite: number; named: Named; nonce: Bytes }>;

export async function sealRecord({ key, suite, named, nonce }: Randomly, plain: Bytes): Promise<Bytes> {
  const data = context(suite, named.kind, named.fields);
  return concat(Uint8Array.of(suite), nonce, await gcmSeal({ key, nonce, data }, plain));
}

export async function openRecord({ key, suite, named }: Omit<Randomly, 'nonce'>, sealed: Bytes): Promise<Bytes> {
  if (sealed[0] !== suite) throw new Error('unknown suite');
  const data = context(suite, named.kind, named.fields);
  return gcmOpen({ key, nonce: sealed.slice(1, 13), data }, sealed.slice(13));
}

export async function sealOnce(key: Bytes, named: Named, plain: Bytes): Promise<Bytes> {
  const nonce = integer(named.kind === 'summary' ? 1 : 2, 12);
  return concat(Uint8Array.of(2), await gcmSeal({ key, nonce, data: context(2, named.kind, named.fields) }, plain));
}

export const messageKeyPlaintext = (key: Bytes, sizeBytes: number): Bytes => concat(key, integer(sizeBytes, 8));

type Place = Readonly<{ organization: string; body: string }>;

async function bodyKeys(messageKey: Bytes, place: Place, salt: Bytes): Promise<{ key: Bytes; base: Bytes; commitment: Bytes }> {
  const label = concat(utf8('c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM'), Uint8Array.of(0));
  const info = concat(label, salt, context(1, 'body', [place.organization, place.body]));
  const output = await expand(await messageSubkey(messageKey, 'body'), info, 76);
  return { key: output.slice(0, 32), base: output.slice(32, 44), commitment: output.slice(44) };
}

function chunkNonce(base: Bytes, index: number): Bytes {
  const counter = integer(index, 12);
  return base.map((byte, at) => byte ^ (counter[at] ?? 0));
}

const PREFACE = concat(utf8('SPBD'), Uint8Array.of(1, 1, 0, 0));

export async function sealBody(messageKey: Bytes, place: Place, salt: Bytes, plain: Bytes): Promise<Bytes> {
  const { key, base, commitment } = await bodyKeys(messageKey, place, salt);
  const parts = [PREFACE, salt, commitment];
  for (let index = 0; index <= Math.floor(plain.length / 16384); index += 1) {
    const chunk = plain.slice(index * 16384, (index + 1) * 16384);
    parts.push(await gcmSeal({ key, nonce: chunkNonce(base, index) }, chunk));
  }
  return concat(...parts);
}

export async function openBody(messageKey: Bytes, place: Place, sealed: Bytes): Promise<Bytes> {
  if (toHex(sealed.slice(0, 8)) !== toHex(PREFACE)) throw new Error('unknown format');
  const { key, base, commitment } = await bodyKeys(messageKey, place, sealed.slice(8, 32));
  if (toHex(commitment) !== toHex(sealed.slice(32, 64))) throw new Error('wrong commitment');
  const parts: Bytes[] = [];
  for (let index = 0; ; index += 1) {
    const chunk = sealed.slice(64 + index * 16400, 64 + (index + 1) * 16400);
    parts.push(await gcmOpen({ key, nonce: chunkNonce(base, index) }, chunk));
    if (chunk.length < 16400) return concat(...parts);
  }
}

export async function blindIndex(key: Bytes, kind: string, fields: readonly Field[]): Promise<Bytes> {
  return (await hmac('SHA-256', key, context(0, kind, fields))).slice(0, 16);
}

export function packKey(owner: string, epoch: number, key: Bytes): Bytes {
  const ownerBytes = owner === 'directory' ? integer(1, 16) : fromHex(owner);
  return concat(Uint8Array.of(1), ownerBytes, integer(epoch, 4), key);
}

export function keyringHeader(version: number): Bytes {
  return concat(Uint8Array.of(1), integer(version, 4));
}

/** The plaintext of the body vectors: byte i is (31 i + floor(i / 256)) mod 256. */
export function patternOf(sizeBytes: number): Bytes {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => (i * 31 + (i >>> 8)) & 0xff);
}
