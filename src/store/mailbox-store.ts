/**
 * A mailbox on disk: `<directory>/mailbox.db` and `<directory>/blobs/`. It is the unit of restore, export,
 * move and erasure.
 */
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { BodyId } from '../base/ids.ts';
import type { Checkpointer } from '../db/checkpointer.ts';
import { Database } from '../db/database.ts';
import { syncFolder } from '../db/sync-folder.ts';
import type { Fault } from '../base/fault.ts';
import type { DatabaseReader } from '../db/reader.ts';
import { AnnotationStore } from './annotations.ts';
import { BodyStore } from './bodies.ts';
import { DamageList } from './damages.ts';
import { examineMailbox, type MailboxPlace } from './examine.ts';
import { FolderStore } from './folders.ts';
import { ImportStore } from './imports.ts';
import { MessageKeyStore } from './message-keys.ts';
import { mendMailbox } from './mend.ts';
import { MessageStore } from './messages.ts';
import { requireRoom, usageOf, type Quota, type Usage } from './quota.ts';
import { RetainedStore } from './retained.ts';
import { WaitingStore } from './waiting.ts';

type MailboxStoreOptions = Readonly<{
  directory: string;
  reader: DatabaseReader;
  inlineBodyMaxBytes: number;
  checkpointer: Checkpointer;
  onFailure(error: Error): void;
}>;

const MIGRATIONS = join(import.meta.dirname, '../../migrations/mailbox');

export class MailboxStore {
  readonly folders: FolderStore;
  readonly messages: MessageStore;
  readonly messageKeys: MessageKeyStore;
  readonly bodies: BodyStore;
  readonly waiting: WaitingStore;
  readonly damages: DamageList;
  readonly imports: ImportStore;
  readonly retained: RetainedStore;
  readonly annotations: AnnotationStore;
  readonly #database: Database;
  readonly #place: MailboxPlace;

  constructor(database: Database, bodies: BodyStore, place: MailboxPlace) {
    this.#database = database;
    this.#place = place;
    this.damages = new DamageList(database);
    this.bodies = bodies;
    this.folders = new FolderStore(database);
    this.messages = new MessageStore(database, bodies);
    this.messageKeys = new MessageKeyStore(database);
    this.waiting = new WaitingStore(database, bodies);
    this.imports = new ImportStore(database);
    this.retained = new RetainedStore(database, bodies);
    this.annotations = new AnnotationStore(database);
  }

  /** Opens the mailbox in `directory`, making it when it is new. Throws ServerError 'storage-failed'. */
  static async open(options: MailboxStoreOptions): Promise<MailboxStore> {
    const made = await mkdir(options.directory, { recursive: true, mode: 0o700 });
    if (made !== undefined) await syncFolder(dirname(options.directory));
    const database = await Database.open({
      file: join(options.directory, 'mailbox.db'),
      migrations: MIGRATIONS,
      checkpointer: options.checkpointer,
      containsDamage: true, // one mailbox does not take the others along
      onFailure: (error) => {
        options.onFailure(error);
      },
    });
    const bodies = new BodyStore(database, {
      folder: join(options.directory, 'blobs'),
      inlineMaxBytes: options.inlineBodyMaxBytes,
      onFailure: (error) => {
        options.onFailure(error);
      },
    });
    await bodies.prepare();
    const { directory, reader } = options;
    return new MailboxStore(database, bodies, { directory, reader, nowMs: Date.now });
  }

  hasBody(body: BodyId): boolean {
    return this.#database.prepare('SELECT 1 FROM bodies WHERE body = ?').get(Buffer.from(body, 'hex')) !== undefined;
  }

  /** Gives memory back, if nothing was asked since the last call. */
  restIfIdle(): void {
    this.#database.restIfIdle();
  }

  /** What the mailbox holds. */
  usage(): Usage {
    return usageOf(this.#database);
  }

  /** Throws ServerError 'over-quota' where not even an empty message has room. */
  checkRoom(quota: Quota | null): void {
    requireRoom(this.#database, quota, { sizeBytes: 0, messagesCount: 1 });
  }

  /** What is wrong with it, as far as that can be told without a key. */
  examine(signal?: AbortSignal): Promise<readonly Fault[]> {
    return examineMailbox(this.#place, signal);
  }

  /** Mends what can be mended without a key. Throws ServerError 'storage-*'. */
  mend(signal?: AbortSignal): Promise<void> {
    return mendMailbox(this.#database, this.#place, signal);
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}

/** Removes a closed mailbox from disk. It leaves its name first, so that a kill cannot leave half a mailbox. */
export async function eraseMailbox(directory: string): Promise<void> {
  const doomed = `${directory}.erased`;
  await rename(directory, doomed).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
  await syncFolder(dirname(directory));
  await rm(doomed, { recursive: true, force: true });
}
