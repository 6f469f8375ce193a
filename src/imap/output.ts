/**
 * What the server says on one connection: gathered, written once a turn, bounded.
 *
 * O1  Everything said within one turn of the event loop goes to the socket in one write, up to `FLUSH_BYTES`.
 * O2  `room` resolves when fewer than `maxBytes` are held for the client; who says much awaits it in between, so
 *     that at most `maxBytes` and one batch are in memory.
 * O3  A client that takes nothing for `stallMs` while somebody waits for room is cut off.
 *
 * Owned by connection.ts, which gives it another socket after STARTTLS; the handlers write to it.
 */
import type { Writable } from 'node:stream';

type OutputLimits = Readonly<{ maxBytes: number; stallMs: number }>;

/** Written at once when so much is gathered. */
const FLUSH_BYTES = 64 * 1024;

export class Output {
  #socket: Writable;
  readonly #limits: OutputLimits;
  readonly #onStall: () => void;
  #pieces: (string | Uint8Array)[] = [];
  #gatheredBytes = 0;
  /** Given to the socket and not yet taken by the client's side. */
  #sentBytes = 0;
  #scheduled: NodeJS.Immediate | null = null;
  #closed = false;
  #waiting: PromiseWithResolvers<void> | null = null;
  #stall: NodeJS.Timeout | null = null;

  constructor(socket: Writable, limits: OutputLimits, onStall: () => void) {
    this.#socket = socket;
    this.#limits = limits;
    this.#onStall = onStall;
  }

  /** Bytes held for the client. */
  get heldBytes(): number {
    return this.#gatheredBytes + this.#sentBytes;
  }

  /** Says `bytes`: a byte string (one char per byte), or bytes that nobody changes any more. */
  write(bytes: string | Uint8Array): void {
    if (this.#closed || bytes.length === 0) return;
    this.#pieces.push(bytes);
    this.#gatheredBytes += bytes.length;
    if (this.#gatheredBytes >= FLUSH_BYTES) this.flush();
    else
      this.#scheduled ??= setImmediate(() => {
        this.flush();
      });
  }

  /** Hands over what is gathered. */
  flush(): void {
    if (this.#scheduled) clearImmediate(this.#scheduled);
    this.#scheduled = null;
    const size = this.#gatheredBytes;
    if (size === 0 || this.#closed) return;
    const [first] = this.#pieces;
    const bytes =
      this.#pieces.length === 1 && first instanceof Uint8Array ? first : joined(this.#pieces, this.#gatheredBytes);
    this.#pieces = [];
    this.#gatheredBytes = 0;
    this.#sentBytes += size;
    this.#socket.write(bytes, () => {
      this.#taken(size);
    });
  }

  /** Resolves when there is room again, or when the connection is gone. */
  async room(): Promise<void> {
    while (!this.#closed && this.heldBytes > this.#limits.maxBytes) {
      this.flush();
      this.#waiting ??= Promise.withResolvers();
      this.#armStall();
      await this.#waiting.promise;
    }
  }

  /** Resolves when all was handed to the socket and taken, or when the connection is gone. */
  async drained(): Promise<void> {
    this.flush();
    while (!this.#closed && this.heldBytes > 0) {
      this.#waiting ??= Promise.withResolvers();
      this.#armStall();
      await this.#waiting.promise;
      this.flush();
    }
  }

  /** From now on everything goes to `socket`; nothing may be held. */
  moveTo(socket: Writable): void {
    this.#socket = socket;
    this.#sentBytes = 0;
  }

  /** Nobody takes anything any more. */
  close(): void {
    this.#closed = true;
    if (this.#scheduled) clearImmediate(this.#scheduled);
    this.#pieces = [];
    this.#gatheredBytes = 0;
    this.#wake();
  }

  #taken(size: number): void {
    this.#sentBytes = Math.max(0, this.#sentBytes - size);
    this.#wake();
  }

  #wake(): void {
    if (this.#stall) clearTimeout(this.#stall);
    this.#stall = null;
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.resolve();
  }

  #armStall(): void {
    this.#stall ??= setTimeout(this.#onStall, this.#limits.stallMs);
  }
}

function joined(pieces: readonly (string | Uint8Array)[], size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const piece of pieces) {
    if (typeof piece === 'string') bytes.write(piece, at, 'latin1');
    else bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
