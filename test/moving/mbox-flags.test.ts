import { expect, test } from 'vitest';
import { fromLineDate, mboxMarks } from '../../src/moving/mbox-flags.ts';

const marks = (...fields: string[]) => mboxMarks(Buffer.from([...fields, 'Subject: s', '', 'b', ''].join('\r\n')));

test.for([
  [['Status: RO', 'X-Status: AF'], ['\\Seen', '\\Answered', '\\Flagged'], null],
  [['X-Mozilla-Status: 0005', 'X-Mozilla-Keys: $label1 work'], ['\\Seen', '\\Flagged', '$label1', 'work'], null],
  [['X-Gmail-Labels: Inbox,Opened,Work'], ['\\Seen', 'Work'], ['INBOX']],
  [['X-Gmail-Labels: Unread,Starred,"A, b",Sub/Deep'], ['\\Flagged', 'Sub/Deep'], ['A, b']],
  [['X-Gmail-Labels: Archived,Important,Category Updates'], ['\\Seen', '$Important'], ['Archive']],
  [['X-Gmail-Labels: =?UTF-8?Q?=C3=84rger,Trash?='], ['\\Seen', '_rger'], ['Trash']],
] as const)('%j', ([fields, flags, folder]) => {
  const found = marks(...fields);
  expect(found.flags).toEqual(flags);
  expect(found.folder?.path ?? null).toEqual(folder);
});

test('the lines that our export added go again, and only those', () => {
  const found = marks('X-Sealpost-Export: 3', 'Status: R', 'X-Keywords: work');
  expect(found.flags).toEqual(['\\Seen', 'work']);
  expect(found.bytes.toString()).toBe('Subject: s\r\n\r\nb\r\n');
  expect(marks('Status: R', 'X-Sealpost-Export: 2').bytes.toString()).toContain('Status: R');
});

test.for([
  ['From a@b Mon Sep 12 10:00:00 2022', '2022-09-12T10:00:00.000Z', 0],
  ['From a@b Mon Sep 12 10:00:00 +0200 2022', '2022-09-12T08:00:00.000Z', 120],
  ['From a@b Mon Sep 12 10:00 2022 -0330', '2022-09-12T13:30:00.000Z', -210],
] as const)('%s', ([line, iso, zoneMinutes]) => {
  const date = fromLineDate(line);
  expect(date && { iso: new Date(date.atMs).toISOString(), zoneMinutes: date.zoneMinutes }).toEqual({
    iso,
    zoneMinutes,
  });
});

test('a From line without a date has none; a keyword becomes an atom', () => {
  expect(fromLineDate('From nobody')).toBeNull();
  expect(marks('X-Gmail-Labels: Inbox,Unread,"a b(c)","()",$x').flags).toEqual(['a_b_c_', '$x']);
});
