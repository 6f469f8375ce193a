/**
 * One opened mailbox in the hands of one user of it: a login session, a delivery, an operator's command.
 * Each method is one operation of the folder that carries its name in this directory.
 */
import type { Fault } from '../base/fault.ts';
import type { BodyId, FolderId, ModSeq, Uid } from '../base/ids.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { UidRange } from '../store/message-rows.ts';
import type { Quota, Usage } from '../store/quota.ts';
import {
  appendMessages,
  newMessage,
  type AppendedMessages,
  type MessageWriter,
  type NewMessageOptions,
  type PreparedMessage,
} from './append.ts';
import { changeAnnotations, listAnnotations, type Annotation, type AnnotationChange } from './annotations.ts';
import { copy, move, type CopyRequest } from './copy-move.ts';
import { expunge } from './expunge.ts';
import { setFlags, type FlagRequest, type FlagResult } from './flags.ts';
import {
  createFolder,
  deleteFolder,
  findFolder,
  folderStatus,
  junkFolder,
  listFolders,
  listSubscriptions,
  renameFolder,
  subscribe,
  unsubscribe,
} from './folders.ts';
import { Handover } from './handover.ts';
import {
  claimKnown,
  importMessages,
  readImported,
  type ImportedContent,
  type ImportMessage,
  type ImportOutcome,
  type ImportRun,
  type SourceMessage,
} from './imports.ts';
import { openKeywords } from './keyword-names.ts';
import type {
  CopyResult,
  Folder,
  FolderChanges,
  FolderSnapshot,
  FolderStatus,
  MessageRow,
  SpecialUse,
} from './model.ts';
import type { FolderNotice } from './notify.ts';
import { changesSince, messageOf, messagesOf, rowsOf, snapshotOf, type OpenMessage } from './read.ts';
import { knownDamages, nameFaults, openEverything, type ScrubRequest, type ScrubResult } from './scrub.ts';
import { search, type SearchMatch, type SearchRequest } from './search.ts';
import { sortMessages, type SortCriterion, type SortedMessages } from './sort.ts';
import { threadMessages } from './threads.ts';
import type { Thread, ThreadAlgorithm } from './threading.ts';
import { rotateKey, type Rotation, type RotationRequest } from './rotate.ts';
import { withKeys, type MailboxSession } from './session.ts';
import { undelete, type Undeletion } from './undelete.ts';
import { adoptWaiting, keepWaiting, newWaitingMessage } from './waiting.ts';

export class Mailbox implements Disposable {
  readonly #session: MailboxSession;
  readonly #release: () => void;

  constructor(session: MailboxSession, release: () => void) {
    this.#session = session;
    this.#release = release;
  }

  [Symbol.dispose](): void {
    this.#release();
  }

  get ref(): MailboxRef {
    return this.#session.ref;
  }

  folders(signal?: AbortSignal): Promise<readonly Folder[]> {
    return listFolders(this.#session, signal);
  }

  folder(name: string, signal?: AbortSignal): Promise<Folder | null> {
    return findFolder(this.#session, name, signal);
  }

  createFolder(wanted: Readonly<{ name: string; specialUse?: SpecialUse }>, signal?: AbortSignal): Promise<Folder> {
    return createFolder(this.#session, wanted, signal);
  }

  junkFolder(signal?: AbortSignal): Promise<Folder> {
    return junkFolder(this.#session, signal);
  }

  deleteFolder(name: string, signal?: AbortSignal): Promise<void> {
    return deleteFolder(this.#session, name, signal);
  }

  renameFolder(names: Readonly<{ from: string; to: string }>, signal?: AbortSignal): Promise<void> {
    return renameFolder(this.#session, names, signal);
  }

  subscriptions(signal?: AbortSignal): Promise<ReadonlySet<string>> {
    return listSubscriptions(this.#session, signal);
  }

  subscribe(name: string, signal?: AbortSignal): Promise<void> {
    return subscribe(this.#session, name, signal);
  }

  unsubscribe(name: string, signal?: AbortSignal): Promise<void> {
    return unsubscribe(this.#session, name, signal);
  }

  /** Of a folder, or with null of the mailbox itself. */
  annotations(folder: FolderId | null, signal?: AbortSignal): Promise<readonly Annotation[]> {
    return listAnnotations(this.#session, folder, signal);
  }

  /** False when there would be too many. */
  annotate(
    target: Readonly<{ folder: FolderId | null; changes: readonly AnnotationChange[] }>,
    signal?: AbortSignal,
  ): Promise<boolean> {
    return changeAnnotations(this.#session, target, signal);
  }

  status(folder: FolderId): Promise<FolderStatus> {
    return folderStatus(this.#session, folder);
  }

  /** Names of the keywords in use, by bit. Throws ServerError 'key-*'. */
  keywords(signal?: AbortSignal): Promise<ReadonlyMap<number, string>> {
    return withKeys(this.#session, { purpose: 'list', signal }, (ring) => openKeywords(this.#session, ring));
  }

  snapshot(folder: FolderId): Promise<FolderSnapshot> {
    return snapshotOf(this.#session, folder);
  }

  changesSince(folder: FolderId, since: ModSeq, signal?: AbortSignal): Promise<FolderChanges> {
    return changesSince(this.#session, folder, since, signal);
  }

  rows(folder: FolderId, ranges: readonly UidRange[], signal?: AbortSignal): AsyncGenerator<readonly MessageRow[]> {
    return rowsOf(this.#session, folder, ranges, signal);
  }

  /** Opened messages in batches; each batch is valid until the next is asked for. */
  messages(
    folder: FolderId,
    ranges: readonly UidRange[],
    signal?: AbortSignal,
  ): AsyncGenerator<readonly OpenMessage[]> {
    return messagesOf(this.#session, folder, ranges, signal);
  }

  /** One opened message; bind it with `using`. */
  message(folder: FolderId, uid: Uid, signal?: AbortSignal): Promise<OpenMessage | null> {
    return messageOf(this.#session, folder, uid, signal);
  }

  newMessage(options: NewMessageOptions, signal?: AbortSignal): Promise<MessageWriter> {
    return newMessage(this.#session, options, signal);
  }

  /** Whether a body that its writer named is there; as long as no message of it was expunged, it is. */
  hasBody(body: BodyId): boolean {
    return this.#session.store.hasBody(body);
  }

  append(
    target: Readonly<{
      folder: FolderId;
      replaced?: Readonly<{ folder: FolderId; uid: Uid }>;
      messages: readonly Readonly<{ prepared: PreparedMessage; flags: readonly string[] }>[];
    }>,
    signal?: AbortSignal,
  ): Promise<AppendedMessages> {
    return appendMessages(this.#session, target, signal);
  }

  /** As `newMessage`, while the mailbox key cannot be had; for `keepWaiting`. */
  newWaitingMessage(options: NewMessageOptions, signal?: AbortSignal): Promise<MessageWriter> {
    return newWaitingMessage(this.#session, options, signal);
  }

  keepWaiting(prepared: PreparedMessage, options: Readonly<{ isJunk: boolean }>): Promise<void> {
    return keepWaiting(this.#session, prepared, options);
  }

  /** What the mailbox may hold, at the moment; null: without a limit. */
  quota(): Quota | null {
    return this.#session.quota();
  }

  usage(): Usage {
    return this.#session.store.usage();
  }

  get hasWaiting(): boolean {
    return !this.#session.store.waiting.isEmpty();
  }

  adoptWaiting(signal?: AbortSignal): Promise<Readonly<{ adoptedCount: number; leftCount: number }>> {
    return adoptWaiting(this.#session, signal);
  }

  /** Waiting mail as it is, sealed: between a gateway and the main server. */
  get handover(): Handover {
    return new Handover(this.#session);
  }

  setFlags(
    target: Readonly<{ folder: FolderId; ranges: readonly UidRange[] }>,
    request: FlagRequest,
    signal?: AbortSignal,
  ): Promise<FlagResult> {
    return setFlags(this.#session, target, request, signal);
  }

  copy(request: CopyRequest, signal?: AbortSignal): Promise<CopyResult> {
    return copy(this.#session, request, signal);
  }

  move(request: CopyRequest, signal?: AbortSignal): Promise<CopyResult> {
    return move(this.#session, request, signal);
  }

  expunge(folder: FolderId, which: Readonly<{ deletedOf: readonly UidRange[] }> | 'deleted'): Promise<readonly Uid[]> {
    return expunge(this.#session, folder, which);
  }

  search(request: SearchRequest, signal?: AbortSignal): Promise<readonly SearchMatch[]> {
    return search(this.#session, request, signal);
  }

  /** Those of `uids` that are there, in order. Throws ServerError 'key-*', 'content-damaged'. */
  sort(of: SortedMessages, criteria: readonly SortCriterion[], signal?: AbortSignal): Promise<readonly Uid[]> {
    return sortMessages(this.#session, of, criteria, signal);
  }

  /** Those of `uids` that are there, in threads. Throws ServerError 'key-*', 'content-damaged'. */
  threads(
    of: Readonly<{ folder: FolderId; uids: readonly Uid[] }>,
    algorithm: ThreadAlgorithm,
    signal?: AbortSignal,
  ): Promise<readonly Thread[]> {
    return threadMessages(this.#session, of, algorithm, signal);
  }

  rotateKey(request: RotationRequest, signal?: AbortSignal): Promise<Rotation> {
    return rotateKey(this.#session, request, signal);
  }

  /** Brings back what was expunged at `sinceMs` or later and is still kept. Throws ServerError 'key-*', 'over-quota'. */
  undelete(sinceMs: number, signal?: AbortSignal): Promise<Undeletion> {
    return undelete(this.#session, sinceMs, signal);
  }

  /** Shreds what was expunged before `beforeMs`; gives how many messages that were. Needs no key. */
  shredRetained(beforeMs: number): Promise<number> {
    return this.#session.store.retained.shred(beforeMs);
  }

  /** Keeps the files of all bodies until it is disposed, for a copy. */
  holdFiles(): AsyncDisposable {
    return this.#session.store.bodies.hold();
  }

  /** What is wrong on disk, as far as that can be told without a key. */
  examine(signal?: AbortSignal): Promise<readonly Fault[]> {
    return this.#session.store.examine(signal);
  }

  /** Mends what can be mended without a key, and removes no mail. Throws ServerError 'storage-*'. */
  mend(signal?: AbortSignal): Promise<void> {
    return this.#session.store.mend(signal);
  }

  /** Names that do not open. Throws ServerError 'key-*'. */
  nameFaults(signal?: AbortSignal): Promise<readonly Fault[]> {
    return nameFaults(this.#session, signal);
  }

  /** Messages that did not open when all were opened last. */
  knownDamages(): readonly Fault[] {
    return knownDamages(this.#session);
  }

  /** Opens every message and notes what does not open. Throws ServerError 'key-*', 'storage-*'. */
  openEverything(request: ScrubRequest, signal?: AbortSignal): Promise<ScrubResult> {
    return openEverything(this.#session, request, signal);
  }

  /** For each message of an import's source the note of what it became before, or null. */
  claimKnown(
    run: ImportRun,
    messages: readonly SourceMessage[],
    signal?: AbortSignal,
  ): Promise<readonly (number | null)[]> {
    return claimKnown(this.#session, run, messages, signal);
  }

  importMessages(
    run: ImportRun,
    batch: Readonly<{ folder: Folder; messages: readonly ImportMessage[]; requireCurrent(): void }>,
    signal?: AbortSignal,
  ): Promise<readonly ImportOutcome[]> {
    return importMessages(this.#session, run, batch, signal);
  }

  readImported(
    of: Readonly<{ folder: string; ids: readonly number[] }>,
    signal?: AbortSignal,
  ): Promise<readonly ImportedContent[]> {
    return readImported(this.#session, of, signal);
  }

  /** Forgets what imports took in; gives the number of messages. The messages stay. */
  forgetImports(): Promise<number> {
    return this.#session.store.imports.forget();
  }

  /** Calls `listener` after each change of the folder until disposed. */
  listen(folder: FolderId, listener: (notice: FolderNotice) => void): Disposable {
    return this.#session.notifier.listen(folder, listener);
  }
}
