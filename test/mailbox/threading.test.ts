import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Uid } from '../../src/base/ids.ts';
import { threadPieces } from '../../src/imap/proto/thread-text.ts';
import { threadsOf, type ThreadAlgorithm, type ThreadFacts } from '../../src/mailbox/threading.ts';
import { baseSubject } from '../../src/mime/base-subject.ts';

type Given = Readonly<{ id?: string | null; refs?: readonly string[]; subject?: string; at?: number }>;

function facts(given: readonly Given[]): ThreadFacts[] {
  return given.map(({ id, refs = [], subject = '', at }, index) => ({
    uid: (index + 1) as Uid,
    sentSeconds: at ?? index,
    id: id === undefined ? String(index + 1) : id,
    references: refs,
    subject: baseSubject(subject),
  }));
}

async function threaded(algorithm: ThreadAlgorithm, given: readonly Given[]): Promise<string> {
  return [...threadPieces(await threadsOf(algorithm, facts(given)), (uid) => uid)].join('');
}

/** RFC 5256 §3 (REFERENCES). */
describe('by references', () => {
  test.for<[string, readonly Given[], string]>([
    ['nothing', [], ''],
    ['strangers', [{}, {}], '(1)(2)'],
    ['a chain', [{}, { refs: ['1'] }, { refs: ['1', '2'] }], '(1 2 3)'],
    ['a fork', [{}, { refs: ['1'] }, { refs: ['1'] }], '(1 (2)(3))'],
    ['forks in forks', [{}, { refs: ['1'] }, { refs: ['1'] }, { refs: ['3'] }, { refs: ['3'] }], '(1 (2)(3 (4)(5)))'],
    ['the reply came first', [{ refs: ['2'] }, {}], '(2 1)'],
    ['siblings by date', [{}, { refs: ['1'], at: 9 }, { refs: ['1'], at: 5 }], '(1 (3)(2))'],
    ['a missing parent with one child', [{ refs: ['gone'] }], '(1)'],
    ['a missing parent with two', [{ refs: ['gone'] }, { refs: ['gone'] }], '((1)(2))'],
    ['a missing one in between', [{}, { refs: ['1', 'gone'] }], '(1 2)'],
    ['two with one id', [{ id: 'x' }, { id: 'x' }, { refs: ['x'] }], '(1 3)(2)'],
    ['no id', [{ id: null }, { id: null, refs: ['a'] }], '(1)(2)'],
    ['itself', [{ refs: ['1'] }], '(1)'],
    ['a loop', [{ refs: ['2'] }, { refs: ['1'] }], '(2 1)'],
    ['a loop of three', [{ refs: ['3'] }, { refs: ['1'] }, { refs: ['2'] }], '(3 1 2)'],
    ['the own parent wins over what others say', [{}, {}, { refs: ['1'] }, { refs: ['2', '3'] }], '(1 3 4)(2)'],
    ['replies by subject', [{ subject: 'a' }, { subject: 'Re: a' }, { subject: 'b' }], '(1 2)(3)'],
    ['originals by subject', [{ subject: 'a' }, { subject: 'A' }], '((1)(2))'],
    ['a reply before the original', [{ subject: 're: a' }, { subject: 'a' }], '(2 1)'],
    ['three of one subject', [{ subject: 'a' }, { subject: 'a' }, { subject: 'a' }], '((1)(2)(3))'],
    [
      'two places of one subject',
      [1, 1, 2, 2].map((n) => ({ refs: [`g${String(n)}`], subject: 'a' })),
      '((1)(2)(3)(4))',
    ],
    ['a place takes a message in', [{ subject: 'a' }, { refs: ['g'], subject: 'a' }, { refs: ['g'] }], '((1)(2)(3))'],
    ['no subject joins nothing', [{ subject: 're:' }, { subject: '' }], '(1)(2)'],
  ])('%s', async ([, given, expected]) => {
    expect(await threaded('references', given)).toBe(expected);
  });
});

test('refs: no subjects, and the thread with the newest message comes last', async () => {
  const given = [
    { at: 1, subject: 'a' },
    { at: 2, subject: 'a' },
    { at: 3, refs: ['1'] },
  ];
  expect(await threaded('refs', given)).toBe('(2)(1 3)');
});

test('by subject: the first message of each, the others below it', async () => {
  const given = [
    { subject: 'b', at: 5 },
    { subject: 'a', at: 1 },
    { subject: 're: B', at: 2 },
    { subject: 'b', at: 9 },
  ];
  expect(await threaded('ordered-subject', given)).toBe('(2)(3 (1)(4))');
});

test('TH1 a chain of 30,000 messages, in either direction', async () => {
  const down = Array.from({ length: 30_000 }, (_, at) => ({ refs: at === 0 ? [] : [String(at)] }));
  expect(await threaded('references', down)).toMatch(/^\(1 2 3 [ \d]* 30000\)$/);
  const up = Array.from({ length: 30_000 }, (_, at) => ({
    refs: at === 29_999 ? [] : [String(at + 2)],
    at: 30_000 - at,
  }));
  expect(await threaded('refs', up)).toMatch(/^\(30000 29999 [ \d]* 1\)$/);
});

test('TH2 every message is there once, whatever the references say', async () => {
  const id = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
  const given = fc.record({
    id: fc.option(id),
    refs: fc.array(id, { maxLength: 4 }),
    subject: fc.constantFrom('', 'x', 're: x', 'y', 'fwd: y'),
    at: fc.integer({ min: 0, max: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(given, { maxLength: 12 }),
      fc.constantFrom<ThreadAlgorithm>('references', 'refs', 'ordered-subject'),
      async (messages, algorithm) => {
        const text = await threaded(algorithm, messages);
        const uids = (text.match(/\d+/g) ?? []).map(Number).sort((a, b) => a - b);
        expect(uids).toEqual(messages.map((_, at) => at + 1));
        expect(text).toMatch(/^(?:\([\d ()]+\))*$/);
      },
    ),
    { numRuns: 500 },
  );
});
