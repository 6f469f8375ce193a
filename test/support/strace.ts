/** strace on a running process: what it calls, and calls made to fail. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Why strace cannot be used here, or null. */
export function straceProblem(): string | null {
  const tried = spawnSync('strace', ['-o', '/dev/null', '-e', 'trace=none', 'true']);
  if (tried.error) return 'strace is not installed';
  return tried.status === 0 ? null : 'strace may not trace here';
}

export type TracedCall = Readonly<{
  name: string;
  /** Its arguments as strace prints them; of a call that took long, those known at its start. */
  given: string;
  /** The result, `0` or `-1 EIO ..`; empty while it is not known. */
  result: string;
}>;

export class Strace {
  readonly #process: ChildProcess;
  readonly #file: string;

  private constructor(process: ChildProcess, file: string) {
    this.#process = process;
    this.#file = file;
  }

  /** Attached to every thread of `pid`. `options` as strace takes them. */
  static async attach(pid: number, options: readonly string[]): Promise<Strace> {
    const folder = mkdtempSync(join(tmpdir(), 'sealpost-strace-'));
    const file = join(folder, 'trace');
    const child = spawn('strace', ['-f', '-y', '-s', '64', '-o', file, '-p', String(pid), ...options], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    onTestFinished(() => {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    });
    let said = '';
    for await (const chunk of child.stderr) {
      said += String(chunk);
      if (said.includes(' attached')) break;
    }
    if (!said.includes(' attached')) throw new Error(`strace: ${said}`);
    return new Strace(child, file);
  }

  /** Lets the process go on by itself. */
  async detach(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGINT');
    await once(this.#process, 'exit');
  }

  text(): string {
    return readFileSync(this.#file, 'utf8');
  }

  /** The calls in the order in which they ended; `write` in the order in which it began. */
  calls(): TracedCall[] {
    const begun = new Map<string, TracedCall>();
    const calls: TracedCall[] = [];
    for (const line of this.text().split('\n')) {
      const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
      const resumed = /^<\.\.\. (\w+) resumed>.* = (.*)$/.exec(rest);
      const unfinished = /^(\w+)\((.*) <unfinished \.\.\.>$/.exec(rest);
      const whole = /^(\w+)\((.*)\) += (.*)$/.exec(rest);
      if (unfinished) {
        const call = { name: unfinished[1] ?? '', given: unfinished[2] ?? '', result: '' };
        if (call.name === 'write') calls.push(call);
        else begun.set(thread, call);
      } else if (resumed) {
        const call = begun.get(thread);
        begun.delete(thread);
        if (call && call.name === resumed[1]) calls.push({ ...call, result: resumed[2] ?? '' });
      } else if (whole) {
        calls.push({ name: whole[1] ?? '', given: whole[2] ?? '', result: whole[3] ?? '' });
      }
    }
    return calls;
  }
}
