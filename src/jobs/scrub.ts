/**
 * The scrub: opens all mail in the background, so that damage is known while there is still a backup without it.
 *
 * SB1  Each mailbox comes round once in a period, the longest ago first, one after the other.
 * SB2  It takes no more than `maxBytesPerSecond` of bodies, and holds up nobody (mailbox/scrub.ts, SC3).
 * SB3  What it finds is in the log by ids, in the status, and makes the health degraded until a later round finds nothing.
 * SB4  A mailbox whose key cannot be had is left for a later round, with all others of its organization.
 *
 * Made by app.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Scrubs } from '../accounts/scrubs.ts';
import { yieldTurn } from '../base/abort.ts';
import { ServerError } from '../base/errors.ts';
import type { OrganizationId } from '../base/ids.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { Mailboxes } from '../mailbox/mailboxes.ts';
import type { Logger } from '../observe/logger.ts';
import { Rounds } from './rounds.ts';

type ScrubDeps = Readonly<{
  scrubs: Pick<Scrubs, 'due' | 'note' | 'state'>;
  mailboxes: Pick<Mailboxes, 'open'>;
  logger: Logger;
  health: Readonly<{ ok(): void; degraded(reason: string): void }>;
  nowMs(): number;
  /** 0: never. */
  periodMs: number;
  maxBytesPerSecond: number;
  /** Between two looks for what is due. */
  everyMs: number;
}>;

const PRINCIPAL = { protocol: 'job', name: 'scrub' };
/** Pauses shorter than this are saved up. */
const PAUSE_MIN_MS = 20;
const LOGGED_MAX_COUNT = 20;

export class Scrub implements AsyncDisposable {
  readonly #deps: ScrubDeps;
  readonly #rounds: Rounds;

  constructor(deps: ScrubDeps) {
    this.#deps = deps;
    this.#rounds = new Rounds({
      everyMs: deps.everyMs,
      round: (signal) => this.#scrubDue(signal),
      onFailure: (error) => {
        deps.logger.error('the scrub failed', { error });
      },
    });
    this.#tell();
  }

  /** Opens what is due. Does not throw. */
  run(): Promise<void> {
    return this.#rounds.run();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#rounds[Symbol.asyncDispose]();
  }

  async #scrubDue(signal: AbortSignal): Promise<void> {
    const { scrubs, periodMs, nowMs } = this.#deps;
    if (periodMs === 0) return;
    const away = new Set<OrganizationId>();
    const tried = new Set<string>();
    for (;;) {
      const refs = scrubs
        .due(nowMs() - periodMs)
        .filter((ref) => !tried.has(ref.mailbox) && !away.has(ref.organization));
      if (refs.length === 0) return;
      for (const ref of refs) {
        tried.add(ref.mailbox);
        if (!away.has(ref.organization) && !(await this.#scrub(ref, signal))) away.add(ref.organization);
        this.#tell();
      }
    }
  }

  /** False while the keys of its organization cannot be had. */
  async #scrub(ref: MailboxRef, signal: AbortSignal): Promise<boolean> {
    const { mailboxes, scrubs, logger, nowMs } = this.#deps;
    try {
      using mailbox = await mailboxes.open(ref, PRINCIPAL, signal);
      const structure = await mailbox.examine(signal);
      const names = await mailbox.nameFaults(signal);
      const opened = await mailbox.openEverything({ pace: this.#pace(signal), isRepair: false, nowMs }, signal);
      const faults = [...structure, ...names, ...opened.faults];
      scrubs.note(ref, { atMs: nowMs(), faultsCount: faults.length });
      for (const { what, where } of faults.slice(0, LOGGED_MAX_COUNT))
        logger.error('stored mail has a fault', { mailbox: ref.mailbox, what, where });
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const isKey = error instanceof ServerError && error.code.startsWith('key-');
      if (!isKey) logger.error('a mailbox could not be scrubbed', { mailbox: ref.mailbox, error });
      return !isKey;
    }
  }

  /** SB2. */
  #pace(signal: AbortSignal): (bytes: number) => Promise<void> {
    const bytesPerMs = this.#deps.maxBytesPerSecond / 1000;
    let freeAtMs = performance.now();
    return async (bytes) => {
      freeAtMs = Math.max(freeAtMs, performance.now()) + bytes / bytesPerMs;
      const waitMs = freeAtMs - performance.now();
      if (waitMs >= PAUSE_MIN_MS) await sleep(waitMs, undefined, { signal });
      else await yieldTurn();
    };
  }

  #tell(): void {
    const { scrubs, nowMs, periodMs, health } = this.#deps;
    if (scrubs.state(nowMs() - periodMs).faultsCount === 0) health.ok();
    else health.degraded('stored mail has faults: see sealpost doctor');
  }
}
