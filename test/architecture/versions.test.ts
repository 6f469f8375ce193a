import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const root = path.join(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
type Manifest = Readonly<{
  version: string;
  engines: { node: string };
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
}>;
const manifest = JSON.parse(read('package.json')) as Manifest;
const runtime = JSON.parse(read('scripts/node-runtime/package.json')) as Manifest;

test('one Node version: brought by npm, asked for, tested with and in the image', () => {
  const version = runtime.version;
  expect(new Set(Object.values(runtime.optionalDependencies))).toEqual(new Set([version]));
  expect(manifest.engines.node).toBe(`>=${version}`);
  expect(read('Dockerfile')).toContain(`ARG NODE_IMAGE=node:${version}-`);
  expect(process.versions.node).toBe(version);
});

test('every dependency is pinned exactly', () => {
  const ranges = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  expect(ranges.length).toBeGreaterThan(10);
  expect(ranges.filter(([, range]) => !/^(npm:[a-z]+@)?\d+\.\d+\.\d+$|^file:scripts\//.test(range))).toEqual([]);
});
