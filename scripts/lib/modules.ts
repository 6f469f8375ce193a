/** The modules of a source tree and what each imports, for check-layers.ts and check-exports.ts. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/** `file` and the targets of relative imports are relative to the source folder, with `/`. */
export type ImportEdge = Readonly<{ target: string; isRelative: boolean; isTypeOnly: boolean }>;
export type SourceModule = Readonly<{ file: string; source: ts.SourceFile; imports: readonly ImportEdge[] }>;

/** Every .ts file under `directory`. */
export function readModules(directory: string): readonly SourceModule[] {
  return globSync('**/*.ts', { cwd: directory })
    .map((file) => file.split(path.sep).join('/'))
    .sort()
    .map((file) => {
      const source = ts.createSourceFile(
        file,
        readFileSync(path.join(directory, file), 'utf8'),
        ts.ScriptTarget.Latest,
        true,
      );
      return { file, source, imports: importsOf(file, source) };
    });
}

function importsOf(file: string, source: ts.SourceFile): ImportEdge[] {
  const edges: ImportEdge[] = [];
  const add = (specifier: ts.Node | undefined, isTypeOnly: boolean): void => {
    if (!specifier || !ts.isStringLiteralLike(specifier)) return;
    const isRelative = specifier.text.startsWith('.');
    const target = isRelative
      ? path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier.text))
      : specifier.text;
    edges.push({ target, isRelative, isTypeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeOnlyImport(node));
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true);
    else if (isWorkerUrl(node)) add(node.arguments?.[0], false);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return edges;
}

function isTypeOnlyImport({ importClause }: ts.ImportDeclaration): boolean {
  if (!importClause) return false;
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const bindings = importClause.namedBindings;
  return (
    !importClause.name && !!bindings && ts.isNamedImports(bindings) && bindings.elements.every((e) => e.isTypeOnly)
  );
}

/** `new URL('./checkpoint-worker.ts', import.meta.url)`: a module that a worker thread runs. */
function isWorkerUrl(node: ts.Node): node is ts.NewExpression {
  const first = ts.isNewExpression(node) ? node.arguments?.[0] : undefined;
  return (
    ts.isNewExpression(node) &&
    ts.isIdentifier(node.expression) &&
    node.expression.text === 'URL' &&
    !!first &&
    ts.isStringLiteralLike(first) &&
    /^\.{1,2}\/.*\.ts$/.test(first.text)
  );
}
