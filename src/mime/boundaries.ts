/**
 * The boundaries that may end or start a part at some point of a scan, innermost on top.
 *
 * A line matches a boundary when it begins with `--` and the boundary (RFC 2046 §5.1.1: the rest
 * of the line does not matter). Where several match, the longest wins, then the innermost.
 * Looking a line up takes time in the length of the line, however many boundaries are open: they
 * are kept as a trie of bytes.
 */

/** `level` is what was given to `push`; `closes` when `--` follows the boundary. */
type BoundaryMatch = Readonly<{ level: number; closes: boolean }>;

type Open = { readonly boundary: Uint8Array; readonly level: number; readonly node: number };

const DASH = 45;

export class BoundaryStack {
  readonly #edges = new Map<number, number>(); // node * 256 + byte -> node
  readonly #levels = new Map<number, number[]>(); // node -> levels of the boundaries ending there, innermost last
  readonly #open: Open[] = [];
  #nodeCount = 1;

  get isEmpty(): boolean {
    return this.#open.length === 0;
  }

  /** Opens a boundary. `level` must be above those of all open ones. */
  push(boundary: Uint8Array, level: number): void {
    let node = 0;
    for (const byte of boundary) {
      const edge = node * 256 + byte;
      let next = this.#edges.get(edge);
      if (next === undefined) {
        next = this.#nodeCount;
        this.#nodeCount += 1;
        this.#edges.set(edge, next);
      }
      node = next;
    }
    const levels = this.#levels.get(node);
    if (levels) levels.push(level);
    else this.#levels.set(node, [level]);
    this.#open.push({ boundary, level, node });
  }

  /** Forgets all boundaries of `level` and above. */
  popTo(level: number): void {
    for (;;) {
      const top = this.#open.at(-1);
      if (!top || top.level < level) break;
      this.#open.pop();
      this.#levels.get(top.node)?.pop();
    }
    if (this.#open.length === 0) {
      this.#edges.clear();
      this.#levels.clear();
      this.#nodeCount = 1;
    }
  }

  /** The boundary that the line `bytes[start..end)` (without its line end, starting with `--`) matches. */
  find(bytes: Uint8Array, start: number, end: number): BoundaryMatch | null {
    const endsInDashes = end - start >= 4 && bytes[end - 1] === DASH && bytes[end - 2] === DASH;
    let node = 0;
    let best: BoundaryMatch | null = null;
    let exactCloser: BoundaryMatch | null = null;
    for (let at = start + 2; ; at += 1) {
      const level = this.#levels.get(node)?.at(-1);
      if (level !== undefined) {
        best = { level, closes: bytes[at] === DASH && bytes[at + 1] === DASH && at + 2 <= end };
        if (endsInDashes && at === end - 2) exactCloser = best;
        // `--a--` may close `a` or open a part of `a--`: the innermost of the two is meant
        if (at === end && exactCloser && exactCloser.level > level) best = exactCloser;
      }
      if (at >= end) return best;
      const next = this.#edges.get(node * 256 + (bytes[at] ?? 0));
      if (next === undefined) return best;
      node = next;
    }
  }
}
