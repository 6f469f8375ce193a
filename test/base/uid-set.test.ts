import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { NumberSet } from '../../src/base/uid-set.ts';
import {
  clampSet,
  formatInOrder,
  formatSet,
  intersectSets,
  normaliseRanges,
  numberSet,
  parseSequenceSet,
  resolveSet,
  setHas,
  subtractSets,
} from '../../src/base/uid-set.ts';

const parse = (text: string, maximum = 100): string | null => {
  const set = parseSequenceSet(text, 1000);
  return set && formatSet(resolveSet(set, maximum));
};

test.for([
  ['1', '1'],
  ['1:5,7', '1:5,7'],
  ['7,1:5', '1:5,7'],
  ['5:1', '1:5'],
  ['1:3,2:9', '1:9'],
  ['1,2,3', '1:3'],
  ['3,1,2', '1:3'],
  ['*', '100'],
  ['98:*', '98:100'],
  ['*:98', '98:100'],
  ['*:*', '100'],
  ['200:*', '100'],
  ['*,1', '1,100'],
  ['4294967295', '4294967295'],
  ['1:4294967295', '1:4294967295'],
] as const)('U1 U2 %s means %s', ([text, expected]) => {
  expect(parse(text)).toBe(expected);
});

test('subtraction and intersection share a set between them; numbers in any order print in that order', () => {
  const set = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 15 });
  fc.assert(
    fc.property(set, set, (a, b) => {
      const inB = new Set(b);
      expect(subtractSets(numberSet(a), numberSet(b))).toEqual(numberSet(a.filter((n) => !inB.has(n))));
      expect(intersectSets(numberSet(a), numberSet(b))).toEqual(numberSet(a.filter((n) => inB.has(n))));
    }),
  );
  expect(formatInOrder([5, 3, 4, 4, 9, 8, 1, 2, 3])).toBe('5,3:4,4,9,8,1:3');
  expect(formatInOrder([])).toBe('');
});

test.for([
  '',
  '0',
  '0:5',
  '1:',
  ':1',
  '1:2:3',
  ',1',
  '1,',
  '1,,2',
  '4294967296',
  '99999999999999999999',
  'a',
  '1 ',
  '-1',
  '1.5',
  '**',
  '1*',
])('%j is no set', (text) => {
  expect(parse(text)).toBeNull();
});

test('U2 * means nothing in an empty folder; other numbers stay', () => {
  expect(parse('*', 0)).toBe('');
  expect(parse('1:*', 0)).toBe('');
  expect(parse('5,1:*', 0)).toBe('5');
});

test('U3 cost follows the text: 1e5 items of 1:* collapse, and the count is limited', () => {
  const text = Array.from({ length: 100_000 }, () => '1:*').join(',');
  const set = parseSequenceSet(text, 100_000);
  expect(set).toEqual({ ranges: [], openFrom: 1 });
  expect(parseSequenceSet(text, 99_999)).toBeNull();
  const wide = resolveSet({ ranges: [{ first: 1, last: 0xffff_ffff }], openFrom: null }, 3);
  expect(listed(clampSet(wide, { first: 1, last: 3 }))).toEqual([1, 2, 3]);
  expect(setHas(wide, 0xffff_ffff)).toBe(true);
});

const numbers = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 40 });
const listed = (set: NumberSet): number[] =>
  set.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, at) => first + at));
const isNormal = (set: NumberSet): boolean =>
  set.every((range, at) => range.first <= range.last && (at === 0 || range.first > (set[at - 1]?.last ?? 0) + 1));

test('a set is what its numbers are', () => {
  fc.assert(
    fc.property(numbers, numbers, (a, b) => {
      const [setA, setB] = [numberSet(a), numberSet(b)];
      const sorted = [...new Set(a)].sort((x, y) => x - y);
      expect(listed(setA)).toEqual(sorted);
      expect(isNormal(setA)).toBe(true);
      for (let number = 0; number <= 61; number += 1) expect(setHas(setA, number)).toBe(a.includes(number));
      expect(listed(intersectSets(setA, setB))).toEqual(sorted.filter((number) => b.includes(number)));
      expect(isNormal(intersectSets(setA, setB))).toBe(true);
      expect(listed(clampSet(setA, { first: 10, last: 20 }))).toEqual(sorted.filter((n) => n >= 10 && n <= 20));
      expect(normaliseRanges([...setA, ...setB])).toEqual(numberSet([...a, ...b]));
    }),
  );
});

test('parse and format undo each other', () => {
  fc.assert(
    fc.property(numbers, (list) => {
      fc.pre(list.length > 0);
      const set = numberSet(list);
      expect(parseSequenceSet(formatSet(set), 1000)).toEqual({ ranges: set, openFrom: null });
      expect(parseSequenceSet(list.join(','), 1000)?.ranges).toEqual(set);
    }),
  );
});
