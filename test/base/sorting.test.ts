import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sortInTurns } from '../../src/base/sorting.ts';

test('the order is that of a stable sort, whatever the number of runs', async () => {
  const sizes = fc.constantFrom(0, 1, 2, 1023, 1024, 1025, 3000, 5000);
  await fc.assert(
    fc.asyncProperty(sizes, fc.integer({ min: 1, max: 50 }), async (size, keysCount) => {
      const items = Array.from({ length: size }, (_, at) => ({ key: (at * 7919) % keysCount, at }));
      const sorted = await sortInTurns(items, (a, b) => a.key - b.key);
      expect(sorted).toEqual(items.toSorted((a, b) => a.key - b.key));
    }),
    { numRuns: 50 },
  );
});

test('other work has its turns meanwhile', async () => {
  let turnsCount = 0;
  const timer = setInterval(() => (turnsCount += 1), 0);
  const slowly = (a: number, b: number): number => {
    for (const end = performance.now() + 0.01; performance.now() < end;);
    return a - b;
  };
  await sortInTurns(
    Array.from({ length: 3_000 }, (_, at) => (at * 7919) % 3_001),
    slowly,
  );
  clearInterval(timer);
  expect(turnsCount).toBeGreaterThan(3); // some 30,000 comparisons take 300 ms at least
});
