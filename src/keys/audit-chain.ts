/**
 * The chain of the key audit: each row holds the SHA-256 of the row before and of itself, so that a row that is
 * changed, removed or put in is noticed, and named.
 *
 * CH1  A row's hash is SHA-256(canonical bytes), kind "key-audit" (crypto/context.ts), of: the hash of the row before
 *      (32 zero bytes before the first), id u64, time u64, then operation, provider, root key, organization, owner,
 *      grant, request id, purpose, protocol, principal, session, outcome; a NULL as the empty text, any other text
 *      with "=" before it.
 * CH2  Ids count from 1 without a gap.
 *
 * The chain alone does not stop someone who may write to the database from making a new one; whoever keeps the newest
 * hash elsewhere (`sealpost key audit verify` shows it) notices that too.
 *
 * Called by audit-log.ts.
 */
import { createHash } from 'node:crypto';
import { canonicalBytes, NO_SUITE } from '../crypto/context.ts';

/** One call as it is stored. Ids and plain words only, never an address, a key or a name. */
export type AuditRow = Readonly<{
  id: number;
  atMs: number;
  operation: string;
  provider: string;
  rootKey: string;
  organization: string | null;
  owner: string | null;
  grant: string | null;
  requestId: string | null;
  purpose: string;
  protocol: string;
  principal: string | null;
  session: string | null;
  outcome: string;
}>;
/** The newest row; id 0 and zero bytes before the first. */
export type ChainHead = Readonly<{ id: number; hash: Uint8Array }>;

/** The hash of `row`, which follows `before` (CH1). */
export function rowHash(before: Uint8Array, row: AuditRow): Buffer {
  const { id, atMs, operation, provider, rootKey, organization, owner, grant, requestId, outcome } = row;
  const { purpose, protocol, principal, session } = row;
  const called = [operation, provider, rootKey, organization, owner, grant, requestId];
  const texts = [...called, purpose, protocol, principal, session, outcome].map((text) =>
    text === null ? '' : `=${text}`,
  );
  const bytes = canonicalBytes(NO_SUITE, 'key-audit', [before, { u64: id }, { u64: atMs }, ...texts]);
  return createHash('sha256').update(bytes).digest();
}
