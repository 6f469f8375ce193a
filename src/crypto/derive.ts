/**
 * Derived keys. Every key that touches content is derived for one purpose from a random 256-bit key.
 *
 * D1  Two purposes, organizations, mailboxes or epochs give independent keys (the info text differs).
 * D2  Derived keys die with what holds them: `MailboxKeys` zeroes its four when disposed.
 *
 * HKDF-Expand alone, RFC 5869 §2.3, since the input keys are uniformly random, RFC 5869 §3.3. Format: README.md.
 *
 * Called by keys/ when a key was unwrapped, by store/ for records of a message, and by sealed-body.ts.
 */
import { createHmac } from 'node:crypto';
import type { Epoch, OrganizationId } from '../base/ids.ts';
import { canonicalBytes, NO_SUITE, type KeyOwner } from './context.ts';
import { SecretBytes } from './secret-bytes.ts';

/** The subkeys of one epoch of a mailbox key, directory key or transit key. */
export type MailboxKeys = Disposable &
  Readonly<{ wrap: SecretBytes; record: SecretBytes; blindIndex: SecretBytes; pairSeed: SecretBytes }>;
type KeyScope = Readonly<{ organization: OrganizationId; mailbox: KeyOwner; epoch: Epoch }>;
type MessageKeyPurpose = 'body' | 'summary' | 'text' | 'queue';

const MESSAGE_INFOS: Readonly<Record<MessageKeyPurpose, Buffer>> = {
  body: canonicalBytes(NO_SUITE, 'derive-message', ['body']),
  summary: canonicalBytes(NO_SUITE, 'derive-message', ['summary']),
  text: canonicalBytes(NO_SUITE, 'derive-message', ['text']),
  queue: canonicalBytes(NO_SUITE, 'derive-message', ['queue']),
};
const KEY_BYTES = 32;
const HASH_BYTES = 64;

/** Derives the subkeys of a mailbox key or directory key; the caller disposes them, and `key`. */
export function deriveMailboxKeys(key: SecretBytes, scope: KeyScope): MailboxKeys {
  const subkey = (purpose: string): SecretBytes => {
    const fields = [purpose, scope.organization, scope.mailbox, { u32: scope.epoch }];
    return new SecretBytes(expand(key, canonicalBytes(NO_SUITE, 'derive-mailbox', fields), KEY_BYTES));
  };
  const [wrap, record, blindIndex] = [subkey('wrap'), subkey('record'), subkey('blind-index')];
  const pairSeed = subkey('key-pair');
  return {
    wrap,
    record,
    blindIndex,
    pairSeed,
    [Symbol.dispose]: () => {
      for (const each of [wrap, record, blindIndex, pairSeed]) each[Symbol.dispose]();
    },
  };
}

/** Derives one purpose's key from a message key; the caller disposes it. */
export function deriveMessageKey(messageKey: SecretBytes, purpose: MessageKeyPurpose): SecretBytes {
  return new SecretBytes(expand(messageKey, MESSAGE_INFOS[purpose], KEY_BYTES));
}

/** HKDF-Expand with HMAC-SHA-512, RFC 5869 §2.3, for 1 to 128 bytes. The caller zeroes the result, which is its own. */
export function expand(key: SecretBytes, info: Uint8Array, lengthBytes: number): Buffer {
  const first = createHmac('sha512', key.exposeKey()).update(withCounter(info, 1)).digest();
  if (lengthBytes <= HASH_BYTES) return first.fill(0, lengthBytes).subarray(0, lengthBytes);
  const second = createHmac('sha512', key.exposeKey()).update(first).update(withCounter(info, 2)).digest();
  const both = Buffer.concat([first, second], lengthBytes);
  first.fill(0);
  second.fill(0);
  return both;
}

function withCounter(info: Uint8Array, counter: number): Buffer {
  const bytes = Buffer.allocUnsafe(info.length + 1);
  bytes.set(info);
  bytes[info.length] = counter;
  return bytes;
}
