import { expect, test } from 'vitest';
import { fault, parse } from '../parse.ts';

test('EXPUNGE and UID EXPUNGE', () => {
  expect(parse('EXPUNGE')).toEqual({ kind: 'expunge', uids: null });
  expect(parse('UID EXPUNGE 3:*')).toEqual({
    kind: 'expunge',
    uids: { kind: 'set', set: { ranges: [], openFrom: 3 } },
  });
  for (const line of ['EXPUNGE 1', 'UID EXPUNGE', 'UID EXPUNGE x', 'UID EXPUNGE 1 2']) expect(fault(line)).toBe('BAD');
});
