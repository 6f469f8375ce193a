/**
 * Where the folders of a source go: special folders into those of the mailbox that are for the same, all others under
 * their own names. RFC 6154 for the uses.
 */
import { specialUse } from 'imapflow/lib/special-use.js';
import type { SpecialUse } from '../mailbox/model.ts';
import { SourceError, type SourceFolder } from './source.ts';

export type TargetFolder = Readonly<{ name: string; specialUse: SpecialUse | null }>;
type Existing = Readonly<{ name: string; specialUse: SpecialUse | null }>;
export type FolderOptions = Readonly<{
  /** Everything goes below this folder, under its own name. */
  into?: string | undefined;
  /** `SOURCE=TARGET`, for whole folders and what is below them. */
  renames?: readonly string[] | undefined;
}>;

const INBOX = 'INBOX';
const LEVEL_MAX_BYTES = 200;
const LEVELS_MAX_COUNT = 20;
const INBOX_NAMES = new Set(['inbox', 'posteingang', 'boîte de réception', 'bandeja de entrada', 'posta in arrivo']);
const USES: ReadonlyMap<string, SpecialUse> = new Map([
  ['\\Archive', 'Archive'],
  ['\\Drafts', 'Drafts'],
  ['\\Junk', 'Junk'],
  ['\\Sent', 'Sent'],
  ['\\Trash', 'Trash'],
]);

/** What a top folder of this name is for, by its name alone, in the languages that imapflow knows. */
export function wellKnownUse(name: string): SpecialUse | typeof INBOX | null {
  if (INBOX_NAMES.has(name.normalize('NFC').toLowerCase())) return INBOX;
  return USES.get(specialUse(false, { flags: new Set(), name }).flag ?? '') ?? null;
}

export class FolderNames {
  readonly #existing: readonly Existing[];
  readonly #into: string | null;
  readonly #renames: readonly (readonly [string, string])[];
  readonly #special: readonly Readonly<{ path: readonly string[]; target: TargetFolder }>[];

  /** `special`: the folders of the source that say what they are for. Throws SourceError for options that make no sense. */
  constructor(existing: readonly Existing[], options: FolderOptions, special: readonly SourceFolder[] = []) {
    this.#existing = existing;
    this.#into = options.into === undefined ? null : cleanPath(options.into.split('/'));
    this.#renames = (options.renames ?? []).map((text) => {
      const at = text.indexOf('=');
      if (at < 1 || at === text.length - 1) throw new SourceError(`Not SOURCE=TARGET: ${text}`);
      return [cleanPath(text.slice(0, at).split('/')), cleanPath(text.slice(at + 1).split('/'))];
    });
    this.#special = special.map(({ path, specialUse }) => ({ path, target: this.#forUse(specialUse, path) }));
  }

  target(folder: SourceFolder): TargetFolder {
    const own = cleanPath(folder.path);
    for (const [from, to] of this.#renames) {
      if (own === from || own.startsWith(`${from}/`)) return plain(to + own.slice(from.length));
    }
    if (this.#into !== null) return plain(`${this.#into}/${own}`);
    if (folder.specialUse) return this.#forUse(folder.specialUse, folder.path);
    const above = this.#special.find(({ path }) => isBelow(folder.path, path));
    const [top = '', ...rest] = above ? [above.target.name, ...folder.path.slice(above.path.length)] : folder.path;
    const known = above ? null : wellKnownUse(top);
    if (known === null) return plain(above ? joined(above.target.name, rest) : own);
    const special = known === INBOX ? plain(INBOX) : this.#forUse(known, [top]);
    return rest.length === 0 ? special : plain(joined(special.name, rest));
  }

  #forUse(use: SpecialUse | null, path: readonly string[]): TargetFolder {
    const there = use && this.#existing.find(({ specialUse }) => specialUse === use);
    return there ? { name: there.name, specialUse: use } : { name: cleanPath(path), specialUse: use };
  }
}

const plain = (name: string): TargetFolder => ({ name, specialUse: null });

function joined(top: string, rest: readonly string[]): string {
  return rest.length === 0 ? top : `${top}/${cleanPath(rest)}`;
}

function isBelow(path: readonly string[], above: readonly string[]): boolean {
  return path.length > above.length && above.every((level, at) => level === path[at]);
}

/** A name that the mailbox takes: levels joined by `/`, none empty, without what IMAP has other uses for. */
function cleanPath(levels: readonly string[]): string {
  const clean = levels.map(cleanLevel).filter((level) => level !== '');
  if (clean.length === 0) return INBOX;
  const deep = clean.splice(LEVELS_MAX_COUNT - 1);
  if (deep.length > 0) clean.push(cleanLevel(deep.join('_')));
  if (clean[0]?.toUpperCase() === INBOX) clean[0] = INBOX;
  return clean.join('/');
}

function cleanLevel(level: string): string {
  let name = level
    .normalize('NFC')
    .toWellFormed()
    .replace(/[*%/\p{Cc}\u2028\u2029]/gu, '_')
    .trim();
  if (name === '.' || name === '..') name = name.replaceAll('.', '_');
  while (Buffer.byteLength(name) > LEVEL_MAX_BYTES) name = Array.from(name).slice(0, -1).join('');
  return name;
}
