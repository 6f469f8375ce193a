/**
 * Mailbox keys that are in a backup and may be in the directory no more: leased as those of key-service.ts are, from the
 * rows that the backup's copy of the directory holds.
 *
 * SK1  A key is unwrapped by its root key, under a grant, with an entry in the audit, and leased for a minute at most.
 * SK2  All are zeroed when this is disposed and the last lease has ended.
 *
 * Called by restore-mailbox.ts and verify.ts.
 */
import { ServerError } from '../base/errors.ts';
import { epoch, organizationId, type Epoch } from '../base/ids.ts';
import { keyOwner } from '../crypto/context.ts';
import { deriveMailboxKeys, type MailboxKeys } from '../crypto/derive.ts';
import { MailboxKeyCache } from '../keys/mailbox-key-cache.ts';
import type { KeyService, KeyUse } from '../keys/key-service.ts';
import type { MailboxKeyLease, MailboxRef, WrappedKeyRow } from '../keys/mailbox-keys.ts';
import type { ProviderKind } from '../keys/provider.ts';

export type StoredKey = Readonly<{
  organization: string;
  owner: string;
  epoch: number;
  provider: ProviderKind;
  root_key: string;
  wrapped: Uint8Array;
}>;
type LeaseOptions = Readonly<{ use: KeyUse; epoch?: Epoch; signal?: AbortSignal }>;

/** Rows of a copied directory, as `StoredKey`. */
export const STORED_KEYS = `SELECT organization, owner, epoch, provider, root_key, wrapped FROM wrapped_keys
  ORDER BY organization, owner, epoch`;
const MAX_AGE_MS = 60_000;

export function toRow(key: StoredKey): WrappedKeyRow {
  return {
    organization: organizationId(key.organization),
    owner: keyOwner(key.owner),
    epoch: epoch(key.epoch),
    provider: key.provider,
    rootKey: key.root_key,
    wrapped: key.wrapped,
    sealedPublic: null,
    state: 'active',
    createdAtMs: 0,
  };
}

export class StoredKeys implements Disposable {
  readonly #keys: KeyService;
  readonly #rows: readonly WrappedKeyRow[];
  readonly #cache = new MailboxKeyCache(
    { nowMs: () => performance.now(), isTransient: () => false },
    { maxAgeMs: MAX_AGE_MS, graceMs: 0, maxLeases: 1_000_000, maxEntries: 100 },
  );

  constructor(keys: KeyService, rows: readonly StoredKey[]) {
    this.#keys = keys;
    this.#rows = rows.map(toRow);
    this.#keys.onRefusal((organization) => {
      this.#cache.revoke((id) => id.startsWith(`${organization}/`));
    });
  }

  /** As `KeyService.leaseMailbox`. Throws ServerError 'key-*', 'not-found'. */
  async leaseMailbox({ organization, mailbox }: MailboxRef, options: LeaseOptions): Promise<MailboxKeyLease> {
    const rows = this.#rows.filter((row) => row.organization === organization && row.owner === mailbox);
    const row = options.epoch === undefined ? rows.at(-1) : rows.find(({ epoch: of }) => of === options.epoch);
    if (!row) {
      throw new ServerError('not-found', { clientText: 'The backup has no key of this mailbox and epoch.' });
    }
    const { use, signal } = options;
    const unwrap = async (): Promise<MailboxKeys> => {
      using key = await this.#keys.changes.unwrapStored(row, { use, signal });
      return deriveMailboxKeys(key, { organization, mailbox, epoch: row.epoch });
    };
    const lease = await this.#cache.lease(`${organization}/${mailbox}/${String(row.epoch)}`, unwrap, signal);
    return {
      keys: lease.keys,
      epoch: row.epoch,
      isCurrent: () => lease.isCurrent(),
      [Symbol.dispose]: () => {
        lease[Symbol.dispose]();
      },
    };
  }

  [Symbol.dispose](): void {
    this.#cache.revoke(() => true);
  }
}
