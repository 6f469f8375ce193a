/** What every key provider passes, whatever stands behind it. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { SecretBytes } from '../../../src/crypto/secret-bytes.ts';
import { KeyProviderError, type KeyFailure, type KeyProvider } from '../../../src/keys/provider.ts';

/** A root key, and what its operator can do to it. */
export type TestRootKey = Readonly<{
  /** As an operator would state it. */
  name: string;
  disable(): Promise<void> | void;
  enable(): Promise<void> | void;
}>;
export type ProviderUnderTest = Readonly<{
  provider: KeyProvider;
  rootKey(): Promise<TestRootKey>;
  missingKey: string;
}>;

export async function failureOf(work: Promise<unknown>): Promise<KeyFailure | 'succeeded'> {
  try {
    await work;
    return 'succeeded';
  } catch (error) {
    expect(error).toBeInstanceOf(KeyProviderError);
    return (error as KeyProviderError).failure;
  }
}

export function testProvider(setup: () => Promise<ProviderUnderTest>): void {
  const context = { 'sealpost:organization': 'arn:sealpost:organization/1', 'sealpost:mailbox': '2' };
  const secret = new SecretBytes(randomBytes(53));
  const lengthBytes = 53;

  test('P1 describe gives the full name of a key that may serve', async () => {
    const { provider, rootKey, missingKey } = await setup();
    const key = await rootKey();
    const described = await provider.describe(key.name);
    expect((await provider.describe(described.rootKey)).rootKey).toBe(described.rootKey);
    expect(described.requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(await failureOf(provider.describe(missingKey))).toBe('not-found');
    await key.disable();
    expect(await failureOf(provider.describe(key.name))).toBe('disabled');
  });

  test('P2 what was wrapped unwraps in its own context only', async () => {
    const { provider, rootKey } = await setup();
    const { rootKey: name } = await provider.describe((await rootKey()).name);
    const { wrapped, rootKey: wrappedBy } = await provider.wrap(name, secret, { context });
    expect(wrappedBy).toBe(name);
    expect(Buffer.from(wrapped).includes(Buffer.from(secret.expose()).subarray(0, 8))).toBe(false);
    const opened = await provider.unwrap(name, wrapped, { context, lengthBytes });
    expect(Buffer.from(opened.secret.expose())).toEqual(Buffer.from(secret.expose()));
    const others = [
      {},
      { ...context, 'sealpost:mailbox': '3' },
      { ...context, more: 'x' },
      { 'sealpost:mailbox': '2' },
    ];
    for (const other of others) {
      expect(await failureOf(provider.unwrap(name, wrapped, { context: other, lengthBytes }))).toBe(
        'invalid-ciphertext',
      );
    }
  });

  test('P2 altered or foreign wrappings do not unwrap, nor another length', async () => {
    const { provider, rootKey } = await setup();
    const [one, two] = [(await rootKey()).name, (await rootKey()).name];
    const { wrapped, rootKey: wrappedBy } = await provider.wrap(one, secret, { context });
    for (let at = 0; at < wrapped.length; at += 7) {
      const altered = Buffer.from(wrapped);
      altered[at] = (altered[at] ?? 0) ^ 1;
      expect(await failureOf(provider.unwrap(wrappedBy, altered, { context, lengthBytes }))).toBe('invalid-ciphertext');
    }
    const { rootKey: other } = await provider.describe(two);
    expect(await failureOf(provider.unwrap(other, wrapped, { context, lengthBytes }))).toBe('invalid-ciphertext');
    expect(await failureOf(provider.unwrap(wrappedBy, wrapped, { context, lengthBytes: 52 }))).toBe('bad-answer');
  });

  test('a disabled key neither wraps nor unwraps, and does both when it is back', async () => {
    const { provider, rootKey } = await setup();
    const key = await rootKey();
    const { wrapped, rootKey: name } = await provider.wrap(key.name, secret, { context });
    await key.disable();
    expect(await failureOf(provider.wrap(name, secret, { context }))).toBe('disabled');
    expect(await failureOf(provider.unwrap(name, wrapped, { context, lengthBytes }))).toBe('disabled');
    await key.enable();
    expect(await failureOf(provider.unwrap(name, wrapped, { context, lengthBytes }))).toBe('succeeded');
  });

  test('P4 a call whose signal has fired does not succeed', async () => {
    const { provider, rootKey } = await setup();
    const { name } = await rootKey();
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(provider.wrap(name, secret, { context, signal })).rejects.toThrow();
    await expect(provider.describe(name, signal)).rejects.toThrow();
  });
}
