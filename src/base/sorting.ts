/** Sorting that gives other work on the event loop its turns. */
import { Slice } from './abort.ts';

/** Sorted at once: some tenths of a millisecond. */
const RUN_COUNT = 1024;
/** Merged between two looks at the clock. */
const STEP_COUNT = 512;

/** The items in order, those that compare as equal in the order in which they came. */
export async function sortInTurns<T>(items: readonly T[], compare: (a: T, b: T) => number): Promise<T[]> {
  const slice = new Slice();
  let runs: T[][] = [];
  for (let start = 0; start < items.length; start += RUN_COUNT) {
    runs.push(items.slice(start, start + RUN_COUNT).sort(compare));
    if (slice.due) await slice.pause();
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let at = 0; at < runs.length; at += 2) {
      merged.push(await merge(runs[at] ?? [], runs[at + 1] ?? [], { compare, slice }));
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

async function merge<T>(
  left: readonly T[],
  right: readonly T[],
  { compare, slice }: Readonly<{ compare(a: T, b: T): number; slice: Slice }>,
): Promise<T[]> {
  const merged: T[] = [];
  let [atLeft, atRight] = [0, 0];
  while (atLeft < left.length && atRight < right.length) {
    const [a, b] = [left[atLeft] as T, right[atRight] as T];
    if (compare(a, b) <= 0) {
      merged.push(a);
      atLeft += 1;
    } else {
      merged.push(b);
      atRight += 1;
    }
    if (merged.length % STEP_COUNT === 0 && slice.due) await slice.pause();
  }
  for (; atLeft < left.length; atLeft += 1) merged.push(left[atLeft] as T);
  for (; atRight < right.length; atRight += 1) merged.push(right[atRight] as T);
  return merged;
}
