/**
 * Writes a zip, entry by entry, with Zip64 where numbers need it. APPNOTE.TXT 6.3.10 of PKWARE: 4.3.7 (local header), 4.3.12
 * (central directory), 4.3.14 to 4.3.16 (ends), 4.5.3 (Zip64). Names are UTF-8; times go as seconds, too.
 */
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { crc32, deflateRaw } from 'node:zlib';

type Entry = Readonly<{
  name: Buffer;
  sum: number;
  packedBytes: number;
  sizeBytes: number;
  offset: number;
  atMs: number;
  method: number;
}>;

const [STORED, DEFLATED] = [0, 8];
const UTF8_NAMES = 0x0800;
const ZIP64_VERSION = 45;
const UNIX_MADE = (3 << 8) | ZIP64_VERSION;
const FILE_0600 = 0o100600 << 16;
const HELD_MAX_BYTES = 1 << 20;
const MAX_32 = 0xffff_ffff;
const MAX_16 = 0xffff;
const deflated = promisify(deflateRaw);

export class ZipWriter {
  readonly #file: FileHandle;
  readonly #entries: Entry[] = [];
  #offset = 0;
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** Writes to the beginning of an empty file; the caller closes it. */
  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Adds a directory: its name ends in `/`. */
  async directory(name: string): Promise<void> {
    await this.#add(Buffer.from(name), { content: Buffer.alloc(0), packed: Buffer.alloc(0), atMs: 0, method: STORED });
  }

  async entry(name: string, content: Buffer, atMs: number): Promise<void> {
    const packed = await deflated(content);
    const isSmaller = packed.length < content.length;
    const method = isSmaller ? DEFLATED : STORED;
    await this.#add(Buffer.from(name), { content, packed: isSmaller ? packed : content, atMs, method });
  }

  /** Writes the directory of the zip. */
  async end(): Promise<void> {
    const start = this.#offset;
    for (const entry of this.#entries) await this.#write([centralHeader(entry)]);
    const [count, sizeBytes] = [this.#entries.length, this.#offset - start];
    if (count >= MAX_16 || this.#offset >= MAX_32)
      await this.#write([zip64End({ count, sizeBytes, start, at: this.#offset })]);
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50, 0);
    end.writeUInt16LE(Math.min(count, MAX_16), 8);
    end.writeUInt16LE(Math.min(count, MAX_16), 10);
    end.writeUInt32LE(Math.min(sizeBytes, MAX_32), 12);
    end.writeUInt32LE(Math.min(start, MAX_32), 16);
    await this.#write([end]);
    await this.#flush();
  }

  async #add(
    name: Buffer,
    { content, packed, atMs, method }: Readonly<{ content: Buffer; packed: Buffer; atMs: number; method: number }>,
  ): Promise<void> {
    const entry = {
      name,
      sum: crc32(content),
      packedBytes: packed.length,
      sizeBytes: content.length,
      offset: this.#offset,
      atMs,
      method,
    };
    this.#entries.push(entry);
    await this.#write([localHeader(entry), packed]);
  }

  async #write(pieces: readonly Buffer[]): Promise<void> {
    for (const piece of pieces) {
      this.#held.push(piece);
      this.#heldBytes += piece.length;
      this.#offset += piece.length;
    }
    if (this.#heldBytes > HELD_MAX_BYTES) await this.#flush();
  }

  async #flush(): Promise<void> {
    await this.#file.appendFile(Buffer.concat(this.#held));
    [this.#held, this.#heldBytes] = [[], 0];
  }
}

function localHeader({ name, sum, packedBytes, sizeBytes, atMs, method }: Entry): Buffer {
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(20, 4);
  header.writeUInt16LE(UTF8_NAMES, 6);
  header.writeUInt16LE(method, 8);
  header.writeUInt32LE(dosTime(atMs), 10);
  header.writeUInt32LE(sum, 14);
  header.writeUInt32LE(packedBytes, 18);
  header.writeUInt32LE(sizeBytes, 22);
  header.writeUInt16LE(name.length, 26);
  const time = timeField(atMs);
  header.writeUInt16LE(time.length, 28);
  return Buffer.concat([header, name, time]);
}

function centralHeader({ name, sum, packedBytes, sizeBytes, offset, atMs, method }: Entry): Buffer {
  const header = Buffer.alloc(46);
  header.writeUInt32LE(0x02014b50, 0);
  header.writeUInt16LE(UNIX_MADE, 4);
  header.writeUInt16LE(offset >= MAX_32 ? ZIP64_VERSION : 20, 6);
  header.writeUInt16LE(UTF8_NAMES, 8);
  header.writeUInt16LE(method, 10);
  header.writeUInt32LE(dosTime(atMs), 12);
  header.writeUInt32LE(sum, 16);
  header.writeUInt32LE(packedBytes, 20);
  header.writeUInt32LE(sizeBytes, 24);
  header.writeUInt16LE(name.length, 28);
  const extra = Buffer.concat([timeField(atMs), ...(offset >= MAX_32 ? [zip64Offset(offset)] : [])]);
  header.writeUInt16LE(extra.length, 30);
  header.writeUInt32LE(FILE_0600 >>> 0, 38);
  header.writeUInt32LE(Math.min(offset, MAX_32), 42);
  return Buffer.concat([header, name, extra]);
}

function zip64Offset(offset: number): Buffer {
  const field = Buffer.alloc(12);
  field.writeUInt16LE(0x0001, 0);
  field.writeUInt16LE(8, 2);
  field.writeBigUInt64LE(BigInt(offset), 4);
  return field;
}

function zip64End(of: Readonly<{ count: number; sizeBytes: number; start: number; at: number }>): Buffer {
  const end = Buffer.alloc(76);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeUInt16LE(UNIX_MADE, 12);
  end.writeUInt16LE(ZIP64_VERSION, 14);
  end.writeBigUInt64LE(BigInt(of.count), 24);
  end.writeBigUInt64LE(BigInt(of.count), 32);
  end.writeBigUInt64LE(BigInt(of.sizeBytes), 40);
  end.writeBigUInt64LE(BigInt(of.start), 48);
  end.writeUInt32LE(0x07064b50, 56); // the locator
  end.writeBigUInt64LE(BigInt(of.at), 64);
  end.writeUInt32LE(1, 72);
  return end;
}

/** The extended timestamp of Info-ZIP: seconds since 1970. */
function timeField(atMs: number): Buffer {
  const field = Buffer.alloc(9);
  field.writeUInt16LE(0x5455, 0);
  field.writeUInt16LE(5, 2);
  field[4] = 1;
  field.writeInt32LE(Math.max(Math.min(Math.floor(atMs / 1000), 0x7fff_ffff), -0x8000_0000), 5);
  return field;
}

/** Two seconds exact, from 1980 to 2107, in UTC. */
function dosTime(atMs: number): number {
  const date = new Date(Math.max(atMs, Date.UTC(1980, 0, 1)));
  const year = Math.min(date.getUTCFullYear() - 1980, 127);
  const day = (year << 9) | ((date.getUTCMonth() + 1) << 5) | date.getUTCDate();
  const time = (date.getUTCHours() << 11) | (date.getUTCMinutes() << 5) | (date.getUTCSeconds() >> 1);
  return ((day << 16) | time) >>> 0;
}
