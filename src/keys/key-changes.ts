/**
 * Changes of keys that exist: another root key around a wrapped key, and the rows of a mailbox key's rotation.
 *
 * KC1  A wrapping takes the place of another only after it was unwrapped and gave the same key. One row, one
 *      transaction, durable; a failure leaves the old one as it was.
 * KC2  How far a change has come is in the rows alone: which root key wraps each key, and which epochs are
 *      retiring. So a change that was cut short goes on from there.
 * KC3  A retiring key is removed when the caller has said that nothing is under it any more, and not before.
 *
 * Made by key-service.ts; called by mailbox/rotate.ts and jobs/.
 */
import { ServerError } from '../base/errors.ts';
import { epoch, type Epoch, type MailboxId, type OrganizationId } from '../base/ids.ts';
import { encryptionContext } from '../crypto/context.ts';
import { packKey } from '../crypto/packed-key.ts';
import type { SecretBytes } from '../crypto/secret-bytes.ts';
import type { KeyUse } from './audit-log.ts';
import type { MailboxRef, NewWrappedKey, WrappedKeyRow, WrappedKeys } from './mailbox-keys.ts';
import type { SecondRootKey, SecondWrapping } from './second-wrappings.ts';
import type { ProviderCall, ProviderCalls } from './provider-calls.ts';
import type { ProviderKind, RootKeyDescription } from './provider.ts';

export type RootKeyName = Readonly<{ provider: ProviderKind; rootKey: string }>;
/** A root key that may serve, under its full name. */
export type RootKeyTarget = RootKeyName & Pick<RootKeyDescription, 'isNewest'>;
/** How far a change of keys is, as operators see it. Times are durations. */
export type KeyChangeState = Readonly<{
  id: string;
  kind: 'move' | 'rotate' | 'second' | 'verify';
  organization: OrganizationId;
  /** Null for all keys of the organization. */
  mailbox: MailboxId | null;
  state: 'running' | 'done' | 'failed';
  unit: 'keys' | 'messages' | 'mailboxes';
  doneCount: number;
  totalCount: number;
  /** Message keys that were wrapped anew. */
  messagesCount: number;
  /** It took up what an earlier run had begun, and does no more than that. */
  isResumed: boolean;
  elapsedMs: number;
  ratePerSecond: number;
  /** Null while it cannot be told. */
  remainingMs: number | null;
  /** Why it failed, in the operator's words. */
  failure: string | null;
}>;
type ChangeOptions = Readonly<{ use: KeyUse; signal?: AbortSignal | undefined }>;
type KeyId = Pick<WrappedKeyRow, 'organization' | 'owner' | 'epoch'>;
type KeyChangesDeps = Readonly<{
  rows: WrappedKeys;
  calls: ProviderCalls;
  /** A fresh key of one mailbox and epoch, wrapped. */
  createKey(
    ref: MailboxRef,
    of: RootKeyName & Readonly<{ epoch: Epoch }>,
    options: ChangeOptions,
  ): Promise<NewWrappedKey>;
  /** By the root key of the row. The caller disposes the key. */
  unwrap(row: WrappedKeyRow, options: ChangeOptions): Promise<SecretBytes>;
  /** By the second root key where the first has lost it. The caller disposes the key. */
  unwrapEither(row: WrappedKeyRow, options: ChangeOptions): Promise<SecretBytes>;
}>;

export class KeyChanges {
  readonly #deps: KeyChangesDeps;

  constructor(deps: KeyChangesDeps) {
    this.#deps = deps;
  }

  /** Checks that a root key may serve (W2). Throws ServerError 'key-*'. */
  async target({ provider, rootKey }: RootKeyName, { use, signal }: ChangeOptions): Promise<RootKeyTarget> {
    const call: ProviderCall = { operation: 'DescribeKey', provider, rootKey, use };
    const { calls } = this.#deps;
    const described = await calls.run(call, (port, tried) => port.describe(rootKey, tried.signal), signal);
    const { rootKey: fullName, isNewest } = described;
    return { provider, rootKey: fullName, ...(isNewest ? { isNewest } : {}) };
  }

  /** The keys of an organization that another root key than `target` wraps, or an older version of it. */
  unmoved(organization: OrganizationId, target: RootKeyTarget): readonly WrappedKeyRow[] {
    const isMoved = (row: WrappedKeyRow): boolean => isUnder(row, target) && (target.isNewest?.(row.wrapped) ?? true);
    return this.#deps.rows.list(organization).filter((row) => !isMoved(row));
  }

  /**
   * Has `target` wrap the key of `row`, and replaces the row (KC1); durable when it resolves. A row that was removed or
   * replaced meanwhile stays so. Throws ServerError 'key-*'; 'key-mismatch' where the new wrapping gave another key.
   */
  async move(row: WrappedKeyRow, target: RootKeyTarget, options: ChangeOptions): Promise<void> {
    using key = await this.#deps.unwrapEither(row, options);
    const moved = { ...row, ...(await this.#rewrap(row, { target, key }, options)) };
    using again = await this.#deps.unwrap(moved, options);
    if (!key.equals(again)) throw anotherKey(moved);
    await this.#deps.rows.replace(row, moved);
  }

  /** The keys of an organization that a second root key does not wrap yet. */
  lackingSecond(organization: OrganizationId, target: SecondRootKey): readonly WrappedKeyRow[] {
    const { rows } = this.#deps;
    const found = rows.second.lacking(organization, target).map((id) => rows.find(id.organization, id.owner, id.epoch));
    return found.filter((row) => row !== null);
  }

  /** Has the second root key wrap the key of `row` too (KC1); durable when it resolves. Throws as `move`. */
  async addSecond(row: WrappedKeyRow, target: SecondRootKey, options: ChangeOptions): Promise<void> {
    using key = await this.#deps.unwrap(row, options);
    const second = await this.wrap(row, { key, target }, options);
    using again = await this.#deps.unwrap({ ...row, ...second }, options);
    if (!key.equals(again)) throw anotherKey({ ...row, ...second });
    await this.#deps.rows.storeSecond(row, second);
  }

  /**
   * Opens a key, as it is wrapped now, under each root key that wraps it, and compares; one that is gone is passed over.
   * Throws ServerError 'key-*'; 'key-mismatch' where the two are not the same.
   */
  async verify({ organization, owner, epoch: of }: KeyId, options: ChangeOptions): Promise<void> {
    const row = this.#deps.rows.find(organization, owner, of);
    if (!row) return;
    using key = await this.#deps.unwrap(row, options);
    const second = this.#deps.rows.second.find(row);
    if (!second) return;
    using again = await this.#deps.unwrap({ ...row, ...second }, options);
    if (!key.equals(again)) throw anotherKey({ ...row, ...second });
  }

  /** Unwraps a key of a backup. The caller disposes it. Throws ServerError 'key-*'. */
  unwrapStored(row: WrappedKeyRow, options: ChangeOptions): Promise<SecretBytes> {
    return this.#deps.unwrap(row, options);
  }

  /** All keys of an organization. */
  rows(organization: OrganizationId): readonly WrappedKeyRow[] {
    return this.#deps.rows.list(organization);
  }

  /** The second root key of an organization; null where it has none. */
  secondRootKey(organization: OrganizationId): SecondRootKey | null {
    return this.#deps.rows.second.rootKey(organization);
  }

  /** From now on new keys are under this second root key too; durable when it resolves. */
  setSecondRootKey(organization: OrganizationId, target: SecondRootKey): Promise<void> {
    return this.#deps.rows.second.setRootKey(organization, target);
  }

  /** Removes the second root key, and all that it wraps; durable when it resolves. Gives how many keys that were. */
  removeSecondRootKey(organization: OrganizationId): Promise<number> {
    return this.#deps.rows.second.removeAll(organization);
  }

  /** Has `target` wrap `key`, which stays the caller's. Throws ServerError 'key-*'. */
  async wrap(
    { organization, owner, epoch: of }: KeyId,
    { key, target }: Readonly<{ key: SecretBytes; target: RootKeyName }>,
    { use, signal }: ChangeOptions,
  ): Promise<SecondWrapping> {
    const { provider, rootKey } = target;
    using packed = packKey({ owner, epoch: of }, key);
    const context = encryptionContext(organization, owner);
    const made = await this.#deps.calls.run(
      { operation: 'Encrypt', organization, owner, provider, rootKey, use },
      (port, tried) => port.wrap(rootKey, packed, { context, ...tried }),
      signal,
    );
    return { provider, rootKey: made.rootKey, wrapped: made.wrapped };
  }

  /**
   * Gives a mailbox a new epoch, with a fresh key under `rootKey`, and has the older ones retire; while some retire
   * already, the rotation that was begun goes on. Durable when it resolves. Throws ServerError 'key-*', 'not-found'.
   */
  async beginRotation(ref: MailboxRef, rootKey: RootKeyName, options: ChangeOptions): Promise<Epoch> {
    const { rows, createKey } = this.#deps;
    const all = rows.epochs(ref);
    const newest = all.at(-1);
    if (newest?.state === 'active' && all.length > 1) return newest.epoch;
    const next = epoch((newest?.epoch ?? 0) + 1);
    await rows.advance(await createKey(ref, { ...rootKey, epoch: next }, options));
    return next;
  }

  /** Removes the keys of all older epochs for good (KC3); durable when it resolves. */
  endRotation(ref: MailboxRef, newest: Epoch): Promise<void> {
    return this.#deps.rows.removeOlder(ref, newest);
  }

  /** Has all mailbox keys of an organization retire, so that each is to be rotated; durable when it resolves. */
  retireMailboxKeys(organization: OrganizationId): Promise<void> {
    return this.#deps.rows.retireMailboxKeys(organization);
  }

  /** The mailboxes that have a retiring key. */
  rotating(organization: OrganizationId): readonly MailboxId[] {
    return this.#deps.rows.rotating(organization);
  }

  /** By the service itself where it can, so that it does not show the key; otherwise from our hands. */
  async #rewrap(
    row: WrappedKeyRow,
    to: Readonly<{ target: RootKeyName; key: SecretBytes }>,
    { use, signal }: ChangeOptions,
  ): Promise<RootKeyName & Readonly<{ wrapped: Uint8Array }>> {
    const { organization, owner } = row;
    const { provider, rootKey } = to.target;
    const context = encryptionContext(organization, owner);
    const scope = { organization, owner, provider, rootKey, use };
    const { calls } = this.#deps;
    if (row.provider === provider && calls.canRewrap(provider)) {
      const keys = { from: row.rootKey, to: rootKey };
      try {
        const moved = await calls.run(
          { operation: 'ReEncrypt', ...scope },
          (port, tried) => port.rewrap?.(row.wrapped, keys, { context, ...tried }) ?? cannotRewrap(),
          signal,
        );
        return { provider, rootKey: moved.rootKey, wrapped: moved.wrapped };
      } catch (error) {
        const isLost = error instanceof ServerError && ['key-lost', 'key-mismatch'].includes(error.code);
        if (!isLost || !this.#deps.rows.second.find(row)) throw error; // else the second root key gave it to us
      }
    }
    return this.wrap(row, to, { use, signal });
  }
}

function isUnder(row: WrappedKeyRow, target: RootKeyName): boolean {
  return row.provider === target.provider && row.rootKey === target.rootKey;
}

function anotherKey({ provider, rootKey, organization, owner }: WrappedKeyRow): ServerError {
  return new ServerError('key-mismatch', {
    clientText: 'The key service gave back another key than it was given',
    detail: `${provider} ${rootKey} unwraps another key of ${organization}/${owner}`,
  });
}

function cannotRewrap(): never {
  throw new TypeError('this provider cannot rewrap');
}
