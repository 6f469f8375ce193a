/** Looks for words in files, in every form in which text lies about: raw, encoded for mail, for the web, for databases. */
import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { formsOf } from '../../src/admin/word-forms.ts';

export { formsOf };
export type Finding = Readonly<{ file: string; word: string; form: string }>;

/** Where any of `words` is found in any form, in all files under `folders`, names of files included. */
export function findWords(folders: readonly string[], words: readonly string[]): Finding[] {
  const wanted = words.flatMap((word) => formsOf(word).map((form) => ({ word, form })));
  const findings: Finding[] = [];
  for (const file of filesUnder(folders)) {
    const content = Buffer.concat([Buffer.from(`${file}\n`), readFileSync(file)]);
    for (const { word, form } of wanted) {
      if (content.includes(form.bytes)) findings.push({ file, word, form: form.name });
    }
  }
  return findings;
}

export function filesUnder(folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    globSync('**/*', { cwd: folder })
      .map((file) => join(folder, file))
      .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile()),
  );
}
