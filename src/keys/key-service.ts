/**
 * Key service: the one way to a key. It makes, wraps, leases and forgets mailbox keys, directory keys and transit keys,
 * and asks the key providers on everyone's behalf.
 *
 * KS1  An unwrapped mailbox key is leased for at most `cacheMaxAgeMs` (never more than 60 s) after the
 *      provider's answer, on a monotonic clock, and is then zeroed without being asked for again (W6).
 * KS2  A directory key is leased longer, up to `directoryKeyGraceMs`, but only while the provider is merely
 *      unreachable.
 * KS3  A hard refusal (disabled, denied, key gone) or a revoked grant purges every key of the organization at once.
 * KS4  Tries are few and bounded in time, and a root key that failed is left alone for a while (provider-calls.ts).
 * KS5  Every call to a provider is in the audit, with its outcome (W10), and needs a grant (W9), but for DescribeKey
 *      and for those that make and revoke grants.
 * KS6  What a provider unwraps names its owner and epoch; another one's key is refused (packed-key.ts).
 * KS7  Every failure leaves as a ServerError: key-unavailable (retryable), key-refused, key-lost,
 *      key-mismatch, key-unsuitable, suspended; or as the caller's own `signal.reason`.
 * KS8  No key of a suspended mailbox, or of any mailbox of a suspended organization, is unwrapped to be leased. With
 *      `forget` or `forgetMailbox` at its suspension, none is leased; so it is with the transit key of a suspended
 *      organization. The directory key stays: administration needs it.
 * KS9  A wrapped key that did not open is not tried again for `DAMAGED_PAUSE_MS`: a polling client is no storm.
 * KS10 Where an organization has a second root key, it opens what the first one cannot for want of an answer, or because
 *      it is gone or the wrapping is damaged. A refusal is not got round: who takes the first key away locks the mail.
 *
 * Called by mailbox/, accounts/, delivery/ and admin/.
 */
import { ServerError } from '../base/errors.ts';
import { epoch, type Epoch, type OrganizationId } from '../base/ids.ts';
import { encryptionContext, type KeyOwner, type PairOwner } from '../crypto/context.ts';
import { deriveMailboxKeys, type MailboxKeys } from '../crypto/derive.ts';
import { publicKeyOf } from '../crypto/key-pair.ts';
import { PACKED_KEY_BYTES, unpackKey } from '../crypto/packed-key.ts';
import { openRecord, sealRecord } from '../crypto/record.ts';
import { SecretBytes } from '../crypto/secret-bytes.ts';
import type { Database } from '../db/database.ts';
import type { AuditLog, KeyUse } from './audit-log.ts';
import { GrantService } from './grant-service.ts';
import { Grants } from './grants.ts';
import { KeyChanges } from './key-changes.ts';
import type { CallCounts } from './key-metrics.ts';
import { MailboxKeyCache } from './mailbox-key-cache.ts';
import {
  WrappedKeys,
  type DestroyedKey,
  type MailboxKeyLease,
  type MailboxRef,
  type NewWrappedKey,
  type WrappedKeyRow,
} from './mailbox-keys.ts';
import { ProviderCalls, type ProviderCall } from './provider-calls.ts';
import { KeyProviderError, type KeyProvider, type ProviderKind } from './provider.ts';

export type { KeyUse } from './audit-log.ts';

type KeyServiceLimits = Readonly<{
  /** 1 to 60,000. */
  cacheMaxAgeMs: number;
  cacheMaxEntriesCount: number;
  cacheMaxLeasesCount: number;
  directoryKeyGraceMs: number;
  /** For one call to a provider, its second try included. */
  callBudgetMs: number;
}>;
type KeyServiceDeps = Readonly<{
  db: Database;
  providers: readonly KeyProvider[];
  audit: AuditLog;
  limits: KeyServiceLimits;
  /** Monotonic. Tests replace it; so the next two. */
  nowMs?: () => number;
  wallClockMs?: () => number;
  /** 0 <= n < 1. */
  random?: () => number;
}>;
type KeyScope = Readonly<{ organization: OrganizationId; owner: KeyOwner }>;
type LeaseOptions = Readonly<{ use: KeyUse; signal?: AbortSignal }>;
type PairKeyRef = Readonly<{ organization: OrganizationId; mailbox: PairOwner; epoch: Epoch }>;
/** A wrapped key as the command line lists it. */
type ListedKey = Omit<WrappedKeyRow, 'wrapped' | 'sealedPublic'>;

type CacheCounts = Readonly<{ hitsCount: number; missesCount: number }>;
type KeyServiceMetrics = CallCounts & Readonly<{ mailboxKeyCache: CacheCounts; directoryKeyCache: CacheCounts }>;

const MAX_CACHE_AGE_MS = 60_000;
const FIRST_EPOCH = epoch(1);
const DAMAGED_PAUSE_MS = 30_000;
const DAMAGED_MAX_COUNT = 10_000;
const MAILBOX_KEY_BYTES = 32;
/** Failures of the first root key that the second makes good (KS10). */
const MISSED: ReadonlySet<string> = new Set(['key-unavailable', 'key-lost', 'key-mismatch']);

export class KeyService {
  readonly grants: GrantService;
  /** Changes of keys that exist. */
  readonly changes: KeyChanges;
  readonly #rows: WrappedKeys;
  readonly #calls: ProviderCalls;
  readonly #limits: KeyServiceLimits;
  readonly #nowMs: () => number;
  readonly #wallClockMs: () => number;
  readonly #mailboxKeys: MailboxKeyCache;
  readonly #directoryKeys: MailboxKeyCache;
  readonly #refusalListeners: ((organization: OrganizationId) => void)[] = [];
  /** Wrapped keys that did not open, by cache id. */
  readonly #damaged = new Map<string, Readonly<{ error: ServerError; untilMs: number }>>();
  #sweepTimer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(deps: KeyServiceDeps) {
    const { limits } = deps;
    if (!(limits.cacheMaxAgeMs >= 1 && limits.cacheMaxAgeMs <= MAX_CACHE_AGE_MS)) {
      throw new TypeError('mailbox keys are cached for 1 to 60,000 ms');
    }
    this.#rows = new WrappedKeys(deps.db);
    const grants = new Grants(deps.db);
    this.#limits = limits;
    this.#nowMs = deps.nowMs ?? (() => performance.now());
    this.#wallClockMs = deps.wallClockMs ?? (() => Date.now());
    this.#calls = new ProviderCalls({
      providers: deps.providers,
      grants,
      audit: deps.audit,
      callBudgetMs: limits.callBudgetMs,
      onRefusal: (organization) => {
        this.forget(organization);
        for (const listener of this.#refusalListeners) listener(organization);
      },
      nowMs: this.#nowMs,
      wallClockMs: this.#wallClockMs,
      random: deps.random ?? (() => Math.random()),
    });
    this.grants = new GrantService({
      db: deps.db,
      grants,
      calls: this.#calls,
      onRevoked: (organization) => {
        this.forget(organization);
      },
      wallClockMs: this.#wallClockMs,
    });
    this.changes = new KeyChanges({
      rows: this.#rows,
      calls: this.#calls,
      createKey: ({ organization, mailbox }, of, { use, signal }) =>
        this.createKey({ organization, owner: mailbox, ...of }, use, signal),
      unwrap: (row, { use, signal }) => this.#unwrapRow(row, use, signal),
      unwrapEither: (row, { use, signal }) => this.#unwrapEither(row, use, signal),
    });
    const cache = (graceMs: number): MailboxKeyCache =>
      new MailboxKeyCache(
        {
          nowMs: this.#nowMs,
          isTransient: (error) => error instanceof ServerError && error.code === 'key-unavailable',
        },
        {
          maxAgeMs: limits.cacheMaxAgeMs,
          graceMs,
          maxLeases: limits.cacheMaxLeasesCount,
          maxEntries: limits.cacheMaxEntriesCount,
        },
      );
    this.#mailboxKeys = cache(0);
    this.#directoryKeys = cache(limits.directoryKeyGraceMs);
  }

  /**
   * Checks that a root key may serve (W2) and gives its full name.
   * Throws ServerError 'key-unsuitable', 'key-unavailable', 'key-refused', 'key-lost'.
   */
  async checkRootKey(provider: ProviderKind, rootKey: string, use: KeyUse, signal?: AbortSignal): Promise<string> {
    const call: ProviderCall = { operation: 'DescribeKey', provider, rootKey, use };
    const described = await this.#calls.run(call, (port, tried) => port.describe(rootKey, tried.signal), signal);
    return described.rootKey;
  }

  /** Makes a fresh key, of the first epoch unless said otherwise, and has it wrapped; the caller stores it with `insertKey`. Throws ServerError 'key-*' (KS7). */
  async createKey(
    request: KeyScope & Readonly<{ provider: ProviderKind; rootKey: string; epoch?: Epoch }>,
    use: KeyUse,
    signal?: AbortSignal,
  ): Promise<NewWrappedKey> {
    const { organization, owner, provider, rootKey, epoch: of = FIRST_EPOCH } = request;
    using key = SecretBytes.random(MAILBOX_KEY_BYTES);
    const id = { organization, owner, epoch: of };
    const second = this.#rows.second.rootKey(organization);
    return {
      ...id,
      ...(await this.changes.wrap(id, { key, target: { provider, rootKey } }, { use, signal })),
      second: second && (await this.changes.wrap(id, { key, target: second }, { use, signal })),
      sealedPublic: await this.#sealedPublic({ organization, owner, epoch: of }, key, use),
      state: 'active',
      createdAtMs: this.#wallClockMs(),
    };
  }

  /**
   * The public half of a mailbox key's pair. It needs the directory key only, which outlasts an outage (KS2).
   * Throws ServerError 'key-*' (KS7), 'not-found' without a key, 'content-damaged'.
   */
  publicKey(ref: MailboxRef & Readonly<{ epoch: Epoch }>, options: LeaseOptions): Promise<Uint8Array> {
    return this.#publicKey(ref, options);
  }

  /** As `publicKey`, of an organization's transit key. */
  publicTransitKey(
    of: Readonly<{ organization: OrganizationId; epoch: Epoch }>,
    options: LeaseOptions,
  ): Promise<Uint8Array> {
    return this.#publicKey({ ...of, mailbox: 'transit' }, options);
  }

  async #publicKey(ref: PairKeyRef, options: LeaseOptions): Promise<Uint8Array> {
    const { organization, mailbox, epoch: keyEpoch } = ref;
    const row = this.#rows.find(organization, mailbox, keyEpoch);
    if (!row) throw noKey({ organization, owner: mailbox });
    if (!row.sealedPublic) {
      const detail = `the key of ${organization}/${mailbox} was made without a public half`;
      throw new ServerError('key-unavailable', { clientText: 'The key cannot be had', detail, retryable: true });
    }
    using lease = await this.leaseDirectory(organization, options);
    const context = { kind: 'public-key', organization, epoch: lease.epoch, mailbox, keyEpoch } as const;
    return openRecord(lease.keys.record, context, row.sealedPublic);
  }

  /** The newest key's public half and epoch; null where a mailbox has none. Throws ServerError as `publicKey`. */
  async newestPublicKey(
    { organization, mailbox }: MailboxRef,
    options: LeaseOptions,
  ): Promise<Readonly<{ epoch: Epoch; publicKey: Uint8Array }> | null> {
    const newest = this.#rows.epochs({ organization, mailbox }).at(-1);
    if (!newest?.sealedPublic) return null;
    const { epoch: of } = newest;
    return { epoch: of, publicKey: await this.publicKey({ organization, mailbox, epoch: of }, options) };
  }

  /** Whether the key of an epoch is still there. */
  hasKey({ organization, mailbox, epoch: of }: MailboxRef & Readonly<{ epoch: Epoch }>): boolean {
    return this.#rows.find(organization, mailbox, of) !== null;
  }

  /** Stores a created key, inside the caller's transaction. */
  insertKey(row: NewWrappedKey): void {
    this.#rows.insert(row);
  }

  /** Leases a mailbox's newest key, or that of `epoch`. Throws ServerError 'key-*' (KS7), 'not-found' without a key. */
  leaseMailbox(ref: MailboxRef, options: LeaseOptions & Readonly<{ epoch?: Epoch }>): Promise<MailboxKeyLease> {
    return this.#lease(this.#mailboxKeys, { organization: ref.organization, owner: ref.mailbox }, options);
  }

  /** Leases an organization's directory key (KS2). Throws ServerError 'key-*' (KS7), 'not-found' without a key. */
  leaseDirectory(organization: OrganizationId, options: LeaseOptions): Promise<MailboxKeyLease> {
    return this.#lease(this.#directoryKeys, { organization, owner: 'directory' }, options);
  }

  /** Leases an organization's transit key of one epoch, as a mailbox key (KS1). Throws ServerError 'key-*' (KS7), 'not-found'. */
  leaseTransit(
    organization: OrganizationId,
    options: LeaseOptions & Readonly<{ epoch: Epoch }>,
  ): Promise<MailboxKeyLease> {
    return this.#lease(this.#mailboxKeys, { organization, owner: 'transit' }, options);
  }

  /** The epoch that new mail is sealed under in the queue; null where the organization has no transit key yet. */
  transitEpoch(organization: OrganizationId): Epoch | null {
    return this.#rows.activeEpoch(organization, 'transit');
  }

  /** Calls `listener` whenever the keys of an organization were refused, and are purged for it (KS3). */
  onRefusal(listener: (organization: OrganizationId) => void): void {
    this.#refusalListeners.push(listener);
  }

  /** Purges all cached keys of an organization; leases that are open run out by themselves. */
  forget(organization: OrganizationId): void {
    this.#rows.forgetEpochs();
    const matches = (id: string): boolean => id.startsWith(`${organization}/`);
    this.#mailboxKeys.revoke(matches);
    this.#directoryKeys.revoke(matches);
  }

  /** Purges the cached keys of one mailbox; leases that are open run out by themselves. */
  forgetMailbox({ organization, mailbox }: MailboxRef): void {
    this.#rows.forgetEpochs();
    this.#mailboxKeys.revoke((id) => id.startsWith(`${organization}/${mailbox}/`));
  }

  /**
   * Removes the wrapped keys of a mailbox for good, all epochs, and the cached ones; inside the caller's transaction.
   * The caller has the log of the database truncated.
   */
  deleteMailboxKeys(ref: MailboxRef): readonly DestroyedKey[] {
    const destroyed = this.#rows.remove(ref.organization, ref.mailbox);
    this.forgetMailbox(ref);
    return destroyed;
  }

  /** As `deleteMailboxKeys`, for every key of an organization, the directory key included. */
  deleteOrganizationKeys(organization: OrganizationId): readonly DestroyedKey[] {
    const destroyed = this.#rows.remove(organization);
    this.forget(organization);
    return destroyed;
  }

  /** Asks paused root keys again at once: an operator has changed something. */
  retryNow(): void {
    this.#damaged.clear();
    this.#calls.resumeAll();
  }

  listKeys(organization?: OrganizationId): ListedKey[] {
    return this.#rows.list(organization).map((row) => ({
      organization: row.organization,
      owner: row.owner,
      epoch: row.epoch,
      provider: row.provider,
      rootKey: row.rootKey,
      state: row.state,
      createdAtMs: row.createdAtMs,
    }));
  }

  cacheState(): Readonly<{ mailboxKeysCount: number; directoryKeysCount: number }> {
    return { mailboxKeysCount: this.#mailboxKeys.sizeCount, directoryKeysCount: this.#directoryKeys.sizeCount };
  }

  /** Counters since the start of the process. */
  metrics(): KeyServiceMetrics {
    return {
      ...this.#calls.metrics.counts(),
      mailboxKeyCache: this.#mailboxKeys.counts,
      directoryKeyCache: this.#directoryKeys.counts,
    };
  }

  /** Zeroes what is too old. It runs by itself when a key is due (KS1). */
  sweep(): void {
    const dueMs = [this.#mailboxKeys.sweep(), this.#directoryKeys.sweep()].filter((ms) => ms !== null);
    if (this.#sweepTimer) clearTimeout(this.#sweepTimer);
    this.#sweepTimer = null;
    if (dueMs.length > 0 && !this.#closed) this.#sweepAfter(Math.min(...dueMs));
  }

  /** Zeroes every key that is not on loan, and the others when they are given back. */
  close(): void {
    this.#closed = true;
    this.#mailboxKeys.revoke(() => true);
    this.#directoryKeys.revoke(() => true);
    if (this.#sweepTimer) clearTimeout(this.#sweepTimer);
    this.#sweepTimer = null;
    this.#calls.close();
  }

  async #lease(
    cache: MailboxKeyCache,
    scope: KeyScope,
    options: LeaseOptions & Readonly<{ epoch?: Epoch }>,
  ): Promise<MailboxKeyLease> {
    const wanted = options.epoch ?? this.#rows.activeEpoch(scope.organization, scope.owner);
    if (wanted === null) throw noKey(scope);
    const id = `${scope.organization}/${scope.owner}/${String(wanted)}`;
    const { use, signal } = options;
    const unwrap = (): Promise<MailboxKeys> => this.#notHot(id, () => this.#unwrap({ ...scope, epoch: wanted }, use));
    const lease = await cache.lease(id, unwrap, signal);
    return {
      keys: lease.keys,
      epoch: wanted,
      isCurrent: () => lease.isCurrent(),
      [Symbol.dispose]: () => {
        lease[Symbol.dispose]();
      },
    };
  }

  /** KS9: `work`, unless it found the same key damaged a moment ago. */
  async #notHot(id: string, work: () => Promise<MailboxKeys>): Promise<MailboxKeys> {
    const known = this.#damaged.get(id);
    if (known && this.#nowMs() < known.untilMs) throw known.error;
    this.#damaged.delete(id);
    try {
      return await work();
    } catch (error) {
      if (error instanceof ServerError && error.code === 'key-mismatch') {
        if (this.#damaged.size >= DAMAGED_MAX_COUNT) this.#damaged.clear();
        this.#damaged.set(id, { error, untilMs: this.#nowMs() + DAMAGED_PAUSE_MS });
      }
      throw error;
    }
  }

  async #unwrap(scope: KeyScope & Readonly<{ epoch: Epoch }>, use: KeyUse): Promise<MailboxKeys> {
    if (this.#closed) throw new ServerError('shutting-down', { clientText: 'The server is shutting down' });
    const { organization, owner } = scope;
    const isSuspended =
      owner === 'transit'
        ? this.#rows.isOrganizationSuspended(organization)
        : owner !== 'directory' && this.#rows.isSuspended({ organization, mailbox: owner });
    if (isSuspended) throw suspended(scope); // KS8
    const row = this.#rows.find(organization, owner, scope.epoch);
    if (!row) throw noKey(scope);
    using key = await this.#unwrapEither(row, use);
    this.#sweepAfter(this.#limits.cacheMaxAgeMs);
    return deriveMailboxKeys(key, { organization, mailbox: owner, epoch: scope.epoch });
  }

  /** Null for the directory key, and where there is none to seal with. */
  async #sealedPublic(
    scope: KeyScope & Readonly<{ epoch: Epoch }>,
    key: SecretBytes,
    use: KeyUse,
  ): Promise<Uint8Array | null> {
    const { organization, owner: mailbox, epoch: keyEpoch } = scope;
    if (mailbox === 'directory' || this.#rows.activeEpoch(organization, 'directory') === null) return null;
    using keys = deriveMailboxKeys(key, { organization, mailbox, epoch: keyEpoch });
    const publicKey = await publicKeyOf(keys.pairSeed);
    using lease = await this.leaseDirectory(organization, { use });
    const context = { kind: 'public-key', organization, epoch: lease.epoch, mailbox, keyEpoch } as const;
    return sealRecord(lease.keys.record, context, publicKey);
  }

  /** KS10. */
  async #unwrapEither(row: WrappedKeyRow, use: KeyUse, signal?: AbortSignal): Promise<SecretBytes> {
    try {
      return await this.#unwrapRow(row, use, signal);
    } catch (error) {
      const isMissed = error instanceof ServerError && MISSED.has(error.code);
      const second = isMissed ? this.#rows.second.find(row) : null;
      if (!second) throw error;
      return await this.#unwrapRow({ ...row, ...second }, use, signal);
    }
  }

  async #unwrapRow(row: WrappedKeyRow, use: KeyUse, signal?: AbortSignal): Promise<SecretBytes> {
    const { organization, owner, provider, rootKey } = row;
    const call: ProviderCall = { operation: 'Decrypt', organization, owner, provider, rootKey, use };
    return (await this.#calls.run(call, (port, tried) => unwrapRow(port, row, tried), signal)).key;
  }

  #sweepAfter(ms: number): void {
    this.#sweepTimer ??= setTimeout(() => {
      this.sweep();
    }, Math.ceil(ms)).unref();
  }
}

async function unwrapRow(
  provider: KeyProvider,
  row: WrappedKeyRow,
  tried: Readonly<{ signal: AbortSignal; grantToken: string | undefined }>,
): Promise<{ key: SecretBytes; requestId: string | null }> {
  const { organization, owner, epoch: wanted, rootKey, wrapped } = row;
  const options = { context: encryptionContext(organization, owner), lengthBytes: PACKED_KEY_BYTES, ...tried };
  const answer = await provider.unwrap(rootKey, wrapped, options);
  using packed = answer.secret;
  tried.signal.throwIfAborted(); // nobody waits for a late answer: its secret goes here
  try {
    return { key: unpackKey({ owner, epoch: wanted }, packed), requestId: answer.requestId };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : 'unexpected content';
    throw new KeyProviderError('invalid-ciphertext', message, { cause, requestId: answer.requestId });
  }
}

function suspended(scope: KeyScope): ServerError {
  return new ServerError('suspended', {
    clientText: 'The mailbox is suspended',
    detail: `${scope.organization}/${scope.owner} is suspended`,
  });
}

function noKey(scope: KeyScope): ServerError {
  return new ServerError('not-found', {
    clientText: 'There is no such mailbox',
    detail: `no wrapped key for ${scope.organization}/${scope.owner}`,
  });
}
