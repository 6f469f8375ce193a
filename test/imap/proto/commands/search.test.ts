import { expect, test } from 'vitest';
import { fault, parse } from '../parse.ts';

const flag = (name: string): unknown => ({ kind: 'flag', flag: name });
const not = (key: unknown): unknown => ({ kind: 'not', key });
const header = (name: string, text: string): unknown => ({ kind: 'header', name, text });
const date = (of: string, relation: string, year = 1994, month = 2, day = 1): unknown => ({
  kind: 'date',
  of,
  relation,
  date: { year, month, day },
});
const set = (first: number, last = first): unknown => ({
  kind: 'set',
  set: { ranges: [{ first, last }], openFrom: null },
});

test.for([
  ['ALL', { kind: 'all' }],
  ['UNSEEN', not(flag('\\Seen'))],
  ['answered deleted', { kind: 'and', keys: [flag('\\Answered'), flag('\\Deleted')] }],
  ['DRAFT FLAGGED SEEN RECENT', { kind: 'and', keys: [flag('\\Draft'), flag('\\Flagged'), flag('\\Seen'), flag('\\Recent')] }],
  ['UNANSWERED UNDELETED UNDRAFT UNFLAGGED OLD', { kind: 'and', keys: ['\\Answered', '\\Deleted', '\\Draft', '\\Flagged', '\\Recent'].map((name) => not(flag(name))) }],
  ['NEW', { kind: 'and', keys: [flag('\\Recent'), not(flag('\\Seen'))] }],
  ['KEYWORD $Forwarded', flag('$Forwarded')],
  ['UNKEYWORD x', not(flag('x'))],
  ['FROM "Smith"', header('from', 'Smith')],
  ['TO a CC b BCC c SUBJECT d', { kind: 'and', keys: [header('to', 'a'), header('cc', 'b'), header('bcc', 'c'), header('subject', 'd')] }],
  ['HEADER Message-ID <a@b>', header('message-id', '<a@b>')],
  ['HEADER __proto__ ""', header('__proto__', '')],
  ['BODY {4+}\r\na\r\nb', { kind: 'body', text: 'a\r\nb' }],
  ['TEXT "stra\u00c3\u009fe"', { kind: 'text', text: 'straße' }],
  ['CHARSET UTF-8 TEXT {2+}\r\n\u00c3\u00a9', { kind: 'text', text: 'é' }],
  ['charset "us-ascii" TEXT x', { kind: 'text', text: 'x' }],
  ['LARGER 10 SMALLER 5000000000', { kind: 'and', keys: [{ kind: 'larger', sizeBytes: 10 }, { kind: 'smaller', sizeBytes: 5_000_000_000 }] }],
  ['SINCE 1-Feb-1994', date('internal', 'since')],
  ['BEFORE "01-feb-1994" ON 29-Feb-2024', { kind: 'and', keys: [date('internal', 'before'), date('internal', 'on', 2024, 2, 29)] }],
  ['SENTBEFORE 1-Feb-1994 SENTON 1-Feb-1994 SENTSINCE 1-Feb-1994', { kind: 'and', keys: [date('sent', 'before'), date('sent', 'on'), date('sent', 'since')] }],
  ['SAVEDBEFORE 1-Feb-1994 SAVEDON 1-Feb-1994 SAVEDSINCE 1-Feb-1994 SAVEDATESUPPORTED',
    { kind: 'and', keys: [date('saved', 'before'), date('saved', 'on'), date('saved', 'since'), { kind: 'save-date-supported' }] }],
  ['OLDER 60 YOUNGER 3600', { kind: 'and', keys: [{ kind: 'age', relation: 'older', seconds: 60 }, { kind: 'age', relation: 'younger', seconds: 3600 }] }],
  ['MODSEQ 620162338', { kind: 'modseq', atLeast: 620162338 }],
  ['MODSEQ "/flags/\\\\draft" all 620', { kind: 'modseq', atLeast: 620 }],
  ['1:5 UID 7 $', { kind: 'and', keys: [{ kind: 'sequence', numbers: set(1, 5) }, { kind: 'uid', uids: set(7) }, { kind: 'sequence', numbers: { kind: 'saved' } }] }],
  ['UID $', { kind: 'uid', uids: { kind: 'saved' } }],
  ['*', { kind: 'sequence', numbers: { kind: 'set', set: { ranges: [], openFrom: 4294967296 } } }],
  ['NOT (SEEN FROM x)', not({ kind: 'and', keys: [flag('\\Seen'), header('from', 'x')] })],
  ['OR SEEN NOT (OR 1 DRAFT)', { kind: 'or', left: flag('\\Seen'), right: not({ kind: 'or', left: { kind: 'sequence', numbers: set(1) }, right: flag('\\Draft') }) }],
  ['((((SEEN))))', flag('\\Seen')],
] as const)('SEARCH %s', ([text, key]) => {
  expect(parse(`SEARCH ${text}`)).toEqual({ kind: 'search', byUid: false, returns: null, key });
  expect(parse(`UID SEARCH ${text} `)).toEqual({ kind: 'search', byUid: true, returns: null, key });
}); // prettier-ignore

test.for([
  ['()', { all: true }],
  ['(MIN MAX)', { min: true, max: true }],
  ['(count ALL save)', { count: true, all: true, save: true }],
] as const)('RETURN %s', ([text, expected]) => {
  const returns = { min: false, max: false, all: false, count: false, save: false, ...expected };
  expect(parse(`SEARCH RETURN ${text} CHARSET UTF-8 ALL`)).toMatchObject({ returns, key: { kind: 'all' } });
});

test.for([
  'SEARCH', 'SEARCH FOO', 'SEARCH ()', 'SEARCH (SEEN', 'SEARCH SEEN)', 'SEARCH NOT', 'SEARCH OR SEEN', 'SEARCH FROM', 'SEARCH HEADER x', 'SEARCH KEYWORD "x"', 'SEARCH KEYWORD \\Seen',
  'SEARCH SINCE 1-Foo-1994', 'SEARCH SINCE 31-Feb-1994', 'SEARCH SINCE 1994-02-01', 'SEARCH SINCE 0-Feb-1994', 'SEARCH SINCE 1-Feb-94', 'SEARCH ON 1-Feb-1994-1', 'SEARCH LARGER x',
  'SEARCH LARGER -1', 'SEARCH OLDER 0', 'SEARCH UID', 'SEARCH 0', 'SEARCH 1,', 'SEARCH RETURN ALL', 'SEARCH RETURN (FOO) ALL', 'SEARCH RETURN (ALL', 'SEARCH CHARSET', 'SEARCH CHARSET UTF-8',
  'SEARCH TEXT "\u00e9"', 'SEARCH CHARSET US-ASCII TEXT "\u00c3\u00a9"', 'SEARCH TEXT {1+}\r\n\0', 'SEARCH MODSEQ "x" foo 1', 'SEARCH SEENFROM', 'SEARCH SEEN,DRAFT',
])('%j is refused', (line) => {
  expect(fault(line)).toBe('BAD');
}); // prettier-ignore

test('other charsets', () => {
  expect(fault('SEARCH CHARSET ISO-8859-1 TEXT x')).toBe('NO BADCHARSET');
});

test('I8 depth and number of keys', () => {
  expect(fault(`SEARCH ${'NOT '.repeat(31)}SEEN`)).toContain('"kind":"search"');
  for (const nest of ['NOT ', 'OR SEEN ', '(']) {
    expect(fault(`SEARCH ${nest.repeat(32)}SEEN`)).toBe('NO LIMIT');
    expect(fault(`SEARCH ${nest.repeat(10_000)}SEEN`)).toBe('NO LIMIT');
  }
  expect(fault(`SEARCH${' SEEN'.repeat(1_000)}`)).toContain('"kind":"search"');
  expect(fault(`SEARCH${' SEEN'.repeat(1_001)}`)).toBe('NO LIMIT');
  expect(fault(`SEARCH ${'1:*,'.repeat(100_000)}1`)).toBe('BAD');
});
