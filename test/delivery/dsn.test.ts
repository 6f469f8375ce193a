import { simpleParser } from 'mailparser';
import { expect, test } from 'vitest';
import { composeDsn, type ReportedRecipient } from '../../src/delivery/dsn.ts';

const RECIPIENT: ReportedRecipient = {
  action: 'failed',
  address: 'bob@far.test',
  originalRecipient: null,
  status: '5.1.1',
  code: 550,
  text: '5.1.1 no such user',
  remoteHost: 'mx.far.test',
  lastAttemptAtMs: Date.UTC(2026, 10, 28, 9),
};

function compose(
  recipients: readonly Partial<ReportedRecipient>[],
  more: Partial<Parameters<typeof composeDsn>[0]> = {},
) {
  const { head, tail, ...rest } = composeDsn({
    hostname: 'mx.here.test',
    id: 'abc',
    nowMs: Date.UTC(2026, 10, 28, 10),
    to: 'anna@example.org',
    arrivedAtMs: Date.UTC(2026, 10, 28, 8),
    expiresAtMs: Date.UTC(2026, 11, 3, 8),
    envelopeId: null,
    recipients: recipients.map((one) => ({ ...RECIPIENT, ...one })),
    returned: 'header',
    isReturnedUtf8: false,
    ...more,
  });
  const returned = more.returned === null ? '' : 'Subject: mine\r\nMessage-ID: <1@x>\r\n';
  return { text: `${head.toString()}${returned}${tail.toString()}`, ...rest };
}

test('the whole of a notification (RFC 3464, RFC 6522 §3)', () => {
  const { text, is8Bit, isUtf8 } = compose([{}], { envelopeId: 'E1' });
  expect({ is8Bit, isUtf8 }).toEqual({ is8Bit: false, isUtf8: false });
  expect(text.split('\r\n')).toEqual([
    'From: Mail Delivery System <MAILER-DAEMON@mx.here.test>',
    'To: <anna@example.org>',
    'Subject: Undelivered mail returned to sender',
    'Date: Sat, 28 Nov 2026 10:00:00 +0000',
    'Message-ID: <abc.dsn@mx.here.test>',
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=delivery-status;',
    '\tboundary="=_dsn_abc"',
    '',
    'This is a MIME message about a message of yours.',
    '',
    '--=_dsn_abc',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
    '',
    'This is the mail system at mx.here.test.',
    '',
    'Your message could not be delivered to one or more recipients. It is not tried again.',
    '',
    '<bob@far.test>: not delivered',
    '    mx.far.test said: 550 5.1.1 no such user',
    '',
    '--=_dsn_abc',
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.here.test',
    'Original-Envelope-Id: E1',
    'Arrival-Date: Sat, 28 Nov 2026 08:00:00 +0000',
    '',
    'Final-Recipient: rfc822; bob@far.test',
    'Action: failed',
    'Status: 5.1.1',
    'Remote-MTA: dns; mx.far.test',
    'Diagnostic-Code: smtp; 550 5.1.1 no such user',
    'Last-Attempt-Date: Sat, 28 Nov 2026 09:00:00 +0000',
    '',
    '--=_dsn_abc',
    'Content-Type: text/rfc822-headers',
    'Content-Transfer-Encoding: 8bit',
    '',
    'Subject: mine',
    'Message-ID: <1@x>',
    '',
    '--=_dsn_abc--',
    '',
  ]);
});

test('another parser finds its parts', async () => {
  const { text } = compose([{}, { action: 'delayed', status: '4.7.1' }], { returned: 'message' });
  const parsed = await simpleParser(text);
  expect(parsed.headers.get('content-type')).toMatchObject({ value: 'multipart/report' });
  expect(parsed.text).toContain('could not be delivered');
  expect(parsed.text).toContain('Action: delayed\nStatus: 4.7.1');
  expect(parsed.attachments.map(({ contentType }) => contentType)).toEqual(['message/rfc822']);
});

test('a delay says until when it is tried; a relayed message is passed on (RFC 3464 §2.3.3)', () => {
  expect(compose([{ action: 'delayed' }]).text).toContain('Will-Retry-Until: Thu, 03 Dec 2026 08:00:00 +0000');
  const relayed = compose([{ action: 'relayed' }]).text;
  expect(relayed).toContain('Action: relayed');
  expect(relayed).toContain('Subject: Mail was passed on');
});

test('DS2 what a remote server or a sender wrote cannot end a line or start a field', () => {
  const evil = 'x\r\nBcc: evil@example.org\r\n\r\n--=_dsn_abc\r\nbad';
  const { text } = compose([{ text: evil, originalRecipient: `rfc822;${evil}` }], {
    envelopeId: evil,
    to: `a${evil}@x`,
  });
  expect(text).not.toMatch(/^Bcc/m);
  expect(text.match(/^--=_dsn_abc$/gm)).toHaveLength(3);
});

test('DS2 a long text is folded and cut', () => {
  const { text } = compose([{ text: 'word '.repeat(500) + 'x'.repeat(2000) }]);
  expect(Math.max(...text.split('\r\n').map(({ length }) => length))).toBeLessThan(998);
});

test('addresses that are not ASCII (RFC 6533 §3, §4)', () => {
  const { text, isUtf8, is8Bit } = compose([{ address: 'jürgen@far.test', text: 'größe' }], { isReturnedUtf8: true });
  expect({ isUtf8, is8Bit }).toEqual({ isUtf8: true, is8Bit: true });
  expect(text).toContain('report-type=global-delivery-status');
  expect(text).toContain('Content-Type: message/global-delivery-status');
  expect(text).toContain('Final-Recipient: utf-8; jürgen@far.test');
  expect(text).toContain('Content-Type: message/global-headers');
  expect(text).toContain('Diagnostic-Code: smtp; 550 gr??e');
});

test('DS3 nothing is returned where nothing can be read', () => {
  expect(compose([{}], { returned: null }).text.match(/^Content-Type/gm)).toHaveLength(3);
});
