import { expect, test } from 'vitest';
import { BoundaryStack } from '../../src/mime/boundaries.ts';

/** What `line` matches with these boundaries open, outermost first: `level` or `level/closes`. */
function match(boundaries: readonly string[], line: string): string | null {
  const stack = new BoundaryStack();
  for (const [level, boundary] of boundaries.entries()) stack.push(Buffer.from(boundary), level);
  const bytes = Buffer.from(line);
  const found = stack.find(bytes, 0, bytes.length);
  return found && `${String(found.level)}${found.closes ? '/closes' : ''}`;
}

test.for([
  [['a'], '--a', '0'],
  [['a'], '--a--', '0/closes'],
  [['a'], '--a-', '0'],
  [['a'], '--a and more', '0'],
  [['a'], '--a-- and more', '0/closes'],
  [['a'], '--b', null],
  [['ab'], '--a', null],
  [[''], '--', '0'],
  [[''], '--anything', '0'],
  [[''], '----', '0/closes'],
  [['a', 'ab'], '--ab', '1'],
  [['a', 'ab'], '--ac', '0'],
  [['ab', 'a'], '--ab', '0'],
  [['a', 'a'], '--a', '1'],
  [['a--', 'a'], '--a--', '1/closes'],
  [['a', 'a--'], '--a--', '1'],
  [['a', 'a--'], '--a----', '1/closes'],
] as const)('with %j open, %s matches %s', ([boundaries, line, expected]) => {
  expect(match(boundaries, line)).toBe(expected);
});

test('closed levels match no more, those below do', () => {
  const stack = new BoundaryStack();
  for (const [level, boundary] of ['a', 'b', 'b'].entries()) stack.push(Buffer.from(boundary), level);
  const levelOf = (line: string): number | undefined => stack.find(Buffer.from(line), 0, line.length)?.level;
  expect([levelOf('--b'), levelOf('--a')]).toEqual([2, 0]);
  stack.popTo(2);
  expect([levelOf('--b'), stack.isEmpty]).toEqual([1, false]);
  stack.popTo(0);
  expect([levelOf('--a'), stack.isEmpty]).toEqual([undefined, true]);
  stack.push(Buffer.from('c'), 0);
  expect([levelOf('--c'), levelOf('--a')]).toEqual([0, undefined]);
});
