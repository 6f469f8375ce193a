import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { envelopeText, structureText } from '../../../src/imap/proto/structure-text.ts';
import { scanMessage } from '../../../src/mime/scan.ts';
import type { Value } from './client-parser.ts';
import { ClientParser } from './client-parser.ts';

const rev1 = { utf8: false };
const raw = (text: string): Buffer => Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1');

test('a plain message', () => {
  const { envelope, root } = scanMessage(
    raw('From: A B <a@b.c>\nSubject: say "hi"\nTo: g: x@y;\nDate: now\n\nhello\nthere\n'),
  );
  expect(envelopeText(envelope, rev1)).toBe(
    '("now" "say \\"hi\\"" (("A B" NIL "a" "b.c")) (("A B" NIL "a" "b.c")) (("A B" NIL "a" "b.c")) ((NIL NIL "g" NIL)(NIL NIL "x" "y")(NIL NIL NIL NIL)) NIL NIL NIL NIL)',
  );
  expect(structureText(root, 'body', rev1)).toBe('("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 14 2)');
  expect(structureText(root, 'body-structure', rev1)).toBe(
    '("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 14 2 NIL NIL NIL NIL)',
  );
});

test('a multipart with an attached message', () => {
  const { root } = scanMessage(
    raw(
      'Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html; charset=utf-8\nContent-Language: en, de\n\n<p>\n--x\nContent-Type: message/rfc822\nContent-Disposition: attachment; filename=m.eml\n\nSubject: in\n\nbody\n--x--\n',
    ),
  );
  expect(structureText(root, 'body-structure', rev1)).toBe(
    '(("text" "html" ("charset" "utf-8") NIL NIL "7bit" 3 0 NIL NIL ("en" "de") NIL)' +
      '("message" "rfc822" NIL NIL NIL "7bit" 19 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 0 NIL NIL NIL NIL) 2 NIL ("attachment" ("filename" "m.eml")) NIL NIL)' +
      ' "mixed" ("boundary" "x") NIL NIL NIL)',
  );
  expect(structureText(root, 'body', rev1)).toBe(
    '(("text" "html" ("charset" "utf-8") NIL NIL "7bit" 3 0)' +
      '("message" "rfc822" NIL NIL NIL "7bit" 19 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 0) 2)' +
      ' "mixed")',
  );
});

test('a multipart without parts has one empty part', () => {
  const { root } = scanMessage(raw('Content-Type: multipart/mixed; boundary=x\n\nnothing\n'));
  expect(structureText(root, 'body', rev1)).toBe(
    '(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")',
  );
});

const corpus = path.resolve(import.meta.dirname, '../../../../shared/corpus');
type Reference = { path: string; items: Record<string, string>; lenient: boolean };

describe.skipIf(!existsSync(path.join(corpus, 'reference-dovecot.jsonl')))(
  'against the reference answers (needs ../shared/corpus)',
  () => {
    /** Without what may differ: see the list "normalised" at the head of the corpus's compare-fetch. */
    const normal = (value: Value): unknown => {
      if (typeof value !== 'string') return value === null ? null : value.map(normal);
      return value
        .replace(/\s+/g, ' ')
        .trim()
        .toLowerCase()
        .replace(/^"missing_(domain|mailbox)$/, '"')
        .replace(/^" /, '"');
    };
    const read = (text: string): unknown => normal(new ClientParser(`${text}\r\n`).lines()[0] ?? []);
    const references = existsSync(path.join(corpus, 'reference-dovecot.jsonl'))
      ? readFileSync(path.join(corpus, 'reference-dovecot.jsonl'), 'utf8')
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as Reference)
      : [];

    test('well-formed mail gives the same ENVELOPE and BODYSTRUCTURE; all mail gives one that a client can read', () => {
      const different: string[] = [];
      let compared = 0;
      for (const reference of references) {
        const file = path.join(corpus, reference.path);
        if (!existsSync(file)) continue;
        const { envelope, root } = scanMessage(readFileSync(file));
        const texts = {
          ENVELOPE: envelopeText(envelope, rev1),
          BODYSTRUCTURE: structureText(root, 'body-structure', rev1),
        };
        for (const [item, text] of Object.entries(texts)) {
          const ours = read(text);
          const theirs = reference.items[item];
          if (reference.lenient || theirs === undefined) continue;
          compared += 1;
          if (JSON.stringify(ours) !== JSON.stringify(read(Buffer.from(theirs, 'utf8').toString('latin1'))))
            different.push(`${reference.path} ${item}`);
        }
      }
      expect(compared).toBeGreaterThan(100);
      expect(different).toEqual([]);
    });
  },
);
