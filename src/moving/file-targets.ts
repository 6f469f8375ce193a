/** Mail written to files: a directory of mboxes, a Maildir, or a zip of single messages. Invariants: target.ts. */
import { mkdir, open, utimes, writeFile, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mboxText } from './mbox-flags.ts';
import { SourceError } from './source.ts';
import {
  flagLetters,
  otherKeywords,
  safeLevels,
  type ExportedFolder,
  type ExportedMessage,
  type MailTarget,
} from './target.ts';
import { ZipWriter } from './zip-writer.ts';

const KEYWORD_LETTERS = 'abcdefghijklmnopqrstuvwxyz';
const UID_DIGITS = 10;

/** `path/Folder/Below.mbox`. Throws SourceError when `path` exists. */
export async function openMboxTarget(path: string): Promise<MailTarget> {
  await newDirectory(path);
  const names = new DistinctNames();
  let file: FileHandle | null = null;
  const close = async (): Promise<void> => {
    await file?.datasync();
    await file?.close();
    file = null;
  };
  return {
    folder: async ({ name }) => {
      await close();
      const own = join(path, names.distinct(`${safeLevels(name).join('/')}.mbox`));
      await mkdir(dirname(own), { recursive: true, mode: 0o700 });
      file = await open(own, 'wx', 0o600);
    },
    message: async (message) => {
      await file?.appendFile(mboxText(message));
      return true;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Maildir++: INBOX at `path`, `Folder/Below` in `path/.Folder.Below`. Throws SourceError when `path` exists. */
export async function openMaildirTarget(path: string): Promise<MailTarget> {
  await newDirectory(path);
  const names = new DistinctNames();
  let directory = path;
  let keywords: string[] = [];
  const close = async (): Promise<void> => {
    const lines = keywords.map((keyword, at) => `${String(at)} ${keyword}\n`);
    if (lines.length > 0)
      await writeFile(join(directory, 'dovecot-keywords'), lines.join(''), { mode: 0o600, flag: 'wx' });
    keywords = [];
  };
  return {
    folder: async (folder) => {
      await close();
      directory = folder.name === 'INBOX' ? path : join(path, names.distinct(maildirName(folder)));
      for (const part of ['cur', 'new', 'tmp']) await mkdir(join(directory, part), { recursive: true, mode: 0o700 });
      if (directory !== path) await writeFile(join(directory, 'maildirfolder'), '', { mode: 0o600, flag: 'wx' });
    },
    message: async (message) => {
      const file = join(directory, 'cur', maildirFile(message, keywords));
      await writeFile(file, message.bytes, { mode: 0o600, flag: 'wx' });
      await utimes(file, message.atMs / 1000, message.atMs / 1000);
      return true;
    },
    close,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** One zip with a directory for each folder. Throws SourceError when the file exists. */
export async function openZipTarget(path: string): Promise<MailTarget> {
  const file = await open(path, 'wx', 0o600).catch((cause: unknown) => {
    throw unwritable(path, cause);
  });
  const zip = new ZipWriter(file);
  const names = new DistinctNames();
  let prefix = '';
  return {
    folder: async ({ name }) => {
      prefix = `${names.distinct(safeLevels(name).join('/'))}/`;
      await zip.directory(prefix);
    },
    message: async ({ uid, flags, atMs, bytes }) => {
      await zip.entry(`${prefix}${String(uid).padStart(UID_DIGITS, '0')}_2,${flagLetters(flags)}.eml`, bytes, atMs);
      return true;
    },
    close: async () => {
      await zip.end();
      await file.datasync();
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}

/** Keywords get the letters of dovecot-keywords, of which there are 26; the others stay behind. */
function maildirFile({ uid, flags, atMs, bytes }: ExportedMessage, keywords: string[]): string {
  const letters = otherKeywords(flags).flatMap((keyword) => {
    if (!keywords.includes(keyword) && keywords.length < KEYWORD_LETTERS.length) keywords.push(keyword);
    return KEYWORD_LETTERS[keywords.indexOf(keyword)] ?? [];
  });
  const seconds = String(Math.max(Math.floor(atMs / 1000), 0));
  const unique = `${seconds}.M${String(uid)}P1.sealpost,S=${String(bytes.length)}`;
  return `${unique}:2,${flagLetters(flags)}${letters.sort().join('')}`;
}

/** Modified UTF-7 (RFC 3501 §5.1.3); a dot separates levels, so one inside a level is replaced. */
function maildirName({ name }: ExportedFolder): string {
  const levels = safeLevels(name).map((level) =>
    level.replaceAll('.', '_').replaceAll(/&|[^\x20-\x7e]+/g, (run) => {
      if (run === '&') return '&-';
      const base64 = Buffer.from(run, 'utf16le').swap16().toString('base64');
      return `&${base64.replace(/=+$/, '').replaceAll('/', ',')}-`;
    }),
  );
  return `.${levels.join('.')}`;
}

async function newDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function unwritable(path: string, cause: unknown): SourceError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
  const text =
    code === 'EEXIST'
      ? `${path} exists already: an export goes to a new place.`
      : `${path} cannot be written (${code}).`;
  return new SourceError(text, { cause });
}

class DistinctNames {
  readonly #given = new Set<string>();

  distinct(name: string): string {
    let own = name;
    for (let count = 2; this.#given.has(own.toLowerCase()); count += 1) own = `${name}_${String(count)}`;
    this.#given.add(own.toLowerCase());
    return own;
  }
}
