/** Long work that an operator follows, as it is shown while it runs and when it has ended. */

/** `result` is plain JSON, once it is done. */
export type TaskState = Readonly<{
  id: string;
  kind: string;
  state: 'running' | 'done' | 'failed';
  /** Of the counts: 'mailboxes', 'bytes'. */
  unit: string;
  doneCount: number;
  totalCount: number;
  elapsedMs: number;
  /** Null while it cannot be told. */
  remainingMs: number | null;
  /** Why it failed, in the operator's words. */
  failure: string | null;
  result: unknown;
}>;

type Progress = Readonly<{ doneCount: number; totalCount: number }>;
export type OnProgress = (progress: Progress) => void;
