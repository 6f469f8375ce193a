import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseMessageDate } from '../../src/mime/date.ts';

const at = (text: string, zoneMinutes = 0): object => ({ atMs: Date.parse(text), zoneMinutes });

test.for([
  ['Tue, 2 Jan 2024 23:30:00 -0500', at('2024-01-03T04:30:00Z', -300)],
  ['2 Jan 2024 23:30 +0530', at('2024-01-02T18:00:00Z', 330)],
  ['Fri, 21 Nov 97 09:55:06 GMT', at('1997-11-21T09:55:06Z')],
  ['21 Nov 07 09:55:06 EDT', at('2007-11-21T13:55:06Z', -240)],
  ['Thu, 13 Feb 1969 23:32 (Newfoundland Time) -0330', at('1969-02-14T03:02:00Z', -210)],
  ['Mon,  1  Apr  2002  08:00:00 Z', at('2002-04-01T08:00:00Z')],
  ['01-Apr-2002', at('2002-04-01T00:00:00Z')],
  ['1 Apr 103 00:00:00', at('2003-04-01T00:00:00Z')],
  ['Mon,1 Apr 2002 08:00:00 +0000', at('2002-04-01T08:00:00Z')],
  ['1 Apr 2002 25:00:00 +0000', at('2002-04-01T00:00:00Z')],
] as const)('%s', ([text, date]) => {
  expect(parseMessageDate(text)).toEqual(date);
});

test.for(['', 'yesterday', '2024-01-02', '32 Foo 2024', 'Tue, Jan 2024', '30 Feb 2024 10:00:00 +0000', '0 Mar 2024'])(
  '%j is no date',
  (text) => {
    expect(parseMessageDate(text)).toBeNull();
  },
);

test('no value throws or takes long', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (text) => {
      const date = parseMessageDate(text);
      expect(date === null || Number.isFinite(date.zoneMinutes)).toBe(true);
    }),
  );
  for (const text of ['('.repeat(1e6), ' '.repeat(1e6), '1 Jan'.repeat(1e5)]) parseMessageDate(text);
});
