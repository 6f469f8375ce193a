/**
 * The frozen vectors of every sealed format. They are published data: no test writes them. Each is checked by
 * the server's own code and by the second implementation beside this file; some bodies were sealed by a third one.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { blindIndex } from '../../src/crypto/blind-index.ts';
import {
  contextBytes,
  encryptionContextBytes,
  type Context,
  type KeyOwner,
  type MessageKeyContext,
  type OnceContext,
  type RecordContext,
} from '../../src/crypto/context.ts';
import { deriveMailboxKeys, deriveMessageKey } from '../../src/crypto/derive.ts';
import { packKey, unpackKey } from '../../src/crypto/packed-key.ts';
import { openOnce, openRecord, sealOnce, sealRecord, unwrapMessageKey, wrapMessageKey } from '../../src/crypto/record.ts';
import { BodyOpener, BodySealer, sealedBodySizeBytes } from '../../src/crypto/sealed-body.ts';
import { SecretBytes } from '../../src/crypto/secret-bytes.ts';
import type { BodyId, Epoch, OrganizationId } from '../../src/base/ids.ts';
import * as second from './second-implementation.ts';

// The only way to choose a nonce or a salt: the code under test has no door for it, so the test replaces
// the system's random generator.
const random = vi.hoisted(() => ({ next: null as Uint8Array | null }));
vi.mock('node:crypto', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:crypto')>();
  const randomFillSync = (target: Uint8Array, offset = 0, size = target.length - offset): Uint8Array => {
    if (!random.next) return real.randomFillSync(target, offset, size);
    if (random.next.length !== size) throw new Error(`the vector has ${String(random.next.length)} bytes, not ${String(size)}`);
    target.set(random.next, offset);
    return target;
  };
  return { ...real, randomFillSync };
});
beforeEach(() => {
  random.next = null;
});

type Hex = string;
type BlindIndexContext = Parameters<typeof blindIndex>[1];
type KeyScope = Parameters<typeof deriveMailboxKeys>[1];
const read = (file: string): unknown => JSON.parse(readFileSync(join(import.meta.dirname, file), 'utf8'));
const bytes = second.fromHex;
const hex = second.toHex;
const secret = (text: Hex): SecretBytes => new SecretBytes(bytes(text));

type StatedContext = Record<string, string | number>;
/** A context as the vectors state it, with its byte fields decoded. */
function contextOf(stated: StatedContext): Context {
  const decoded = Object.entries(stated).map(([name, value]) =>
    name === 'index' || name === 'commitment' || name === 'context' ? [name, bytes(String(value))] : [name, value],
  );
  return Object.fromEntries(decoded) as Context;
}

/** Fields in the order of the format text. */
const ORDER: Record<string, string> = {
  body: 'organization body',
  'message-key': 'organization mailbox epoch message body commitment',
  summary: 'organization body',
  'search-text': 'organization body',
  'folder-name': 'organization mailbox epoch folder',
  subscription: 'organization mailbox epoch index',
  'keyword-name': 'organization mailbox epoch keyword',
  'organization-name': 'organization epoch',
  'mailbox-profile': 'organization epoch mailbox',
  credential: 'organization epoch mailbox',
  'address-local': 'organization epoch domain index',
  'dkim-key': 'organization epoch domain selector',
  keyring: 'key version context',
};
function namedOf(stated: StatedContext): second.Named {
  const kind = String(stated['kind']);
  const fields = (ORDER[kind] ?? '').split(' ').map((name) => {
    const value = stated[name] ?? '';
    if (typeof value === 'number') return name === 'folder' ? { u64: value } : { u32: value };
    return name === 'index' || name === 'commitment' || name === 'context' ? bytes(value) : value;
  });
  return { kind, fields };
}

describe('contexts', () => {
  const vectors = read('contexts.json') as { context: StatedContext; suite: number; bytes: Hex }[];
  test('cover every kind', () => {
    expect(vectors.map((vector) => vector.context['kind']).sort()).toEqual(Object.keys(ORDER).sort());
  });
  test.for(vectors)('$context.kind', (vector) => {
    const { kind, fields } = namedOf(vector.context);
    expect(hex(contextBytes(contextOf(vector.context), vector.suite))).toBe(vector.bytes);
    expect(hex(second.context(vector.suite, kind, fields))).toBe(vector.bytes);
  });
});

test('derived keys', async () => {
  const vector = read('derive.json') as {
    mailboxKey: Hex;
    scope: KeyScope & { mailbox: string };
    subkeys: Record<'wrap' | 'record' | 'blindIndex', Hex>;
    directory: Record<'wrap' | 'record' | 'blindIndex', Hex>;
    messageKey: Hex;
    messageSubkeys: Record<'body' | 'summary' | 'text', Hex>;
  };
  const key = secret(vector.mailboxKey);
  const cases = [
    [vector.scope, vector.subkeys],
    [{ ...vector.scope, mailbox: 'directory' }, vector.directory],
  ] as const;
  for (const [scope, expected] of cases) {
    using keys = deriveMailboxKeys(key, scope);
    for (const [name, purpose] of [['wrap', 'wrap'], ['record', 'record'], ['blindIndex', 'blind-index']] as const) {
      expect(hex(keys[name].expose())).toBe(expected[name]);
      expect(hex(await second.mailboxSubkey(bytes(vector.mailboxKey), scope, purpose))).toBe(expected[name]);
    }
  }
  for (const purpose of ['body', 'summary', 'text'] as const) {
    using derived = deriveMessageKey(secret(vector.messageKey), purpose);
    expect(hex(derived.expose())).toBe(vector.messageSubkeys[purpose]);
    expect(hex(await second.messageSubkey(bytes(vector.messageKey), purpose))).toBe(vector.messageSubkeys[purpose]);
  }
});

type RecordVector = { context: StatedContext; key: Hex; nonce: Hex; plain: Hex; sealed: Hex };
const file = read('records.json') as {
  records: RecordVector[];
  once: RecordVector[];
  messageKey: { context: StatedContext; wrap: Hex; nonce: Hex; messageKey: Hex; sizeBytes: number; wrapped: Hex };
  blindIndex: { context: BlindIndexContext; key: Hex; text: string; index: Hex }[];
  packedKeys: { owner: KeyOwner; epoch: Epoch; key: Hex; packed: Hex }[];
  keyring: {
    rootKey: string;
    version: number;
    secret: Hex;
    encryptionContext: Record<string, string>;
    contextBytes: Hex;
    nonce: Hex;
    plain: Hex;
    wrapped: Hex;
  };
};

describe('records', () => {
  test.for(file.records)('$context.kind', async (vector) => {
    const context = contextOf(vector.context) as RecordContext;
    expect(hex(openRecord(secret(vector.key), context, bytes(vector.sealed)))).toBe(vector.plain);
    random.next = bytes(vector.nonce);
    expect(hex(sealRecord(secret(vector.key), context, bytes(vector.plain)))).toBe(vector.sealed);
    const [key, named] = [bytes(vector.key), namedOf(vector.context)];
    expect(hex(await second.openRecord({ key, suite: 1, named }, bytes(vector.sealed)))).toBe(vector.plain);
    const sealed = await second.sealRecord({ key, suite: 1, named, nonce: bytes(vector.nonce) }, bytes(vector.plain));
    expect(hex(sealed)).toBe(vector.sealed);
  });

  test.for(file.once)('$context.kind, write-once', async (vector) => {
    const context = contextOf(vector.context) as OnceContext;
    expect(hex(openOnce(secret(vector.key), context, bytes(vector.sealed)))).toBe(vector.plain);
    expect(hex(sealOnce(secret(vector.key), context, bytes(vector.plain)))).toBe(vector.sealed);
    const sealed = await second.sealOnce(bytes(vector.key), namedOf(vector.context), bytes(vector.plain));
    expect(hex(sealed)).toBe(vector.sealed);
  });

  test('wrapped message key', async () => {
    const vector = file.messageKey;
    const context = contextOf(vector.context) as MessageKeyContext;
    const opened = unwrapMessageKey(secret(vector.wrap), context, bytes(vector.wrapped));
    expect([hex(opened.key.expose()), opened.sizeBytes]).toEqual([vector.messageKey, vector.sizeBytes]);
    random.next = bytes(vector.nonce);
    const wrapped = wrapMessageKey(secret(vector.wrap), context, secret(vector.messageKey), vector.sizeBytes);
    expect(hex(wrapped)).toBe(vector.wrapped);
    const [key, named] = [bytes(vector.wrap), namedOf(vector.context)];
    const plain = await second.openRecord({ key, suite: 3, named }, bytes(vector.wrapped));
    expect(hex(plain)).toBe(hex(second.messageKeyPlaintext(bytes(vector.messageKey), vector.sizeBytes)));
  });

  test.for(file.blindIndex)('blind index of a $context.kind', async (vector) => {
    expect(hex(blindIndex(secret(vector.key), vector.context, vector.text))).toBe(vector.index);
    const { context } = vector;
    const [kind, fields] =
      context.kind === 'address-local'
        ? ['index-address', [context.organization, context.domain, vector.text]]
        : context.kind === 'gateway-recipient'
          ? ['index-gateway', [context.domain, vector.text]]
          : [`index-${context.kind}`, [context.organization, context.mailbox, vector.text]];
    expect(hex(await second.blindIndex(bytes(vector.key), kind, fields))).toBe(vector.index);
  });

  test.for(file.packedKeys)('packed key of $owner', (vector) => {
    expect(hex(packKey(vector, secret(vector.key)).expose())).toBe(vector.packed);
    expect(hex(unpackKey(vector, secret(vector.packed)).expose())).toBe(vector.key);
    expect(hex(second.packKey(vector.owner, vector.epoch, bytes(vector.key)))).toBe(vector.packed);
  });

  test('encryption context and keyring record', async () => {
    const vector = file.keyring;
    expect(hex(encryptionContextBytes(vector.encryptionContext))).toBe(vector.contextBytes);
    const context: RecordContext = {
      kind: 'keyring',
      key: vector.rootKey,
      version: vector.version,
      context: bytes(vector.contextBytes),
    };
    const header = hex(second.keyringHeader(vector.version));
    expect(vector.wrapped.slice(0, 10)).toBe(header);
    const sealed = bytes(vector.wrapped.slice(10));
    expect(hex(openRecord(secret(vector.secret), context, sealed))).toBe(vector.plain);
    const named = namedOf({ ...context, context: vector.contextBytes });
    expect(hex(await second.openRecord({ key: bytes(vector.secret), suite: 1, named }, sealed))).toBe(vector.plain);
  });
});

describe('sealed bodies', () => {
  type BodyVector = { madeBy: string; sizeBytes: number; salt: Hex; commitment: Hex; sealedSha256: Hex; sealed?: Hex };
  const vectors = read(    'sealed-body.json',  ) as { messageKey: Hex; organization: OrganizationId; body: BodyId; bodies: BodyVector[] };
  const context = { kind: 'body', organization: vectors.organization, body: vectors.body } as const;
  const sha256 = (data: Uint8Array): Hex => createHash('sha256').update(data).digest('hex');

  test.for(vectors.bodies)('$sizeBytes bytes, made by $madeBy', async (vector) => {
    const plain = second.patternOf(vector.sizeBytes);
    random.next = bytes(vector.salt);
    using sealer = new BodySealer(secret(vectors.messageKey), context);
    const sealed = Buffer.concat([sealer.header, ...sealer.push(plain), ...sealer.end()]);
    expect(hex(sealer.commitment)).toBe(vector.commitment);
    expect(sha256(sealed)).toBe(vector.sealedSha256);
    if (vector.sealed !== undefined) expect(hex(sealed)).toBe(vector.sealed);
    expect(sealed).toHaveLength(sealedBodySizeBytes(vector.sizeBytes));

    const place = { organization: vectors.organization, body: vectors.body };
    const again = await second.sealBody(bytes(vectors.messageKey), place, bytes(vector.salt), plain);
    expect(sha256(again)).toBe(vector.sealedSha256);
    expect(sha256(await second.openBody(bytes(vectors.messageKey), place, again))).toBe(sha256(plain));

    const expected = { commitment: bytes(vector.commitment), plainSizeBytes: vector.sizeBytes };
    using opener = new BodyOpener(secret(vectors.messageKey), context, again.subarray(0, 64), expected);
    expect(sha256(opener.open(again.subarray(64), 0, vector.sizeBytes))).toBe(sha256(plain));
  });
});
