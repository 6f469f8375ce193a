/**
 * Mail from a Maildir, with its folders as Maildir++ (`.Name.Sub`) or as nested directories. Flags come from the names of
 * files, keywords from dovecot-keywords, dates from the files' times of change, as Dovecot and Courier keep them.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, zstdDecompress } from 'node:zlib';
import { notMail, withCrlf } from './message-text.ts';
import { MESSAGE_MAX_BYTES, SourceError, type MailSource, type SourceFolder, type SourceItem } from './source.ts';

type Maildir = Readonly<{ directory: string; folder: SourceFolder }>;
type MaildirFile = Readonly<{ file: string; name: string; isNew: boolean }>;

const SUBDIRECTORIES = ['cur', 'new', 'tmp'];
const FLAGS: Readonly<Record<string, string>> = {
  D: '\\Draft',
  F: '\\Flagged',
  P: '$Forwarded',
  R: '\\Answered',
  S: '\\Seen',
  T: '\\Deleted',
};
const KEYWORD_LETTERS = 'abcdefghijklmnopqrstuvwxyz';
const unzipped = { gzip: promisify(gunzip), zstd: promisify(zstdDecompress) };

/** Throws SourceError when there is no Maildir at `path`. */
export async function openMaildir(path: string): Promise<MailSource> {
  const maildirs: Maildir[] = [];
  for await (const found of maildirsBelow(path, [])) maildirs.push(found);
  if (maildirs.length === 0) throw new SourceError(`There is no Maildir at ${path}: no cur/ and new/ in it.`);
  let messagesCount = 0;
  for (const { directory } of maildirs) messagesCount += (await filesOf(directory)).length;
  return {
    total: { messagesCount, sizeBytes: null },
    items: async function* items(_known, signal) {
      for (const maildir of maildirs) yield* messagesOf(maildir, signal);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function* messagesOf({ directory, folder }: Maildir, signal: AbortSignal): AsyncGenerator<SourceItem> {
  const keywords = await keywordsOf(directory);
  for (const file of await filesOf(directory)) {
    signal.throwIfAborted();
    yield await itemOf(file, folder, keywords);
  }
}

async function itemOf(
  { file, name, isNew }: MaildirFile,
  folder: SourceFolder,
  keywords: readonly string[],
): Promise<SourceItem> {
  const where = [...folder.path, name].join('/');
  try {
    const { mtimeMs, size } = await stat(file);
    if (size > MESSAGE_MAX_BYTES) return { kind: 'bad', folder, where, reason: 'it is too large' };
    const bytes = withCrlf(await decompressed(await readFile(file)));
    const reason = notMail(bytes);
    if (reason !== null) return { kind: 'bad', folder, where, reason };
    const flags = isNew ? [] : flagsOf(name, keywords);
    const internalDate = { atMs: Math.round(mtimeMs), zoneMinutes: 0 };
    return { kind: 'message', folder, where, bytes, flags, internalDate, place: null };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    return { kind: 'bad', folder, where, reason: `it cannot be read (${code})` };
  }
}

function flagsOf(name: string, keywords: readonly string[]): string[] {
  const letters = /[:;!]2,([A-Za-z]*)/.exec(name)?.[1] ?? '';
  return Array.from(letters).flatMap((letter) => FLAGS[letter] ?? keywords[KEYWORD_LETTERS.indexOf(letter)] ?? []);
}

/** Lines `number name`; the numbers are letters in names of files. */
async function keywordsOf(directory: string): Promise<readonly string[]> {
  const text = await readFile(join(directory, 'dovecot-keywords'), 'utf8').catch(() => '');
  const keywords: string[] = [];
  for (const [, at, name] of text.matchAll(/^(\d{1,2}) (\S+)$/gm)) if (name !== undefined) keywords[Number(at)] = name;
  return keywords;
}

/** Dovecot can keep the files compressed. */
async function decompressed(bytes: Buffer): Promise<Buffer> {
  const options = { maxOutputLength: MESSAGE_MAX_BYTES };
  const magic = bytes.subarray(0, 4).toString('hex');
  if (magic.startsWith('1f8b')) return unzipped.gzip(bytes, options);
  return magic === '28b52ffd' ? unzipped.zstd(bytes, options) : bytes;
}

/** In the order of delivery: the names begin with its time. */
async function filesOf(directory: string): Promise<readonly MaildirFile[]> {
  const files: MaildirFile[] = [];
  for (const part of ['cur', 'new']) {
    for (const name of await readdir(join(directory, part)).catch(() => [])) {
      if (!name.startsWith('.')) files.push({ file: join(directory, part, name), name, isNew: part === 'new' });
    }
  }
  const secondsOf = ({ name }: MaildirFile): number => Number.parseInt(name, 10) || 0;
  return files.sort((a, b) => secondsOf(a) - secondsOf(b) || (a.name < b.name ? -1 : 1));
}

async function* maildirsBelow(directory: string, path: readonly string[]): AsyncGenerator<Maildir> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((cause: unknown) => {
    throw new SourceError(`${directory} cannot be read.`, { cause });
  });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  const isMaildir = names.includes('cur') && names.includes('new');
  if (isMaildir) yield { directory, folder: { path: path.length === 0 ? ['INBOX'] : path, specialUse: null } };
  for (const name of names.sort()) {
    if (SUBDIRECTORIES.includes(name)) continue;
    const levels = name.startsWith('.') ? name.slice(1).split('.') : [name];
    yield* maildirsBelow(join(directory, name), [...path, ...levels.filter((level) => level !== '').map(folderLevel)]);
  }
}

/** Modified UTF-7 (RFC 3501 §5.1.3) unless it is UTF-8 already. */
function folderLevel(level: string): string {
  return level.replaceAll(/&([A-Za-z0-9+,]*)-/g, (_all, base64: string) => {
    if (base64 === '') return '&';
    const bytes = Buffer.from(base64.replaceAll(',', '/'), 'base64');
    return bytes
      .subarray(0, bytes.length & ~1)
      .swap16()
      .toString('utf16le');
  });
}
