/**
 * The body of a message while what stands above it is not known yet: in memory as long as it is small, else in a sealed
 * file without a name.
 *
 * HB1  No plaintext touches the disk: the file is sealed under a key that exists in this process only.
 * HB2  The file has no name from the moment it is open: whatever ends this process ends the file.
 * HB3  At most `MAX_HELD_BYTES` of a message, and `maxBytes` of all together, are held in memory.
 *
 * Called by incoming.ts.
 */
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { ServerError } from '../../base/errors.ts';
import { bodyId, organizationId, randomHexId } from '../../base/ids.ts';
import { BodyOpener, BodySealer } from '../../crypto/sealed-body.ts';
import { SecretBytes } from '../../crypto/secret-bytes.ts';

/** What all messages on their way in share. */
export class HeldMemory {
  readonly #maxBytes: number;
  #heldBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** False, and nothing is taken, when there is no room. */
  take(bytes: number): boolean {
    if (this.#heldBytes + bytes > this.#maxBytes) return false;
    this.#heldBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#heldBytes -= bytes;
  }
}

const MAX_HELD_BYTES = 1024 * 1024;
const READ_BYTES = 256 * 1024;
const KEY_BYTES = 32;
/** A smaller piece is copied: it may be a small part of a large buffer. */
const COPIED_BELOW_BYTES = 4096;

type HeldBodyDeps = Readonly<{ folder: string; memory: HeldMemory }>;

/** Used by one transaction, one call at a time. */
export class HeldBody {
  readonly #deps: HeldBodyDeps;
  #pieces: Uint8Array[] = [];
  #heldBytes = 0;
  #file: SealedFile | null = null;

  constructor(deps: HeldBodyDeps) {
    this.#deps = deps;
  }

  /** Takes the next bytes. Throws ServerError 'storage-full', 'storage-failed'. */
  async write(piece: Uint8Array): Promise<void> {
    if (piece.length === 0) return;
    const fits = !this.#file && this.#heldBytes + piece.length <= MAX_HELD_BYTES;
    if (fits && this.#deps.memory.take(piece.length)) {
      this.#pieces.push(piece.length < COPIED_BELOW_BYTES ? Buffer.from(piece) : piece);
      this.#heldBytes += piece.length;
      return;
    }
    this.#file ??= await this.#spill();
    await this.#file.write(piece);
  }

  /** The body, piece by piece; nothing is written after that. */
  async *read(): AsyncGenerator<Uint8Array> {
    if (this.#file) yield* this.#file.read();
    else yield* this.#pieces;
  }

  /** May be repeated. */
  async discard(): Promise<void> {
    this.#release();
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }

  async #spill(): Promise<SealedFile> {
    const file = await SealedFile.open(this.#deps.folder);
    try {
      for (const piece of this.#pieces) await file.write(piece);
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#release();
    return file;
  }

  #release(): void {
    this.#pieces = [];
    this.#deps.memory.give(this.#heldBytes);
    this.#heldBytes = 0;
  }
}

/** A sealed body in a file without a name (HB1, HB2). */
class SealedFile {
  readonly #handle: FileHandle;
  readonly #key = SecretBytes.random(KEY_BYTES);
  readonly #context = {
    kind: 'body',
    organization: organizationId(randomHexId()),
    body: bodyId(randomHexId()),
  } as const;
  readonly #sealer = new BodySealer(this.#key, this.#context);
  #plainSizeBytes = 0;
  #isStarted = false;
  #sealed: Promise<void> | null = null;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  static async open(folder: string): Promise<SealedFile> {
    const path = join(folder, randomHexId());
    try {
      const handle = await open(path, 'wx+', 0o600);
      await unlink(path); // HB2
      return new SealedFile(handle);
    } catch (cause) {
      throw storageFailure(cause);
    }
  }

  async write(piece: Uint8Array): Promise<void> {
    this.#plainSizeBytes += piece.length;
    await this.#append(this.#sealer.push(piece));
  }

  async *read(): AsyncGenerator<Uint8Array> {
    this.#sealed ??= this.#append(this.#sealer.end());
    await this.#sealed;
    const { commitment, header } = this.#sealer;
    const size = this.#plainSizeBytes;
    using opener = new BodyOpener(this.#key, this.#context, header, { commitment, plainSizeBytes: size });
    for (let at = 0; at < size; at += READ_BYTES) {
      const end = Math.min(at + READ_BYTES, size);
      const { offset, lengthBytes } = opener.sealedRange(at, end);
      const sealed = Buffer.allocUnsafeSlow(lengthBytes);
      let filled = 0;
      while (filled < lengthBytes) {
        const { bytesRead } = await this.#handle.read(sealed, filled, lengthBytes - filled, offset + filled);
        if (bytesRead === 0) throw storageFailure(new Error('cut short'));
        filled += bytesRead;
      }
      yield opener.open(sealed, at, end);
    }
  }

  async close(): Promise<void> {
    this.#sealer[Symbol.dispose]();
    this.#key[Symbol.dispose]();
    await this.#handle.close();
  }

  async #append(sealed: readonly Uint8Array[]): Promise<void> {
    let pieces = this.#isStarted ? [...sealed] : [this.#sealer.header, ...sealed];
    this.#isStarted = true;
    try {
      while (pieces.length > 0) {
        const bytes = Buffer.concat(pieces);
        const { bytesWritten } = await this.#handle.write(bytes);
        pieces = bytesWritten < bytes.length ? [bytes.subarray(bytesWritten)] : [];
      }
    } catch (cause) {
      throw storageFailure(cause);
    }
  }
}

/** Nothing was acknowledged, so that the sender only has to come again. */
function storageFailure(cause: unknown): ServerError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
  return new ServerError('storage-full', {
    clientText: 'The server could not use its disk.',
    detail: `a message on its way in: ${code}`,
    retryable: true,
    cause,
  });
}
