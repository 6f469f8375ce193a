/**
 * Tells sessions that a folder changed, and nothing more: "folder F is at modification sequence N".
 * Whoever listens asks the store what happened, so a lost or doubled notice does no harm.
 */
import type { FolderId, ModSeq } from '../base/ids.ts';

export type FolderNotice = Readonly<{ folder: FolderId; highestModSeq: ModSeq }>;
type Listener = (notice: FolderNotice) => void;

export class Notifier {
  readonly #listeners = new Map<FolderId, Set<Listener>>();

  /** Calls `listener` after each change of `folder` until disposed. It must not throw. */
  listen(folder: FolderId, listener: Listener): Disposable {
    const listeners = this.#listeners.get(folder) ?? new Set();
    this.#listeners.set(folder, listeners);
    listeners.add(listener);
    return {
      [Symbol.dispose]: () => {
        listeners.delete(listener);
        if (listeners.size === 0 && this.#listeners.get(folder) === listeners) this.#listeners.delete(folder);
      },
    };
  }

  notify(notice: FolderNotice): void {
    for (const listener of this.#listeners.get(notice.folder) ?? []) listener(notice);
  }
}
