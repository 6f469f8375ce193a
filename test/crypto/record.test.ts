import { createCipheriv } from 'node:crypto';
import { expect, test } from 'vitest';
import {
  contextBytes,
  type MessageKeyContext,
  type OnceContext,
  type RecordContext,
} from '../../src/crypto/context.ts';
import {
  openOnce,
  openRecord,
  sealOnce,
  sealRecord,
  unwrapMessageKey,
  wrapMessageKey,
} from '../../src/crypto/record.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import * as ids from './fixtures.ts';
import { codeOf, flipped } from './fixtures.ts';

const { organization, mailbox, message, body, firstEpoch, nextEpoch } = ids;
const key = SecretBytes.random(32);
const otherKey = SecretBytes.random(32);
const plain = Buffer.from('Entwürfe');

const folderName = { kind: 'folder-name', organization, mailbox, epoch: firstEpoch, folder: ids.inbox } as const;
const summary: OnceContext = { kind: 'summary', organization, body };
const commitment = Buffer.alloc(32, 9);
const messageKeyContext: MessageKeyContext = {
  kind: 'message-key',
  organization,
  mailbox,
  epoch: firstEpoch,
  message,
  body,
  commitment,
};
const messageKey = SecretBytes.random(32);

/** Each form: how it opens under a context and a key, what it was sealed as, and where else it could be put. */
const forms = {
  record: {
    sealed: sealRecord(key, folderName, plain),
    open: (sealed: Uint8Array, context: RecordContext = folderName, under = key) => openRecord(under, context, sealed),
    elsewhere: [
      { ...folderName, organization: ids.otherOrganization },
      { ...folderName, mailbox: ids.otherMailbox },
      { ...folderName, epoch: nextEpoch },
      { ...folderName, folder: ids.sent },
      { kind: 'keyword-name', organization, mailbox, epoch: firstEpoch, keyword: 1 },
      { kind: 'credential', organization, mailbox, epoch: firstEpoch },
    ] satisfies RecordContext[],
  },
  'write-once record': {
    sealed: sealOnce(key, summary, plain),
    open: (sealed: Uint8Array, context: OnceContext = summary, under = key) => openOnce(under, context, sealed),
    elsewhere: [
      { ...summary, organization: ids.otherOrganization },
      { ...summary, body: ids.otherBody },
    ] satisfies OnceContext[],
  },
  'wrapped message key': {
    sealed: wrapMessageKey(key, messageKeyContext, messageKey, 12_345),
    open: (sealed: Uint8Array, context: MessageKeyContext = messageKeyContext, under = key) =>
      unwrapMessageKey(under, context, sealed),
    elsewhere: [
      { ...messageKeyContext, organization: ids.otherOrganization },
      { ...messageKeyContext, mailbox: ids.otherMailbox },
      { ...messageKeyContext, epoch: nextEpoch },
      { ...messageKeyContext, message: ids.otherMessage },
      { ...messageKeyContext, body: ids.otherBody },
      { ...messageKeyContext, commitment: Buffer.alloc(32, 8) },
    ] satisfies MessageKeyContext[],
  },
};

test('R1 what was sealed opens again', () => {
  expect(forms.record.open(forms.record.sealed)).toEqual(plain);
  expect(forms['write-once record'].open(forms['write-once record'].sealed)).toEqual(plain);
  const opened = forms['wrapped message key'].open(forms['wrapped message key'].sealed);
  expect([Buffer.from(opened.key.expose()), opened.sizeBytes]).toEqual([Buffer.from(messageKey.expose()), 12_345]);
});

test('R1 empty and large records, and sizes of bodies', () => {
  for (const sizeBytes of [0, 1, 100_000]) {
    const content = Buffer.alloc(sizeBytes, 5);
    expect(openRecord(key, folderName, sealRecord(key, folderName, content))).toEqual(content);
    expect(openOnce(key, summary, sealOnce(key, summary, content))).toEqual(content);
  }
  for (const sizeBytes of [0, 2 ** 32 - 1, 2 ** 32, 2 ** 45 + 7]) {
    const wrapped = wrapMessageKey(key, messageKeyContext, messageKey, sizeBytes);
    expect(wrapped).toHaveLength(69);
    expect(unwrapMessageKey(key, messageKeyContext, wrapped).sizeBytes).toBe(sizeBytes);
  }
});

test.for(Object.entries(forms))('R1 R3 a %s with any byte altered does not open', ([, form]) => {
  for (let at = 0; at < form.sealed.length; at += 1) {
    for (const mask of [0x01, 0x80])
      expect(codeOf(() => form.open(flipped(form.sealed, at, mask)))).toBe('content-damaged');
  }
});

test.for(Object.entries(forms))('R1 a %s that is cut short or extended does not open', ([, form]) => {
  for (let lengthBytes = 0; lengthBytes < form.sealed.length; lengthBytes += 1) {
    expect(codeOf(() => form.open(form.sealed.subarray(0, lengthBytes)))).toBe('content-damaged');
  }
  expect(codeOf(() => form.open(Buffer.concat([form.sealed, Buffer.alloc(1)])))).toBe('content-damaged');
});

test.for(Object.entries(forms))('R1 a %s opens in its own place and under its own key only', ([, form]) => {
  const open = form.open as (sealed: Uint8Array, context?: unknown, under?: SecretBytes) => unknown;
  for (const context of form.elsewhere) expect(codeOf(() => open(form.sealed, context))).toBe('content-damaged');
  expect(codeOf(() => open(form.sealed, undefined, otherKey))).toBe('content-damaged');
});

test('R1 records of one key are not exchangeable', () => {
  const [inInbox, inSent] = [
    sealRecord(key, folderName, plain),
    sealRecord(key, { ...folderName, folder: ids.sent }, plain),
  ];
  expect(codeOf(() => openRecord(key, folderName, inSent))).toBe('content-damaged');
  expect(openRecord(key, folderName, inInbox)).toEqual(plain);
});

test('R2 nonces of records are random, those of write-once records fixed for the kind', () => {
  const nonces = Array.from({ length: 200 }, () => sealRecord(key, folderName, plain).toString('hex', 1, 13));
  expect(new Set(nonces).size).toBe(200);
  expect(sealOnce(key, summary, plain)).toEqual(sealOnce(key, summary, plain));
});

test('R3 a short tag is not taken for a tag', () => {
  const data = contextBytes(folderName, 1);
  const nonce = Buffer.alloc(12, 3);
  const cipher = createCipheriv('aes-256-gcm', key.exposeKey(), nonce, { authTagLength: 4 }).setAAD(data);
  const sealed = [Buffer.of(1), nonce, cipher.update(Buffer.alloc(40)), cipher.final(), cipher.getAuthTag()];
  expect(codeOf(() => openRecord(key, folderName, Buffer.concat(sealed)))).toBe('content-damaged');
});

test('R4 a record of another suite does not open, even with a tag that fits', () => {
  const relabelled = Buffer.from(forms.record.sealed);
  for (const suite of [0, 2, 3, 4, 255]) {
    relabelled[0] = suite;
    expect(codeOf(() => openRecord(key, folderName, relabelled))).toBe('content-damaged');
  }
  const wrapped = Buffer.from(forms['wrapped message key'].sealed);
  wrapped[0] = 1;
  expect(codeOf(() => openRecord(key, messageKeyContext as never, wrapped))).toBe('content-damaged');
});

test('errors name the kind, never the content', () => {
  try {
    openRecord(otherKey, folderName, forms.record.sealed);
    expect.unreachable();
  } catch (error) {
    expect(String(error)).toContain('folder-name');
    expect(String(error)).not.toContain('Entw');
  }
});
