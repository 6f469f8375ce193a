/**
 * One attempt to deliver a message to its recipients of one domain.
 *
 * DD1  The hosts are tried in order until one takes the transaction up: what it then says stands. RFC 5321 §5.1.
 * DD2  A session that ends before the data went out is followed by the next host; after that the message may have
 *      arrived, and waits for its next attempt.
 * DD3  When no host could be used, the recipients fail only if each host said so for good.
 *
 * Called by worker.ts.
 */
import { ServerError } from '../base/errors.ts';
import type { QueuedEnvelope, QueuedRecipient } from '../queue/envelope.ts';
import { allAlike, localAttempt, outcomeOf, sessionAttempt, type Outcome } from './outcome.ts';
import type { Attempt } from '../queue/envelope.ts';
import type { Hop, Route, Routes } from './routes.ts';
import { SessionError } from './session-error.ts';
import type { Sessions, Target } from './sessions.ts';
import type { Delivered, SmtpClient } from './smtp-client.ts';
import { tlsPolicyFor } from './tls-policy.ts';
import { planTransaction } from './transaction-plan.ts';

type OutgoingMessage = Readonly<{
  envelope: QueuedEnvelope;
  sizeBytes: number;
  body(signal: AbortSignal): AsyncIterable<Uint8Array>;
}>;
type DomainDeliveryDeps = Readonly<{
  routes: Routes;
  sessions: Sessions;
  tls: Parameters<typeof tlsPolicyFor>[0];
}>;
type Job = Readonly<{ message: OutgoingMessage; domain: string; recipients: readonly QueuedRecipient[] }>;
/** `isReached`: a host took the transaction up. One outcome for each recipient, in their order. */
type DomainResult = Readonly<{ outcomes: readonly Outcome[]; isReached: boolean }>;

/** RFC 5321 §4.5.3.1.8: what every server takes. */
const RECIPIENTS_MAX_COUNT = 100;
const NO_LOOKUP = '4.4.3';

export class DomainDelivery {
  readonly #deps: DomainDeliveryDeps;

  constructor(deps: DomainDeliveryDeps) {
    this.#deps = deps;
  }

  /** Throws `signal.reason`, and what reading the message throws: then nobody has got it by this attempt. */
  async deliver(job: Job, signal: AbortSignal): Promise<DomainResult> {
    const { domain, recipients } = job;
    const unreached = (attempt: Attempt): DomainResult => ({
      outcomes: allAlike(recipients.length, attempt),
      isReached: false,
    });
    let route: Route;
    try {
      route = await this.#deps.routes.routeTo(domain, signal);
    } catch (error) {
      return unreached(lookupAttempt(error));
    }
    if (route.kind === 'none') return { ...unreached(localAttempt(route.status, route.text)), isReached: true };
    const verdicts: Attempt[] = [];
    for (const hop of route.hops) {
      const verdict = await this.#tryHost(job, { hop, isRouteSecure: route.isSecure }, signal);
      if ('outcomes' in verdict) return verdict;
      verdicts.push(verdict);
    }
    const temporary = verdicts.findLast(({ status }) => status.startsWith('4')); // DD3
    const last = temporary ?? verdicts.at(-1) ?? localAttempt('5.4.4', 'No host is known for the domain');
    return { ...unreached(last), isReached: temporary === undefined };
  }

  /** The result, or why this host could not be used. */
  async #tryHost(
    job: Job,
    { hop, isRouteSecure }: Readonly<{ hop: Hop; isRouteSecure: boolean }>,
    signal: AbortSignal,
  ): Promise<DomainResult | Attempt> {
    const { routes, sessions, tls } = this.#deps;
    const { requiresTls } = job.message.envelope;
    let target: Target;
    try {
      const { addresses, isSecure: isAddressSecure } = await routes.addressesOf(hop, signal);
      if (addresses.length === 0) return localAttempt('5.4.4', 'The host has no address', hop.name);
      const choice = { domain: job.domain, hop, isRouteSecure, isAddressSecure, requiresTls };
      const policy = await tlsPolicyFor(tls, choice, signal);
      if (policy.kind === 'refused') return localAttempt(policy.status, policy.text, hop.name);
      target = { hop, addresses, policy };
    } catch (error) {
      return lookupAttempt(error, hop.name);
    }
    let client: SmtpClient;
    try {
      client = await sessions.take(target, signal);
    } catch (error) {
      if (!(error instanceof SessionError)) throw error;
      signal.throwIfAborted();
      return sessionAttempt(error, hop.name);
    }
    const onAbort = (): void => {
      client.destroy();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await sendAll(job, { hop, client }, signal);
    } finally {
      signal.removeEventListener('abort', onAbort);
      await sessions.put(target, client);
    }
  }
}

/** Sends to all recipients, in as many transactions as it takes. */
async function sendAll(
  { message, recipients }: Job,
  { hop, client }: Readonly<{ hop: Hop; client: SmtpClient }>,
  signal: AbortSignal,
): Promise<DomainResult | Attempt> {
  const outcomes = new Map<QueuedRecipient, Outcome>();
  let left = [...recipients];
  for (let isFirst = true; left.length > 0; isFirst = false) {
    const chunk = left.slice(0, RECIPIENTS_MAX_COUNT);
    const host = { extensions: client.extensions, isTls: client.tls !== null };
    const plan = planTransaction(message, chunk, host);
    if (plan.kind === 'lacks') return localAttempt(plan.status, plan.text, hop.name);
    if (!isFirst) await client.reset();
    const results = await client.send({ ...plan.transaction, body: () => message.body(signal) });
    const [firstResult] = results;
    if (isFirst && firstResult && results.every((result) => isBeforeData(result))) {
      return outcomeOf(firstResult, hop.name, false).attempt; // DD2
    }
    for (const [at, result] of results.entries()) {
      const recipient = chunk[at];
      if (recipient) outcomes.set(recipient, outcomeOf(result, hop.name, plan.takesDsn));
    }
    const wasTaken = results.some(({ kind }) => kind === 'accepted');
    const again = wasTaken && client.isUsable ? chunk.filter((_, at) => isTooMany(results[at])) : [];
    left = [...again, ...left.slice(RECIPIENTS_MAX_COUNT)];
  }
  return { outcomes: recipients.flatMap((recipient) => outcomes.get(recipient) ?? []), isReached: true };
}

/** The session ended while nothing of the message was sent. */
function isBeforeData(result: Delivered): boolean {
  if (result.kind === 'lost') return ['MAIL', 'RCPT', 'DATA'].includes(result.stage);
  return result.reply.code === 421;
}

/** RFC 5321 §4.5.3.1.10: those who come after the first hundred or so are for another transaction. */
function isTooMany(result: Delivered | undefined): boolean {
  return result?.kind === 'refused' && result.reply.code === 452 && (result.reply.enhanced ?? '4.5.3') === '4.5.3';
}

/** Throws what is not about looking up names. */
function lookupAttempt(error: unknown, remoteHost: string | null = null): Attempt {
  if (!(error instanceof ServerError) || error.code !== 'dns-unavailable') throw error;
  return localAttempt(NO_LOOKUP, 'A name could not be looked up', remoteHost);
}
