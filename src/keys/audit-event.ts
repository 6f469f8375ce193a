/**
 * Key audit entries in the shape of AWS CloudTrail records, so that the tools that read those read ours.
 * Called by admin/.
 */
import { organizationId } from '../base/ids.ts';
import { encryptionContext, keyOwner, organizationContext } from '../crypto/context.ts';
import type { AuditRow } from './audit-chain.ts';

type AuditEvent = Readonly<{
  eventVersion: '1.0';
  /** ISO 8601, UTC. */
  eventTime: string;
  eventSource: string;
  eventName: string;
  eventID: string;
  /** `principalId`: a mailbox id, 'admin', 'delivery' or 'login'; null where nobody in particular asked. */
  userIdentity: Readonly<{ type: 'Mailbox' | 'Service'; principalId: string | null }>;
  requestParameters: Readonly<{
    keyId: string;
    encryptionContext: Readonly<Record<string, string>> | null;
    grantId?: string;
  }>;
  keyId: string;
  requestID: string | null;
  /** Why it failed, a KeyFailure; absent where it did not. */
  errorCode?: string;
  additionalEventData: Readonly<{ provider: string; protocol: string; purpose: string; session?: string }>;
}>;

/** What CloudTrail calls the services that it knows itself. */
const SOURCES: Readonly<Record<string, string>> = { 'aws-kms': 'kms.amazonaws.com' };
const MAILBOX_ID = /^[0-9a-f]{32}$/;

export function auditEvent(row: AuditRow): AuditEvent {
  const { id, atMs, operation, provider, rootKey, grant, requestId, purpose, protocol, principal, session } = row;
  const isMailbox = principal !== null && MAILBOX_ID.test(principal);
  return {
    eventVersion: '1.0',
    eventTime: new Date(atMs).toISOString(),
    eventSource: SOURCES[provider] ?? `${provider}.sealpost`,
    eventName: operation,
    eventID: String(id),
    userIdentity: { type: isMailbox ? 'Mailbox' : 'Service', principalId: principal },
    requestParameters: {
      keyId: rootKey,
      encryptionContext: contextOf(row),
      ...(grant === null ? {} : { grantId: grant }),
    },
    keyId: rootKey,
    requestID: requestId,
    ...(row.outcome === 'ok' ? {} : { errorCode: row.outcome }),
    additionalEventData: { provider, protocol, purpose, ...(session === null ? {} : { session }) },
  };
}

/** What was sent along, or for a grant what it is bound to; null for DescribeKey, which has none. */
function contextOf({ organization, owner }: AuditRow): Readonly<Record<string, string>> | null {
  if (organization === null) return null;
  const id = organizationId(organization);
  if (owner === null) return organizationContext(id);
  return encryptionContext(id, keyOwner(owner));
}
