import iconv from 'iconv-lite';
import { simpleParser } from 'mailparser';
import { describe, expect, test } from 'vitest';
import { extractSearchText, normaliseForSearch } from '../../src/mime/text.ts';

const bodyText = (raw: string | Buffer): string =>
  extractSearchText(typeof raw === 'string' ? Buffer.from(raw, 'latin1') : raw).body;
const multipart = (...parts: string[]): string =>
  `Content-Type: multipart/mixed; boundary=b\r\n\r\n${parts.map((part) => `--b\r\n${part}\r\n`).join('')}--b--\r\n`;

const quotedPrintable = (bytes: Buffer): string =>
  Array.from(bytes, (byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('')
    .replace(/(.{72})/g, '$1=\r\n');

describe('T1 a planted word is found', () => {
  const planted: [charset: string, word: string][] = [
    ['utf-8', 'Grüße 日本 ф'],
    ['iso-8859-1', 'Grüße'],
    ['iso-8859-2', 'Žluťoučký'],
    ['iso-8859-15', '€uro'],
    ['windows-1252', '“quoted”'],
    ['windows-1251', 'Привет'],
    ['windows-1256', 'مرحبا'],
    ['koi8-r', 'Привет'],
    ['koi8-u', 'Їжак'],
    ['tis-620', 'สวัสดี'],
    ['big5', '中文'],
    ['gb2312', '中文'],
    ['gb18030', '中文'],
    ['shift_jis', 'テスト'],
    ['euc-jp', 'テスト'],
    ['euc-kr', '한국어'],
    ['utf-7', 'Grüße'],
    ['utf-16be', 'Grüße'],
    ['cp437', 'Grüße'],
  ];
  test.for(planted)('in %s, in each transfer encoding, in body and subject', ([charset, word]) => {
    const bytes = iconv.encode(`x ${word} y`, charset);
    const encoded: [string, string][] = [
      ['8bit', bytes.toString('latin1')],
      ['base64', bytes.toString('base64').replace(/(.{20})/g, '$1\r\n')],
      ['quoted-printable', quotedPrintable(bytes)],
    ];
    for (const [encoding, body] of encoded) {
      const part = `Content-Type: text/plain; charset="${charset}"\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${body}`;
      expect(bodyText(part)).toContain(word);
      expect(bodyText(multipart('\r\nfirst', part))).toContain(word);
    }
    const subject = `Subject: =?${charset}?B?${bytes.toString('base64')}?=\r\n\r\n`;
    expect(extractSearchText(Buffer.from(subject)).header).toContain(word);
  });

  test.for([
    ['HTML with its tags', 'Content-Type: text/html\r\n\r\n<b>word</b>', '<b>word</b>'],
    [
      'an embedded message',
      multipart('Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?w=C3=B6rd?=\r\n\r\nx'),
      'wörd',
    ],
    [
      'the text of an embedded message',
      multipart('Content-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\nd29yZA=='),
      'word',
    ],
    [
      'an embedded message that is encoded',
      `Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n${Buffer.from(multipart('Content-Transfer-Encoding: base64\r\n\r\nd29yZA==')).toString('base64')}`,
      'word',
    ],
    ['a delivery status', 'Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; word@x\r\n', 'word@x'],
    [
      'a part header',
      multipart('Content-Description: =?utf-8?q?w=C3=B6rd?=\r\nContent-Type: image/png\r\n\r\n'),
      'wörd',
    ],
    [
      'an extended file name',
      multipart("Content-Disposition: attachment; filename*0*=utf-8''w%C3; filename*1*=%B6rd\r\n\r\n"),
      'wörd',
    ],
    ['an unknown transfer encoding', 'Content-Transfer-Encoding: x-new\r\n\r\nword', 'word'],
    ['an unknown charset', 'Content-Type: text/plain; charset=x-new\r\n\r\nw\xc3\xb6rd', 'wörd'],
    ['no charset', 'Subject: x\r\n\r\nw\xf6rd', 'wörd'],
    ['a bad media type', 'Content-Type: nonsense\r\n\r\nword', 'word'],
    ['a multipart whose boundary never comes', 'Content-Type: multipart/mixed; boundary=b\r\n\r\nword', 'word'],
    ['a multipart without a boundary', 'Content-Type: multipart/mixed\r\n\r\nword', 'word'],
    [
      'the last of more parts than are told apart',
      multipart(...Array.from({ length: 3000 }, () => '\r\nx'), '\r\nword'),
      'word',
    ],
    [
      'the depth of more levels than are told apart',
      `${'Content-Type: message/rfc822\r\n\r\n'.repeat(300)}\r\nword`,
      'word',
    ],
  ] as const)('%s', ([, raw, word]) => {
    expect(bodyText(raw)).toContain(word);
  });
});

test('the header is apart from the body, and other attachments are not searched', () => {
  const raw = multipart('\r\ninner', 'Content-Type: image/png\r\n\r\npixels').replace(
    'Content',
    'Subject: outer\r\nContent',
  );
  const { header, body, isComplete } = extractSearchText(Buffer.from(raw));
  expect([header.includes('Subject: outer'), header.includes('inner'), body.includes('outer')]).toEqual([
    true,
    false,
    false,
  ]);
  expect([body.includes('inner'), body.includes('pixels'), isComplete]).toEqual([true, false, true]);
});

test('encoded messages are opened one in another as deep as allowed', () => {
  const encoded = (inner: string): string =>
    `Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n${Buffer.from(inner).toString('base64')}`;
  const raw = Buffer.from(encoded(encoded(encoded('\r\nword'))));
  const found = [1, 2, 3].map((embeddedDepth) => {
    const { body, isComplete } = extractSearchText(raw, { textCharCount: 10_000, embeddedDepth });
    return [body.includes('\nword'), isComplete];
  });
  expect(found).toEqual([[false, false], [true, false], [true, true]]); // prettier-ignore
});

test('T2 what is cut is told', () => {
  const raw = Buffer.from(`Subject: s\r\n\r\n${'x'.repeat(100)}`);
  expect(extractSearchText(raw, { textCharCount: 50, embeddedDepth: 1 })).toMatchObject({ isComplete: false });
  expect(extractSearchText(raw, { textCharCount: 500, embeddedDepth: 1 })).toMatchObject({ isComplete: true });
});

test('another parser finds no word in a well-formed message that is not found here', async () => {
  const raw = Buffer.from(
    'Subject: =?iso-8859-1?q?Gr=FC=DFe?= aus =?utf-8?b?S8O2bG4=?=\r\n' +
      multipart(
        `Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n${iconv.encode('Привет мир', 'koi8-r').toString('base64')}`,
        'Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Sch=C3=B6ne =\r\nWelt</p>',
      ),
  );
  const parsed = await simpleParser(raw, { skipHtmlToText: true, skipTextToHtml: true });
  const { header, body } = extractSearchText(raw);
  const words =
    `${parsed.subject ?? ''} ${parsed.text ?? ''} ${parsed.html || ''}`.replace(/<[^>]*>/g, ' ').match(/[\p{L}]+/gu) ??
    [];
  expect(words.length).toBeGreaterThan(6);
  for (const word of words) expect(header + body).toContain(word);
});

describe('RFC 5051 comparison', () => {
  const finds = (needle: string, haystack: string): boolean =>
    normaliseForSearch(haystack).includes(normaliseForSearch(needle));
  test.for([
    ['plain', 'a PLAIN word', true],
    ['ÄPFEL', 'grüne äpfel', true],
    ['a\u0308pfel', 'Äpfel', true],
    ['привет', 'ПРИВЕТ', true],
    ['ΟΔΟΣ', 'οδος', true],
    ['fi', 'ﬁle', true],
    ['Straße', 'STRAßE', true],
    ['strasse', 'Straße', false],
    ['apfel', 'Äpfel', false],
    ['x', 'y', false],
  ] as const)('%s in %s: %s', ([needle, haystack, expected]) => {
    expect(finds(needle, haystack)).toBe(expected);
  });
});
