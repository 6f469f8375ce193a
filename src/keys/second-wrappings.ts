/**
 * Second wrappings: the same keys once more, under another root key, so that the loss of one root key loses nothing.
 *
 * SW1  A second wrapping goes with its key: it is removed when the key is, in the same transaction.
 * SW2  While an organization has a second root key, a new key is stored with both wrappings or not at all.
 *
 * Called by mailbox-keys.ts, key-service.ts and key-changes.ts.
 */
import { epoch, organizationId, type Epoch, type OrganizationId } from '../base/ids.ts';
import { keyOwner, type KeyOwner } from '../crypto/context.ts';
import type { Database } from '../db/database.ts';
import type { ProviderKind } from './provider.ts';

export type SecondRootKey = Readonly<{ provider: ProviderKind; rootKey: string }>;
export type SecondWrapping = SecondRootKey & Readonly<{ wrapped: Uint8Array }>;
type KeyId = Readonly<{ organization: OrganizationId; owner: KeyOwner; epoch: Epoch }>;

export class SecondWrappings {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The second root key of an organization; null where it has none. */
  rootKey(organization: OrganizationId): SecondRootKey | null {
    const sql = `SELECT second_provider AS provider, second_root_key AS rootKey FROM organizations
      WHERE id = ? AND second_root_key IS NOT NULL`;
    return this.#db.prepare<SecondRootKey>(sql).get(organization) ?? null;
  }

  /** From now on new keys have a second wrapping (SW2); durable when it resolves. */
  async setRootKey(organization: OrganizationId, { provider, rootKey }: SecondRootKey): Promise<void> {
    const sql = 'UPDATE organizations SET second_provider = ?, second_root_key = ? WHERE id = ?';
    this.#db.prepare(sql).run(provider, rootKey, organization);
    await this.#db.durable();
  }

  /** Removes the second root key and all second wrappings; durable when it resolves. Gives how many there were. */
  async removeAll(organization: OrganizationId): Promise<number> {
    const count = this.#db.transaction(() => {
      const clear = 'UPDATE organizations SET second_provider = NULL, second_root_key = NULL WHERE id = ?';
      this.#db.prepare(clear).run(organization);
      return this.#db.prepare('DELETE FROM second_wrappings WHERE organization = ?').run(organization).changes;
    });
    await this.#db.durable();
    this.#db.truncateLogSoon();
    return count;
  }

  find({ organization, owner, epoch: of }: KeyId): SecondWrapping | null {
    const sql = `SELECT provider, root_key AS rootKey, wrapped FROM second_wrappings
      WHERE organization = ? AND owner = ? AND epoch = ?`;
    return this.#db.prepare<SecondWrapping>(sql).get(organization, owner, of) ?? null;
  }

  /** Stores a wrapping in the place of the one that is there; not for a key that is gone. */
  put({ organization, owner, epoch: of }: KeyId, { provider, rootKey, wrapped }: SecondWrapping): void {
    this.#db
      .prepare(
        `INSERT OR REPLACE INTO second_wrappings (organization, owner, epoch, provider, root_key, wrapped)
         SELECT organization, owner, epoch, ?, ?, ? FROM wrapped_keys WHERE organization = ? AND owner = ? AND epoch = ?`,
      )
      .run(provider, rootKey, wrapped, organization, owner, of);
  }

  /** Keys of an organization without a wrapping under `target`. */
  lacking(organization: OrganizationId, { provider, rootKey }: SecondRootKey): readonly KeyId[] {
    const sql = `SELECT w.organization, w.owner, w.epoch FROM wrapped_keys w
      LEFT JOIN second_wrappings s ON s.organization = w.organization AND s.owner = w.owner AND s.epoch = w.epoch
        AND s.provider = ? AND s.root_key = ?
      WHERE w.organization = ? AND s.owner IS NULL ORDER BY w.owner, w.epoch`;
    return this.#db
      .prepare<{ organization: string; owner: string; epoch: number }>(sql)
      .all(provider, rootKey, organization)
      .map((row) => ({
        organization: organizationId(row.organization),
        owner: keyOwner(row.owner),
        epoch: epoch(row.epoch),
      }));
  }
}
