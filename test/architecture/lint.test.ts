import { execFile } from 'node:child_process';
import { copyFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { plantedTree } from './planted-tree.ts';

const root = path.join(import.meta.dirname, '../..');

/** File name: content and the rule that must find it, or null where the same is allowed. */
const PLANTED: Readonly<Record<string, readonly [content: string, rule: string | null]>> = {
  'src/store/floating.ts': [
    'async function f() {} export function g() { f(); }',
    '@typescript-eslint/no-floating-promises',
  ],
  'src/store/open-switch.ts': [
    "export function f(x: 'a' | 'b') { switch (x) { case 'a': return 1; } return 2; }",
    '@typescript-eslint/switch-exhaustiveness-check',
  ],
  'src/store/hidden.ts': ['export class C { private x = 1; f() { return this.x++; } }', 'no-restricted-syntax'],
  'src/store/accessor.ts': ['export class C { accessor x = 1; }', 'no-restricted-syntax'],
  'src/store/decorated.ts': ['const d = () => undefined; @d export class C { x = 1; }', 'no-restricted-syntax'],
  'src/store/barrel.ts': ["export * from './hidden.ts';", 'no-restricted-syntax'],
  'src/store/cipher.ts': [
    "import { createCipheriv } from 'node:crypto'; export const c = createCipheriv;",
    'no-restricted-imports',
  ],
  'src/store/mac.ts': [
    "import { createHmac } from 'node:crypto'; export const c = createHmac;",
    'no-restricted-imports',
  ],
  'src/store/whole.ts': [
    "import crypto from 'node:crypto'; export const c = crypto.hkdfSync;",
    'no-restricted-imports',
  ],
  'src/store/all.ts': [
    "import * as crypto from 'node:crypto'; export const c = crypto.hkdfSync;",
    'no-restricted-imports',
  ],
  'src/store/bare.ts': ["import { join } from 'path'; export const j = join;", 'no-restricted-imports'],
  'src/store/bytes.ts': ['export const f = (k: { expose(): number }) => k.expose();', 'no-restricted-syntax'],
  'src/store/spoken.ts': ['console.log(1);', 'no-console'],
  'src/store/five.ts': ['export const f = (a: 1, b: 1, c: 1, d: 1, e: 1) => [a, b, c, d, e];', 'max-params'],
  'src/store/hash.ts': ["import { createHash } from 'node:crypto'; export const c = createHash;", null],
  'src/crypto/cipher.ts': ["import { createCipheriv } from 'node:crypto'; export const c = createCipheriv;", null],
  'src/crypto/bytes.ts': ['export const f = (k: { expose(): number }) => k.expose();', null],
  'src/keys/providers/bytes.ts': ['export const f = (k: { expose(): number }) => k.expose();', null],
  'src/main.ts': ['console.log(1);', null],
  'test/store/cipher.test.ts': ["import { createCipheriv } from 'node:crypto'; export const c = createCipheriv;", null],
};

test('lint finds every planted breach, and allows the same where it belongs', { timeout: 60_000 }, async () => {
  const tree = plantedTree(
    Object.fromEntries(Object.entries(PLANTED).map(([file, [content]]) => [file, `${content}\n`])),
  );
  for (const file of ['eslint.config.js', 'tsconfig.json', 'package.json'])
    copyFileSync(path.join(root, file), path.join(tree, file));
  symlinkSync(path.join(root, 'node_modules'), path.join(tree, 'node_modules'));
  const eslint = [path.join(root, 'node_modules/eslint/bin/eslint.js'), '--format', 'json', 'src', 'test'];
  const { stdout } = await promisify(execFile)(process.execPath, eslint, { cwd: tree }).catch(
    (error: unknown) => error as { stdout: string }, // exit code 1: there are findings
  );
  const results = JSON.parse(stdout) as { filePath: string; messages: { ruleId: string | null }[] }[];
  const found = Object.fromEntries(
    results.map(({ filePath, messages }) => [path.relative(tree, filePath), messages.map((message) => message.ruleId)]),
  );
  const expected = Object.entries(PLANTED).map(([file, [, rule]]) => [file, rule === null ? [] : [rule]]);
  expect(found).toEqual(Object.fromEntries(expected));
});
