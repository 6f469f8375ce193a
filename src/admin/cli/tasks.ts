/** Following long work: how commands show how far it is. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { TaskState } from '../../base/task.ts';
import { AdminRequestError } from '../client.ts';
import type { Session } from './session.ts';

const POLL_MS = 200;
const SHOWN_EVERY_MS = 1000;
const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Prints how far a task is, until it has ended, and gives its result. Throws AdminRequestError when it failed. */
export async function follow(session: Session, begun: TaskState): Promise<unknown> {
  let shownAtMs = performance.now();
  for (let state = begun; ; state = await session.ask('task', { id: begun.id })) {
    if (state.state === 'failed') throw new AdminRequestError('failed', state.failure ?? 'The task failed.');
    if (state.state === 'done') return state.result;
    if (performance.now() - shownAtMs >= SHOWN_EVERY_MS) {
      session.terminal.writeError(progressText(state));
      shownAtMs = performance.now();
    }
    await sleep(POLL_MS);
  }
}

export function progressText({
  doneCount,
  totalCount,
  unit,
  remainingMs,
}: Pick<TaskState, 'doneCount' | 'totalCount' | 'unit' | 'remainingMs'>): string {
  const count =
    unit === 'bytes'
      ? `${sizeText(doneCount)} of ${sizeText(totalCount)}`
      : `${String(doneCount)} of ${String(totalCount)} ${unit}`;
  const left = remainingMs === null ? '' : `, ${String(Math.ceil(remainingMs / 1000))} s left`;
  return `${count}${left}\n`;
}

export function sizeText(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${UNITS[power] ?? ''}`;
}
