/**
 * The epoch of a mailbox: whose key seals what is written from now on, and finds every name.
 *
 * E1  All names of the mailbox and their blind indexes are under this one epoch. Wrapped message keys may still
 *     be under an older one while a rotation runs; none is ever written under an older one again.
 * E2  Whoever sealed or looked up with the key of another epoch is told so in the transaction that would have
 *     used it, and nothing is done: the caller begins again with the right key.
 *
 * It lies in the mailbox itself, so that names and epoch change in one transaction. Called by the stores of
 * this folder.
 */
import { ServerError } from '../base/errors.ts';
import { epoch, type Epoch } from '../base/ids.ts';
import type { Database } from '../db/database.ts';

/** The mailbox went over to another key meanwhile (E2). */
export class EpochMoved extends ServerError {
  constructor() {
    super('key-unavailable', {
      clientText: 'The key of this mailbox is being changed, try again.',
      detail: 'the mailbox went over to another epoch',
      retryable: true,
    });
    this.name = 'EpochMoved';
  }
}

export function currentEpoch(database: Database): Epoch {
  const row = database.prepare<{ value: number }>(`SELECT value FROM counters WHERE name = 'epoch'`).get();
  return epoch(row?.value ?? 0);
}

/** Inside the transaction, or in the same turn as the lookup, that depends on it. Throws EpochMoved. */
export function requireEpoch(database: Database, ...sealed: readonly Readonly<{ epoch: Epoch }>[]): void {
  const current = currentEpoch(database);
  if (sealed.some((each) => each.epoch !== current)) throw new EpochMoved();
}

/** Inside a transaction that puts every name under `next` (E1). */
export function goOverTo(database: Database, next: Epoch): void {
  database.prepare(`UPDATE counters SET value = ? WHERE name = 'epoch'`).run(next);
}
