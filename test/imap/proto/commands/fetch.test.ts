import { expect, test } from 'vitest';
import { fault, parse } from '../parse.ts';

/** The items of FETCH as `kind label`, with what else they say. */
function items(line: string): unknown {
  const command = parse(line);
  if (command.kind !== 'fetch') throw new Error(command.kind);
  return command.items.map((item) => {
    if (item.kind === 'section') return [item.label, item.section, item.partial, item.peek ? 'peek' : 'seen'];
    if (item.kind === 'binary') return [item.label, item.part, item.partial, item.peek ? 'peek' : 'seen'];
    if (item.kind === 'binary-size') return [item.label, item.part];
    return item.kind === 'preview' ? (item.isLazy ? 'lazy preview' : 'preview') : item.kind;
  });
}

test.for([
  ['FLAGS', ['flags']],
  ['(uid flags internaldate rfc822.size envelope body bodystructure modseq savedate preview)',
    ['uid', 'flags', 'internal-date', 'size', 'envelope', 'body', 'body-structure', 'modseq', 'save-date', 'preview']],
  ['ALL', ['flags', 'internal-date', 'size', 'envelope']],
  ['FAST', ['flags', 'internal-date', 'size']],
  ['FULL', ['flags', 'internal-date', 'size', 'envelope', 'body']],
  ['( FLAGS  UID )', ['flags', 'uid']],
  ['(PREVIEW (LAZY) UID)', ['lazy preview', 'uid']],
  ['(PREVIEW (LAZY) PREVIEW)', ['preview']],
  ['RFC822', [['RFC822', { kind: 'all', part: [] }, null, 'seen']]],
  ['RFC822.HEADER', [['RFC822.HEADER', { kind: 'header', part: [] }, null, 'peek']]],
  ['RFC822.TEXT', [['RFC822.TEXT', { kind: 'text', part: [] }, null, 'seen']]],
  ['BODY[]', [['BODY[]', { kind: 'all', part: [] }, null, 'seen']]],
  ['BODY.PEEK[]<0.2048>', [['BODY[]<0>', { kind: 'all', part: [] }, { start: 0, count: 2048 }, 'peek']]],
  ['body[text]', [['BODY[TEXT]', { kind: 'text', part: [] }, null, 'seen']]],
  ['BODY[HEADER]', [['BODY[HEADER]', { kind: 'header', part: [] }, null, 'seen']]],
  ['BODY[1]', [['BODY[1]', { kind: 'all', part: [1] }, null, 'seen']]],
  ['BODY[1.2.3.MIME]', [['BODY[1.2.3.MIME]', { kind: 'mime', part: [1, 2, 3] }, null, 'seen']]],
  ['BODY[4.1.HEADER]', [['BODY[4.1.HEADER]', { kind: 'header', part: [4, 1] }, null, 'seen']]],
  ['BODY.PEEK[HEADER.FIELDS (Subject "From" subject)]',
    [['BODY[HEADER.FIELDS (Subject From)]', { kind: 'header-fields', part: [], fields: ['subject', 'from'] }, null, 'peek']]],
  ['BODY[2.HEADER.FIELDS.NOT (X-A)]<5.6>',
    [['BODY[2.HEADER.FIELDS.NOT (X-A)]<5>', { kind: 'header-fields-not', part: [2], fields: ['x-a'] }, { start: 5, count: 6 }, 'seen']]],
  ['BODY[HEADER.FIELDS ({3+}\r\nX]Y "a(b")]', [['BODY[HEADER.FIELDS ("X]Y" "a(b")]', { kind: 'header-fields', part: [], fields: ['x]y', 'a(b'] }, null, 'seen']]],
  ['(BODY.PEEK[] BODY[] BODY.PEEK[])', [['BODY[]', { kind: 'all', part: [] }, null, 'seen']]],
  ['(BODY[]<0.10> BODY[]<0.99>)', [['BODY[]<0>', { kind: 'all', part: [] }, { start: 0, count: 99 }, 'seen']]],
  ['BINARY[1.2]', [['BINARY[1.2]', [1, 2], null, 'seen']]],
  ['BINARY.PEEK[]<0.4294967295>', [['BINARY[]<0>', [], { start: 0, count: 4294967295 }, 'peek']]],
  ['BINARY.SIZE[3]', [['BINARY.SIZE[3]', [3]]]],
] as const)('FETCH 1 %s', ([text, expected]) => {
  expect(items(`FETCH 1 ${text}`)).toEqual(expected);
}); // prettier-ignore

test('numbers, UIDs and modifiers', () => {
  expect(parse('FETCH 2:4,9 FLAGS')).toMatchObject({
    byUid: false,
    messages: { kind: 'set', set: { ranges: [{ first: 2, last: 4 }, { first: 9, last: 9 }], openFrom: null } },
    changedSince: null,
    vanished: false,
  }); // prettier-ignore
  expect(parse('UID FETCH $ FLAGS')).toMatchObject({ byUid: true, messages: { kind: 'saved' } });
  expect(parse('uid fetch 1:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)')).toMatchObject({
    changedSince: 12345,
    vanished: true,
  });
  expect(parse('FETCH 1:* PREVIEW (CHANGEDSINCE 5)')).toMatchObject({
    changedSince: 5,
    items: [{ kind: 'preview', isLazy: false }],
  });
});

test.for([
  'FETCH', 'FETCH 1', 'FETCH FLAGS', 'FETCH 1 ()', 'FETCH 1 (FLAGS', 'FETCH 1 FOO', 'FETCH 1 FLAGS UID', 'FETCH 0 FLAGS', 'FETCH 1: FLAGS', 'FETCH 1,, FLAGS',
  'FETCH 1 BODY[', 'FETCH 1 BODY[FOO]', 'FETCH 1 BODY[MIME]', 'FETCH 1 BODY[0]', 'FETCH 1 BODY[1.]', 'FETCH 1 BODY[1.FOO]', 'FETCH 1 BODY[.1]', 'FETCH 1 BODY[1..2]',
  'FETCH 1 BODY[]<0.0>', 'FETCH 1 BODY[]<0>', 'FETCH 1 BODY[]<.5>', 'FETCH 1 BODY[]<0.4294967296>', 'FETCH 1 BODY[HEADER.FIELDS]', 'FETCH 1 BODY[HEADER.FIELDS ()]',
  'FETCH 1 BODY[HEADER.FIELDS (a:b)]', 'FETCH 1 BODY[HEADER.FIELDS ("a\\"b")]', 'FETCH 1 BODY[HEADER.FIELDS ({7+}\r\nx\r\n* 1 )]', 'FETCH 1 BODY[HEADER.FIELDS ("\u00e9")]',
  'FETCH 1 BODY.FOO[]', 'FETCH 1 BINARY', 'FETCH 1 BINARY[TEXT]', 'FETCH 1 BINARY.SIZE[1]<0.1>', 'FETCH 1 RFC822.PEEK', 'FETCH 1 FLAGS (FOO)', 'FETCH 1 FLAGS (VANISHED)',
  'FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)', 'UID FETCH 1 FLAGS (VANISHED)', 'FETCH $1 FLAGS', `FETCH 1 BODY[${'1.'.repeat(1000)}1]`,
])('%j is refused', (line) => {
  expect(fault(line)).toBe('BAD');
}); // prettier-ignore

test('I10 items are bounded and each is answered once', () => {
  expect(items(`FETCH 1 (${'BODY[] '.repeat(1_000)})`)).toHaveLength(1);
  expect(fault(`FETCH 1 (${'BODY[] '.repeat(1_001)})`)).toBe('NO LIMIT');
  const different = Array.from({ length: 101 }, (_, at) => `BODY[]<${String(at)}.5>`).join(' ');
  expect(fault(`FETCH 1 (${different})`)).toBe('NO LIMIT');
});
