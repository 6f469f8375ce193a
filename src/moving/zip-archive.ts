/**
 * A zip, read entry by entry: Zip64, stored and deflated entries. What is in it stays in memory; names are never used as
 * paths. Each entry's size and CRC-32 are checked.
 */
import { isUtf8 } from 'node:buffer';
import { crc32 } from 'node:zlib';
import yauzl from 'yauzl';
import { SourceError } from './source.ts';

export type ZipEntry = Readonly<{
  path: readonly string[];
  sizeBytes: number;
  modifiedAtMs: number;
  entry: yauzl.Entry;
}>;

type Content = Readonly<{ entries: readonly ZipEntry[]; directories: readonly (readonly string[])[] }>;

const ENCRYPTED_BIT = 1;
const ENTRIES_MAX_COUNT = 20_000_000;

export class ZipArchive {
  readonly entries: readonly ZipEntry[];
  readonly directories: readonly (readonly string[])[];
  readonly #zip: yauzl.ZipFile;

  constructor(zip: yauzl.ZipFile, content: Content) {
    this.#zip = zip;
    this.entries = content.entries;
    this.directories = content.directories;
  }

  /** Throws SourceError for what is no zip. */
  static async open(file: string): Promise<ZipArchive> {
    try {
      const zip = await opened(file);
      return new ZipArchive(zip, await entriesOf(zip));
    } catch (cause) {
      if (cause instanceof SourceError) throw cause;
      const reason = cause instanceof Error ? cause.message : 'unknown';
      throw new SourceError(`${file} is no zip that can be read (${reason}).`, { cause });
    }
  }

  /** The content of an entry. Throws SourceError when it is encrypted or damaged. */
  async *stream({ entry }: ZipEntry): AsyncGenerator<Buffer> {
    if ((entry.generalPurposeBitFlag & ENCRYPTED_BIT) !== 0) throw new SourceError('it is encrypted in the zip');
    let sum = 0;
    try {
      for await (const chunk of (await contentOf(this.#zip, entry)) as AsyncIterable<Buffer>) {
        sum = crc32(chunk, sum);
        yield chunk;
      }
    } catch (cause) {
      throw new SourceError(`it is damaged in the zip (${cause instanceof Error ? cause.message : 'unknown'})`, {
        cause,
      });
    }
    if (sum !== entry.crc32) throw new SourceError('it is damaged in the zip (its checksum differs)');
  }

  close(): Promise<void> {
    const closed = Promise.withResolvers<void>();
    this.#zip.once('close', closed.resolve);
    this.#zip.close();
    return closed.promise;
  }
}

function opened(file: string): Promise<yauzl.ZipFile> {
  return new Promise((resolve, reject) => {
    // Names come as bytes: they need no check as paths, and one odd name does not end the archive.
    yauzl.open(file, { lazyEntries: true, autoClose: false, decodeStrings: false }, (error, zip) => {
      if (error) reject(error);
      else resolve(zip);
    });
  });
}

function entriesOf(zip: yauzl.ZipFile): Promise<Content> {
  const entries: ZipEntry[] = [];
  const directories: string[][] = [];
  return new Promise((resolve, reject) => {
    zip.on('entry', (entry: yauzl.Entry) => {
      const name = nameOf(entry.fileName as unknown as Buffer);
      const path = name.split(/[/\\]/).filter((level) => level !== '');
      if (name.endsWith('/')) directories.push(path);
      else if (path.length > 0) {
        entries.push({
          path,
          sizeBytes: entry.uncompressedSize,
          modifiedAtMs: entry.getLastModDate().getTime(),
          entry,
        });
      }
      if (entries.length > ENTRIES_MAX_COUNT) reject(new SourceError('The zip has too many entries.'));
      else zip.readEntry();
    });
    zip.once('end', () => {
      resolve({ entries, directories });
    });
    zip.once('error', reject);
    zip.readEntry();
  });
}

function contentOf(zip: yauzl.ZipFile, entry: yauzl.Entry): Promise<AsyncIterable<unknown>> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => {
      if (error) reject(error);
      else resolve(stream);
    });
  });
}

/** Writers that do not say that names are UTF-8 write them so all the same, or in a code page. */
function nameOf(bytes: Buffer): string {
  return bytes.toString(isUtf8(bytes) ? 'utf8' : 'latin1');
}
