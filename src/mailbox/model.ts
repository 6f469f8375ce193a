/** The values that mailbox/ gives and takes: what IMAP, delivery and the admin API speak about. */
import type { FolderId, ModSeq, Uid } from '../base/ids.ts';
import type { ScannedMessage } from '../mime/body-structure.ts';
import { FLAG_BITS } from '../store/message-rows.ts';

/** RFC 6154 §2. */
export type SpecialUse = 'All' | 'Archive' | 'Drafts' | 'Flagged' | 'Junk' | 'Sent' | 'Trash';
/** `name` is NFC with `/` between levels; the inbox is `INBOX`. */
export type Folder = Readonly<{ id: FolderId; name: string; specialUse: SpecialUse | null; uidValidity: number }>;
export type FolderStatus = Readonly<{
  uidValidity: number;
  uidNext: number;
  highestModSeq: ModSeq;
  messageCount: number;
  unseenCount: number;
  deletedCount: number;
  deletedBytes: number;
  sizeBytes: number;
}>;
/** `flags`: system flags with their backslash, then keywords; `keywords` are the same as bits, null for none. */
export type MessageRow = Readonly<{
  uid: Uid;
  modSeq: ModSeq;
  sizeBytes: number;
  savedAtMs: number;
  flags: readonly string[];
  keywords: Uint8Array | null;
}>;
/** An instant, and the time zone that it was written in. */
export type InternalDate = Readonly<{ atMs: number; zoneMinutes: number }>;
export type MessageSummary = Readonly<{ internalDate: InternalDate; scanned: ScannedMessage }>;
/** Who works on the mailbox, for the key audit: `name` is a mailbox id or a service, `session` a connection. */
export type Principal = Readonly<{ protocol: string; name?: string; session?: string }>;
export type FolderSnapshot = Readonly<{
  uids: Uint32Array;
  uidValidity: number;
  uidNext: number;
  highestModSeq: ModSeq;
}>;
/** What happened since a modification sequence; new messages are among `changed`. */
export type FolderChanges = Readonly<{
  changed: readonly MessageRow[];
  vanished: readonly Uid[];
  uidNext: number;
  highestModSeq: ModSeq;
}>;
export type CopyResult = Readonly<{ uidValidity: number; pairs: readonly Readonly<{ from: Uid; to: Uid }>[] }>;

/** The system flags with their bits in the store, in the order in which they are listed. */
export const SYSTEM_FLAGS: readonly (readonly [string, number])[] = [
  ['\\Answered', FLAG_BITS.answered],
  ['\\Flagged', FLAG_BITS.flagged],
  ['\\Deleted', FLAG_BITS.deleted],
  ['\\Seen', FLAG_BITS.seen],
  ['\\Draft', FLAG_BITS.draft],
];
