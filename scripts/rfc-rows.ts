/**
 * Adds to src/RFC.tsv a row for each section that the source cites and the table lacks, in its place.
 * A row is drafted as `done` only if a test cites the section, too. What the section is about is for
 * you to write: the test of the table does not accept `?`.
 */
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { citationsIn, compareNames, HEADER, type Row, rowsOf } from './lib/rfc-table.ts';

const root = path.join(import.meta.dirname, '..');
const tableFile = path.join(root, 'src/RFC.tsv');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

const testOf = new Map<string, string>();
for (const file of globSync('test/**/*.test.ts', { cwd: root }).sort()) {
  for (const { name } of citationsIn(read(file))) if (!testOf.has(name)) testOf.set(name, file);
}
const rows = new Map(rowsOf(read('src/RFC.tsv')).map((row) => [`${row.rfc} ${row.section}`, row]));
const before = rows.size;
for (const file of globSync('src/**/*.ts', { cwd: root }).sort()) {
  for (const { name, isTodo } of citationsIn(read(file))) {
    if (!rows.has(name)) rows.set(name, draft(name, { file, isTodo }));
  }
}
const lines = [...rows.entries()]
  .sort(([a], [b]) => compareNames(a, b))
  .map(([, { rfc, section, state, what, test }]) => [rfc, section, state, what, test].join('\t'));
writeFileSync(tableFile, `${[HEADER, ...lines].join('\n')}\n`);
console.log(`rfc-rows: ${String(rows.size - before)} rows added`);

function draft(name: string, { file, isTodo }: Readonly<{ file: string; isTodo: boolean }>): Row {
  const [rfc = '', section = ''] = name.split(' ');
  const citing = testOf.get(name);
  const mirrored = file.replace(/^src\/(.*)\.ts$/, 'test/$1.test.ts');
  const test = citing ?? (existsSync(path.join(root, mirrored)) ? mirrored : '');
  return { rfc, section, state: isTodo ? 'todo' : citing === undefined ? 'part' : 'done', what: '?', test };
}
