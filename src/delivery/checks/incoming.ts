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
import { binaryString, parseHeaderFields, type HeaderField } from '../../mime/headers.ts';
import { HeaderCollector } from '../header-collector.ts';
import { MessageAuthentication, type Authentication } from './authentication.ts';
import { HeldBody, HeldMemory } from './held-body.ts';
import { resultsField, withoutForgedResults } from './results-field.ts';
import { loadSenderPolicies, type MailPeer } from './sender-policy.ts';
import { SignedHeader } from './signature.ts';

type IncomingChecksDeps = Readonly<{
  config: Config['mail'];
  hostname: string;
  /** Where what is too large for memory is held; it exists. */
  folder: string;
  resolver: Pick<Resolver, 'resolve'>;
  nowMs(): number;
}>;
/** `fields` go above the message, below its Return-Path. */
type Verdict = Readonly<
  { kind: 'deliver'; to: 'inbox' | 'junk'; fields: Buffer } | { kind: 'refuse'; reason: 'dmarc' | 'header' }
>;

const MAX_HEADER_BYTES = 1024 * 1024;
const MAX_FIELDS_COUNT = 5000;
const BLANK_LINE = Buffer.from('\r\n');

export class IncomingChecks {
  readonly #deps: IncomingChecksDeps;
  readonly #memory: HeldMemory;
  readonly #trusted = new BlockList();

  constructor(deps: IncomingChecksDeps) {
    this.#deps = deps;
    this.#memory = new HeldMemory(deps.config.maxHeldBytes);
    for (const { address, prefixBits } of deps.config.trustedPeers) {
      this.#trusted.addSubnet(address, prefixBits, familyOf(address));
    }
  }

  /** Loads what takes its time; without it the first message waits for it. */
  async prepare(): Promise<void> {
    await loadSenderPolicies();
  }

  /** Begins a message; null where its peer is trusted (IN4). */
  begin(peer: Omit<MailPeer, 'hostname'>): IncomingMessage | null {
    const isTrusted = isIP(peer.address) !== 0 && this.#trusted.check(peer.address, familyOf(peer.address));
    return isTrusted ? null : new IncomingMessage(this.#deps, this.#memory, peer);
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

/** Used by one transaction, one call at a time: `write`, `end`, `content`; in any case `discard`. */
export class IncomingMessage {
  readonly #deps: IncomingChecksDeps;
  readonly #collector = new HeaderCollector(MAX_HEADER_BYTES);
  readonly #authentication: MessageAuthentication;
  readonly #body: HeldBody;
  #header: Readonly<{ block: Buffer; fields: readonly HeaderField[] }> | null = null;

  constructor(deps: IncomingChecksDeps, memory: HeldMemory, peer: Omit<MailPeer, 'hostname'>) {
    const { resolver, nowMs, config, hostname, folder } = deps;
    this.#deps = deps;
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
  async end(): Promise<Verdict> {
    if (!this.#header) this.#readHeader();
    if (this.#isHeaderRefused) return { kind: 'refuse', reason: 'header' };
    const authentication = await this.#authentication.end();
    const action = actionOn(authentication, this.#deps.config.dmarc);
    if (action === 'refuse') return { kind: 'refuse', reason: 'dmarc' };
    return { kind: 'deliver', to: action, fields: resultsField(this.#deps.hostname, authentication.results) };
  }

  /** The message as it is delivered, piece by piece, once. Throws ServerError 'storage-*', 'content-damaged'. */
  async *content(): AsyncGenerator<Uint8Array> {
    if (!this.#header) throw new TypeError('a message was read before its end');
    const { block, fields } = this.#header;
    yield withoutForgedResults(block, fields, this.#deps.hostname);
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
