/**
 * Mail from single messages in files: a folder tree, or a zip of one, as WorkMail's mailbox export, our own export and many
 * mail programs make. Directories are folders; a top directory that holds everything is none.
 */
import { opendir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { mboxItems } from './mbox-source.ts';
import { wellKnownUse } from './folder-names.ts';
import { dateOf, headerText, notMail, withCrlf } from './message-text.ts';
import { MESSAGE_MAX_BYTES, SourceError, type MailSource, type SourceFolder, type SourceItem } from './source.ts';
import { ZipArchive, type ZipEntry } from './zip-archive.ts';

/** A file of the tree or zip: its levels, the last of which is its own name. */
type EmlFile = Readonly<{ path: readonly string[]; sizeBytes: number; modifiedAtMs: number; entry: ZipEntry | string }>;

const NOT_MAIL = /\.(ics|vcf|json|csv|xml|html?|pst|msf|dat|db|log|md)$/i;
const HIDDEN = /^(\.|__MACOSX$|Thumbs\.db$)/;
const FLAGS: Readonly<Record<string, string>> = {
  D: '\\Draft',
  F: '\\Flagged',
  P: '$Forwarded',
  R: '\\Answered',
  S: '\\Seen',
  T: '\\Deleted',
};

/** Throws SourceError when there is nothing to read at `path`. */
export async function openEml(path: string): Promise<MailSource> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new SourceError(`${path} cannot be read.`, { cause });
  });
  const archive = found.isDirectory() ? null : await ZipArchive.open(path);
  const files = archive ? archive.entries.map(zipFile) : await treeFiles(path);
  const shown = files.filter(({ path: levels }) => !levels.some((level) => HIDDEN.test(level)));
  const mail = shown.filter(({ path: levels }) => !NOT_MAIL.test(levels.at(-1) ?? ''));
  const directories = (archive?.directories ?? []).filter((levels) => !levels.some((level) => HIDDEN.test(level)));
  const strip = commonTop(mail, directories);
  const sizeBytes = shown.reduce((sum, file) => sum + file.sizeBytes, 0);
  return {
    total: { messagesCount: shown.length, sizeBytes },
    folders: directories
      .filter((levels) => levels.length > strip)
      .map((levels) => ({ path: levels.slice(strip), specialUse: null })),
    items: async function* items(_known, signal) {
      for (const file of shown) {
        signal.throwIfAborted();
        yield* itemsOf(file, { archive, strip }, signal);
      }
    },
    [Symbol.asyncDispose]: async () => {
      await archive?.close();
    },
  };
}

/** `strip`: so many top levels are no folders. */
async function* itemsOf(
  file: EmlFile,
  { archive, strip }: Readonly<{ archive: ZipArchive | null; strip: number }>,
  signal: AbortSignal,
): AsyncGenerator<SourceItem> {
  const where = file.path.join('/');
  const name = file.path.at(-1) ?? '';
  const levels = file.path.slice(strip, -1);
  const folder: SourceFolder = { path: levels.length === 0 ? ['INBOX'] : levels, specialUse: null };
  if (NOT_MAIL.test(name)) {
    yield { kind: 'skipped', where, reason: 'it is no mail' };
    return;
  }
  if (archive && typeof file.entry !== 'string' && /\.mbox$/i.test(name)) {
    const path = [...levels, name.replace(/\.mbox$/i, '')];
    const from = { where, folder: { path, specialUse: null }, quoting: 'mboxrd' } as const;
    yield* failing(mboxItems(archive.stream(file.entry), from, signal), { where, folder: from.folder });
    return;
  }
  yield await messageOf(file, { archive, where, folder, name });
}

async function messageOf(
  file: EmlFile,
  {
    archive,
    where,
    folder,
    name,
  }: Readonly<{ archive: ZipArchive | null; where: string; folder: SourceFolder; name: string }>,
): Promise<SourceItem> {
  try {
    if (file.sizeBytes > MESSAGE_MAX_BYTES) return { kind: 'bad', folder, where, reason: 'it is too large' };
    const { entry } = file;
    const bytes = withCrlf(typeof entry === 'string' ? await readFile(entry) : await zipBytes(archive, entry));
    const reason = notMail(bytes);
    if (reason !== null) return { kind: /\.eml$/i.test(name) ? 'bad' : 'skipped', folder, where, reason };
    const internalDate = dateOf(headerText(bytes)) ?? { atMs: Math.round(file.modifiedAtMs), zoneMinutes: 0 };
    return { kind: 'message', folder, where, bytes, flags: flagsOf(name), internalDate, place: null };
  } catch (error) {
    return { kind: 'bad', folder, where, reason: reasonOf(error) };
  }
}

async function zipBytes(archive: ZipArchive | null, entry: ZipEntry): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of archive?.stream(entry) ?? []) pieces.push(piece);
  return pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces);
}

/** Passes items on; a fault of the archive becomes one, too. */
async function* failing(
  items: AsyncGenerator<SourceItem>,
  { where, folder }: Readonly<{ where: string; folder: SourceFolder }>,
): AsyncGenerator<SourceItem> {
  try {
    yield* items;
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof SourceError)) throw error;
    yield { kind: 'bad', folder, where, reason: error.message };
  }
}

/** As our own export names files: `number_2,FLAGS.eml`. */
function flagsOf(name: string): string[] {
  const letters = /_2,([DFPRST]*)\.eml$/i.exec(name)?.[1] ?? '';
  return Array.from(letters).flatMap((letter) => FLAGS[letter] ?? []);
}

/** How many top levels hold everything and are no folder: an export's own directory. */
function commonTop(files: readonly EmlFile[], directories: readonly (readonly string[])[]): number {
  let count = 0;
  for (;;) {
    const below = directories.filter((levels) => levels.length > count).map((levels) => levels[count]);
    const tops = new Set([...files.map(({ path }) => (path.length > count + 1 ? path[count] : undefined)), ...below]);
    const [top] = tops;
    const isFolder =
      files.some(({ path }) => path.length === count + 2) || (top !== undefined && wellKnownUse(top) !== null);
    if (tops.size !== 1 || top === undefined || isFolder) return count;
    count += 1;
  }
}

function zipFile(entry: ZipEntry): EmlFile {
  const { path, sizeBytes, modifiedAtMs } = entry;
  return { path, sizeBytes, modifiedAtMs, entry };
}

async function treeFiles(top: string): Promise<readonly EmlFile[]> {
  const files: EmlFile[] = [];
  for await (const entry of await opendir(top, { recursive: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const { size, mtimeMs } = await stat(file);
    const path = file
      .slice(top.length)
      .split('/')
      .filter((level) => level !== '');
    files.push({
      path: path.length === 0 ? [basename(file)] : path,
      sizeBytes: size,
      modifiedAtMs: mtimeMs,
      entry: file,
    });
  }
  return files.sort((a, b) => (a.path.join('/') < b.path.join('/') ? -1 : 1));
}

function reasonOf(error: unknown): string {
  if (error instanceof SourceError) return error.message;
  return `it cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`;
}
