/**
 * Mail from mbox files: one file, or a folder of them as Thunderbird and Takeout keep it (`Name.sbd/` holds what is below
 * `Name`). Where a file's name or Gmail's labels say so, the mail of one file goes to several folders.
 */
import { open, opendir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fromLineDate, mboxMarks } from './mbox-flags.ts';
import { MboxSplitter, type MboxMessage, type MboxQuoting } from './mbox-splitter.ts';
import { dateOf, headerText, notMail, withCrlf } from './message-text.ts';
import { MESSAGE_MAX_BYTES, SourceError, type MailSource, type SourceFolder, type SourceItem } from './source.ts';

type MboxFile = Readonly<{ file: string; where: string; folder: SourceFolder; sizeBytes: number }>;
const READ_BYTES = 1 << 20;
/** Indexes of Thunderbird. */
const NO_MBOX = /\.(msf|dat|json|html)$/i;

/** Throws SourceError when there is no mbox at `path`. */
export async function openMbox(path: string, options: Readonly<{ quoting: MboxQuoting }>): Promise<MailSource> {
  const files: MboxFile[] = [];
  const skipped: SourceItem[] = [];
  for await (const found of mboxFiles(path)) {
    if ('kind' in found) skipped.push(found);
    else files.push(found);
  }
  if (files.length === 0) throw new SourceError(`There is no mbox at ${path}.`);
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return {
    total: { messagesCount: null, sizeBytes },
    folders: files.filter((file) => file.file !== path).map(({ folder }) => folder),
    items: async function* items(_known, signal) {
      yield* skipped;
      for (const file of files) yield* messagesOf(file, options.quoting, signal);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** The messages of an mbox that comes as a stream. Throws SyntaxError when it is none. */
export async function* mboxItems(
  mbox: AsyncIterable<Uint8Array>,
  from: Readonly<{ where: string; folder: SourceFolder; quoting: MboxQuoting }>,
  signal: AbortSignal,
): AsyncGenerator<SourceItem> {
  const splitter = new MboxSplitter({ quoting: from.quoting, maxBytes: MESSAGE_MAX_BYTES });
  for await (const chunk of mbox) {
    signal.throwIfAborted();
    for (const message of splitter.push(chunk)) yield itemOf(message, from);
  }
  for (const message of splitter.end()) yield itemOf(message, from);
}

async function* messagesOf(file: MboxFile, quoting: MboxQuoting, signal: AbortSignal): AsyncGenerator<SourceItem> {
  const { where, folder } = file;
  await using handle = await open(file.file, 'r');
  const stream = handle.createReadStream({ highWaterMark: READ_BYTES, autoClose: false });
  try {
    yield* mboxItems(stream as AsyncIterable<Buffer>, { where, folder, quoting }, signal);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    yield { kind: 'skipped', where, reason: error.message };
  }
}

function itemOf(message: MboxMessage, from: Readonly<{ where: string; folder: SourceFolder }>): SourceItem {
  const where = `${from.where}, byte ${String(message.offset)}`;
  if (!message.bytes) return { kind: 'bad', folder: from.folder, where, reason: 'it is too large' };
  const { bytes, flags, folder } = mboxMarks(withCrlf(message.bytes));
  const reason = notMail(bytes);
  if (reason !== null) return { kind: 'bad', folder: folder ?? from.folder, where, reason };
  const internalDate = fromLineDate(message.fromLine) ?? dateOf(headerText(bytes));
  return { kind: 'message', folder: folder ?? from.folder, where, bytes, flags, internalDate, place: null };
}

async function* mboxFiles(path: string): AsyncGenerator<MboxFile | SourceItem> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new SourceError(`${path} cannot be read.`, { cause });
  });
  if (!found.isDirectory()) {
    yield { file: path, where: basename(path), folder: folderOf([folderName(basename(path))]), sizeBytes: found.size };
    return;
  }
  yield* below(path, []);
}

async function* below(directory: string, levels: readonly string[]): AsyncGenerator<MboxFile | SourceItem> {
  const entries = [];
  for await (const entry of await opendir(directory)) entries.push(entry);
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    const file = join(directory, entry.name);
    const where = [...levels, entry.name].join('/');
    if (entry.isDirectory()) {
      yield* below(file, [...levels, entry.name.replace(/\.(sbd|mbox)$/i, '')]);
    } else if (entry.isFile() && NO_MBOX.test(entry.name)) {
      yield { kind: 'skipped', where, reason: 'it is no mbox' };
    } else if (entry.isFile() && !(await beginsAsMbox(file))) {
      yield { kind: 'skipped', where, reason: 'it is no mbox' };
    } else if (entry.isFile()) {
      const { size } = await stat(file);
      // Apple Mail: `Name.mbox/mbox`
      const path = entry.name === 'mbox' && levels.length > 0 ? levels : [...levels, folderName(entry.name)];
      yield { file, where, folder: folderOf(path), sizeBytes: size };
    }
  }
}

/** An empty file is an mbox without messages. */
async function beginsAsMbox(file: string): Promise<boolean> {
  await using handle = await open(file, 'r');
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(5), 0, 5, 0);
  return bytesRead === 0 || (bytesRead === 5 && buffer.toString('latin1') === 'From ');
}

function folderName(file: string): string {
  return file.replace(/\.(mbox|mbx)$/i, '');
}

function folderOf(path: readonly string[]): SourceFolder {
  return { path, specialUse: null };
}
