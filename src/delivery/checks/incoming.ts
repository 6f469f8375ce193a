/**
 * What is found out about a message from another server before it is delivered, and what follows from it.
 *
 * IN1  Nothing of a message is delivered before the verdict: the field that states it stands above the message.
 * IN2  A failure of ours, or of the DNS, never refuses a message for good.
 * IN3  A header over `MAX_HEADER_BYTES` or `MAX_FIELDS_COUNT` is refused: reading it would hold up others.
 * IN4  Peers of `trustedPeers` are not checked: they belong to the operator, and hand over what others sent them.
 *
 * Called by deliver.ts.
 */
import { BlockList, isIP } from 'node:net';
import type { Config } from '../../config/schema.ts';
import type { Resolver } from '../../dns/resolver.ts';
import type { Logger } from '../../observe/logger.ts';
import { binaryString, parseHeaderFields, type HeaderField } from '../../mime/headers.ts';
import { HeaderCollector } from '../header-collector.ts';
import { MessageAuthentication, type Authentication } from './authentication.ts';
import { HeldBody, HeldMemory } from './held-body.ts';
import { ContentFilters, FILTER_FIELDS } from './filters.ts';
import { type OpenGate, PeerGate } from './gate.ts';
import { resultsField, withoutForged } from './results-field.ts';
import { loadSenderPolicies, type MailPeer } from './sender-policy.ts';
import { SignedHeader } from './signature.ts';

type IncomingChecksDeps = Readonly<{
  config: Config['mail'];
  hostname: string;
  logger: Logger;
  /** Where what is too large for memory is held; it exists. */
  folder: string;
  resolver: Pick<Resolver, 'resolve'>;
  nowMs(): number;
}>;
/** `fields` go above the message, below its Return-Path. */
type Verdict = Readonly<
  { kind: 'deliver'; to: 'inbox' | 'junk'; fields: Buffer } | { kind: 'refuse'; reason: RefusalReason }
>;
/** `deferred`: for the time being only. */
export type RefusalReason = 'dmarc' | 'header' | 'virus' | 'spam' | 'deferred';
type Peer = Omit<MailPeer, 'hostname'>;
/** What is known only when all recipients are. */
type Completed = Readonly<{ recipients: readonly string[]; transaction: string }>;

const MAX_HEADER_BYTES = 1024 * 1024;
const MAX_FIELDS_COUNT = 5000;
const BLANK_LINE = Buffer.from('\r\n');

export class IncomingChecks {
  readonly #deps: IncomingChecksDeps;
  readonly #memory: HeldMemory;
  readonly #gate: PeerGate;
  readonly #trusted = new BlockList();

  constructor(deps: IncomingChecksDeps) {
    this.#deps = deps;
    this.#memory = new HeldMemory(deps.config.maxHeldBytes);
    this.#gate = new PeerGate(deps);
    for (const { address, prefixBits } of deps.config.trustedPeers) {
      this.#trusted.addSubnet(address, prefixBits, familyOf(address));
    }
  }

  /** Loads what takes its time; without it the first message waits for it. */
  async prepare(): Promise<void> {
    await loadSenderPolicies();
  }

  /** What is asked about a connection's peer before any message; null where it is trusted (IN4). */
  gateFor(address: string): OpenGate | null {
    return this.#isTrusted(address) ? null : this.#gate.open(address);
  }

  /** Begins a message; null where its peer is trusted (IN4). */
  begin(peer: Peer): IncomingMessage | null {
    return this.#isTrusted(peer.address) ? null : new IncomingMessage(this.#deps, this.#memory, peer);
  }

  #isTrusted(address: string): boolean {
    return isIP(address) !== 0 && this.#trusted.check(address, familyOf(address));
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

/** Used by one transaction, one call at a time: `write`, `end`, `content`; in any case `discard`. */
export class IncomingMessage {
  readonly #deps: IncomingChecksDeps;
  readonly #peer: Peer;
  readonly #collector = new HeaderCollector(MAX_HEADER_BYTES);
  readonly #authentication: MessageAuthentication;
  readonly #body: HeldBody;
  #header: Readonly<{ block: Buffer; fields: readonly HeaderField[] }> | null = null;

  constructor(deps: IncomingChecksDeps, memory: HeldMemory, peer: Peer) {
    const { resolver, nowMs, config, hostname, folder } = deps;
    this.#deps = deps;
    this.#peer = peer;
    this.#body = new HeldBody({ folder, memory });
    const { timeLimitMs } = config;
    this.#authentication = new MessageAuthentication({ resolver, timeLimitMs, nowMs }, { ...peer, hostname });
  }

  /** Takes the next bytes. Throws ServerError 'storage-*'. */
  async write(chunk: Uint8Array): Promise<void> {
    const body = this.#collector.push(chunk);
    if (this.#collector.isComplete && !this.#header) this.#readHeader();
    if (this.#collector.isTooLarge || body.length === 0) return;
    this.#authentication.push(body);
    await this.#body.write(body);
  }

  /** The message is complete: what is to be done with it. */
  async end(completed: Completed): Promise<Verdict> {
    if (!this.#header) this.#readHeader();
    if (this.#isHeaderRefused) return { kind: 'refuse', reason: 'header' };
    const authentication = await this.#authentication.end();
    const action = actionOn(authentication, this.#deps.config.dmarc);
    if (action === 'refuse') return { kind: 'refuse', reason: 'dmarc' };
    const results = resultsField(this.#deps.hostname, authentication.results);
    const filters = new ContentFilters(this.#deps);
    if (!filters.areOn) return { kind: 'deliver', to: action, fields: results };
    const verdict = await filters.check({ ...this.#peer, ...completed, content: () => this.content() });
    if (verdict.kind === 'refuse') return verdict;
    if (verdict.kind === 'defer') return { kind: 'refuse', reason: 'deferred' };
    const isJunk = action === 'junk' || verdict.kind === 'junk';
    return { kind: 'deliver', to: isJunk ? 'junk' : 'inbox', fields: Buffer.concat([results, verdict.fields]) };
  }

  /** The message as it is delivered, piece by piece. Throws ServerError 'storage-*', 'content-damaged'. */
  async *content(): AsyncGenerator<Uint8Array> {
    if (!this.#header) throw new TypeError('a message was read before its end');
    const { block, fields } = this.#header;
    yield withoutForged(block, fields, { hostname: this.#deps.hostname, others: FILTER_FIELDS });
    if (this.#collector.isComplete) yield BLANK_LINE;
    yield* this.#body.read();
  }

  /** Does not throw; may be repeated. */
  async discard(): Promise<void> {
    this.#authentication.discard();
    await this.#body.discard().catch(() => undefined); // the file has no name: it ends with its handle
  }

  get #isHeaderRefused(): boolean {
    return this.#collector.isTooLarge || (this.#header?.fields.length ?? 0) > MAX_FIELDS_COUNT;
  }

  #readHeader(): void {
    const block = this.#collector.block() ?? Buffer.alloc(0);
    const text = binaryString(block);
    const fields = parseHeaderFields(text, MAX_FIELDS_COUNT + 1);
    this.#header = { block, fields };
    const checked = fields.length > MAX_FIELDS_COUNT ? [] : fields;
    this.#authentication.startBody(new SignedHeader(text, checked));
  }
}

/** What is not known is not refused (IN2). */
function actionOn({ dmarc, policy }: Authentication, mode: Config['mail']['dmarc']): 'inbox' | 'junk' | 'refuse' {
  if (dmarc !== 'fail' || policy === 'none' || mode === 'tag') return 'inbox';
  return policy === 'reject' && mode === 'enforce' ? 'refuse' : 'junk';
}
