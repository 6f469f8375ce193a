import path from 'node:path';
import { expect, test } from 'vitest';
import { layerFaults } from '../../scripts/check-layers.ts';
import { plantedTree } from './planted-tree.ts';

test('the floors hold', () => {
  expect(layerFaults(path.join(import.meta.dirname, '../../src'))).toEqual([]);
});

test('a tree that keeps every rule has no faults', () => {
  const tree = plantedTree({
    'main.ts': "import { a } from './app.ts'; import 'commander'; a();",
    'app.ts': "import type { T } from './imap/server.ts'; export const a = () => import('./imap/server.ts');",
    'imap/server.ts':
      "import { b } from '../base/b.ts'; import net from 'node:net'; import './proto/p.ts'; export type T = typeof b;",
    'imap/proto/p.ts': "import { b } from '../../base/b.ts';",
    'base/b.ts': "import type { C } from './c.ts'; export const b = 1;",
    'base/c.ts': "import { b } from './b.ts'; export type C = typeof b;",
    'smtp/listener.ts': "import 'smtp-server';",
    'keys/providers/aws-kms.ts': "import '@aws-sdk/client-kms'; k.expose();",
    'db/open.ts': "import 'better-sqlite3';",
  });
  expect(layerFaults(tree)).toEqual([]);
});

const TARGETS = {
  'base/b.ts': '',
  'config/c.ts': '',
  'observe/o.ts': '',
  'store/s.ts': '',
  'imap/i.ts': '',
  'smtp/m.ts': '',
};

test.for([
  ['an import upwards', 'base/x.ts', "import '../config/c.ts';"],
  ['a type import upwards', 'store/x.ts', "import type { I } from '../imap/i.ts';"],
  ['an import type upwards', 'store/x.ts', "type I = import('../imap/i.ts').I;"],
  ['an export from above', 'store/x.ts', "export { i } from '../imap/i.ts';"],
  ['a dynamic import upwards', 'store/x.ts', "await import('../imap/i.ts');"],
  ['a worker from above', 'store/x.ts', "new Worker(new URL('../imap/i.ts', import.meta.url));"],
  ['another folder of the same floor', 'config/x.ts', "import '../observe/o.ts';"],
  ['another folder of the upper floor', 'smtp/x.ts', "import '../imap/i.ts';"],
  ['an import from outside the house', 'smtp/x.ts', "import '../../scripts/a.ts';"],
  ['a folder without a floor', 'helpers/x.ts', ''],
  [
    'smtp-server outside the listener',
    'smtp/x.ts',
    "import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js';",
  ],
  ['the AWS SDK outside the providers', 'keys/x.ts', "import '@aws-sdk/client-kms';"],
  ['SQLite outside db', 'store/x.ts', "import Database from 'better-sqlite3';"],
  ['a socket in the protocol text', 'imap/proto/x.ts', "import net from 'node:net';"],
  ['the store in the protocol text', 'imap/proto/x.ts', "import '../../store/s.ts';"],
  ['a cipher outside crypto', 'store/x.ts', "import * as c from 'node:crypto'; c.createCipheriv();"],
  ['key bytes outside crypto', 'keys/x.ts', 'key.expose();'],
  ['a cycle in a folder', 'base/x.ts', "import './x.ts';"],
] as const)('%s is found', ([, file, content]) => {
  const faults = layerFaults(plantedTree({ ...TARGETS, [file]: content }));
  expect(faults).toHaveLength(1);
  expect(faults[0]).toContain(file);
});

test('a long cycle is found, and named in full', () => {
  const tree = plantedTree({
    'base/a.ts': "import './b.ts';",
    'base/b.ts': "import './c.ts';",
    'base/c.ts': "import { a } from './a.ts';",
  });
  expect(layerFaults(tree)).toEqual(['import cycle: base/a.ts -> base/b.ts -> base/c.ts -> base/a.ts']);
});

test('an empty tree is a fault, not a pass', () => {
  expect(layerFaults(plantedTree({ 'base/notes.md': '' }))).toHaveLength(1);
});
