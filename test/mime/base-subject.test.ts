import fc from 'fast-check';
import { expect, test } from 'vitest';
import { baseSubject } from '../../src/mime/base-subject.ts';

/** RFC 5256 §2.1. */
test.for([
  [null, '', false],
  ['', '', false],
  ['Apple', 'APPLE', false],
  ['re: apple', 'APPLE', true],
  ['Re : Re[4]: FWD: apple', 'APPLE', true],
  ['[list] Re: [list] apple', 'APPLE', true],
  ['[list] apple', 'APPLE', false],
  ['[a] [b]', '[B]', false],
  ['[only]', '[ONLY]', false],
  ['apple (fwd) (FWD) ', 'APPLE', true],
  ['[fwd: Re: apple (fwd)]', 'APPLE', true],
  ['[Fwd: [fwd: apple]]', 'APPLE', true],
  ['not [closed', 'NOT [CLOSED', false],
  ['Reply to apple', 'REPLY TO APPLE', false],
  ['a\t  b\r\n c', 'A B C', false],
  ['=?iso-8859-1?q?Re=3A_=E4pfel?=', 'A\u0308PFEL', true],
  ['re:', '', true],
  ['(fwd)', '', true],
] as const)('%j', ([subject, text, isReply]) => {
  expect(baseSubject(subject)).toEqual({ text, isReply });
});

test('BS1 no subject throws or takes long', () => {
  const piece = fc.constantFrom('[', ']', 're', 'fwd', ':', ' ', '(fwd)', '[fwd:', 'x', '\t');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const { text } = baseSubject(pieces.join(''));
      expect(text).not.toMatch(/^ | $/);
      expect(baseSubject(text).text).toBe(text); // nothing is left to take away
    }),
    { numRuns: 500 },
  );
  for (const hostile of [
    '[]'.repeat(1e5),
    're:'.repeat(1e5),
    '[fwd:'.repeat(1e5),
    ' (fwd)'.repeat(1e5),
    '['.repeat(1e5),
  ]) {
    baseSubject(hostile);
    baseSubject(`${hostile}${']'.repeat(1e4)}`);
  }
});
