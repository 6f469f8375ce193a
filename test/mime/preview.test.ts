import fc from 'fast-check';
import { expect, test } from 'vitest';
import { previewPart, previewText } from '../../src/mime/preview.ts';
import { scanMessage } from '../../src/mime/scan.ts';

function preview(message: string): string | null {
  const raw = Buffer.from(message);
  const part = previewPart(scanMessage(raw).root);
  return part && previewText(part, raw.subarray(part.bodyStart, part.bodyEnd));
}
const html = (body: string): string => `Content-Type: text/html; charset=utf-8\r\n\r\n${body}`;

/** RFC 8970 §3.3. */
test.for<[string, string, string | null]>([
  ['plain text in one line', '\r\n  Dear\r\nall,\r\n\r\n\tnews. ', 'Dear all, news.'],
  ['nothing', '\r\n', ''],
  ['without quoted lines', '\r\n> old\r\nnew\r\n> old\r\n', 'new'],
  ['all is quoted', '\r\n> old\r\n', '> old'],
  ['encoded', 'Content-Transfer-Encoding: base64\r\n\r\nR3LDvMOfZQ==', 'Grüße'],
  ['HTML', html('<html><head><title>t</title><style>p{x}</style></head><body><p>Hello&nbsp;<b>World</b> &amp; &#65;&#x42;&bogus;</p></body>'), 'Hello World & AB&bogus;'],
  ['comments and hidden elements', html('a<!-- <b>x</b> --><script>if (a < b) "</p>"</script><SVG><text>y</text></svg>b'), 'a b'],
  ['an element that does not end', html('a <style>p{'), 'a'],
  ['a tag that does not end', html('a <b'), 'a'],
  ['names that begin alike', html('<header>a</header>'), 'a'],
  ['fillers', html('a\u200b\u034f\u00ad\ufeff&#847;&zwnj; b'), 'a b'],
  ['controls and directions', '\r\na\u0000\u001b[31m\u202eb', 'a[31mb'],
  ['plain is preferred', 'Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>html\r\n--b\r\n\r\nplain\r\n--b--', 'plain'],
  ['the first of mixed', 'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>html\r\n--b\r\n\r\nplain\r\n--b--', 'html'],
  ['no attachments', 'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--', null],
  ['no text', 'Content-Type: application/pkcs7-mime\r\n\r\nx', null],
])('%s', ([, message, expected]) => {
  expect(preview(message)).toBe(expected);
}); // prettier-ignore

test('PV2 200 characters at most, none of them broken', () => {
  expect(preview(`\r\n${'x'.repeat(500)}`)).toBe('x'.repeat(200));
  expect(preview(`\r\n${'😀'.repeat(500)}`)).toBe('😀'.repeat(200));
});

test('PV1, PV2 whatever the bytes', () => {
  const piece = fc.constantFrom(
    '<',
    '>',
    '<style',
    '</style',
    '<!--',
    '-->',
    '&',
    '&#',
    ';',
    '1',
    'x',
    '\xff',
    '\0',
    '\r\n',
    '=',
    'ı',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 80 }), fc.constantFrom('plain', 'html'), (pieces, subtype) => {
      const raw = Buffer.from(`Content-Type: text/${subtype}\r\n\r\n${pieces.join('')}`, 'latin1');
      const part = previewPart(scanMessage(raw).root)!;
      const text = previewText(part, raw.subarray(part.bodyStart));
      expect(text.isWellFormed()).toBe(true);
      expect([...text].length).toBeLessThanOrEqual(200);
      expect(text).not.toMatch(/[\p{Cc}\ufffd]/u);
    }),
    { numRuns: 300 },
  );
  for (const hostile of ['<', '<style>', '<!--', '&#1;', '&', '<svg', '>', ' ']) preview(html(hostile.repeat(1e5)));
});
