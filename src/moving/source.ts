/**
 * What mail is read from when it moves in: values that every kind of source gives.
 *
 * MV1  A source yields each of its messages once, in the order of its folder, or says of what it cannot give where it is
 *      and why. Nothing is left out in silence.
 * MV2  No more than a few messages are in memory at a time, however large the source; nothing is written to disk.
 * MV3  A message is passed on byte for byte, but for line ends where the source keeps bare LF, and for the quoting of mbox.
 */
import type { InternalDate, SpecialUse } from '../mailbox/model.ts';

/** A folder of the source: its levels, and what it is for, if the source says so. The inbox is `['INBOX']`. */
export type SourceFolder = Readonly<{ path: readonly string[]; specialUse: SpecialUse | null }>;
/** `where` finds a message again in the source. */
export type SourceItem =
  | Readonly<{
      kind: 'message';
      folder: SourceFolder;
      where: string;
      bytes: Buffer;
      flags: readonly string[];
      internalDate: InternalDate | null;
      /** A digest of its place at a server, where it can be known again without being fetched. */
      place: string | null;
    }>
  /** It was imported before, and is noted there as `id`. */
  | Readonly<{ kind: 'known'; folder: SourceFolder; id: number; sizeBytes: number }>
  | Readonly<{ kind: 'bad'; folder: SourceFolder | null; where: string; reason: string }>
  /** Something that is no mail: a calendar, an index file. */
  | Readonly<{ kind: 'skipped'; where: string; reason: string }>;

/** For messages of one folder of a server, by their places: the note each has from an earlier import, or null. */
export type KnownPlaces = (folder: SourceFolder, places: readonly string[]) => Promise<readonly (number | null)[]>;

/** How much there is, as far as it is known before all is read; it may grow. */
export type SourceTotal = Readonly<{ messagesCount: number | null; sizeBytes: number | null }>;

export type MailSource = AsyncDisposable & {
  readonly total: SourceTotal;
  /** Folders that are to exist even if they hold nothing. */
  readonly folders?: readonly SourceFolder[];
  items(known: KnownPlaces, signal: AbortSignal): AsyncGenerator<SourceItem>;
};

export const MESSAGE_MAX_BYTES = 256 * 1024 * 1024;

/** A source that cannot be read at all; the message is for the operator. */
export class SourceError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'SourceError';
  }
}
