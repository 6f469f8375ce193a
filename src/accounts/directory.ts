/**
 * What the services of this folder share: the directory database, the key service, and the lease that opens an
 * organization's records.
 */
import { ServerError } from '../base/errors.ts';
import type { OrganizationId } from '../base/ids.ts';
import type { Database } from '../db/database.ts';
import type { KeyService, KeyUse } from '../keys/key-service.ts';
import { DirectoryRecords } from './records.ts';

export type DirectoryDeps = Readonly<{ directory: Database; keys: KeyService; nowMs(): number }>;
export type AccountState = 'active' | 'suspended';

/** Names end up on one line of a terminal or a header: no controls, and not without end. */
const NAME_MAX_CHARS = 200;

/** Opens the records of `organization`; bind the result with `using`. Throws ServerError key-*. */
export async function openRecords(
  deps: DirectoryDeps,
  organization: OrganizationId,
  use: KeyUse,
  signal?: AbortSignal,
): Promise<DirectoryRecords> {
  const lease = await deps.keys.leaseDirectory(organization, signal ? { use, signal } : { use });
  return new DirectoryRecords(organization, lease);
}

/** How administration appears in the key audit. */
export function adminUse(purpose: string): KeyUse {
  return { purpose, protocol: 'admin', principal: 'admin' };
}

/** `text` in NFC without outer white space. Throws ServerError 'invalid-argument' for an empty, long or unprintable one. */
export function checkedName(text: string): string {
  const name = text.normalize('NFC').trim();
  if (name.length === 0 || name.length > NAME_MAX_CHARS || /[\0-\x1f\x7f-\x9f\u2028\u2029]/.test(name)) {
    throw invalid(`A name has 1 to ${String(NAME_MAX_CHARS)} characters on one line.`);
  }
  return name;
}

export function invalid(clientText: string): ServerError {
  return new ServerError('invalid-argument', { clientText });
}

export function notFound(clientText: string): ServerError {
  return new ServerError('not-found', { clientText });
}

export function exists(clientText: string): ServerError {
  return new ServerError('already-exists', { clientText });
}

export function refused(clientText: string): ServerError {
  return new ServerError('not-allowed', { clientText });
}
