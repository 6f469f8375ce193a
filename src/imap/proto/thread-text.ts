/** The text of a THREAD response. */
import type { Thread } from '../../mailbox/threading.ts';

/** The threads in parentheses, piece by piece. They may be deep: no recursion. RFC 5256 §4 (THREAD response). */
export function* threadPieces(threads: readonly Thread[], numberOf: (uid: number) => number): Generator<string> {
  const stack: (Thread | string)[] = [];
  const pushBranches = (branches: readonly Thread[]): void => {
    for (let at = branches.length - 1; at >= 0; at -= 1) {
      const branch = branches[at];
      if (branch) stack.push(')', branch, '(');
    }
  };
  pushBranches(threads);
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (typeof next === 'string') {
      yield next;
      continue;
    }
    const { facts, children } = next;
    if (facts) yield `${String(numberOf(facts.uid))}${children.length > 0 ? ' ' : ''}`;
    const [only] = children;
    if (children.length === 1 && only) stack.push(only);
    else pushBranches(children);
  }
}
