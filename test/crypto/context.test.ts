import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  canonicalBytes,
  contextBytes,
  encryptionContext,
  encryptionContextBytes,
  type Context,
} from '../../src/crypto/context.ts';
import type { BodyId, Epoch, FolderId, MailboxId, MessageId, OrganizationId } from '../../src/base/ids.ts';
import { mailbox, organization, otherMailbox, otherOrganization } from './fixtures.ts';

// Few values for each field, so that two drawn contexts often differ in one field only, and text that shifts
// bytes from one field to its neighbour.
const text = fc.constantFrom('', 'a', 'aa', '\0', '\0\u0001a', 'body', 'é');
const bytes = fc.uint8Array({ maxLength: 3 });
const number = fc.constantFrom(1, 2, 256, 65_536, 0xffff_ffff);
const organizationText = text as fc.Arbitrary<OrganizationId>;
const mailboxText = text as fc.Arbitrary<MailboxId>;
const epochNumber = number as fc.Arbitrary<Epoch>;
const bodyText = text as fc.Arbitrary<BodyId>;
const under = { organization: organizationText, mailbox: mailboxText, epoch: epochNumber };
const context: fc.Arbitrary<Context> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('body', 'summary', 'search-text'),
    organization: organizationText,
    body: bodyText,
  }),
  fc.record({
    kind: fc.constant('message-key'),
    ...under,
    message: text as fc.Arbitrary<MessageId>,
    body: bodyText,
    commitment: bytes,
  }),
  fc.record({
    kind: fc.constant('queued-envelope'),
    organization: organizationText,
    message: text as fc.Arbitrary<MessageId>,
  }),
  fc.record({
    kind: fc.constantFrom('queued-recipient', 'queued-outcome'),
    organization: organizationText,
    message: text as fc.Arbitrary<MessageId>,
    recipient: number,
  }),
  fc.record({ kind: fc.constant('folder-name'), ...under, folder: number as fc.Arbitrary<FolderId> }),
  fc.record({ kind: fc.constant('subscription'), ...under, index: bytes }),
  fc.record({ kind: fc.constant('keyword-name'), ...under, keyword: number }),
  fc.record({ kind: fc.constant('import-key'), ...under }),
  fc.record({ kind: fc.constant('annotation'), ...under, folder: number, index: bytes }),
  fc.record({ kind: fc.constant('organization-name'), organization: organizationText, epoch: epochNumber }),
  fc.record({ kind: fc.constantFrom('mailbox-profile', 'credential', 'scram'), ...under }),
  fc.record({ kind: fc.constant('app-password'), ...under, appPassword: text }),
  fc.record({
    kind: fc.constant('address-local'),
    organization: organizationText,
    epoch: epochNumber,
    domain: text,
    index: bytes,
  }),
  fc.record({
    kind: fc.constant('dkim-key'),
    organization: organizationText,
    epoch: epochNumber,
    domain: text,
    selector: text,
  }),
  fc.record({ kind: fc.constant('gateway-recipient'), domain: text, index: bytes }),
  fc.record({
    kind: fc.constant('gateway-public-key'),
    organization: organizationText,
    mailbox: mailboxText,
    keyEpoch: epochNumber,
  }),
  fc.record({ kind: fc.constant('keyring'), key: text, version: number, context: bytes }),
  fc.record({ kind: fc.constant('keyring-secret'), key: text, version: number, salt: bytes }),
);

const suite = fc.constantFrom(1, 2, 3);

test('C1 contexts that differ have different bytes, equal ones equal bytes', () => {
  fc.assert(
    fc.property(context, context, suite, suite, (left, right, leftSuite, rightSuite) => {
      const isSame = leftSuite === rightSuite && isDeepStrictEqual({ ...left }, { ...right });
      expect(contextBytes(left, leftSuite).equals(contextBytes(right, rightSuite))).toBe(isSame);
    }),
    { numRuns: 3000 },
  );
});

test('C1 the canonical bytes decode to the fields that went in', () => {
  fc.assert(
    fc.property(suite, text, fc.array(fc.oneof(text, bytes), { maxLength: 6 }), (number, kind, fields) => {
      const form = canonicalBytes(number, 'k', [kind, ...fields]);
      const parts: string[] = [];
      for (let at = 1; at < form.length;) {
        const lengthBytes = form.readUInt16BE(at);
        parts.push(form.toString('hex', at + 2, at + 2 + lengthBytes));
        at += 2 + lengthBytes;
      }
      const expected = ['sealpost/v1', 'k', kind, ...fields].map((field) =>
        Buffer.from(field as string).toString('hex'),
      );
      expect([form[0], ...parts]).toEqual([number, ...expected]);
    }),
  );
});

test('C1 text without a single encoding is refused', () => {
  expect(() => canonicalBytes(1, 'k', ['\ud800'])).toThrow(TypeError);
  expect(() => canonicalBytes(1, 'k', ['x'.repeat(65_536)])).toThrow(TypeError);
  expect(() => canonicalBytes(1, 'k', [{ u32: 2 ** 32 }])).toThrow(RangeError);
  expect(() => canonicalBytes(1, 'k', [{ u64: -1 }])).toThrow(RangeError);
});

test('C3 the encryption context names organization and owner, by id only', () => {
  expect(encryptionContext(organization, mailbox)).toEqual({
    'sealpost:organization': `arn:sealpost:organization/${organization}`,
    'sealpost:mailbox': mailbox,
  });
  const forms = [
    [organization, mailbox],
    [organization, 'directory'],
    [organization, 'transit'],
    [organization, otherMailbox],
    [otherOrganization, mailbox],
  ] as const;
  const distinct = new Set(
    forms.map(([of, owner]) => encryptionContextBytes(encryptionContext(of, owner)).toString('hex')),
  );
  expect(distinct.size).toBe(forms.length);
});

test('C3 the order of the names does not matter', () => {
  expect(encryptionContextBytes({ a: '1', b: '2' })).toEqual(encryptionContextBytes({ b: '2', a: '1' }));
  expect(encryptionContextBytes({ a: '1', b: '2' })).not.toEqual(encryptionContextBytes({ a: '1b', '': '2' }));
});
