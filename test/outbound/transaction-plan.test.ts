import { expect, test } from 'vitest';
import { planTransaction } from '../../src/outbound/transaction-plan.ts';
import type { QueuedEnvelope, QueuedRecipient } from '../../src/queue/envelope.ts';
import { ENVELOPE, recipientOf } from '../support/queue-world.ts';

type Options = Readonly<{
  envelope?: Partial<QueuedEnvelope>;
  recipients?: readonly QueuedRecipient[];
  extensions?: readonly string[];
  isTls?: boolean;
}>;

function plan({ envelope, recipients = [recipientOf('b@far.test')], extensions = [], isTls = false }: Options) {
  const known = new Map(extensions.map((line) => [line.split(' ')[0] ?? '', line.split(' ')[1] ?? '']));
  const message = { envelope: { ...ENVELOPE, ...envelope }, sizeBytes: 500 };
  const made = planTransaction(message, recipients, { extensions: known, isTls });
  if (made.kind === 'lacks') return made.status;
  const { sender, mailParameters, recipients: to } = made.transaction;
  return [[sender, ...mailParameters].join(' '), ...to.map((one) => [one.address, ...one.parameters].join(' '))];
}

test.for([
  ['PL1 larger than the host takes (RFC 1870 §6.3)', { extensions: ['SIZE 499'] }, '5.3.4'],
  ['PL1 8-bit content without 8BITMIME (RFC 6152 §3)', { envelope: { is8Bit: true } }, '5.6.3'],
  ['PL1 an address in UTF-8 without SMTPUTF8 (RFC 6531 §3.2)', { recipients: [recipientOf('ü@far.test')] }, '5.6.7'],
  [
    'PL1 a header in UTF-8 without SMTPUTF8',
    { envelope: { isUtf8: true, is8Bit: true }, extensions: ['8BITMIME'] },
    '5.6.7',
  ],
  ['PL1 REQUIRETLS that the host does not know', { envelope: { requiresTls: true }, isTls: true }, '5.7.30'],
  [
    'PL1 REQUIRETLS without TLS (RFC 8689 §4.2.1)',
    { envelope: { requiresTls: true }, extensions: ['REQUIRETLS'] },
    '5.7.30',
  ],
] as const)('%s: %s', ([, options, status]) => {
  expect(plan(options)).toBe(status);
});

test('what the host knows is said to it', () => {
  const envelope = { is8Bit: true, isUtf8: true, requiresTls: true, returnContent: 'full', envelopeId: 'x=1' } as const;
  const extensions = ['SIZE', '8BITMIME', 'SMTPUTF8', 'REQUIRETLS', 'DSN'];
  const recipients = [
    { address: 'b@far.test', originalRecipient: null, notify: [] },
    { address: 'c@far.test', originalRecipient: 'utf-8;jürgen+x@far.test', notify: ['failure', 'delay'] },
    { address: 'd@far.test', originalRecipient: 'rfc822;a b@far.test', notify: null },
  ] as const;
  expect(plan({ envelope, extensions, isTls: true, recipients })).toEqual([
    'anna@example.org SIZE=500 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=FULL ENVID=x+3D1',
    'b@far.test NOTIFY=NEVER',
    'c@far.test NOTIFY=FAILURE,DELAY ORCPT=utf-8;j\\x{FC}rgen\\x{2B}x@far.test',
    'd@far.test ORCPT=rfc822;a+20b@far.test',
  ]);
});

test('what it does not know is left out', () => {
  const envelope = { returnContent: 'headers', envelopeId: 'x', isUtf8: true } as const;
  const recipients = [{ address: 'b@far.test', originalRecipient: 'rfc822;b@far.test', notify: ['success'] }] as const;
  expect(plan({ envelope, recipients })).toEqual(['anna@example.org', 'b@far.test']);
});

test('PL3 a domain that is not ASCII goes in A-labels, and needs no SMTPUTF8', () => {
  expect(plan({ recipients: [recipientOf('b@Bücher.test')] })).toEqual(['anna@example.org', 'b@xn--bcher-kva.test']);
});
