/**
 * The transit key of each organization: what its mail in the queue is sealed to.
 *
 * TK1  It is made when the organization first has mail to send: one that sends nothing has none.
 * TK2  Sealing needs its public half alone, a record under the directory key: mail is taken for sending while the key
 *      service is away.
 *
 * Called by queue/.
 */
import { ServerError } from '../base/errors.ts';
import type { Epoch, OrganizationId } from '../base/ids.ts';
import type { RootKeyName } from '../keys/key-changes.ts';
import type { KeyUse } from '../keys/key-service.ts';
import type { MailboxKeyLease } from '../keys/mailbox-keys.ts';
import { notFound } from './directory.ts';
import type { DirectoryDeps } from './directory.ts';

type PublicTransitKey = Readonly<{ epoch: Epoch; key: Uint8Array }>;

export class TransitKeys {
  readonly #deps: DirectoryDeps;
  /** One at a time for each organization. */
  readonly #making = new Map<OrganizationId, Promise<void>>();

  constructor(deps: DirectoryDeps) {
    this.#deps = deps;
  }

  /** What new mail is sealed to (TK2). Throws ServerError 'key-*', 'not-found' without the organization. */
  async publicKey(organization: OrganizationId, use: KeyUse, signal?: AbortSignal): Promise<PublicTransitKey> {
    const { keys } = this.#deps;
    if (keys.transitEpoch(organization) === null) await this.#make(organization, use, signal);
    const epoch = keys.transitEpoch(organization);
    if (epoch === null) throw notFound('There is no such organization.');
    const options = signal ? { use, signal } : { use };
    return { epoch, key: await keys.publicTransitKey({ organization, epoch }, options) };
  }

  /** The key that opens what was sealed under `epoch`. Throws ServerError 'key-*', 'suspended', 'not-found' when it is gone. */
  lease(
    { organization, epoch }: Readonly<{ organization: OrganizationId; epoch: Epoch }>,
    use: KeyUse,
    signal?: AbortSignal,
  ): Promise<MailboxKeyLease> {
    return this.#deps.keys.leaseTransit(organization, signal ? { use, epoch, signal } : { use, epoch });
  }

  /** True when the organization was deleted, and with it the key: what was sealed to it cannot be opened again. */
  isGone(organization: OrganizationId): boolean {
    const { directory, keys } = this.#deps;
    const isThere = directory.prepare('SELECT 1 FROM organizations WHERE id = ?').get(organization) !== undefined;
    return !isThere && keys.transitEpoch(organization) === null;
  }

  #make(organization: OrganizationId, use: KeyUse, signal?: AbortSignal): Promise<void> {
    const known = this.#making.get(organization);
    if (known) return known;
    const made = this.#create(organization, use, signal).finally(() => this.#making.delete(organization));
    this.#making.set(organization, made);
    return made;
  }

  async #create(organization: OrganizationId, use: KeyUse, signal?: AbortSignal): Promise<void> {
    const { directory, keys } = this.#deps;
    const { provider, rootKey } = this.#rootKey(organization);
    const key = await keys.createKey({ organization, owner: 'transit', provider, rootKey }, use, signal);
    directory.transaction(() => {
      if (this.#rootKey(organization).rootKey !== rootKey) throw rootKeyMoved(); // no key stays behind
      keys.insertKey(key);
    });
    await directory.durable();
  }

  #rootKey(organization: OrganizationId): RootKeyName {
    const select = 'SELECT provider, root_key AS rootKey FROM organizations WHERE id = ?';
    const found = this.#deps.directory.prepare<RootKeyName>(select).get(organization);
    if (!found) throw notFound('There is no such organization.');
    return found;
  }
}

function rootKeyMoved(): ServerError {
  return new ServerError('key-unavailable', {
    clientText: 'The organization went over to another root key meanwhile. Try again.',
    detail: 'root key moved while a transit key was made',
    retryable: true,
  });
}
