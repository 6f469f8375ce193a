import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { citationsIn, compareNames, HEADER, type Row, rowsOf } from '../../scripts/lib/rfc-table.ts';

const root = path.join(import.meta.dirname, '../..');
const table = readFileSync(path.join(root, 'src/RFC.tsv'), 'utf8');

function disagreements(rows: readonly Row[], cited: ReadonlySet<string>): string[] {
  const listed = new Set(rows.map((row) => `${row.rfc} ${row.section}`));
  const missing = [...cited].filter((name) => !listed.has(name));
  const idle = rows.filter((row) => row.state !== 'todo' && !cited.has(`${row.rfc} ${row.section}`));
  return [
    ...missing.map((name) => `cited, without a row: ${name}`),
    ...idle.map((row) => `state ${row.state}, not cited: ${row.rfc} ${row.section}`),
  ].sort();
}

test('src/RFC.tsv is well formed, sorted, without repetition', () => {
  expect(table.split('\n', 1)[0]).toBe(HEADER);
  const rows = rowsOf(table);
  const malformed = rows.filter(
    (row) => !/^(done|part|todo)$/.test(row.state) || !row.rfc || !row.section || /^\??$/.test(row.what),
  );
  expect(malformed).toEqual([]);
  const names = rows.map((row) => `${row.rfc} ${row.section}`);
  expect(names).toEqual([...new Set(names)].sort(compareNames));
});

test('every test named in src/RFC.tsv exists, and every done row names one', () => {
  const rows = rowsOf(table);
  expect(rows.filter((row) => row.test !== '' && !existsSync(path.join(root, row.test)))).toEqual([]);
  expect(rows.filter((row) => row.state === 'done' && row.test === '')).toEqual([]);
});

test('src/RFC.tsv and the code name the same sections (scripts/rfc-rows.ts drafts what is missing)', () => {
  const files = globSync('src/**/*.ts', { cwd: root });
  expect(files.length).toBeGreaterThan(0);
  const citations = files.flatMap((file) => citationsIn(readFileSync(path.join(root, file), 'utf8')));
  expect(disagreements(rowsOf(table), new Set(citations.map(({ name }) => name)))).toEqual([]);
});

test('citations are found across line breaks, with the todo mark', () => {
  const source =
    '/** As RFC 9051\n * §6.4.5 says. RFC 5321. §9 */\n// todo RFC 7162 §3.1: keep v1.2 in\n// mind. More.';
  expect(citationsIn(source)).toEqual([
    { name: '9051 6.4.5', isTodo: false },
    { name: '7162 3.1', isTodo: true },
  ]);
});

test('a planted disagreement is found, both ways', () => {
  const rows = rowsOf(`${HEADER}\n9051\t6.4.5\tdone\tFETCH\n9051\t7.1\ttodo\tcodes\n5321\t4.5\tpart\tdata\n`);
  const expected = ['cited, without a row: 7162 3.1', 'state part, not cited: 5321 4.5'];
  expect(disagreements(rows, new Set(['9051 6.4.5', '7162 3.1']))).toEqual(expected);
});
