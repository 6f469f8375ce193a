/**
 * Long work that an operator asked for and follows: an examination, a backup, a restore.
 *
 * TK1  One at a time in a process; asking for the one that runs joins it.
 * TK2  It goes on when its asker is gone, and gives up at its next step when the process stops.
 *
 * Made by app.ts; asked by admin/.
 */
import { ServerError } from '../base/errors.ts';
import { randomHexId } from '../base/ids.ts';
import type { OnProgress, TaskState } from '../base/task.ts';
import type { Logger } from '../observe/logger.ts';

type Work = (onProgress: OnProgress, signal: AbortSignal) => Promise<unknown>;
/** `key` tells one request from another of its kind. */
type TaskRequest = Readonly<{ kind: string; key: string; unit: string; work: Work }>;
type Task = TaskRequest & {
  readonly id: string;
  readonly startedMs: number;
  endedMs: number | null;
  doneCount: number;
  /** Done when the first progress was told: a resumed work begins there. */
  firstCount: number | null;
  totalCount: number;
  failure: string | null;
  result: unknown;
  ended: Promise<void>;
};

const REMEMBERED_MAX_COUNT = 20;

export class Tasks {
  readonly #logger: Logger;
  /** Oldest first. */
  readonly #tasks = new Map<string, Task>();
  readonly #closing = new AbortController();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Begins, or joins. Throws ServerError 'not-allowed' while another task runs. */
  start(request: TaskRequest): TaskState {
    this.#closing.signal.throwIfAborted();
    const running = [...this.#tasks.values()].find((task) => task.endedMs === null);
    if (running?.kind === request.kind && running.key === request.key) return stateOf(running); // TK1
    if (running) {
      throw new ServerError('not-allowed', { clientText: `Another task is under way: ${running.kind}.` });
    }
    const timing = { startedMs: performance.now(), endedMs: null, ended: Promise.resolve() };
    const counts = { doneCount: 0, firstCount: null, totalCount: 0 };
    const task: Task = { ...request, id: randomHexId(), ...timing, ...counts, failure: null, result: null };
    this.#tasks.set(task.id, task);
    const [oldest] = this.#tasks.values();
    if (oldest && this.#tasks.size > REMEMBERED_MAX_COUNT) this.#tasks.delete(oldest.id);
    task.ended = this.#run(task);
    return stateOf(task);
  }

  /** Null when it was long ago, or in a process before this one. */
  find(id: string): TaskState | null {
    const task = this.#tasks.get(id);
    return task ? stateOf(task) : null;
  }

  /** Has what runs stop at its next step, and waits for it. */
  async close(): Promise<void> {
    this.#closing.abort(new ServerError('shutting-down', { clientText: 'The server is stopping.', retryable: true }));
    await Promise.all([...this.#tasks.values()].map((task) => task.ended));
  }

  async #run(task: Task): Promise<void> {
    const { id, kind } = task;
    this.#logger.info('task begun', { id, kind });
    const onProgress: OnProgress = ({ doneCount, totalCount }) => {
      task.firstCount ??= doneCount;
      Object.assign(task, { doneCount, totalCount });
    };
    try {
      task.result = await task.work(onProgress, this.#closing.signal);
    } catch (error) {
      task.failure = error instanceof ServerError ? error.clientText : 'The server failed. Its log says why.';
      this.#logger.error('task failed', { id, kind, error });
    }
    task.endedMs = performance.now();
    this.#logger.info('task ended', { id, kind, isDone: task.failure === null });
  }
}

function stateOf(task: Task): TaskState {
  const { id, kind, unit, doneCount, firstCount, totalCount, failure, result, endedMs } = task;
  const elapsedMs = Math.round((endedMs ?? performance.now()) - task.startedMs);
  const state = endedMs === null ? 'running' : failure === null ? 'done' : 'failed';
  const perMs = (doneCount - (firstCount ?? 0)) / Math.max(1, elapsedMs);
  const remainingMs = perMs > 0 ? Math.round((totalCount - doneCount) / perMs) : null;
  return {
    ...{ id, kind, state, unit, doneCount, totalCount, elapsedMs },
    remainingMs: state === 'running' ? remainingMs : 0,
    failure,
    result,
  };
}
