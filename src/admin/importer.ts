/**
 * The work of `sealpost import`: takes messages from a source, asks the server which of them it knows, sends it the others,
 * and has it read everything again. Runs in the command's process, so that the server reads no foreign files or servers.
 *
 * MI1  Messages of one folder arrive in the order in which the source gives them; folders go side by side.
 * MI2  A few batches are under way at a time, each of a few megabytes: memory does not grow with the source.
 * MI3  What the server cannot take for the moment is sent again; what fails for good ends the import with the reason.
 * MI4  The report counts what the source gave, what was stored now, what was known, and what could not be taken, and
 *      compares content by SHA-256 with what was read again from the disk.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FolderNames, TargetFolder } from '../moving/folder-names.ts';
import type { MailSource, SourceFolder, SourceItem } from '../moving/source.ts';
import { AdminRequestError, askServer, sendBatch } from './client.ts';
import type { OperationAnswer, OperationInput, OperationName } from './operations.ts';
import { FolderReport, type Fault, type ImportReport } from './import-report.ts';

type Message = Extract<SourceItem, { kind: 'message' }>;
type Waiting = Readonly<{ message: Message; sha256: string }>;
/** Of one folder: what was collected for the next batch, and the end of the batches before. */
type Line = { readonly target: TargetFolder; collected: Waiting[]; sizeBytes: number; sent: Promise<void> };
export type ImportProgress = Readonly<{
  phase: 'reading' | 'verifying';
  messagesCount: number;
  sizeBytes: number;
  /** Of the whole, as far as it is known. */
  total: Readonly<{ messagesCount: number | null; sizeBytes: number | null }>;
}>;
type ImportDeps = Readonly<{
  socketFile: string;
  run: string;
  names: FolderNames;
  isDryRun: boolean;
  isVerified: boolean;
  onProgress(progress: ImportProgress): void;
}>;

const BATCH_MAX_COUNT = 200;
const BATCH_MAX_BYTES = 2 * 1024 * 1024;
const UNDER_WAY_MAX_COUNT = 3;
const VERIFY_MAX_COUNT = 500;
const VERIFY_MAX_BYTES = 32 * 1024 * 1024;
const TRIES_COUNT = 8;
const FIRST_PAUSE_MS = 500;
const FAULTS_MAX_COUNT = 10_000;
const FLAGS_MAX_COUNT = 100;

export class Importer {
  readonly #deps: ImportDeps;
  readonly #lines = new Map<string, Line>();
  readonly #folders = new Map<string, FolderReport>();
  readonly #faults: Fault[] = [];
  readonly #skipped: Fault[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #done = { messagesCount: 0, sizeBytes: 0 };
  readonly #uncounted = { bad: 0, skipped: 0 };

  constructor(deps: ImportDeps) {
    this.#deps = deps;
  }

  /** Throws AdminRequestError, SourceError, or `signal.reason`. What was stored stays; the same import goes on there. */
  async run(source: MailSource, signal: AbortSignal): Promise<ImportReport> {
    const known = async (folder: SourceFolder, places: readonly string[]): Promise<readonly (number | null)[]> => {
      const { name } = this.#deps.names.target(folder);
      const messages = places.map((place) => ({ folder: name, place }));
      return this.#retried(() => this.#ask('import.check', { run: this.#deps.run, messages }), signal);
    };
    for (const folder of source.folders ?? []) await this.#makeEmpty(folder, signal);
    try {
      for await (const item of source.items(known, signal)) {
        await this.#take(item, signal);
        this.#deps.onProgress({ phase: 'reading', ...this.#done, total: source.total });
      }
      for (const line of this.#lines.values()) await this.#flush(line, signal);
      await Promise.all(this.#underWay);
    } finally {
      await Promise.allSettled(this.#underWay);
    }
    if (this.#deps.isVerified && !this.#deps.isDryRun) await this.#verify(signal);
    return {
      folders: [...this.#folders.values()]
        .map((folder) => folder.summary())
        .sort((a, b) => (a.folder < b.folder ? -1 : 1)),
      faults: this.#faults,
      skipped: this.#skipped,
      badCount: this.#uncounted.bad,
      skippedCount: this.#uncounted.skipped,
      isDryRun: this.#deps.isDryRun,
    };
  }

  async #take(item: SourceItem, signal: AbortSignal): Promise<void> {
    if (item.kind === 'skipped') {
      this.#uncounted.skipped += 1;
      if (this.#skipped.length < FAULTS_MAX_COUNT) this.#skipped.push({ where: item.where, reason: item.reason });
      return;
    }
    if (item.kind === 'bad') {
      this.#uncounted.bad += 1;
      if (item.folder) this.#folder(this.#deps.names.target(item.folder)).bad();
      if (this.#faults.length < FAULTS_MAX_COUNT) this.#faults.push({ where: item.where, reason: item.reason });
      return;
    }
    const target = this.#deps.names.target(item.folder);
    const sizeBytes = item.kind === 'message' ? item.bytes.length : item.sizeBytes;
    this.#done = { messagesCount: this.#done.messagesCount + 1, sizeBytes: this.#done.sizeBytes + sizeBytes };
    if (item.kind === 'known') {
      this.#folder(target).known({ id: item.id, sizeBytes, sha256: null });
      return;
    }
    const line = this.#line(target);
    if (line.sizeBytes + sizeBytes > BATCH_MAX_BYTES) await this.#flush(line, signal);
    line.collected.push({ message: item, sha256: createHash('sha256').update(item.bytes).digest('hex') });
    line.sizeBytes += sizeBytes;
    if (line.collected.length === BATCH_MAX_COUNT) await this.#flush(line, signal);
    else await this.#boundCollected(line, signal);
  }

  /** Mail that comes for many folders in turn is not collected without end. */
  async #boundCollected(current: Line, signal: AbortSignal): Promise<void> {
    let sizeBytes = 0;
    for (const line of this.#lines.values()) sizeBytes += line.sizeBytes;
    if (sizeBytes <= BATCH_MAX_BYTES * 4) return;
    for (const line of this.#lines.values()) if (line !== current) await this.#flush(line, signal);
  }

  /** Sends what was collected for a folder, after what was sent before; waits while enough is under way. */
  async #flush(line: Line, signal: AbortSignal): Promise<void> {
    if (line.collected.length === 0) return;
    const { collected, target } = line;
    [line.collected, line.sizeBytes] = [[], 0];
    while (this.#underWay.size >= UNDER_WAY_MAX_COUNT) await Promise.race(this.#underWay);
    const before = line.sent;
    const sending = before.then(() => this.#send(target, collected, signal));
    line.sent = sending;
    const tracked: Promise<void> = sending.finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
    tracked.catch(() => undefined); // told to whoever waits for room, or at the end
  }

  async #send(target: TargetFolder, batch: readonly Waiting[], signal: AbortSignal): Promise<void> {
    const { run, isDryRun } = this.#deps;
    const folder = this.#folder(target);
    const messages = batch.map(({ sha256, message }) => ({ folder: target.name, sha256, ...placeOf(message) }));
    const notes = await this.#retried(() => this.#ask('import.check', { run, messages }), signal);
    const fresh = batch.filter((_, at) => notes[at] === null);
    batch.forEach(({ message, sha256 }, at) => {
      const id = notes[at] ?? null;
      if (id !== null) folder.known({ id, sizeBytes: message.bytes.length, sha256 });
    });
    if (fresh.length === 0) return;
    if (isDryRun) {
      for (const { message } of fresh) folder.wouldStore(message.bytes.length);
      return;
    }
    await this.#makeFolder(target, signal);
    const outcomes = await this.#retried(() => this.#sendMessages(target, fresh), signal);
    fresh.forEach(({ message, sha256 }, at) => {
      const outcome = outcomes[at];
      if (!outcome) throw new AdminRequestError('internal', 'The server answered for fewer messages than it got.');
      const note = { id: outcome.id, sizeBytes: message.bytes.length, sha256 };
      if (outcome.kind === 'stored') folder.stored(note);
      else folder.known(note);
    });
  }

  #sendMessages(target: TargetFolder, fresh: readonly Waiting[]): ReturnType<typeof sendBatch> {
    return sendBatch(
      this.#deps.socketFile,
      { run: this.#deps.run, folder: target.name, sizeBytes: 0 },
      fresh.map(({ message }) => ({
        bytes: message.bytes,
        header: {
          flags: message.flags.filter((flag) => FLAG.test(flag)).slice(0, FLAGS_MAX_COUNT),
          atMs: message.internalDate?.atMs ?? Date.now(),
          zoneMinutes: message.internalDate?.zoneMinutes ?? 0,
          place: message.place,
          sizeBytes: message.bytes.length,
        },
      })),
    );
  }

  async #makeEmpty(folder: SourceFolder, signal: AbortSignal): Promise<void> {
    const target = this.#deps.names.target(folder);
    if (this.#deps.isDryRun) this.#folder(target);
    else await this.#makeFolder(target, signal);
  }

  async #makeFolder(target: TargetFolder, signal: AbortSignal): Promise<void> {
    const folder = this.#folder(target);
    if (folder.isMade) return;
    await this.#retried(() => this.#ask('import.folders', { run: this.#deps.run, folders: [target] }), signal);
    folder.isMade = true;
  }

  async #verify(signal: AbortSignal): Promise<void> {
    const total = { messagesCount: this.#done.messagesCount, sizeBytes: this.#done.sizeBytes };
    let [messagesCount, sizeBytes] = [0, 0];
    for (const folder of this.#folders.values()) {
      for (const ids of folder.pages({ maxCount: VERIFY_MAX_COUNT, maxBytes: VERIFY_MAX_BYTES })) {
        const input = { run: this.#deps.run, folder: folder.name, ids: [...ids] };
        for (const content of await this.#retried(() => this.#ask('import.verify', input), signal)) {
          sizeBytes += folder.verified(content);
          messagesCount += 1;
        }
        this.#deps.onProgress({ phase: 'verifying', messagesCount, sizeBytes, total });
      }
    }
  }

  #ask<Name extends OperationName>(name: Name, input: OperationInput<Name>): Promise<OperationAnswer<Name>> {
    return askServer(this.#deps.socketFile, name, input);
  }

  #line(target: TargetFolder): Line {
    const known = this.#lines.get(target.name);
    if (known) return known;
    const line: Line = { target, collected: [], sizeBytes: 0, sent: Promise.resolve() };
    this.#lines.set(target.name, line);
    return line;
  }

  #folder(target: TargetFolder): FolderReport {
    const known = this.#folders.get(target.name);
    if (known) return known;
    const folder = new FolderReport(target.name);
    this.#folders.set(target.name, folder);
    return folder;
  }

  /** MI3. */
  async #retried<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      signal.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof AdminRequestError) || !isPassing(error) || tries === TRIES_COUNT) throw error;
        await sleep(FIRST_PAUSE_MS * 2 ** (tries - 1), undefined, { signal });
      }
    }
  }
}

/** A full mailbox or disk does not get empty by waiting. */
function isPassing({ code, isRetryable }: AdminRequestError): boolean {
  return isRetryable && code !== 'over-quota' && code !== 'storage-full';
}

/** What the server takes: system flags but \\Recent, and keywords that are atoms. */
const FLAG = /^(\\(Answered|Flagged|Deleted|Seen|Draft)|[^\x00-\x20\x7f-\uffff(){%*"\\\]]{1,100})$/i;

function placeOf({ place }: Message): Readonly<{ place?: string }> {
  return place === null ? {} : { place };
}
