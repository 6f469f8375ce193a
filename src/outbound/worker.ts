/**
 * Drains the queue: claims what is due, delivers it domain by domain, and notes what came of each recipient.
 *
 * WK1  What came of an attempt is on disk before the claim ends. A kill before that repeats the attempt, as SMTP allows.
 * WK2  A domain that is slow or away holds up its own mail only: messages for it that find no turn are put aside, unopened,
 *      until there is one.
 * WK3  A failure of ours (a key, the disk, a mistake) leaves recipients waiting; it never makes them fail.
 * WK4  Stopping: nothing new is begun, what is under way has the grace period, then its sessions are cut.
 * WK5  The log names items, counts and codes; neither addresses nor hosts nor what remote servers said.
 *
 * Made by app.ts.
 */
import { normalizeDomain } from '../accounts/domain-name.ts';
import { ServerError } from '../base/errors.ts';
import type { MessageId } from '../base/ids.ts';
import type { Delivery } from '../delivery/deliver.ts';
import type { Logger } from '../observe/logger.ts';
import type { ClaimedItem, ItemRecipient, Settlement } from '../queue/item.ts';
import type { Queue } from '../queue/queue.ts';
import type { RetrySchedule } from '../queue/retry.ts';
import type { DomainDelivery } from './deliver-domain.ts';
import { Lanes } from './lanes.ts';
import { deliverLocally } from './local-delivery.ts';
import { allAlike, localAttempt, type Outcome } from './outcome.ts';
import type { Reports } from './reports.ts';
import type { Sessions } from './sessions.ts';
import { settlementOf } from './settling.ts';
import { signatureFields } from './sign.ts';

type WorkerDeps = Readonly<{
  queue: Queue;
  delivery: Delivery;
  domains: Pick<DomainDelivery, 'deliver'>;
  sessions: Sessions;
  reports: Pick<Reports, 'make'>;
  signingKeys: Parameters<typeof signatureFields>[0]['signingKeys'];
  schedule: RetrySchedule;
  hostname: string;
  maxDeliveriesCount: number;
  maxDeliveriesPerDomainCount: number;
  logger: Logger;
  nowMs(): number;
  /** 0 <= n < 1. */
  random(): number;
}>;
type Group = Readonly<{ domain: string; recipients: readonly ItemRecipient[] }>;

/** A domain's turns, in multiples of what it may have at one time, that messages wait for while they are open. */
const LOAD_MAX = 2;
/** After a failure of ours. */
const PAUSE_MS = 30_000;
const SCAN_PAUSE_MS = 20;
const SLEEP_MAX_MS = 60_000;
const SCAN_EXTRA_COUNT = 100;
/** An operator may mend it until the message expires. */
const DAMAGED: Outcome = {
  kind: 'deferred',
  attempt: localAttempt('4.3.0', 'The message is damaged in the queue'),
  isToldByRemote: false,
};

export class OutboundWorker {
  readonly #deps: WorkerDeps;
  readonly #lanes: Lanes;
  readonly #active = new Map<MessageId, Promise<void>>();
  readonly #aside = new Map<MessageId, string>(); // put aside for this domain (WK2)
  readonly #asideOf = new Map<string, MessageId[]>();
  readonly #pausedUntilMs = new Map<MessageId, number>();
  readonly #stopping = new AbortController();
  #isRunning = false;
  #timer: NodeJS.Timeout | undefined;
  #wakeAtMs = Infinity;
  #work: Disposable | null = null;

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
    const { maxDeliveriesCount: totalCount, maxDeliveriesPerDomainCount: perDomainCount, nowMs } = deps;
    this.#lanes = new Lanes({ totalCount, perDomainCount }, nowMs);
  }

  start(): void {
    this.#isRunning = true;
    this.#work = this.#deps.queue.onWork(() => {
      this.#wakeIn(SCAN_PAUSE_MS);
    });
    this.#wakeIn(0);
  }

  /** WK4. */
  async stop(graceMs: number): Promise<void> {
    this.#isRunning = false;
    this.#work?.[Symbol.dispose]();
    clearTimeout(this.#timer);
    const { sessions } = this.#deps;
    const cut = setTimeout(() => {
      this.#stopping.abort(new ServerError('shutting-down', { clientText: 'The server is stopping.' }));
      sessions.cut();
    }, graceMs);
    await Promise.all(this.#active.values());
    clearTimeout(cut);
    await sessions.close();
    sessions.cut();
  }

  /** In `ms` at the latest. */
  #wakeIn(ms: number): void {
    const atMs = performance.now() + ms;
    if (!this.#isRunning || atMs >= this.#wakeAtMs) return;
    clearTimeout(this.#timer);
    this.#wakeAtMs = atMs;
    this.#timer = setTimeout(() => {
      this.#wakeAtMs = Infinity;
      this.#begin();
    }, ms);
  }

  /** Begins what is due, as far as there is room. */
  #begin(): void {
    const { queue, nowMs, maxDeliveriesCount } = this.#deps;
    const now = nowMs();
    for (const domain of this.#asideOf.keys()) if (this.#lanes.load(domain) < LOAD_MAX) this.#takeAside(domain);
    for (const [id, untilMs] of this.#pausedUntilMs) if (untilMs <= now) this.#pausedUntilMs.delete(id);
    const room = 2 * maxDeliveriesCount - this.#active.size;
    if (room <= 0) return; // whoever is done wakes us
    const limit = room + this.#aside.size + this.#pausedUntilMs.size + SCAN_EXTRA_COUNT;
    const due = queue.due(now, limit);
    const open = due.filter(({ id }) => !this.#active.has(id) && !this.#aside.has(id) && !this.#pausedUntilMs.has(id));
    for (const { id } of open.slice(0, room)) this.#start(id);
    if (open.length > room) return;
    const next = queue.nextDueMs(now) ?? Infinity;
    const paused = Math.min(Infinity, ...this.#pausedUntilMs.values());
    this.#wakeIn(Math.max(SCAN_PAUSE_MS, Math.min(next - now, paused - now, SLEEP_MAX_MS)));
  }

  #start(id: MessageId): void {
    const done = this.#process(id)
      .catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return;
        this.#deps.logger.error('a message in the queue could not be worked on', { item: id, error });
        this.#pausedUntilMs.set(id, this.#deps.nowMs() + PAUSE_MS); // WK3
      })
      .finally(() => {
        this.#active.delete(id);
        this.#wakeIn(SCAN_PAUSE_MS);
      });
    this.#active.set(id, done);
  }

  async #process(id: MessageId): Promise<void> {
    const { queue, nowMs, reports } = this.#deps;
    using item = await queue.claim(id, this.#stopping.signal);
    if (!item) return;
    const signal = AbortSignal.any([this.#stopping.signal, item.signal]);
    if (item.recipients.some(({ report }) => report !== 'none') && !(await reports.make(item, signal))) {
      this.#pausedUntilMs.set(id, nowMs() + PAUSE_MS);
    }
    const groups = groupsOf(item.due(nowMs()));
    const busiest = groups.every(({ domain }) => this.#lanes.load(domain) >= LOAD_MAX) ? groups[0] : undefined;
    if (busiest) this.#putAside(id, busiest.domain);
    else await Promise.all(groups.map((group) => this.#deliverGroup(item, group, signal)));
  }

  #putAside(id: MessageId, domain: string): void {
    this.#aside.set(id, domain);
    const others = this.#asideOf.get(domain);
    if (others) others.push(id);
    else this.#asideOf.set(domain, [id]);
  }

  #takeAside(domain: string): void {
    const waiting = this.#asideOf.get(domain);
    const id = waiting?.shift();
    if (waiting?.length === 0) this.#asideOf.delete(domain);
    if (id === undefined) return;
    this.#aside.delete(id);
    if (this.#isRunning && !this.#active.has(id)) this.#start(id);
  }

  async #deliverGroup(item: ClaimedItem, group: Group, signal: AbortSignal): Promise<void> {
    const { domain, recipients } = group;
    const { logger, nowMs } = this.#deps;
    const startedMs = nowMs();
    let settlements: readonly Settlement[];
    try {
      using _ = await this.#lanes.enter(domain);
      if (!this.#isRunning || signal.aborted) return; // WK4
      const outcomes = await this.#outcomes(item, group, signal);
      settlements = outcomes.map((outcome, at) => this.#settlement(item, recipients[at], outcome));
      const countOf = (kind: Outcome['kind']): number => outcomes.filter((one) => one.kind === kind).length;
      logger.info('mail was sent out', {
        item: item.id,
        deliveredCount: countOf('delivered'),
        deferredCount: countOf('deferred'),
        failedCount: countOf('failed'),
        status: outcomes.find(({ kind }) => kind !== 'delivered')?.attempt.status ?? '2.0.0',
        ms: nowMs() - startedMs,
      });
    } catch (error) {
      if (signal.aborted) return; // as due as before, or gone
      const code = error instanceof ServerError ? error.code : undefined;
      if (code?.startsWith('key-')) logger.warn('mail waits for its key', { item: item.id, code });
      else logger.error('mail could not be sent out', { item: item.id, error });
      settlements = recipients.map((recipient) =>
        code === 'content-damaged' ? this.#settlement(item, recipient, DAMAGED) : this.#postponed(recipient),
      );
    } finally {
      this.#takeAside(domain);
    }
    await item.settle(settlements); // WK1
  }

  /** One for each recipient, in their order. */
  async #outcomes(item: ClaimedItem, { domain, recipients }: Group, signal: AbortSignal): Promise<readonly Outcome[]> {
    const { delivery, hostname, domains, nowMs } = this.#deps;
    if (domain === '') return allAlike(recipients.length, localAttempt('5.1.3', 'The address has no usable domain'));
    const here = new Map<ItemRecipient, Outcome>();
    for (const recipient of recipients) {
      const outcome = await deliverLocally({ delivery, hostname }, { item, recipient }, signal);
      if (!outcome) break; // the domain is not ours
      here.set(recipient, outcome);
    }
    if (here.size > 0) return recipients.flatMap((recipient) => here.get(recipient) ?? []);
    const paused = this.#lanes.paused(domain);
    if (paused) return allAlike(recipients.length, paused);
    const signatures = await signatureFields({ signingKeys: this.#deps.signingKeys, nowMs }, item.body(signal), signal);
    const message = {
      envelope: item.envelope,
      sizeBytes: signatures.length + item.sizeBytes,
      body: (reading: AbortSignal) => signed(signatures, item.body(reading)),
    };
    const { outcomes, isReached } = await domains.deliver({ message, domain, recipients }, signal);
    const [first] = outcomes;
    if (isReached || !first) this.#lanes.reached(domain);
    else this.#lanes.unreached(domain, first.attempt);
    return outcomes;
  }

  #settlement(item: ClaimedItem, recipient: ItemRecipient | undefined, outcome: Outcome): Settlement {
    if (!recipient) throw new TypeError('an outcome for nobody');
    const { schedule, nowMs, random } = this.#deps;
    return settlementOf(schedule, { item, recipient, outcome }, { nowMs: nowMs(), random: random() });
  }

  /** WK3. */
  #postponed({ recipient }: ItemRecipient): Settlement {
    const { nowMs, random } = this.#deps;
    return { recipient, kind: 'postponed', nextAtMs: Math.round(nowMs() + PAUSE_MS * (1 + random())) };
  }
}

async function* signed(signatures: Buffer, message: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (signatures.length > 0) yield signatures;
  yield* message;
}

/** By domain; '' for what has none. */
function groupsOf(recipients: readonly ItemRecipient[]): readonly Group[] {
  const groups = Map.groupBy(recipients, ({ address }) => domainOf(address));
  return [...groups].map(([domain, members]) => ({ domain, recipients: members }));
}

function domainOf(address: string): string {
  const domain = address.slice(address.lastIndexOf('@') + 1);
  return domain.startsWith('[') ? domain : (normalizeDomain(domain) ?? '');
}
