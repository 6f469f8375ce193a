/**
 * Delivery: one message, sealed into the INBOX of each of its recipients here, and into the queue for those elsewhere.
 *
 * D1  A mailbox gets one copy, through however many addresses it is reached in one transaction.
 * D2  Every copy is staged (`finish`) before any is appended. With `settle: 'together'` (SMTP: one reply for all) a
 *     copy that cannot be staged withdraws all others, so that a retry makes no duplicates. With `settle: 'each'`
 *     (LMTP: a reply for each) the others go on. A failure while appending leaves what is already stored: then
 *     the retry duplicates, as RFC 5321 §6.1 prefers to loss.
 * D3  Nothing remains of a transaction that is discarded, or of a copy that failed.
 * D4  `stored` is said only after the append is durable.
 * D5  Trace fields come first in every copy, and are the same in all. RFC 5321 §4.4.
 * D6  While the key service cannot be reached, a copy is kept waiting in its mailbox instead of being appended: sealed,
 *     durable, and adopted later (mailbox/waiting.ts). Where it refuses, the copy is refused for the time being: then an
 *     operator has decided, and the sender shall know. For a mailbox of kind `pair` that is always so, and it is adopted
 *     at once: no key service is asked to deliver.
 * D7  Recipients elsewhere are for submission only (`outbound`), and share one copy, which goes into the queue.
 * D8  A message that is checked (checks/) reaches no copy before the verdict is known. One that is refused leaves nothing;
 *     one that is quarantined goes into the Junk folder.
 *
 * Called by smtp/ and outbound/. The mailbox key is asked for when a recipient is added: a mailbox whose key is refused is refused by
 * itself, before the message is sent, and does not hold up the others of the same transaction.
 */
import type { KeyKind, Resolution } from '../accounts/addresses.ts';
import type { WaitingMailboxes } from '../accounts/waiting-mailboxes.ts';
import { ServerError } from '../base/errors.ts';
import type { BodyId, FolderId, MailboxId, MessageId, OrganizationId } from '../base/ids.ts';
import type { MailboxRef } from '../keys/mailbox-keys.ts';
import type { MessageWriter, NewMessageOptions, PreparedMessage } from '../mailbox/append.ts';
import { INBOX } from '../mailbox/folders.ts';
import type { Mailbox } from '../mailbox/mailbox.ts';
import type { Principal } from '../mailbox/model.ts';
import type { ScannedMessage } from '../mime/body-structure.ts';
import { happened } from '../observe/events.ts';
import { MessageScanner } from '../mime/scan.ts';
import type { IncomingChecks, IncomingMessage, RefusalReason } from './checks/incoming.ts';
import type { OpenGate } from './checks/gate.ts';
import type { QueuedEnvelope, QueuedRecipient } from '../queue/envelope.ts';
import type { Queue } from '../queue/queue.ts';
import { OutboundCopy } from './outbound-copy.ts';
import { route, type RouteDeps } from './route.ts';
import { HopCounter, receivedField, traceFields, type TracePeer, type TransferProtocol } from './trace.ts';

type Writer = Pick<MessageWriter, 'write' | 'finish' | 'discard'>;
/** What delivery uses of an open mailbox. */
type Inboxed = Pick<Mailbox, 'folder' | 'junkFolder' | 'append' | 'keepWaiting' | 'adoptWaiting' | 'hasBody'> &
  Readonly<{
    newMessage(options: NewMessageOptions, signal?: AbortSignal): Promise<Writer>;
    newWaitingMessage(options: NewMessageOptions, signal?: AbortSignal): Promise<Writer>;
  }>;

type DeliveryDeps = RouteDeps &
  Readonly<{
    mailboxes: Readonly<{
      open(ref: MailboxRef, principal: Principal, signal?: AbortSignal): Promise<Inboxed & Disposable>;
      openWithoutKey(ref: MailboxRef, principal: Principal): Promise<Inboxed & Disposable>;
    }>;
    waiting: Pick<WaitingMailboxes, 'note'>;
    checks: Pick<IncomingChecks, 'begin' | 'gateFor'>;
    /** Has what was kept in a mailbox adopted soon. */
    adoptSoon(ref: MailboxRef): void;
    nowMs(): number;
  }>;

type Envelope = Readonly<{
  transaction: string;
  /** The reverse-path without brackets; empty for the null reverse-path. */
  sender: string;
  protocol: TransferProtocol;
  /** Null for one of our users, whose whereabouts the trace does not tell. */
  peer: TracePeer | null;
  /** Only of a submission: what goes along with recipients elsewhere (D7). */
  outbound?: Outbound | undefined;
  settle: 'together' | 'each';
  /** Whether a message that goes round in circles is refused (trace T3). */
  refusesLoops: boolean;
  /** Whether its author is checked (D8). */
  isChecked: boolean;
  principal: Principal;
  /** Names the copy of a mailbox for `isStored`; random without it. */
  bodyOf?: (mailbox: MailboxId) => BodyId;
}>;
type Outbound = Readonly<{
  queue: Pick<Queue, 'newMessage'>;
  organization: OrganizationId;
  envelope: Omit<QueuedEnvelope, 'is8Bit' | 'sender'>;
}>;
type Recipient = Readonly<{ address: string; ref: MailboxRef; keyKind: KeyKind }>;
type Added = Readonly<{ kind: 'here'; recipient: Recipient } | { kind: 'elsewhere'; recipient: QueuedRecipient }>;
/**
 * Of one recipient, in the order they were added. `item`: in the queue. `looping`: trace T3. `refused`: by the verdict on
 * the message (D8).
 */
export type RecipientOutcome = Readonly<
  | { kind: 'stored'; item?: MessageId }
  | { kind: 'looping' }
  | { kind: 'refused'; reason: RefusalReason }
  | { kind: 'failed'; error: unknown }
>;

/** `handedOver`: the store owns what was prepared, whatever became of it. */
type Copy = {
  readonly recipient: Recipient;
  readonly mailbox: Inboxed & Disposable;
  readonly writer: Writer;
  /** `folder` is null for one that will wait (D6). */
  staged: Readonly<{ prepared: PreparedMessage; folder: FolderId | null }> | null;
  waits: boolean;
  isHandedOver: boolean;
  outcome: RecipientOutcome | null;
};

export class Delivery {
  readonly #deps: DeliveryDeps;

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
  }

  /** Where `address` leads. Throws ServerError key-*, or `signal.reason`. */
  route(address: string, signal?: AbortSignal): Promise<Resolution> {
    return route(this.#deps, address, signal);
  }

  /** Whether a copy that was named by `bodyOf` was stored before: a message is then not delivered once more. */
  async isStored(ref: MailboxRef, body: BodyId, principal: Principal): Promise<boolean> {
    using mailbox = await this.#deps.mailboxes.openWithoutKey(ref, principal);
    return mailbox.hasBody(body);
  }

  /** What is asked about a peer before its messages; null where nothing is. */
  gateFor(address: string): OpenGate | null {
    return this.#deps.checks.gateFor(address);
  }

  /** Starts a transaction without recipients. The caller ends it by `commit` or `discard`. */
  begin(envelope: Envelope): DeliveryTransaction {
    return new DeliveryTransaction(this.#deps, envelope);
  }
}

/** Used by one connection, one call at a time; only `discard` may come in between. */
export class DeliveryTransaction {
  readonly #deps: DeliveryDeps;
  readonly #envelope: Envelope;
  readonly #copies = new Map<MailboxId, Copy>();
  readonly #added: Added[] = [];
  #outbound: OutboundCopy | null = null;
  readonly #hops = new HopCounter();
  readonly #scanner = new MessageScanner();
  #scanned: ScannedMessage | null = null;
  #state: 'open' | 'writing' | 'committing' | 'ended' = 'open';
  #lastWrite: Promise<void> = Promise.resolve();
  /** While the message is held for its verdict (D8). */
  #checked: IncomingMessage | null = null;
  #isJunk = false;

  constructor(deps: DeliveryDeps, envelope: Envelope) {
    this.#deps = deps;
    this.#envelope = envelope;
  }

  /** Adds a recipient, before the first `write`. Throws ServerError: then the others are as before. */
  async add(recipient: Recipient, signal?: AbortSignal): Promise<void> {
    const { mailbox } = recipient.ref;
    if (!this.#copies.has(mailbox)) {
      const copy = await this.#openCopy(recipient, signal);
      if (this.#state !== 'open') {
        await close(copy); // discarded meanwhile
        throw givenUp();
      }
      this.#copies.set(mailbox, copy);
    }
    this.#added.push({ kind: 'here', recipient });
  }

  /** Adds a recipient elsewhere (D7), before the first `write`. Throws ServerError: then the others are as before. */
  async addElsewhere(recipient: QueuedRecipient, signal?: AbortSignal): Promise<void> {
    const { outbound } = this.#envelope;
    if (!outbound) throw new TypeError('mail from elsewhere goes nowhere but here');
    if (!this.#outbound) {
      const copy = new OutboundCopy(await outbound.queue.newMessage(outbound.organization, signal));
      if (this.#state !== 'open') {
        await copy.close(); // discarded meanwhile
        throw givenUp();
      }
      this.#outbound = copy;
    }
    this.#outbound.add(recipient);
    this.#added.push({ kind: 'elsewhere', recipient });
  }

  /** Takes the next bytes of the message into every copy; what fails is told by `commit`. */
  async write(chunk: Uint8Array): Promise<void> {
    this.#hops.push(chunk);
    if (this.#state === 'open') await this.#begin();
    this.#lastWrite = this.#checked ? this.#checked.write(chunk) : this.#toAll(chunk);
    await this.#lastWrite;
  }

  /** Stores the message (D2, D4). Gives one outcome for each recipient added. */
  async commit(): Promise<readonly RecipientOutcome[]> {
    if (this.#state === 'open') await this.#begin();
    this.#state = this.#state === 'ended' ? 'ended' : 'committing';
    const copies = [...this.#copies.values()];
    const all = [...copies, ...(this.#outbound ? [this.#outbound] : [])];
    const refusal = await this.#refusal();
    if (refusal) for (const copy of all) copy.outcome = refusal;
    await Promise.all([...copies.filter(isPending).map((copy) => stage(copy, this.#isJunk)), this.#outbound?.stage()]);
    const failure = all.find((copy) => copy.outcome !== null)?.outcome;
    if (failure && this.#envelope.settle === 'together') for (const copy of all) copy.outcome ??= failure;
    await Promise.all([...copies.filter(isPending).map((copy) => this.#store(copy)), this.#storeOutbound()]);
    const outcomes = this.#added.map((added) => this.#outcomeOf(added));
    this.#tell(outcomes);
    await this.#close();
    return outcomes;
  }

  /** Gives the transaction up, unless it is being committed. Does not throw; may be repeated. */
  async discard(): Promise<void> {
    if (this.#state !== 'committing') await this.#close();
  }

  async #openCopy(recipient: Recipient, signal?: AbortSignal): Promise<Copy> {
    const { ref, keyKind } = recipient;
    const { mailboxes, nowMs } = this.#deps;
    const { principal } = this.#envelope;
    const internalDate = { atMs: nowMs(), zoneMinutes: 0 };
    const scanned = (): ScannedMessage => (this.#scanned ??= this.#scanner.end()); // one scan for all copies
    const body = this.#envelope.bodyOf?.(ref.mailbox);
    const message = { internalDate, scanned, ...(body === undefined ? {} : { body }) };
    const rest = { recipient, staged: null, isHandedOver: false, outcome: null };
    if (keyKind === 'symmetric') {
      try {
        const mailbox = await mailboxes.open(ref, principal, signal);
        const writer = await begun(mailbox, () => mailbox.newMessage(message, signal));
        return { ...rest, mailbox, writer, waits: false };
      } catch (error) {
        if (!isKeyAway(error)) throw error;
      }
    }
    const mailbox = await mailboxes.openWithoutKey(ref, principal); // D6
    const writer = await begun(mailbox, () => mailbox.newWaitingMessage(message, signal));
    return { ...rest, mailbox, writer, waits: true };
  }

  async #store(copy: Copy): Promise<void> {
    if (!copy.staged) return;
    const { prepared, folder } = copy.staged;
    copy.isHandedOver = true;
    try {
      const { ref, keyKind } = copy.recipient;
      const isJunk = this.#isJunk;
      if (folder === null) await this.#deps.waiting.note(ref, () => copy.mailbox.keepWaiting(prepared, { isJunk }));
      else await copy.mailbox.append({ folder, messages: [{ prepared, flags: [] }] });
      copy.outcome = { kind: 'stored' };
      if (keyKind === 'pair') this.#deps.adoptSoon(ref);
    } catch (error) {
      copy.outcome = { kind: 'failed', error };
    }
  }

  async #storeOutbound(): Promise<void> {
    const { outbound, sender } = this.#envelope;
    if (outbound) await this.#outbound?.store({ ...outbound.envelope, sender });
  }

  async #begin(): Promise<void> {
    this.#state = 'writing';
    const { peer, sender, isChecked } = this.#envelope;
    if (isChecked) {
      if (!peer) throw new TypeError('a message is checked by what its peer is');
      this.#checked = this.#deps.checks.begin({ address: peer.address, helo: peer.helo, sender });
    }
    if (!this.#checked) await this.#writeTrace();
  }

  /** What refuses the whole message; otherwise a message that was held has come into the copies. */
  async #refusal(): Promise<RecipientOutcome | null> {
    if (this.#envelope.refusesLoops && this.#hops.isLooping) return { kind: 'looping' };
    const checked = this.#checked;
    if (!checked || this.#state === 'ended') return null;
    try {
      const recipients = this.#added.map(({ recipient }) => recipient.address);
      const verdict = await checked.end({ recipients, transaction: this.#envelope.transaction });
      if (verdict.kind === 'refuse') return { kind: 'refused', reason: verdict.reason };
      this.#isJunk = verdict.to === 'junk';
      await this.#writeTrace(verdict.fields);
      for await (const piece of checked.content()) await this.#toAll(piece);
      return null;
    } catch (error) {
      return { kind: 'failed', error };
    }
  }

  /** The trace fields (D5): those of a mailbox, and those of a message that goes on. */
  async #writeTrace(results?: Buffer): Promise<void> {
    const { transaction, sender, protocol, peer } = this.#envelope;
    const [first, second] = this.#added;
    const recipient = first && !second ? first.recipient.address : null;
    const { hostname, nowMs } = this.#deps;
    const trace = { transaction, hostname, protocol, sender, recipient, peer, receivedAtMs: nowMs(), results };
    await Promise.all([this.#toMailboxes(traceFields(trace)), this.#outbound?.write(receivedField(trace))]);
  }

  async #toAll(chunk: Uint8Array): Promise<void> {
    if (this.#outbound) await Promise.all([this.#toMailboxes(chunk), this.#outbound.write(chunk)]);
    else await this.#toMailboxes(chunk);
  }

  async #toMailboxes(chunk: Uint8Array): Promise<void> {
    this.#scanner.push(chunk);
    const pending = [...this.#copies.values()].filter(isPending);
    const [only] = pending;
    if (only && pending.length === 1) await writeTo(only, chunk);
    else await Promise.all(pending.map((copy) => writeTo(copy, chunk)));
  }

  #tell(outcomes: readonly RecipientOutcome[]): void {
    const { protocol } = this.#envelope;
    outcomes.forEach((outcome, at) => {
      const added = this.#added[at];
      const waits = added?.kind === 'here' && this.#copies.get(added.recipient.ref.mailbox)?.waits === true;
      const stored = waits ? 'waiting' : added?.kind === 'here' ? 'stored' : 'queued';
      happened('delivery', { protocol, outcome: outcome.kind === 'stored' ? stored : outcome.kind });
    });
  }

  #outcomeOf(added: Added): RecipientOutcome {
    const copy = added.kind === 'here' ? this.#copies.get(added.recipient.ref.mailbox) : this.#outbound;
    return copy?.outcome ?? { kind: 'failed', error: givenUp() };
  }

  async #close(): Promise<void> {
    this.#state = 'ended';
    const copies = [...this.#copies.values()];
    this.#copies.clear();
    const outbound = this.#outbound;
    this.#outbound = null;
    await this.#lastWrite.catch(() => undefined); // a writer is not discarded under a write
    await this.#checked?.discard();
    this.#checked = null;
    await Promise.all([...copies.map((copy) => close(copy)), outbound?.close()]);
  }
}

function isPending(copy: Copy): boolean {
  return copy.outcome === null;
}

async function writeTo(copy: Copy, chunk: Uint8Array): Promise<void> {
  try {
    await copy.writer.write(chunk);
  } catch (error) {
    copy.outcome = { kind: 'failed', error };
  }
}

/** Also makes sure, just before the append, that the key can be had, and that the INBOX is there; what waited goes first. */
async function stage(copy: Copy, isJunk: boolean): Promise<void> {
  try {
    const prepared = await copy.writer.finish();
    copy.staged = { prepared, folder: copy.waits ? null : await folderOf(copy.mailbox, isJunk) };
  } catch (error) {
    copy.outcome = { kind: 'failed', error };
  }
}

/** Null where the key has gone out of reach meanwhile (D6). */
async function folderOf(mailbox: Inboxed, isJunk: boolean): Promise<FolderId | null> {
  try {
    await mailbox.adoptWaiting();
    if (isJunk) return (await mailbox.junkFolder()).id;
    const inbox = await mailbox.folder(INBOX);
    if (!inbox) throw new ServerError('not-found', { clientText: 'Mailbox not available', detail: 'no INBOX' });
    return inbox.id;
  } catch (error) {
    if (isKeyAway(error)) return null;
    throw error;
  }
}

/** Begins a message in `mailbox`, which is closed when that fails. */
async function begun(mailbox: Disposable, begin: () => Promise<Writer>): Promise<Writer> {
  try {
    return await begin();
  } catch (error) {
    mailbox[Symbol.dispose]();
    throw error;
  }
}

function isKeyAway(error: unknown): boolean {
  return error instanceof ServerError && error.code === 'key-unavailable';
}

/** What is left of a copy that was not stored is garbage for the store, which also collects what fails to go here. */
async function close(copy: Copy): Promise<void> {
  try {
    if (!copy.isHandedOver) await copy.writer.discard();
  } catch {
    // the failure that led here has been told, or the peer is gone
  } finally {
    copy.mailbox[Symbol.dispose]();
  }
}

function givenUp(): ServerError {
  return new ServerError('shutting-down', { clientText: 'Transaction given up', retryable: true });
}
