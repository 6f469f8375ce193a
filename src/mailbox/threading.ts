/**
 * The threads of messages (RFC 5256 §3): by references, with or without the messages of one subject put together, and by
 * subject alone. Pure: threads.ts gathers the facts.
 *
 * TH1  Threads may be as deep as there are messages: nothing here recurses.
 * TH2  A message is in the result once, whatever its references say.
 */
import { Slice } from '../base/abort.ts';
import type { Uid } from '../base/ids.ts';
import { sortInTurns } from '../base/sorting.ts';
import type { BaseSubject } from '../mime/base-subject.ts';

/** What threads are made from. `references`: ids of messages, the parent last. */
export type ThreadFacts = Readonly<{
  uid: Uid;
  sentSeconds: number;
  id: string | null;
  references: readonly string[];
  subject: BaseSubject;
}>;
/** `facts` null stands for a message that is not there: at the top only, and with two children at least. */
export type Thread = Readonly<{ facts: Readonly<{ uid: Uid }> | null; children: readonly Thread[] }>;
/** `refs` is `references` without step 5, its threads in the order of their newest messages. */
export type ThreadAlgorithm = 'ordered-subject' | 'references' | 'refs';

/** A message, or a place for one that others name. */
type Node = {
  facts: ThreadFacts | null;
  parent: Node | null;
  /** How many have it as their parent: one without any is nobody's ancestor. */
  linkedCount: number;
  /** Where the messages below a place without a message belong; undefined while unknown. */
  anchor?: Node;
  children: Node[];
};

/** Sorted without a pause. */
const FEW_COUNT = 1_000;

/** The threads of messages, which come in the order of their UIDs. */
export async function threadsOf(
  algorithm: ThreadAlgorithm,
  messages: readonly ThreadFacts[],
): Promise<readonly Thread[]> {
  if (algorithm === 'ordered-subject') return bySubject(messages);
  const slice = new Slice();
  const roots = await gathered(await linked(messages, slice), slice); // steps 1 to 3
  if (algorithm === 'refs') return byNewest(roots, slice);
  const sorted = await sortInTurns(roots, compareNodes); // step 4
  return mergeSubjects(sorted, slice); // steps 5 and 6
}

async function bySubject(messages: readonly ThreadFacts[]): Promise<readonly Thread[]> {
  const threads = new Map<string, Node>();
  for (const facts of await sortInTurns(messages, compareFacts)) {
    const node = newNode(facts);
    const first = threads.get(facts.subject.text);
    if (first) first.children.push(node);
    else threads.set(facts.subject.text, node);
  }
  return [...threads.values()]; // in the order of their first messages' dates
}

function newNode(facts: ThreadFacts | null): Node {
  return { facts, parent: null, linkedCount: 0, children: [] };
}

/** Step 1: all messages and those they name, linked to their parents. */
async function linked(messages: readonly ThreadFacts[], slice: Slice): Promise<readonly Node[]> {
  const nodes: Node[] = [];
  const byId = new Map<string, Node>();
  const add = (facts: ThreadFacts | null): Node => {
    const node = newNode(facts);
    nodes.push(node);
    return node;
  };
  const named = (id: string): Node => {
    let node = byId.get(id);
    if (!node) byId.set(id, (node = add(null)));
    return node;
  };
  for (const facts of messages) {
    const known = facts.id === null ? null : named(facts.id);
    const node = known?.facts === null ? known : add(null); // of two messages with one id the first has it
    node.facts = facts;
    let parent: Node | null = null;
    for (const id of facts.references) {
      const next = named(id);
      if (parent && !next.parent) link(parent, next);
      parent = next;
    }
    if (node.parent !== parent) {
      if (node.parent) node.parent.linkedCount -= 1;
      node.parent = null;
      if (parent) link(parent, node);
    }
    if (slice.due) await slice.pause();
  }
  return nodes;
}

/** Makes `parent` the parent of a node without one, unless that would close a loop. */
function link(parent: Node, child: Node): void {
  if (child === parent) return;
  if (child.linkedCount > 0) {
    for (let above = parent.parent; above; above = above.parent) if (above === child) return;
  }
  child.parent = parent;
  parent.linkedCount += 1;
}

/** Steps 2 and 3: the tops of the threads, without places that hold nothing; children are in order. */
async function gathered(nodes: readonly Node[], slice: Slice): Promise<Node[]> {
  for (const node of nodes) {
    if (node.facts && node.parent) anchorOf(node.parent).children.push(node);
    if (slice.due) await slice.pause();
  }
  const roots: Node[] = [];
  for (const node of nodes) {
    await sortChildren(node);
    if (slice.due) await slice.pause();
    if (node.parent) continue;
    const [first, second] = node.children;
    if (node.facts ?? second) roots.push(node);
    else if (first) roots.push(first);
  }
  return roots;
}

/** The nearest message from `start` upwards, or the topmost place without one. */
function anchorOf(start: Node): Node {
  const passed: Node[] = [];
  let at = start;
  while (!at.facts && !at.anchor && at.parent) {
    passed.push(at);
    at = at.parent;
  }
  const anchor = at.anchor ?? at;
  for (const node of passed) node.anchor = anchor;
  return anchor;
}

/** The threads in the order of their newest messages. */
async function byNewest(roots: readonly Node[], slice: Slice): Promise<readonly Thread[]> {
  const newest: Readonly<{ root: Node; seconds: number }>[] = [];
  for (const root of roots) {
    let seconds = -Infinity;
    for (const stack = [root]; ;) {
      const node = stack.pop();
      if (!node) break;
      if (node.facts) seconds = Math.max(seconds, node.facts.sentSeconds);
      for (const child of node.children) stack.push(child);
      if (slice.due) await slice.pause();
    }
    newest.push({ root, seconds });
  }
  const sorted = await sortInTurns(newest, (a, b) => a.seconds - b.seconds || topUid(a.root) - topUid(b.root));
  return sorted.map(({ root }) => root);
}

/** Of the message at the top; 0 where that is missing: such threads come first among those of one date. */
function topUid({ facts, parent }: Node): number {
  return parent ? 0 : (facts?.uid ?? 0);
}

/** Step 5: messages at the top that have one base subject come together; step 6: in the order of dates. */
async function mergeSubjects(roots: readonly Node[], slice: Slice): Promise<readonly Thread[]> {
  const table = new Map<string, Node>();
  for (const root of roots) {
    const { text, isReply } = topSubject(root);
    const known = table.get(text);
    const isBetter = known?.facts && (!root.facts || (topSubject(known).isReply && !isReply));
    if (!known || isBetter) table.set(text, root);
    if (slice.due) await slice.pause();
  }
  const gone = new Set<Node>();
  const grown = new Set<Node>();
  const made: Node[] = [];
  for (const root of roots) {
    const { text } = topSubject(root);
    const top = table.get(text);
    if (text === '' || !top || top === root) continue;
    const into = merged(top, root);
    table.set(text, into);
    gone.add(root);
    grown.add(into);
    if (into !== top) {
      gone.add(top);
      made.push(into);
    }
    if (slice.due) await slice.pause();
  }
  if (grown.size === 0) return roots;
  for (const node of grown) await sortChildren(node);
  const tops = roots.concat(made).filter((node) => !gone.has(node));
  return sortInTurns(tops, compareNodes);
}

/** Puts two threads of one subject together (step 5 C); gives the top of the result. */
function merged(top: Node, other: Node): Node {
  if (!top.facts && !other.facts) {
    for (const child of other.children) top.children.push(child);
    return top;
  }
  if (!top.facts || (topSubject(other).isReply && !topSubject(top).isReply)) {
    top.children.push(other);
    return top;
  }
  const both = newNode(null);
  both.children.push(top, other);
  return both;
}

function topSubject(node: Node): BaseSubject {
  return firstFacts(node).subject;
}

/** Those of the message, or of the first child of a place without one. */
function firstFacts(node: Node): ThreadFacts {
  const facts = node.facts ?? node.children[0]?.facts;
  if (!facts) throw new TypeError('an empty place is in a thread');
  return facts;
}

async function sortChildren(node: Node): Promise<void> {
  const { children } = node;
  if (children.length < 2) return;
  if (children.length <= FEW_COUNT) children.sort(compareNodes);
  else node.children = await sortInTurns(children, compareNodes);
}

function compareNodes(a: Node, b: Node): number {
  return compareFacts(firstFacts(a), firstFacts(b));
}

function compareFacts(a: ThreadFacts, b: ThreadFacts): number {
  return a.sentSeconds - b.sentSeconds || a.uid - b.uid;
}
