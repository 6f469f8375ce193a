import path from 'node:path';
import { expect, test } from 'vitest';
import { exportFaults } from '../../scripts/check-exports.ts';
import { plantedTree } from './planted-tree.ts';

const none = new Map<string, string>();

test('no export is dead', () => {
  expect(exportFaults(path.join(import.meta.dirname, '../../src'))).toEqual([]);
});

test('every way of using an export counts', () => {
  const tree = plantedTree({
    'main.ts': `
      import { a, type B, c as d } from './base/x.ts';
      import type { E } from './base/x.ts';
      import * as y from './base/y.ts';
      export { f } from './base/x.ts';
      const worker = new Worker(new URL('./base/worker.ts', import.meta.url));
      const late = await import('./base/late.ts');
      y.g(); let h: y.H;
    `,
    'base/x.ts':
      'export const a = 1; export type B = 1; export function c() {} export interface E {} export class f {}',
    'base/y.ts': 'export const g = () => 1, unlisted = 2; export type H = 1;',
    'base/worker.ts': 'export const w = 1;',
    'base/late.ts': 'export const l = 1;',
  });
  expect(exportFaults(tree, none)).toEqual([expect.stringContaining('base/y.ts#unlisted')]);
});

test.for([
  ['a constant', 'export const dead = 1;'],
  ['a function', 'export async function dead() {}'],
  ['a class', 'export class dead {}'],
  ['a type', 'export type dead = 1;'],
  ['an interface', 'export interface dead {}'],
  ['a list of exports', 'const inner = 1; export { inner as dead };'],
  ['a bound name', 'export const { a: [dead] } = x;'],
  ['a name used at home only', 'export const dead = 1; console.log(dead);'],
])('%s that nobody imports is found', ([, content]) => {
  const tree = plantedTree({ 'main.ts': "import './base/x.ts'; const dead = 1;", 'base/x.ts': content ?? '' });
  expect(exportFaults(tree, none)).toEqual([expect.stringContaining('base/x.ts#dead')]);
});

test('an exception that is not needed is found', () => {
  const tree = plantedTree({
    'main.ts': "import { used } from './base/x.ts';",
    'base/x.ts': 'export const used = 1; export const spare = 1;',
  });
  const exceptions = new Map(['used', 'spare', 'gone'].map((name) => [`base/x.ts#${name}`, 'a reason']));
  expect(exportFaults(tree, exceptions).map((fault) => fault.split(':', 1)[0])).toEqual([
    'base/x.ts#used',
    'base/x.ts#gone',
  ]);
});

test('an empty tree is a fault, not a pass', () => {
  expect(exportFaults(plantedTree({ 'notes.md': '' }), none)).toHaveLength(1);
});
