/**
 * Calls to key providers: the one place that makes them, each with its grant, its second try, its pause and its audit.
 *
 * PC1  Encrypt, Decrypt and ReEncrypt are refused as 'denied' unless a grant of the organization is in force at that
 *      try, whether or not the provider has grants of its own (W9).
 * PC2  A call is tried at most twice, with full jitter, within `callBudgetMs` in all, and never again for a refusal or
 *      for damage. A paused root key (circuit-breaker.ts) is not called at all.
 * PC3  A denial pauses a root key for its own organization only: grants are of one organization.
 * PC4  What an operator asks for (DescribeKey, CreateGrant, RevokeGrant) is neither paused nor pauses anything, and its
 *      failure purges no key: a right that is missing to make a grant does not stop the mail.
 * PC5  Every try is in the audit and in the metrics, with its outcome; so is a call that was refused for want of a
 *      grant, at most once for each pause.
 *
 * Called by key-service.ts.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { raceAbort } from '../base/abort.ts';
import { ServerError, type ErrorCode } from '../base/errors.ts';
import type { OrganizationId } from '../base/ids.ts';
import { encryptionContext, type KeyOwner } from '../crypto/context.ts';
import type { AuditLog, KeyOperation, KeyUse } from './audit-log.ts';
import { CircuitBreaker, isRefusal, isTransientFailure } from './circuit-breaker.ts';
import type { Grants } from './grants.ts';
import { KeyMetrics } from './key-metrics.ts';
import { KeyProviderError, type KeyFailure, type KeyProvider, type ProviderKind } from './provider.ts';

type ProviderCallsDeps = Readonly<{
  providers: readonly KeyProvider[];
  grants: Grants;
  audit: AuditLog;
  /** For one call, its second try included. */
  callBudgetMs: number;
  /** A provider refuses the keys of this organization. */
  onRefusal(organization: OrganizationId): void;
  /** Monotonic. */
  nowMs(): number;
  wallClockMs(): number;
  /** 0 <= n < 1. */
  random(): number;
}>;

type Called = Readonly<{ provider: ProviderKind; rootKey: string; use: KeyUse }>;
/** A provider call, for the grant, the audit and errors. */
export type ProviderCall = Called &
  (
    | Readonly<{ operation: 'Encrypt' | 'Decrypt'; organization: OrganizationId; owner: KeyOwner }>
    /** Its root key is the one that wraps from then on. */
    | Readonly<{ operation: 'ReEncrypt'; organization: OrganizationId; owner: KeyOwner }>
    | Readonly<{ operation: 'DescribeKey' }>
    | Readonly<{ operation: 'CreateGrant' | 'RevokeGrant'; organization: OrganizationId; grant: string }>
  );
/** How one try is made. */
type Try = Readonly<{ signal: AbortSignal; grantToken: string | undefined }>;

const MAX_TRIES = 2;
/** Of the budget: a first try that hangs leaves room for a second one. */
const TRY_SHARE = 0.45;
const JITTER_SHARE = 0.08;
const REFUSAL_PAUSE_MS = 30_000;

export class ProviderCalls {
  readonly #deps: ProviderCallsDeps;
  readonly #providers: ReadonlyMap<ProviderKind, KeyProvider>;
  readonly #breaker: CircuitBreaker;
  readonly metrics = new KeyMetrics();

  constructor(deps: ProviderCallsDeps) {
    this.#deps = deps;
    this.#providers = new Map(deps.providers.map((provider) => [provider.kind, provider]));
    this.#breaker = new CircuitBreaker(deps.nowMs, REFUSAL_PAUSE_MS);
  }

  /** Makes one call. Throws ServerError key-*, with a KeyProviderError as its cause, or `signal.reason`. */
  async run<Answer extends Readonly<{ requestId: string | null }>>(
    call: ProviderCall,
    work: (provider: KeyProvider, tried: Try) => Promise<Answer>,
    signal?: AbortSignal,
  ): Promise<Answer> {
    const provider = this.#providers.get(call.provider);
    if (!provider) {
      const text = `the provider ${call.provider} is not configured`;
      throw failureError(call, new KeyProviderError('unsuitable', text, { fault: 'not-configured' }));
    }
    this.#throwIfPaused(call);
    const { callBudgetMs, nowMs, random } = this.#deps;
    const endMs = nowMs() + callBudgetMs;
    for (let tries = 1; ; tries += 1) {
      signal?.throwIfAborted();
      const grantToken = this.#grantToken(call);
      const timeout = AbortSignal.timeout(Math.ceil(callBudgetMs * TRY_SHARE));
      const tried = signal ? AbortSignal.any([signal, timeout]) : timeout;
      const startMs = nowMs();
      try {
        const answer = await raceAbort(work(provider, { signal: tried, grantToken }), tried);
        this.#record(call, startMs, 'ok', answer.requestId);
        this.resume(call);
        return answer;
      } catch (error) {
        const failed = providerError(error, tried);
        if (failed === null) throw error;
        this.#record(call, startMs, failed.failure, failed.requestId);
        signal?.throwIfAborted(); // the caller left: that says nothing about the provider
        const pauseMs = random() * callBudgetMs * JITTER_SHARE;
        if (isTransientFailure(failed.failure) && tries < MAX_TRIES && nowMs() + pauseMs < endMs) {
          await raceAbort(delay(pauseMs), signal);
          continue;
        }
        this.#failed(call, failed.failure);
        throw failureError(call, failed);
      }
    }
  }

  /** Whether the provider moves a wrapping between its keys by itself. */
  canRewrap(provider: ProviderKind): boolean {
    return this.#providers.get(provider)?.rewrap !== undefined;
  }

  /** Ends every pause: an operator has changed something. */
  resumeAll(): void {
    this.#breaker.reset();
  }

  /** Ends the pauses that `scope` is under. */
  resume(scope: Readonly<{ provider: ProviderKind; rootKey: string; organization?: OrganizationId }>): void {
    for (const name of pauseNames(scope)) this.#breaker.succeeded(name);
  }

  close(): void {
    for (const provider of this.#providers.values()) provider.close();
  }

  #throwIfPaused(call: ProviderCall): void {
    if (isAdministration(call.operation)) return; // PC4
    for (const name of pauseNames(call)) {
      const paused = this.#breaker.paused(name);
      if (!paused) continue;
      this.metrics.paused();
      throw failureError(call, new KeyProviderError(paused, 'not asked again so soon'));
    }
  }

  /** PC1. Throws ServerError 'key-refused' without a grant. */
  #grantToken(call: ProviderCall): string | undefined {
    if (!('owner' in call)) return undefined;
    const { organization, owner } = call;
    const operation = call.operation === 'ReEncrypt' ? 'ReEncryptTo' : call.operation;
    const atMs = this.#deps.wallClockMs();
    const context = encryptionContext(organization, owner);
    const permission = this.#deps.grants.permission(call, { operation, context, atMs });
    if (permission) return permission.token;
    this.metrics.ungranted();
    this.#audit(call, 'denied', null);
    this.#failed(call, 'denied');
    throw failureError(call, new KeyProviderError('denied', 'no grant is in force'));
  }

  #failed(call: ProviderCall, failure: KeyFailure): void {
    if (call.operation !== 'Encrypt' && call.operation !== 'Decrypt') return; // PC4
    const [keyName, organizationName] = pauseNames(call);
    this.#breaker.failed(failure === 'denied' ? organizationName : keyName, failure); // PC3
    if (isRefusal(failure)) this.#deps.onRefusal(call.organization);
  }

  #record(call: ProviderCall, startMs: number, outcome: 'ok' | KeyFailure, requestId: string | null): void {
    this.metrics.called(call.operation, this.#deps.nowMs() - startMs, outcome);
    this.#audit(call, outcome, requestId);
  }

  #audit(call: ProviderCall, outcome: 'ok' | KeyFailure, requestId: string | null): void {
    const { operation, provider, rootKey, use } = call;
    this.#deps.audit.append({
      atMs: this.#deps.wallClockMs(),
      operation,
      provider,
      rootKey,
      organization: 'organization' in call ? call.organization : null,
      owner: 'owner' in call ? call.owner : null,
      grant: 'grant' in call ? call.grant : null,
      requestId,
      use,
      outcome,
    });
  }
}

function isAdministration(operation: KeyOperation): boolean {
  return operation !== 'Encrypt' && operation !== 'Decrypt';
}

/** What a pause is of: the root key, and the root key for one organization (PC3). */
function pauseNames(
  scope: Readonly<{ provider: ProviderKind; rootKey: string; organization?: OrganizationId }>,
): [string, string] {
  const name = `${scope.provider} ${scope.rootKey}`;
  return [name, `${name} ${scope.organization ?? ''}`];
}

/** Null for what is no failure of a provider but a mistake of ours. */
function providerError(error: unknown, tried: AbortSignal): KeyProviderError | null {
  if (error instanceof KeyProviderError) return error;
  return tried.aborted ? new KeyProviderError('unreachable', 'no answer in time', { cause: error }) : null;
}

const FAILURES: Readonly<Record<KeyFailure, Readonly<{ code: ErrorCode; clientText: string }>>> = {
  unreachable: { code: 'key-unavailable', clientText: 'The key service cannot be reached, try again later' },
  throttled: { code: 'key-unavailable', clientText: 'The key service is busy, try again later' },
  internal: { code: 'key-unavailable', clientText: 'The key service failed, try again later' },
  'bad-answer': { code: 'key-unavailable', clientText: 'The key service failed, try again later' },
  disabled: { code: 'key-refused', clientText: 'The key of this organization is disabled' },
  denied: { code: 'key-refused', clientText: 'Access to the key of this organization is denied' },
  'not-found': { code: 'key-lost', clientText: 'The key of this organization does not exist' },
  'invalid-ciphertext': { code: 'key-mismatch', clientText: 'A stored key is damaged' },
  unsuitable: { code: 'key-unsuitable', clientText: 'This key cannot serve: a symmetric encryption key is needed' },
};

function failureError(call: ProviderCall, cause: KeyProviderError): ServerError {
  const { code, clientText } = FAILURES[cause.failure];
  const organization = 'organization' in call ? ` for ${call.organization}` : '';
  const owner = 'owner' in call ? `/${call.owner}` : '';
  return new ServerError(code, {
    clientText,
    detail: `${call.operation} with ${call.provider} ${call.rootKey}${organization}${owner}: ${cause.failure}: ${cause.message}`,
    retryable: code === 'key-unavailable',
    cause,
  });
}
