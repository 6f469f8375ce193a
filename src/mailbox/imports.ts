/**
 * Importing: messages taken over from elsewhere, each once.
 *
 * IM1  A mailbox remembers what imports took in, by keyed digests (import-key.ts): of content and folder, and for messages
 *      of a server also of their place there. Running an import again adds nothing twice, even after a kill.
 * IM2  Equal messages count: of three equal ones in one folder of the source three are kept. Within one run each message of
 *      the source claims one note of its own; what finds none that is free is new.
 * IM3  A message and its note are one transaction (store/imports.ts). What users moved or deleted afterwards stays so.
 *
 * Called by admin/. One run works on a mailbox at a time; a run that begins ends the one before.
 */
import { createHash } from 'node:crypto';
import { ServerError } from '../base/errors.ts';
import { randomHexId, type MailboxId } from '../base/ids.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { ImportNote } from '../store/imports.ts';
import { appendMessages, type PreparedMessage } from './append.ts';
import { openDigests, requireDigests, type ImportDigests } from './import-key.ts';
import type { Folder } from './model.ts';
import { messageOf } from './read.ts';
import type { MailboxSession } from './session.ts';

/** A message of the source: the name of its folder here, its SHA-256 and its place at a server (hex), as far as known. */
export type SourceMessage = Readonly<{ folder: string; sha256?: string | undefined; place?: string | undefined }>;
export type ImportMessage = Readonly<{
  prepared: PreparedMessage;
  flags: readonly string[];
  sha256: string;
  place: string | null;
}>;
/** What became of a message; `id` names its note. */
export type ImportOutcome = Readonly<{ kind: 'stored' | 'known'; id: number }>;
/** A message that was taken in, read again from the disk. `gone`: it was moved or deleted since. */
export type ImportedContent = Readonly<
  { kind: 'read'; id: number; sha256: string; sizeBytes: number; isAsNoted: boolean } | { kind: 'gone'; id: number }
>;

const RUN_IDLE_MAX_MS = 3_600_000;

/** One import of one mailbox: which notes its messages have claimed (IM2). */
export class ImportRun {
  readonly id = randomHexId();
  readonly ref: MailboxRef;
  readonly claimed = new Set<number>();

  constructor(ref: MailboxRef) {
    this.ref = ref;
  }
}

/** The runs of this process. */
export class ImportRuns {
  readonly #nowMs: () => number;
  readonly #runs = new Map<MailboxId, { run: ImportRun; usedAtMs: number }>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  begin(ref: MailboxRef): ImportRun {
    for (const [id, { usedAtMs }] of this.#runs) if (this.#nowMs() - usedAtMs > RUN_IDLE_MAX_MS) this.#runs.delete(id);
    const run = new ImportRun(ref);
    this.#runs.set(ref.mailbox, { run, usedAtMs: this.#nowMs() });
    return run;
  }

  /** Throws ServerError 'not-found' for a run that has ended. */
  require(id: string): ImportRun {
    for (const entry of this.#runs.values()) {
      if (entry.run.id !== id) continue;
      entry.usedAtMs = this.#nowMs();
      return entry.run;
    }
    throw new ServerError('not-found', {
      clientText: 'The server does not know this import: it was restarted, or another import of the mailbox began.',
    });
  }

  /** Throws ServerError 'not-found' for a run that has ended meanwhile. */
  requireCurrent(run: ImportRun): void {
    this.require(run.id);
  }

  end(run: ImportRun): void {
    if (this.#runs.get(run.ref.mailbox)?.run === run) this.#runs.delete(run.ref.mailbox);
  }
}

/** For each message the note that it claims now, or null for one that is new. Throws ServerError 'key-*'. */
export async function claimKnown(
  session: MailboxSession,
  run: ImportRun,
  messages: readonly SourceMessage[],
  signal?: AbortSignal,
): Promise<readonly (number | null)[]> {
  using digests = await openDigests(session, signal);
  return messages.map((message) => (digests ? claim(session, run, { digests, message }) : null));
}

/**
 * Takes messages into a folder, all or none, but for those that are known by now; `requireCurrent` throws when the run was
 * ended. On disk when it resolves; on failure all are discarded. Throws as appendMessages.
 */
export async function importMessages(
  session: MailboxSession,
  run: ImportRun,
  batch: Readonly<{ folder: Folder; messages: readonly ImportMessage[]; requireCurrent(): void }>,
  signal?: AbortSignal,
): Promise<readonly ImportOutcome[]> {
  const { folder, messages } = batch;
  const outcomes: (ImportOutcome | null)[] = [];
  const fresh: (ImportMessage & { note: ImportNote })[] = [];
  const links: { source: Buffer; id: number }[] = [];
  let handedOver = false;
  try {
    using digests = await requireDigests(session, signal);
    batch.requireCurrent();
    for (const message of messages) {
      const { sha256, place, prepared } = message;
      const id = claim(session, run, { digests, message: { folder: folder.name, sha256, place: place ?? undefined } });
      outcomes.push(id === null ? null : { kind: 'known', id });
      const source = place === null ? null : digests.source(place);
      if (id !== null && source) links.push({ source, id });
      const content = digests.content(folder.name, sha256);
      if (id === null) fresh.push({ ...message, note: { content, source, sizeBytes: prepared.sizeBytes } });
      else await prepared.discard();
    }
    await session.store.imports.link(links);
    handedOver = true;
    const ids = fresh.length === 0 ? [] : await append(session, folder, fresh, signal);
    for (const id of ids) run.claimed.add(id);
    const rest = ids.values();
    return outcomes.map((outcome) => outcome ?? { kind: 'stored', id: rest.next().value ?? 0 });
  } catch (error) {
    for (const outcome of outcomes) if (outcome) run.claimed.delete(outcome.id); // the batch may come again
    if (!handedOver) for (const { prepared } of messages) await prepared.discard();
    throw error;
  }
}

/** Reads what was taken in again from the disk. Throws ServerError 'key-*', 'content-damaged'. */
export async function readImported(
  session: MailboxSession,
  { folder, ids }: Readonly<{ folder: string; ids: readonly number[] }>,
  signal?: AbortSignal,
): Promise<readonly ImportedContent[]> {
  using digests = await requireDigests(session, signal);
  const contents: ImportedContent[] = [];
  for (const id of ids) {
    const row = session.store.imports.row(id);
    using message = row && (await messageOf(session, row.folder, row.uid, signal));
    if (!row || !message) {
      contents.push({ kind: 'gone', id });
      continue;
    }
    const hash = createHash('sha256');
    let sizeBytes = 0;
    for await (const piece of message.range(0, message.row.sizeBytes)) {
      hash.update(piece);
      sizeBytes += piece.length;
    }
    const sha256 = hash.digest('hex');
    const isAsNoted = row.sizeBytes === sizeBytes && digests.content(folder, sha256).equals(row.content);
    contents.push({ kind: 'read', id, sha256, sizeBytes, isAsNoted });
  }
  return contents;
}

type Fresh = ImportMessage & Readonly<{ note: ImportNote }>;

async function append(
  session: MailboxSession,
  folder: Folder,
  fresh: readonly Fresh[],
  signal?: AbortSignal,
): Promise<readonly number[]> {
  let ids: readonly number[] = [];
  await appendMessages(
    session,
    {
      folder: folder.id,
      messages: fresh,
      note: (uids) => {
        const notes = fresh.map(({ note }) => note);
        ids = session.store.imports.note(folder.id, notes, uids);
      },
    },
    signal,
  );
  return ids;
}

/** The note that a message finds and no other message of the run has: by its place first, then by its content. */
function claim(
  session: MailboxSession,
  { claimed }: ImportRun,
  { digests, message }: Readonly<{ digests: ImportDigests; message: SourceMessage }>,
): number | null {
  const { imports } = session.store;
  const { folder, sha256, place } = message;
  const bySource = place === undefined ? null : imports.bySource(digests.source(place));
  const byContent = sha256 === undefined ? [] : imports.byContent(digests.content(folder, sha256));
  const free = [bySource, ...byContent].find((id) => id !== null && !claimed.has(id)) ?? null;
  if (free !== null) claimed.add(free);
  return free;
}
