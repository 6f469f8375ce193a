/**
 * The port to a key management service. One implementation for each kind of service; each passes
 * the same tests.
 *
 * P1  A root key is symmetric, for encryption, and enabled; `describe` says so before first use (W2).
 * P2  Every wrap and unwrap carries the encryption context; a changed context does not unwrap (W7).
 * P3  Nothing is tried twice inside a provider; the key service decides about retries.
 * P4  A call ends by its timeout or by the signal, whichever comes first.
 * P5  A grant that was asked for twice under one name is one grant: a second try makes no other one.
 */
import type { SecretBytes } from '../crypto/secret-bytes.ts';

export type ProviderKind = 'local-keyring' | 'aws-kms' | 'vault-transit';

/** Ids only, never an address or a name: it appears in the key service's own audit trail. */
export type EncryptionContext = Readonly<Record<string, string>>;

/** Why a provider call failed. The key service maps each to what clients see (design: when KMS fails). */
export type KeyFailure =
  | 'unreachable' // no answer, network, timeout
  | 'throttled'
  | 'internal' // the service says that it failed
  | 'disabled' // disabled, pending deletion, or otherwise in a state that refuses use
  | 'denied' // access denied or grant revoked
  | 'not-found' // no such key: deleted
  | 'invalid-ciphertext' // wrong key, wrong context, or damage
  | 'unsuitable' // asymmetric, wrong usage
  | 'bad-answer'; // an answer that cannot be right

/** What is wrong with a root key, where a provider can tell more than the failure. */
export type RootKeyFault =
  | 'asymmetric'
  | 'wrong-usage' // for signing, MACs or key agreement
  | 'pending-deletion'
  | 'pending-import' // without key material
  | 'not-ready' // being made or replicated, or its custom key store is not connected
  | 'not-configured'; // there is no such key service here

/** What a grant lets the server do with a root key (W9). */
export type GrantOperation = 'Encrypt' | 'Decrypt' | 'ReEncryptFrom' | 'ReEncryptTo' | 'DescribeKey';
export type GrantRequest = Readonly<{
  /** Ours, and the same in every try (P5). */
  name: string;
  operations: readonly GrantOperation[];
  /** The grant holds only for calls whose encryption context has these pairs. */
  constraint: EncryptionContext;
  signal?: AbortSignal | undefined;
}>;
/** Why a provider made no grant; the key service's own grant holds all the same. */
export type GrantAbsence = 'not-supported' | 'no-grantee-principal';
export type ProviderGrant =
  | Readonly<{ kind: 'made'; grantId: string; token: string | null; requestId: string | null }>
  | Readonly<{ kind: 'absent'; why: GrantAbsence; requestId: null }>;

export type WrappedByProvider = Readonly<{
  /** The provider's full name of the key that wrapped (an ARN for AWS KMS). */
  rootKey: string;
  wrapped: Uint8Array;
  requestId: string | null;
}>;
export type UnwrappedByProvider = Readonly<{ secret: SecretBytes; requestId: string | null }>;
export type RootKeyDescription = Readonly<{
  rootKey: string;
  requestId: string | null;
  /** Whether the newest version of the key, as of now, wrapped it; absent where versions do not show. */
  isNewest?: (wrapped: Uint8Array) => boolean;
}>;

export interface KeyProvider {
  readonly kind: ProviderKind;
  /** Resolves `rootKey` and checks that it may serve (P1). Throws KeyProviderError. */
  describe(rootKey: string, signal?: AbortSignal): Promise<RootKeyDescription>;
  /** Wraps `secret` (at most 4096 bytes). Throws KeyProviderError. */
  wrap(rootKey: string, secret: SecretBytes, options: ProviderCallOptions): Promise<WrappedByProvider>;
  /** Unwraps; the caller owns the result and disposes it. Throws KeyProviderError. */
  unwrap(rootKey: string, wrapped: Uint8Array, options: UnwrapOptions): Promise<UnwrappedByProvider>;
  /**
   * Has the service move a wrapping from one of its keys to another without showing the secret; absent where it cannot.
   * Throws KeyProviderError.
   */
  rewrap?(
    wrapped: Uint8Array,
    keys: Readonly<{ from: string; to: string }>,
    options: ProviderCallOptions,
  ): Promise<WrappedByProvider>;
  /** Has the service itself make a grant, where it can (P5). Throws KeyProviderError. */
  createGrant(rootKey: string, request: GrantRequest): Promise<ProviderGrant>;
  /** Ends a grant that `createGrant` made; 'not-found' where there is none. Throws KeyProviderError. */
  revokeGrant(rootKey: string, grantId: string, signal?: AbortSignal): Promise<Readonly<{ requestId: string | null }>>;
  close(): void;
}
export type ProviderCallOptions = Readonly<{
  context: EncryptionContext;
  /** Of a grant so new that the service may not know it everywhere yet. */
  grantToken?: string | undefined;
  signal?: AbortSignal | undefined;
}>;
/** An answer of another length than `lengthBytes` is a 'bad-answer'. */
export type UnwrapOptions = ProviderCallOptions & Readonly<{ lengthBytes: number }>;

/** A failed provider call: `failure` for decisions, `fault` for the operator, `message` for the log. */
export class KeyProviderError extends Error {
  readonly failure: KeyFailure;
  readonly requestId: string | null;
  readonly fault: RootKeyFault | null;

  constructor(
    failure: KeyFailure,
    message: string,
    options: { cause?: unknown; requestId?: string | null; fault?: RootKeyFault } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'KeyProviderError';
    this.failure = failure;
    this.requestId = options.requestId ?? null;
    this.fault = options.fault ?? null;
  }
}
