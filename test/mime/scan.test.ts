import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Part, ScannedMessage } from '../../src/mime/body-structure.ts';
import { MessageScanner, scanMessage } from '../../src/mime/scan.ts';

const lines = (...text: string[]): string => text.map((line) => `${line}\r\n`).join('');
const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');
const scan = (text: string): ScannedMessage => scanMessage(bytesOf(text));
const bodyOf = (text: string, part: Part | undefined): string | null =>
  part ? text.slice(part.bodyStart, part.bodyEnd) : null;
const headOf = (text: string, part: Part | undefined): string | null =>
  part ? text.slice(part.headerStart, part.bodyStart) : null;
const typeOf = (part: Part): string => `${part.type}/${part.subtype}`;
/** The tree as text: `multipart/mixed[text/plain message/rfc822{text/plain}]`. */
function outline(part: Part): string {
  const inner = part.children.length > 0 ? `[${part.children.map(outline).join(' ')}]` : '';
  return typeOf(part) + inner + (part.message ? `{${outline(part.message.root)}}` : '');
}
function multipart(boundary: string, ...parts: string[]): string {
  const body = parts.map((part) => `--${boundary}\r\n${part}\r\n`).join('');
  return `Content-Type: multipart/mixed; boundary="${boundary}"\r\n\r\n${body}--${boundary}--\r\n`;
}

describe('structure', () => {
  test('a plain message: offsets, lines and envelope', () => {
    const text = lines('From: A <a@x.example>', 'Subject: hi', '', 'one', 'two');
    const { sizeBytes, envelope, root } = scan(text);
    expect(sizeBytes).toBe(text.length);
    expect([headOf(text, root), bodyOf(text, root), root.lineCount]).toEqual([
      'From: A <a@x.example>\r\nSubject: hi\r\n\r\n',
      'one\r\ntwo\r\n',
      2,
    ]);
    expect([typeOf(root), root.encoding]).toEqual(['text/plain', '7bit']);
    const a = { name: 'A', route: null, mailbox: 'a', host: 'x.example' };
    expect(envelope).toMatchObject({ subject: 'hi', from: [a], sender: [a], replyTo: [a], to: null, date: null });
  });

  test('all fields of a part', () => {
    const { root } = scan(
      lines(
        'Content-Type: Text/HTML; charset="utf-8"',
        'Content-ID: <1@x>',
        'Content-Description: some (thing)',
        'Content-Transfer-Encoding: Base64 (yes)',
        'Content-MD5: abc=',
        'Content-Disposition: attachment; filename="a b"',
        'Content-Language: en, de-CH,',
        'Content-Location: http://x/',
        '',
      ),
    );
    expect(root).toMatchObject({
      type: 'Text',
      subtype: 'HTML',
      parameters: [['charset', 'utf-8']],
      contentId: '<1@x>',
      description: 'some (thing)',
      encoding: 'Base64',
      md5: 'abc=',
      disposition: { type: 'attachment', parameters: [['filename', 'a b']] },
      language: ['en', 'de-CH'],
      location: 'http://x/',
    });
  });

  test('parts exclude the line end before their boundary; preamble and epilogue belong to no part', () => {
    const text = `${multipart('b', 'Content-Type: text/html\r\n\r\n<p>', '\r\ntwo\r\n').replace('--b', 'preamble\r\n--b')}epilogue`;
    const { root } = scan(text);
    expect(outline(root)).toBe('multipart/mixed[text/html text/plain]');
    expect(root.children.map((part) => [headOf(text, part), bodyOf(text, part), part.lineCount])).toEqual([
      ['Content-Type: text/html\r\n\r\n', '<p>', 0],
      ['\r\n', 'two\r\n', 1],
    ]);
    expect(root.bodyEnd).toBe(text.length);
  });

  test('an embedded message has its own envelope and root', () => {
    const inner = lines('Subject: inner', '', 'deep');
    const text = multipart('b', `Content-Type: message/rfc822\r\n\r\n${inner}`);
    const part = scan(text).root.children[0];
    expect(part?.message?.envelope.subject).toBe('inner');
    expect([bodyOf(text, part), part?.lineCount]).toEqual([inner, 3]);
    expect([bodyOf(text, part?.message?.root), part?.message?.root.lineCount]).toEqual(['deep\r\n', 1]);
  });

  test.for([
    [
      'a digest holds messages unless it says otherwise',
      lines(
        'Content-Type: multipart/digest; boundary=b',
        '',
        '--b',
        '',
        'Subject: x',
        '',
        'y',
        '--b',
        'Content-Type: text/plain',
        '',
        'z',
        '--b--',
      ),
      'multipart/digest[message/rfc822{text/plain} text/plain]',
    ],
    [
      'nested boundaries, one the prefix of the other',
      multipart('b', multipart('bb', '\r\n1', '\r\n2'), '\r\n3'),
      'multipart/mixed[multipart/mixed[text/plain text/plain] text/plain]',
    ],
    [
      'nested boundaries, the outer longer',
      multipart('bb', multipart('b', '\r\n1', '\r\n2'), '\r\n3'),
      'multipart/mixed[multipart/mixed[text/plain text/plain] text/plain]',
    ],
    [
      'the outer boundary ends an unterminated inner multipart',
      multipart('o', 'Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\n1', '\r\n2'),
      'multipart/mixed[multipart/mixed[text/plain] text/plain]',
    ],
    [
      'a boundary with white space after it',
      multipart('b', '\r\n1').replace('--b\r\n', '--b \t\r\n'),
      'multipart/mixed[text/plain]',
    ],
    ['an empty boundary', multipart('', '\r\n1'), 'multipart/mixed[text/plain]'],
    [
      'a multipart that never ends',
      lines('Content-Type: multipart/mixed; boundary=b', '', '--b', '', 'x'),
      'multipart/mixed[text/plain]',
    ],
    [
      'a multipart whose boundary never comes',
      lines('Content-Type: multipart/mixed; boundary=b', '', 'x'),
      'multipart/mixed',
    ],
    ['a multipart without a boundary', lines('Content-Type: multipart/mixed', '', '--x', '', 'x'), 'multipart/mixed'],
    ['a media type that is none', lines('Content-Type: nonsense', '', 'x'), 'text/plain'],
    [
      'bare LF line ends',
      'Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--\n',
      'multipart/mixed[text/plain text/plain]',
    ],
    [
      'a line that begins like a boundary after the last',
      `${multipart('b', '\r\n1')}--b\r\n\r\nlate`,
      'multipart/mixed[text/plain]',
    ],
    ['nothing at all', '', 'text/plain'],
    ['only a line end', '\r\n', 'text/plain'],
    ['message/global', lines('Content-Type: message/global', '', 'Subject: x', '', 'y'), 'message/global{text/plain}'],
  ] as const)('%s', ([, text, expected]) => {
    expect(outline(scan(text).root)).toBe(expected);
  });

  test('bare LF: a part excludes just that', () => {
    const text = 'Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n\n--b\n\ny\r\n--b--';
    const { children } = scan(text).root;
    expect(children.map((part) => [bodyOf(text, part), part.lineCount])).toEqual([
      ['x\n', 1],
      ['y', 0],
    ]);
  });

  test('a last boundary without line end ends its part; a short line is no blank line', () => {
    const text = 'x\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ny\r\n--b--';
    expect(scan(text).root.children.map((part) => bodyOf(text, part))).toEqual(['y']);
    expect(scan(text.slice(0, -2)).root.children.map((part) => bodyOf(text, part))).toEqual(['y', '']);
  });

  test('a boundary ends a header without blank line; the line end is not part of it', () => {
    const text = 'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-ID: <1>\r\n--b\r\n--b--\r\n';
    const [first, second] = scan(text).root.children;
    expect([headOf(text, first), bodyOf(text, first), first?.contentId]).toEqual(['Content-ID: <1>', '', '<1>']);
    expect([headOf(text, second), bodyOf(text, second)]).toEqual(['', '']);
  });

  test('a message that is all header has its body at the end', () => {
    const text = 'Subject: x\r\nTo: y';
    const { envelope, root } = scan(text);
    expect([headOf(text, root), bodyOf(text, root)]).toEqual([text, '']);
    expect([envelope.subject, envelope.to?.[0]?.mailbox]).toEqual(['x', 'y']);
  });

  test('lines that are no fields are passed over: an mbox line, junk, a first continuation', () => {
    const { envelope } = scan('From bob Mon Jan 1\r\n continued\r\njunk\r\nSubject : ok\r\n\r\n');
    expect([envelope.subject, envelope.from]).toEqual(['ok', null]);
  });

  test('field names from Object.prototype are fields like any other', () => {
    expect(scan('constructor: x\r\n__proto__: y\r\ntoString: z\r\nSubject: s\r\n\r\n').envelope.subject).toBe('s');
  });

  test('8-bit bytes and NUL stay as they are', () => {
    expect(scan('Subject: \xe4\0\xff\xa0\r\n\r\n').envelope.subject).toBe('\xe4\0\xff\xa0');
  });

  test('of a repeated field the first Content-Type counts, and address lists are put together', () => {
    const { root, envelope } = scan(lines('Content-Type: text/html', 'Content-Type: text/x', 'To: a@b', 'To: c@d', ''));
    expect([typeOf(root), envelope.to?.map((to) => to.mailbox)]).toEqual(['text/html', ['a', 'c']]);
  });
});

describe('S2 the cut into chunks does not matter', () => {
  const piece = fc.constantFrom('\r\n', '\n', '\r', '--', '-', 'a', 'b', '--a', '--b--', '--a\r\n', '\r\n--b\r\n', ' ', ':', '\r\n\r\n', 'Content-Type: multipart/mixed; boundary=a\r\n\r\n', 'Content-Type: multipart/digest; boundary=b\r\n\r\n', 'Content-Type: message/rfc822\r\n\r\n', 'Subject: x\r\n', 'x'.repeat(300), '--a' + ' '.repeat(300)); // prettier-ignore
  const message = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''));
  test('S1 S2 any bytes in any cut give the same tree, whose parts tile the message', () => {
    fc.assert(
      fc.property(message, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (text, sizes) => {
        const raw = bytesOf(text);
        const whole = scanMessage(raw);
        const scanner = new MessageScanner();
        const reused = Buffer.alloc(9);
        for (let at = 0, turn = 0; at < raw.length; turn += 1) {
          const size = sizes[turn % sizes.length] ?? 1;
          const used = raw.copy(reused, 0, at, at + size);
          scanner.push(reused.subarray(0, used));
          at += used;
        }
        expect(scanner.end()).toEqual(whole);
        expect([whole.sizeBytes, whole.root.headerStart, whole.root.bodyEnd]).toEqual([raw.length, 0, raw.length]);
        checkTiling(text, whole.root);
      }),
      { numRuns: 2000 },
    );
  });

  function checkTiling(text: string, part: Part): void {
    expect(part.headerStart).toBeLessThanOrEqual(part.bodyStart);
    expect(part.bodyStart).toBeLessThanOrEqual(part.bodyEnd);
    expect(part.lineCount).toBe(text.slice(part.bodyStart, part.bodyEnd).split('\n').length - 1);
    let end = part.bodyStart;
    for (const child of part.children) {
      expect(child.headerStart).toBeGreaterThanOrEqual(end);
      end = child.bodyEnd;
      checkTiling(text, child);
    }
    expect(end).toBeLessThanOrEqual(part.bodyEnd);
    if (!part.message) return;
    const { root } = part.message;
    expect([root.headerStart, root.bodyEnd]).toEqual([part.bodyStart, part.bodyEnd]);
    checkTiling(text, root);
  }

  test('S2 a message of all kinds of lines, cut in two and in three at every place', () => {
    const inner =
      'Content-Type: multipart/mixed; boundary=bb\r\n\r\n--x\r\n--bb\r\nA: b\r\n--bb\r\n\r\n-\r\n--x\r\n--bb--\n';
    const raw = bytesOf(multipart('b', inner, '\r\n--\r\n--\n', 'B: c'));
    const whole = scanMessage(raw);
    expect(outline(whole.root)).toBe('multipart/mixed[multipart/mixed[text/plain text/plain] text/plain text/plain]');
    for (let first = 0; first <= raw.length; first += 1) {
      for (const second of [first + 1, first + 2, raw.length]) {
        const scanner = new MessageScanner();
        for (const chunk of [raw.subarray(0, first), raw.subarray(first, second), raw.subarray(second)])
          scanner.push(chunk);
        expect(scanner.end()).toEqual(whole);
      }
    }
  });

  test('S1 random bytes never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (raw) => {
        expect(scanMessage(raw).sizeBytes).toBe(raw.length);
      }),
    );
  });
});

describe('S4 past the limits', () => {
  test('parts: the last one allowed takes the rest', () => {
    const text = multipart('b', ...Array.from({ length: 9 }, (_, place) => `\r\n${String(place)}`));
    const { root } = scanMessage(bytesOf(text), { partCount: 4 });
    expect(root.children.map((part) => bodyOf(text, part)?.slice(0, 3))).toEqual(['0', '1', '2\r\n']);
    expect(root.children[2]?.bodyEnd).toBe(text.length);
  });

  test('depth: what would be divided is opaque, its bytes exact, its neighbours seen', () => {
    const inner = multipart('i', '\r\nx');
    const text = multipart('o', multipart('m', inner), '\r\nlast');
    const { root } = scanMessage(bytesOf(text), { nestingDepth: 3 });
    expect(outline(root)).toBe('multipart/mixed[multipart/mixed[application/octet-stream] text/plain]');
    expect(bodyOf(text, root.children[0]?.children[0])).toBe(inner.slice(inner.indexOf('--i')));
    const message = lines('Content-Type: message/rfc822', '', 'Content-Type: message/rfc822', '', 'x');
    expect(outline(scanMessage(bytesOf(message), { nestingDepth: 2 }).root)).toBe(
      'message/rfc822{application/octet-stream}',
    );
  });

  test('header bytes and fields: what is beyond is not read, the offsets are exact', () => {
    const text = lines(`X: ${'x'.repeat(500)}`, 'Subject: late', '', 'body');
    const { envelope, root } = scanMessage(bytesOf(text), { headerBlockBytes: 100 });
    expect([envelope.subject, bodyOf(text, root)]).toEqual([null, 'body\r\n']);
    const late = scanMessage(bytesOf('A: 1\r\nB: 2\r\nSubject: s\r\n\r\nbody'), { fieldCount: 2 });
    expect([late.envelope.subject, late.root.bodyStart]).toEqual([null, 26]);
    const parts = multipart('b', 'Content-ID: 1\r\n\r\n', 'Content-ID: 2\r\n\r\n');
    const ids = scanMessage(bytesOf(parts), { headerTotalBytes: 70 }).root.children.map((part) => part.contentId);
    expect(ids).toEqual(['1', null]);
  });

  test('addresses, parameters and continuations are cut', () => {
    const many = (count: number, of: (place: number) => string): string =>
      Array.from({ length: count }, (_, place) => of(place)).join('');
    const text = lines(`To: ${many(50, (place) => `a${String(place)}@b,`)}`, 'Cc: x@y', `Content-Type: text/plain${many(50, (place) => `; p${String(place)}=v`)}${many(50, (place) => `; n*${String(place)}=v`)}`, ''); // prettier-ignore
    const limited = scanMessage(bytesOf(text), { addressCount: 10, parameterCount: 80, continuationCount: 20 });
    expect(limited.envelope.to).toHaveLength(10);
    expect(limited.envelope.cc).toBeNull();
    expect(limited.root.parameters).toHaveLength(51);
    expect(limited.root.parameters.at(-1)).toEqual(['n', 'v'.repeat(20)]);
  });
});

describe('S1 linear time', () => {
  const repeated = (text: string) => (count: number) => text.repeat(count);
  const inMultipart = (text: string) => (count: number) =>
    `Content-Type: multipart/mixed; boundary=b\r\n\r\n${text.repeat(count)}`;
  const to = (text: string) => (count: number) => `To: ${text.repeat(count)}\r\n\r\n`;
  const nested = (count: number): string =>
    Array.from({ length: count }, (_, place) => `Content-Type: multipart/mixed; boundary="b${String(place)}"\r\n\r\n--b${String(place)}\r\n`).join(''); // prettier-ignore
  const sharedPrefix = 'p'.repeat(200);
  const prefixed = (count: number): string =>
    Array.from({ length: 90 }, (_, place) => `Content-Type: multipart/mixed; boundary="${sharedPrefix}${String(place)}"\r\n\r\n--${sharedPrefix}${String(place)}\r\n`).join('') + `\r\n${`--${sharedPrefix}\r\n`.repeat(count)}`; // prettier-ignore
  test.for([
    ['50,000 flat parts', inMultipart('--b\r\n\r\nx\r\n'), 50_000],
    ['10,000 nested multiparts', nested, 10_000],
    ['10,000 nested messages', repeated('Content-Type: message/rfc822\r\n\r\n'), 10_000],
    ['a 5 MB header line', (count: number) => `Subject: ${'x'.repeat(count)}\r\n\r\n`, 5_000_000],
    ['500,000 To lines', repeated('To: a\r\n'), 500_000],
    ['lines without colon', repeated('x\r\n'), 500_000],
    ['blank continuations', (count: number) => `Subject: a\r\n${' \r\n'.repeat(count)}`, 500_000],
    ['200,000 addresses', to('a@b,'), 200_000],
    ['groups', to('g0:'), 200_000],
    ['open comments', to('('), 500_000],
    ['open comments in a list', to('(,'), 500_000],
    ['quotes', to('",'), 500_000],
    ['backslashes', to('"\\'), 500_000],
    ['routes', to('<@a,'), 200_000],
    ['20,000 continuations', (count: number) => `Content-Type: a/b${Array.from({ length: count }, (_, place) => `; name*${String(place)}*=x`).join('')}\r\n\r\n`, 20_000], // prettier-ignore
    ['semicolons', (count: number) => `Content-Type: a/b${';'.repeat(count)}\r\n\r\n`, 500_000],
    ['dashes', inMultipart('--\r\n'), 500_000],
    ['closing boundaries', inMultipart('--b--\r\n'), 500_000],
    ['90 boundaries that share 200 bytes', prefixed, 20_000],
  ] as const)('%s', { timeout: 60_000 }, ([, make, count]) => {
    const raw = bytesOf(make(count));
    const startedMs = performance.now();
    expect(scanMessage(raw).sizeBytes).toBe(raw.length);
    // quadratic work on inputs of this size takes minutes; the linear scan takes well under a second
    expect(performance.now() - startedMs).toBeLessThan(10_000);
  });
});
