/** src/RFC.tsv, and what the source cites. For scripts/rfc-rows.ts and the test of the table. */

export const HEADER = 'rfc\tsection\tstate\twhat\ttest';

export type Row = Readonly<{ rfc: string; section: string; state: string; what: string; test: string }>;
/** `name` is `9051 6.4.5`. */
export type Citation = Readonly<{ name: string; isTodo: boolean }>;

export function rowsOf(table: string): readonly Row[] {
  const [, ...lines] = table.trimEnd().split('\n');
  return lines.map((line) => {
    const [rfc = '', section = '', state = '', what = '', test = ''] = line.split('\t');
    return { rfc, section, state, what, test };
  });
}

/** Every `RFC 9051 §6.4.5`, across the line breaks of comments. */
export function citationsIn(source: string): readonly Citation[] {
  const unwrapped = source.replace(/\s*\n\s*(\*(?!\/)|\/\/)?\s*/g, ' ');
  return [...unwrapped.matchAll(/(todo )?\bRFC (\d{3,5}) §([0-9A-Z]+(?:\.\d+)*)/g)].map(([, todo, rfc, section]) => ({
    name: `${rfc ?? ''} ${section ?? ''}`,
    isTodo: todo !== undefined,
  }));
}

/** By number of RFC, then by section. */
export function compareNames(a: string, b: string): number {
  return new Intl.Collator('en', { numeric: true }).compare(a, b);
}
