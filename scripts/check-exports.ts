/**
 * Finds dead exports: a name that a module of src exports and no other module of src imports.
 * Types count too. What only tests import is dead as well: it is tested, and not used.
 * `node scripts/check-exports.ts [SOURCE_FOLDER]`.
 */
import path from 'node:path';
import ts from 'typescript';
import { readModules, type SourceModule } from './lib/modules.ts';

/** Called from outside src: by node, by a worker thread, or by scripts. */
const ENTRY_POINTS: ReadonlySet<string> = new Set(['main.ts', 'config/reference.ts']);

/** Exports used by tests and scripts only, with the reason why they are. Keep it short. */
const EXCEPTIONS: ReadonlyMap<string, string> = new Map(
  ['queue/queue.ts#ListedItem', 'queue/queue.ts#QueueState', 'queue/writer.ts#NewQueuedMessage'].map((name) => [
    name,
    'for those who fill and drain the queue; goes when they are built',
  ]),
);

/** Everything wrong in the tree under `directory`, one text each. */
export function exportFaults(directory: string, exceptions = EXCEPTIONS): string[] {
  const modules = readModules(directory);
  if (modules.length === 0) return [`${directory}: no modules seen, so nothing was checked`];
  const used = new Set(modules.flatMap(usedNames));
  const exported = modules.filter(({ file }) => !ENTRY_POINTS.has(file)).flatMap(exportedNames);
  const dead = exported.filter((name) => !used.has(name) && !used.has(everyNameOf(name)) && !exceptions.has(name));
  const stale = [...exceptions.keys()].filter((name) => used.has(name) || !exported.includes(name));
  return [
    ...dead.map((name) => `${name}: exported, and no other file of src imports it`),
    ...stale.map((name) => `${name}: an exception in scripts/check-exports.ts that is not needed any more`),
  ];
}

/** `file#name`. */
function exportedNames({ file, source }: SourceModule): string[] {
  return source.statements.flatMap((statement) => declaredNames(statement)).map((name) => `${file}#${name}`);
}

function declaredNames(statement: ts.Statement): string[] {
  if (ts.isExportDeclaration(statement)) {
    const clause = statement.exportClause;
    return clause && ts.isNamedExports(clause) ? clause.elements.map((element) => element.name.text) : [];
  }
  const modifiers = ts.canHaveModifiers(statement) ? (ts.getModifiers(statement) ?? []) : [];
  if (!modifiers.some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword)) return [];
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.flatMap((declaration) => boundNames(declaration.name));
  }
  const name = (statement as ts.Statement & { name?: ts.Node }).name;
  return name && ts.isIdentifier(name) ? [name.text] : [];
}

function boundNames(name: ts.BindingName): string[] {
  if (ts.isIdentifier(name)) return [name.text];
  return name.elements.flatMap((element) => (ts.isBindingElement(element) ? boundNames(element.name) : []));
}

/** The names that a module imports, re-exports, or reaches through a namespace or `import('...')`. */
function usedNames({ file, source, imports }: SourceModule): string[] {
  const names: string[] = [];
  const targetOf = (specifier: ts.Expression): string =>
    ts.isStringLiteralLike(specifier) ? path.posix.join(path.posix.dirname(file), specifier.text) : '';
  const namesInClause = (elements: readonly (ts.ImportSpecifier | ts.ExportSpecifier)[], target: string): void => {
    for (const element of elements) names.push(`${target}#${(element.propertyName ?? element.name).text}`);
  };
  for (const statement of source.statements) {
    if (ts.isImportDeclaration(statement)) {
      const target = targetOf(statement.moduleSpecifier);
      const bindings = statement.importClause?.namedBindings;
      if (bindings && ts.isNamedImports(bindings)) namesInClause(bindings.elements, target);
      if (bindings && ts.isNamespaceImport(bindings)) names.push(...membersOf(source, bindings.name.text, target));
    } else if (ts.isExportDeclaration(statement) && statement.moduleSpecifier) {
      const target = targetOf(statement.moduleSpecifier);
      if (statement.exportClause && ts.isNamedExports(statement.exportClause)) {
        namesInClause(statement.exportClause.elements, target);
      }
    }
  }
  const reached = imports.filter((edge) => edge.isRelative && isLoadedAtRunTime(source, edge.target));
  return [...names, ...reached.map((edge) => everyNameOf(edge.target))];
}

/** `option.text` of `import * as option`. */
function membersOf(source: ts.SourceFile, namespace: string, target: string): string[] {
  const names: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === namespace) {
      names.push(`${target}#${node.name.text}`);
    } else if (ts.isQualifiedName(node) && ts.isIdentifier(node.left) && node.left.text === namespace) {
      names.push(`${target}#${node.right.text}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return names;
}

/** True for `import('./x.ts')` and `new URL('./x.ts', ..)`, whose names cannot be followed. */
function isLoadedAtRunTime(source: ts.SourceFile, target: string): boolean {
  const base = path.posix.basename(target).replaceAll('.', String.raw`\.`);
  return new RegExp(String.raw`(\bimport|\bURL)\(\s*['"][^'"]*${base}['"]`).test(source.text);
}

function everyNameOf(name: string): string {
  return `${name.split('#', 1)[0] ?? ''}#*`;
}

if (import.meta.main) {
  const directory = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '../src'));
  const faults = exportFaults(directory);
  for (const fault of faults) console.error(fault);
  console.log(`check-exports: ${String(faults.length)} faults`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
