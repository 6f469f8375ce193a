/**
 * Proves the floors of the house: imports go down, or stay in their own folder, without a cycle;
 * and what is fenced in stays inside its fence. `node scripts/check-layers.ts [SOURCE_FOLDER]`.
 */
import path from 'node:path';
import { readModules, type SourceModule } from './lib/modules.ts';

const FLOORS: readonly (readonly string[])[] = [
  ['base'],
  ['config', 'observe'],
  ['crypto', 'mime', 'db', 'dns'],
  ['keys'],
  ['store', 'accounts'],
  ['mailbox', 'queue', 'sasl'],
  ['delivery', 'backup', 'moving'],
  ['imap', 'smtp', 'outbound', 'gateway', 'admin', 'jobs', 'web'],
  ['main.ts', 'app.ts', 'core.ts', 'offline.ts', 'site.ts', 'gateway-app.ts', 'serving.ts', 'measures.ts'],
];

/** `imports` may occur only in files that match `inside`. */
type Fence = Readonly<{ imports: RegExp; inside: RegExp }>;
const FENCES: readonly Fence[] = [
  { imports: /^smtp-server(\/|$)/, inside: /^smtp\/listener[^/]*\.ts$/ },
  { imports: /^@(aws-sdk|smithy)\//, inside: /^(keys\/providers\/|backup\/s3-target\.ts$)/ },
  { imports: /^better-sqlite3$/, inside: /^db\// },
  { imports: /^acme-client$/, inside: /^web\// },
  { imports: /^prom-client$/, inside: /^observe\// },
  { imports: /^pino$/, inside: /^observe\// },
  { imports: /^(dns-packet|node:dgram|node:dns)$/, inside: /^dns\// },
  { imports: /^zod$/, inside: /^(config|admin)\// },
  { imports: /^(jose|@mongodb-js\/saslprep)$/, inside: /^accounts\// },
  { imports: /^smol-toml$/, inside: /^config\// },
  { imports: /^(imapflow|yauzl|yazl)(\/|$)/, inside: /^moving\// },
  { imports: /^commander$/, inside: /^(main\.ts$|admin\/)/ },
  // The text of the protocol is pure: values in, values out.
  {
    imports: /^(node:(net|tls|fs|fs\/promises|dns|http|https|child_process|worker_threads)|(store|db)\/.*)$/,
    inside: /^(?!imap\/proto\/)/,
  },
];

/** What may be written only in files that match `inside`, comments included: one grep finds them all. */
const FENCED_WORDS: readonly Readonly<{ word: RegExp; inside: RegExp }>[] = [
  { word: /\bcreate(Cipher|Decipher)iv\b/, inside: /^crypto\// },
  { word: /\.expose\(/, inside: /^(crypto|keys\/providers)\// },
];

/** Everything wrong in the tree under `directory`, one text each. */
export function layerFaults(directory: string): string[] {
  const modules = readModules(directory);
  if (modules.length === 0) return [`${directory}: no modules seen, so nothing was checked`];
  return [...modules.flatMap(faultsOfModule), ...cycleFaults(modules)];
}

function faultsOfModule({ file, source, imports }: SourceModule): string[] {
  const floor = floorOf(file);
  if (floor < 0) return [`${file}: stands on no floor (see FLOORS in scripts/check-layers.ts)`];
  const faults: string[] = [];
  for (const { target, isRelative } of imports) {
    if (isRelative && !(floorOf(target) < floor && floorOf(target) >= 0) && folderOf(target) !== folderOf(file)) {
      faults.push(`${file}: imports ${target}, which is not on a lower floor`);
    }
    const isFenced = FENCES.some((fence) => fence.imports.test(target) && !fence.inside.test(file));
    if (isFenced) faults.push(`${file}: imports ${target} outside its fence`);
  }
  for (const { word, inside } of FENCED_WORDS) {
    const found = inside.test(file) ? null : word.exec(source.text);
    if (found) faults.push(`${file}: uses ${found[0]} outside its fence`);
  }
  return faults;
}

/** What lies in src itself is one folder: main imports app. */
function folderOf(file: string): string {
  return file.includes('/') ? (file.split('/')[0] ?? '') : '.';
}

function floorOf(file: string): number {
  return FLOORS.findIndex((names) => names.includes(file.split('/')[0] ?? ''));
}

/** Cycles of imports that run; types alone may refer to each other. */
function cycleFaults(modules: readonly SourceModule[]): string[] {
  const targets = new Map(
    modules.map(({ file, imports }) => [
      file,
      imports.filter((e) => e.isRelative && !e.isTypeOnly).map((e) => e.target),
    ]),
  );
  const faults: string[] = [];
  const finished = new Set<string>();
  const walk = (file: string, trail: readonly string[]): void => {
    const start = trail.indexOf(file);
    if (start >= 0) faults.push(`import cycle: ${[...trail.slice(start), file].join(' -> ')}`);
    if (start >= 0 || finished.has(file)) return;
    for (const target of targets.get(file) ?? []) walk(target, [...trail, file]);
    finished.add(file);
  };
  for (const { file } of modules) walk(file, []);
  return faults;
}

if (import.meta.main) {
  const directory = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '../src'));
  const faults = layerFaults(directory);
  for (const fault of faults) console.error(fault);
  console.log(`check-layers: ${String(readModules(directory).length)} modules, ${String(faults.length)} faults`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
