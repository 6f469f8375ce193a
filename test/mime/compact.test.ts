import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ServerError } from '../../src/base/errors.ts';
import { decodeMessage, encodeMessage } from '../../src/mime/compact.ts';
import { scanMessage } from '../../src/mime/scan.ts';

const FULL = [
  'From: "A \xff" <a@x>, Team: b@y;',
  'Sender: s@x',
  'To: <@r:t@x>, nobody',
  'Cc: c@x',
  'Bcc: d@x',
  'Reply-To: r@x',
  'Date: today',
  'Subject: \0\x01"\\\xa0\xfe',
  'In-Reply-To: <1>',
  'Message-ID: <2>',
  'Content-Type: multipart/mixed; boundary=b; empty=""; n*0=a; n*1=b',
  '',
  '--b',
  'Content-Type: image/png; name="x"',
  'Content-ID: <c>',
  'Content-Description: d',
  'Content-Disposition: inline; filename=f',
  'Content-Language: en, de',
  'Content-MD5: m',
  'Content-Location: l',
  'Content-Transfer-Encoding: base64',
  '',
  'AAAA',
  '--b',
  'Content-Type: message/rfc822',
  'Content-Disposition: ;x=y',
  '',
  'Subject:',
  '',
  'x',
  '--b--',
].join('\r\n');

test('C1 every field survives, and Sender stays the very list of From where it stands for it', () => {
  const scanned = scanMessage(Buffer.from(FULL, 'latin1'));
  expect(decodeMessage(encodeMessage(scanned))).toEqual(scanned);
  const plain = decodeMessage(encodeMessage(scanMessage(Buffer.from('From: a@b\r\n\r\n'))));
  expect(plain.envelope.sender).toBe(plain.envelope.from);
});

test('C1 any message survives', () => {
  const piece = fc.constantFrom(...FULL.split(/(?<=\r\n)/), '\r\n', '--b\r\n', '\0', '\xff', 'Content-Type: multipart/digest; boundary=""\r\n', '--\r\n'); // prettier-ignore
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const scanned = scanMessage(Buffer.from(pieces.join(''), 'latin1'));
      expect(decodeMessage(encodeMessage(scanned))).toEqual(scanned);
    }),
    { numRuns: 500 },
  );
});

test('C2 the stored form of version 1 is read as it is', () => {
  const stored =
    '[1,60,[0,"hi",["A",0,"a","x"],1,1,[0,0,"t","y"]],[0,50,10,1,"text","plain","7bit",["charset","utf-8"]]]';
  const scanned = decodeMessage(stored);
  expect(encodeMessage(scanned)).toBe(stored);
  expect(scanned).toMatchObject({
    sizeBytes: 60,
    envelope: { subject: 'hi', replyTo: [{ name: 'A', mailbox: 'a', host: 'x' }], to: [{ mailbox: 't' }], date: null },
    root: {
      headerStart: 0,
      bodyStart: 50,
      bodyEnd: 60,
      lineCount: 1,
      parameters: [['charset', 'utf-8']],
      children: [],
    },
  });
});

test.for(['', '{}', '[]', '[2,0,[],[]]', '[1]', '[1,2,3,4', '[1,2,[],[]]', 'null'])('%j is refused', (text) => {
  expect(() => decodeMessage(text)).toThrow(ServerError);
});
