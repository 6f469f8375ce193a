/**
 * Key provider over AWS KMS, or any service that speaks its protocol.
 *
 * AK1  A root key serves when it is SYMMETRIC_DEFAULT, for ENCRYPT_DECRYPT, and enabled (W2).
 * AK2  Decrypt names the key that wrapped (an ARN); an answer by another key, or of another length, is refused.
 * AK3  The SDK tries once (maxAttempts 1), and a call ends by its timeout or its signal: the handler's
 *      `requestTimeout` throws only with `throwOnRequestTimeout`, and does not cover a slow answer, so that
 *      each call also has an AbortSignal.
 * AK4  Every failure is a KeyProviderError; unknown ones are 'internal' (5xx) or 'bad-answer', never a success.
 * AK5  A grant names the operations and the encryption context that it is for, and the configured grantee. Without
 *      one none is made: who we are to AWS cannot be known without asking its token service.
 * AK6  The SDK is loaded at the first call: installations without KMS never load it.
 *
 * The key's plaintext comes as base64 inside a JSON answer: the copies that the SDK makes of it stay in memory
 * until they are collected. The bytes handed to us are zeroed.
 *
 * Made by app.ts; called by key-service.ts.
 */
import type { KMSClient, KMSClientConfig } from '@aws-sdk/client-kms';
import { SecretBytes } from '../../crypto/secret-bytes.ts';
import {
  KeyProviderError,
  type KeyFailure,
  type GrantRequest,
  type KeyProvider,
  type ProviderCallOptions,
  type ProviderGrant,
  type RootKeyDescription,
  type RootKeyFault,
  type UnwrapOptions,
  type UnwrappedByProvider,
  type WrappedByProvider,
} from '../provider.ts';

/** What is absent is left to the SDK's own environment, files and credential chain. */
type AwsKmsOptions = Readonly<{
  endpoint?: string | undefined;
  region?: string | undefined;
  profile?: string | undefined;
  accessKeyId?: string | undefined;
  secretAccessKey?: string | undefined;
  /** Whom grants are for: an ARN (AK5). */
  granteePrincipal?: string | undefined;
  /** For one call, connection included. */
  timeoutMs: number;
}>;

type Sdk = typeof import('@aws-sdk/client-kms');
type Opened = Readonly<{ sdk: Sdk; client: KMSClient }>;

const MAX_SOCKETS = 50;
const MAX_TEXT_LENGTH = 500;

const FAILURES: Readonly<Record<string, KeyFailure>> = {
  ThrottlingException: 'throttled',
  LimitExceededException: 'throttled',
  TooManyRequestsException: 'throttled',
  KMSInternalException: 'internal',
  DependencyTimeoutException: 'internal',
  KeyUnavailableException: 'internal', // documented as worth another try
  ServiceUnavailableException: 'internal',
  InternalFailure: 'internal',
  DisabledException: 'disabled',
  KMSInvalidStateException: 'disabled',
  AccessDeniedException: 'denied',
  InvalidGrantTokenException: 'denied',
  UnrecognizedClientException: 'denied',
  InvalidClientTokenId: 'denied',
  InvalidSignatureException: 'denied',
  IncompleteSignature: 'denied',
  MissingAuthenticationToken: 'denied',
  ExpiredTokenException: 'denied',
  NotAuthorized: 'denied',
  OptInRequired: 'denied',
  NotFoundException: 'not-found',
  InvalidGrantIdException: 'not-found',
  InvalidCiphertextException: 'invalid-ciphertext',
  IncorrectKeyException: 'invalid-ciphertext',
  InvalidKeyUsageException: 'unsuitable',
  InvalidArnException: 'unsuitable',
  UnsupportedOperationException: 'unsuitable',
  ValidationException: 'unsuitable',
  TimeoutError: 'unreachable',
  AbortError: 'unreachable',
  CredentialsProviderError: 'unreachable', // the host's credential source did not answer
};

export class AwsKms implements KeyProvider {
  readonly kind = 'aws-kms';
  readonly #options: AwsKmsOptions;
  #opened: Promise<Opened> | null = null;
  #client: KMSClient | null = null;

  constructor(options: AwsKmsOptions) {
    this.#options = options;
  }

  async describe(rootKey: string, signal?: AbortSignal): Promise<RootKeyDescription> {
    const { KeyMetadata: key, $metadata } = await this.#send(
      ({ sdk, client }, abortSignal) => client.send(new sdk.DescribeKeyCommand({ KeyId: rootKey }), { abortSignal }),
      signal,
    );
    const requestId = $metadata.requestId ?? null;
    if (!key?.Arn) throw new KeyProviderError('bad-answer', 'DescribeKey gave no key', { requestId });
    const { KeySpec: spec = '', KeyUsage: usage = '', KeyState: state = '' } = key;
    if (spec !== 'SYMMETRIC_DEFAULT' || usage !== 'ENCRYPT_DECRYPT') {
      const found = `${spec}, ${usage}`;
      const needed = 'key spec SYMMETRIC_DEFAULT with key usage ENCRYPT_DECRYPT is needed';
      throw new KeyProviderError('unsuitable', `${key.Arn} is ${found}: ${needed}`, {
        requestId,
        fault: faultOfShape(spec),
      });
    }
    if (state !== 'Enabled' || key.Enabled !== true) {
      const fault = FAULTS_OF_STATES[state];
      const options = fault ? { requestId, fault } : { requestId };
      throw new KeyProviderError('disabled', `${key.Arn} is in state ${state}`, options);
    }
    return { rootKey: key.Arn, requestId };
  }

  async wrap(rootKey: string, secret: SecretBytes, options: ProviderCallOptions): Promise<WrappedByProvider> {
    const input = {
      KeyId: rootKey,
      Plaintext: secret.expose(),
      EncryptionContext: options.context,
      ...grantTokens(options),
    };
    const answer = await this.#send(
      ({ sdk, client }, abortSignal) => client.send(new sdk.EncryptCommand(input), { abortSignal }),
      options.signal,
    );
    const requestId = answer.$metadata.requestId ?? null;
    const { CiphertextBlob: wrapped, KeyId: wrappedBy } = answer;
    const isNamed =
      wrappedBy !== undefined && (wrappedBy === rootKey || !rootKey.startsWith('arn:') || isAlias(rootKey));
    if (!wrapped?.length || !isNamed) throw new KeyProviderError('bad-answer', 'Encrypt gave no answer', { requestId });
    return { rootKey: wrappedBy, wrapped, requestId };
  }

  async unwrap(rootKey: string, wrapped: Uint8Array, options: UnwrapOptions): Promise<UnwrappedByProvider> {
    const input = {
      KeyId: rootKey,
      CiphertextBlob: wrapped,
      EncryptionContext: options.context,
      ...grantTokens(options),
    };
    const answer = await this.#send(
      ({ sdk, client }, abortSignal) => client.send(new sdk.DecryptCommand(input), { abortSignal }),
      options.signal,
    );
    const requestId = answer.$metadata.requestId ?? null;
    const { Plaintext: plaintext, KeyId: unwrappedBy } = answer;
    try {
      if (unwrappedBy !== rootKey) {
        throw new KeyProviderError('bad-answer', `Decrypt answered for ${String(unwrappedBy)}`, { requestId });
      }
      if (plaintext?.length !== options.lengthBytes) {
        throw new KeyProviderError('bad-answer', 'Decrypt answered with the wrong length', { requestId });
      }
      return { secret: SecretBytes.copyOf(plaintext), requestId };
    } finally {
      plaintext?.fill(0);
    }
  }

  async rewrap(
    wrapped: Uint8Array,
    { from, to }: Readonly<{ from: string; to: string }>,
    options: ProviderCallOptions,
  ): Promise<WrappedByProvider> {
    const input = {
      CiphertextBlob: wrapped,
      SourceKeyId: from,
      SourceEncryptionContext: options.context,
      DestinationKeyId: to,
      DestinationEncryptionContext: options.context,
      ...grantTokens(options),
    };
    const answer = await this.#send(
      ({ sdk, client }, abortSignal) => client.send(new sdk.ReEncryptCommand(input), { abortSignal }),
      options.signal,
    );
    const requestId = answer.$metadata.requestId ?? null;
    const { CiphertextBlob: rewrapped, KeyId: wrappedBy } = answer;
    if (!rewrapped?.length || wrappedBy !== to) {
      throw new KeyProviderError('bad-answer', `ReEncrypt answered for ${String(wrappedBy)}`, { requestId });
    }
    return { rootKey: wrappedBy, wrapped: rewrapped, requestId };
  }

  async createGrant(rootKey: string, request: GrantRequest): Promise<ProviderGrant> {
    const { granteePrincipal } = this.#options;
    if (granteePrincipal === undefined) return { kind: 'absent', why: 'no-grantee-principal', requestId: null }; // AK5
    const input = {
      KeyId: rootKey,
      Name: request.name,
      GranteePrincipal: granteePrincipal,
      Operations: [...request.operations],
      Constraints: { EncryptionContextSubset: request.constraint },
    };
    const answer = await this.#send(
      ({ sdk, client }, abortSignal) => client.send(new sdk.CreateGrantCommand(input), { abortSignal }),
      request.signal,
    );
    const requestId = answer.$metadata.requestId ?? null;
    const { GrantId: grantId, GrantToken: token = null } = answer;
    if (!grantId) throw new KeyProviderError('bad-answer', 'CreateGrant gave no grant', { requestId });
    return { kind: 'made', grantId, token, requestId };
  }

  async revokeGrant(rootKey: string, grantId: string, signal?: AbortSignal): Promise<{ requestId: string | null }> {
    const input = { KeyId: rootKey, GrantId: grantId };
    const { $metadata } = await this.#send(
      ({ sdk, client }, abortSignal) => client.send(new sdk.RevokeGrantCommand(input), { abortSignal }),
      signal,
    );
    return { requestId: $metadata.requestId ?? null };
  }

  close(): void {
    this.#client?.destroy();
  }

  async #send<Answer>(
    work: (opened: Opened, signal: AbortSignal) => Promise<Answer>,
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    const timeout = AbortSignal.timeout(this.#options.timeoutMs);
    const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
    try {
      return await work(await (this.#opened ??= this.#open()), either);
    } catch (error) {
      throw either.aborted
        ? new KeyProviderError('unreachable', 'KMS did not answer in time', { cause: error })
        : failed(error);
    }
  }

  async #open(): Promise<Opened> {
    const { endpoint, region, profile, accessKeyId, secretAccessKey, timeoutMs } = this.#options;
    const sdk = await import('@aws-sdk/client-kms');
    const config: KMSClientConfig = {
      maxAttempts: 1,
      requestHandler: {
        requestTimeout: timeoutMs,
        throwOnRequestTimeout: true,
        connectionTimeout: timeoutMs,
        httpAgent: { maxSockets: MAX_SOCKETS, keepAlive: true },
        httpsAgent: { maxSockets: MAX_SOCKETS, keepAlive: true },
      },
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(region === undefined ? {} : { region }),
      ...(profile === undefined ? {} : { profile }),
      ...(accessKeyId === undefined || secretAccessKey === undefined
        ? {}
        : { credentials: { accessKeyId, secretAccessKey } }),
    };
    this.#client = new sdk.KMSClient(config);
    return { sdk, client: this.#client };
  }
}

/** Key states that say more than "disabled". */
const FAULTS_OF_STATES: Readonly<Record<string, RootKeyFault>> = {
  PendingDeletion: 'pending-deletion',
  PendingReplicaDeletion: 'pending-deletion',
  PendingImport: 'pending-import',
  Creating: 'not-ready',
  Updating: 'not-ready',
  Unavailable: 'not-ready',
};

/** What is wrong with a key that is not a symmetric one for encryption. */
function faultOfShape(spec: string): RootKeyFault {
  return spec === 'SYMMETRIC_DEFAULT' || spec.startsWith('HMAC_') ? 'wrong-usage' : 'asymmetric';
}

function grantTokens({ grantToken }: ProviderCallOptions): { GrantTokens?: string[] } {
  return grantToken === undefined ? {} : { GrantTokens: [grantToken] };
}

function isAlias(rootKey: string): boolean {
  return /^arn:[^:]*:kms:[^:]*:[^:]*:alias\//.test(rootKey);
}

/** What the SDK threw, as one of ours (AK4). */
function failed(error: unknown): KeyProviderError {
  if (error instanceof KeyProviderError) return error;
  const { name, status, requestId, isNetwork } = shapeOf(error);
  const known = Object.hasOwn(FAILURES, name) ? FAILURES[name] : undefined;
  const failure = known ?? (isNetwork ? 'unreachable' : failureOfStatus(status));
  return new KeyProviderError(failure, `KMS: ${name}: ${textOf(error)}`, { requestId });
}

/** Of a malformed answer nothing is quoted: it may hold a plaintext key. */
function textOf(error: unknown): string {
  if (!(error instanceof Error) || error instanceof SyntaxError) return 'malformed answer';
  return error.message.slice(0, MAX_TEXT_LENGTH);
}

function failureOfStatus(status: number | undefined): KeyFailure {
  if (status === 429) return 'throttled';
  return status !== undefined && status >= 500 ? 'internal' : 'bad-answer';
}

type ErrorShape = Readonly<{
  name: string;
  status: number | undefined;
  requestId: string | null;
  isNetwork: boolean;
}>;

function shapeOf(error: unknown): ErrorShape {
  if (!(error instanceof Error)) return { name: 'unknown', status: undefined, requestId: null, isNetwork: false };
  const { $metadata, code } = error as { $metadata?: { httpStatusCode?: number; requestId?: string }; code?: unknown };
  return {
    name: error.name,
    status: $metadata?.httpStatusCode,
    requestId: $metadata?.requestId ?? null,
    isNetwork: typeof code === 'string' && /^(E[A-Z]+|UND_ERR_.*|ERR_TLS_.*|CERT_.*)$/.test(code),
  };
}
