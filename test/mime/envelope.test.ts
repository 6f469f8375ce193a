import { expect, test } from 'vitest';
import { buildEnvelope } from '../../src/mime/envelope.ts';
import { parseHeaderFields } from '../../src/mime/headers.ts';

const envelopeOf = (block: string, left = 100) => buildEnvelope(block, parseHeaderFields(block), { left });

test('RFC 9051 §7.5.2: Sender and Reply-To without an address are those of From, the very list', () => {
  const envelope = envelopeOf('From: a@b\r\nSender: \r\nReply-To: ,\r\n\r\n');
  expect(envelope.from).toHaveLength(1);
  expect([envelope.sender, envelope.replyTo].every((list) => list === envelope.from)).toBe(true);
  expect(envelopeOf('Sender: a@b\r\n\r\n')).toMatchObject({ from: null, sender: [{ mailbox: 'a' }], replyTo: null });
});

test('an empty field is there, a missing one is not', () => {
  expect(envelopeOf('Subject:\r\nTo:\r\n\r\n')).toMatchObject({ subject: '', date: null, to: null });
});

test('of repeated text fields the last counts, repeated address fields add up', () => {
  const { subject, cc } = envelopeOf('Subject: 1\r\nCc: a@b\r\nSubject: 2\r\nCC: c@d\r\n\r\n');
  expect([subject, cc?.map(({ mailbox }) => mailbox)]).toEqual(['2', ['a', 'c']]);
});

test('one budget of addresses serves all fields', () => {
  const { to, cc, bcc } = envelopeOf('To: a@b, c@d\r\nCc: e@f, g@h\r\nBcc: i@j\r\n\r\n', 3);
  expect([to?.length, cc?.length, bcc]).toEqual([2, 1, null]);
});
