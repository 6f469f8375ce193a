/**
 * What mail is written to when it moves out: values and names that every kind of target shares.
 *
 * MO1  Files are written in plaintext, on purpose: with mode 0600, in directories of mode 0700, and never over others.
 * MO2  A message is written so that importing it again gives the same bytes, flags included.
 * MO3  What a name of a file cannot hold is replaced, and names that became equal are told apart.
 */
import type { SpecialUse } from '../mailbox/model.ts';

export type ExportedFolder = Readonly<{ name: string; specialUse: SpecialUse | null }>;
export type ExportedMessage = Readonly<{
  uid: number;
  flags: readonly string[];
  atMs: number;
  zoneMinutes: number;
  bytes: Buffer;
}>;
/** Used by one writer: `folder`, then its messages in order, then the next; at last `close`. */
export type MailTarget = AsyncDisposable &
  Readonly<{
    /** Begins a folder. */
    folder(folder: ExportedFolder): Promise<void>;
    /** Takes a message of the folder; false when it was there before. */
    message(message: ExportedMessage): Promise<boolean>;
    /** Everything is on disk or at the server when it resolves. */
    close(): Promise<void>;
  }>;

const LETTERS: Readonly<Record<string, string>> = {
  '\\draft': 'D',
  '\\flagged': 'F',
  $forwarded: 'P',
  '\\answered': 'R',
  '\\seen': 'S',
  '\\deleted': 'T',
};

/** The flags of Maildir's names, in their order. */
export function flagLetters(flags: readonly string[]): string {
  const letters = flags.flatMap((flag) => LETTERS[flag.toLowerCase()] ?? []);
  return letters.sort().join('');
}

/** Keywords that have no letter of their own. */
export function otherKeywords(flags: readonly string[]): string[] {
  return flags.filter((flag) => !flag.startsWith('\\') && LETTERS[flag.toLowerCase()] === undefined);
}

/** Levels of a folder's name that serve as names of directories (MO3). */
export function safeLevels(name: string): string[] {
  return name.split('/').map((level) => level.replaceAll(/[\x00-\x1f\x7f\\]/g, '_').replace(/^\./, '_'));
}
