import { expect, test } from 'vitest';
import { auditEvent } from '../../src/keys/audit-event.ts';
import { mailbox, organization } from '../crypto/fixtures.ts';

const row = {
  id: 7,
  atMs: Date.UTC(2026, 1, 3, 4, 5, 6),
  operation: 'Decrypt',
  provider: 'aws-kms',
  rootKey: 'arn:aws:kms:eu-central-1:111122223333:key/1',
  organization,
  owner: mailbox,
  grant: null,
  requestId: 'request-1',
  purpose: 'fetch',
  protocol: 'imap',
  principal: mailbox,
  session: 'c12',
  outcome: 'denied',
};
const context = { 'sealpost:organization': `arn:sealpost:organization/${organization}` };

test('W10 a call in the shape of a CloudTrail record', () => {
  expect(auditEvent(row)).toEqual({
    eventVersion: '1.0',
    eventTime: '2026-02-03T04:05:06.000Z',
    eventSource: 'kms.amazonaws.com',
    eventName: 'Decrypt',
    eventID: '7',
    userIdentity: { type: 'Mailbox', principalId: mailbox },
    requestParameters: { keyId: row.rootKey, encryptionContext: { ...context, 'sealpost:mailbox': mailbox } },
    keyId: row.rootKey,
    requestID: 'request-1',
    errorCode: 'denied',
    additionalEventData: { provider: 'aws-kms', protocol: 'imap', purpose: 'fetch', session: 'c12' },
  });
});

test('W10 success has no error code, a service is no mailbox, and other key services have their own names', () => {
  const event = auditEvent({
    ...row,
    provider: 'local-keyring',
    owner: 'directory',
    principal: 'delivery',
    session: null,
    outcome: 'ok',
  });
  expect(event).toMatchObject({
    eventSource: 'local-keyring.sealpost',
    userIdentity: { type: 'Service', principalId: 'delivery' },
    requestParameters: { encryptionContext: { 'sealpost:mailbox': 'directory' } },
  });
  expect(event).not.toHaveProperty('errorCode');
  expect(event.additionalEventData).not.toHaveProperty('session');
});

test('W10 a grant shows what it is bound to; a description has no context', () => {
  const grant = auditEvent({ ...row, operation: 'CreateGrant', owner: null, grant: 'g1' });
  expect(grant.requestParameters).toEqual({ keyId: row.rootKey, encryptionContext: context, grantId: 'g1' });
  const description = auditEvent({ ...row, operation: 'DescribeKey', owner: null, organization: null });
  expect(description.requestParameters.encryptionContext).toBeNull();
});
