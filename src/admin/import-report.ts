/** What an import tells of each folder: counts, sizes, and whether what was read again is what the source gave. */
import type { ImportedContent } from '../mailbox/imports.ts';

export type Fault = Readonly<{ where: string; reason: string }>;
export type FolderSummary = Readonly<{
  folder: string;
  /** What the source gave and could be read. */
  sourceCount: number;
  sourceBytes: number;
  storedCount: number;
  knownCount: number;
  badCount: number;
  /** Read again from the disk, with the SHA-256 of the source or, where it was not fetched again, the digest of then. */
  equalCount: number;
  equalBytes: number;
  /** Read again, and not the same: damage. */
  differsCount: number;
  /** Imported, and moved or deleted by its user since. */
  goneCount: number;
}>;
export type ImportReport = Readonly<{
  folders: readonly FolderSummary[];
  faults: readonly Fault[];
  skipped: readonly Fault[];
  badCount: number;
  skippedCount: number;
  isDryRun: boolean;
}>;
type Note = Readonly<{ id: number; sizeBytes: number; sha256: string | null }>;

export class FolderReport {
  readonly name: string;
  isMade = false;
  readonly #notes = new Map<number, Note>();
  readonly #summary = {
    sourceCount: 0,
    sourceBytes: 0,
    storedCount: 0,
    knownCount: 0,
    badCount: 0,
    equalCount: 0,
    equalBytes: 0,
    differsCount: 0,
    goneCount: 0,
  };

  constructor(name: string) {
    this.name = name;
  }

  stored(note: Note): void {
    this.#summary.storedCount += 1;
    this.#note(note);
  }

  known(note: Note): void {
    this.#summary.knownCount += 1;
    this.#note(note);
  }

  wouldStore(sizeBytes: number): void {
    this.#summary.storedCount += 1;
    this.#count(sizeBytes);
  }

  bad(): void {
    this.#summary.badCount += 1;
  }

  /** Ids in pages that the server reads again in one request. */
  *pages(limits: Readonly<{ maxCount: number; maxBytes: number }>): Generator<readonly number[]> {
    let [ids, sizeBytes]: [number[], number] = [[], 0];
    for (const note of this.#notes.values()) {
      if (ids.length === limits.maxCount || (ids.length > 0 && sizeBytes + note.sizeBytes > limits.maxBytes)) {
        yield ids;
        [ids, sizeBytes] = [[], 0];
      }
      ids.push(note.id);
      sizeBytes += note.sizeBytes;
    }
    if (ids.length > 0) yield ids;
  }

  /** Takes what was read again; gives its size. */
  verified(content: ImportedContent): number {
    const note = this.#notes.get(content.id);
    if (content.kind === 'gone' || !note) {
      this.#summary.goneCount += 1;
      return 0;
    }
    const { sha256, sizeBytes, isAsNoted } = content;
    const isEqual = isAsNoted && (note.sha256 === null || (note.sha256 === sha256 && note.sizeBytes === sizeBytes));
    if (isEqual) {
      this.#summary.equalCount += 1;
      this.#summary.equalBytes += sizeBytes;
    } else {
      this.#summary.differsCount += 1;
    }
    return sizeBytes;
  }

  summary(): FolderSummary {
    return { folder: this.name, ...this.#summary };
  }

  #note(note: Note): void {
    this.#notes.set(note.id, note);
    this.#count(note.sizeBytes);
  }

  #count(sizeBytes: number): void {
    this.#summary.sourceCount += 1;
    this.#summary.sourceBytes += sizeBytes;
  }
}
