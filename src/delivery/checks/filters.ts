/**
 * The content filters of the operator: clamd for viruses, rspamd for spam. Each is optional.
 *
 * CF1  A filter that is away lets a message pass marked, or defers it, as the configuration says: never silently.
 * CF2  The stricter of two answers counts.
 * CF3  Fields that claim to be theirs do not come in from outside (`FILTER_FIELDS`).
 *
 * Called by incoming.ts.
 */
import type { Config } from '../../config/schema.ts';
import type { Logger } from '../../observe/logger.ts';
import { type ClamdAddress, scanWithClamd } from './clamd.ts';
import { rateWithRspamd, type SpamEnvelope } from './rspamd.ts';

/** `fields`: what readers and users may want to know, with line ends. */
type FilterVerdict = Readonly<
  { kind: 'accept' | 'junk'; fields: Buffer } | { kind: 'refuse'; reason: 'virus' | 'spam' } | { kind: 'defer' }
>;
type FiltersDeps = Readonly<{ config: Config['mail']; hostname: string; logger: Logger }>;
type Filtered = SpamEnvelope & Readonly<{ content(): AsyncIterable<Uint8Array> }>;

/** Names in lower case. */
export const FILTER_FIELDS: readonly string[] = ['x-spam-status', 'x-virus-status'];
const STRICTNESS = ['accept', 'junk', 'defer', 'refuse'] as const;

export class ContentFilters {
  readonly #deps: FiltersDeps;

  constructor(deps: FiltersDeps) {
    this.#deps = deps;
  }

  get areOn(): boolean {
    const { clamd, rspamd } = this.#deps.config;
    return clamd.address !== undefined || rspamd.url !== undefined;
  }

  /** Asks both. Does not throw. `content` is read once for each. */
  async check(message: Filtered): Promise<FilterVerdict> {
    const verdicts = await Promise.all([this.#viruses(message), this.#spam(message)]);
    const strictest = verdicts.reduce((a, b) => (STRICTNESS.indexOf(b.kind) > STRICTNESS.indexOf(a.kind) ? b : a));
    if (strictest.kind === 'refuse' || strictest.kind === 'defer') return strictest;
    const fields = verdicts.flatMap((one) => ('fields' in one ? [one.fields] : []));
    return { kind: strictest.kind, fields: Buffer.concat(fields) };
  }

  async #viruses({ content, transaction }: Filtered): Promise<FilterVerdict> {
    const { address, timeLimitMs, whenAway } = this.#deps.config.clamd;
    if (address === undefined) return NOTHING;
    const result = await scanWithClamd(clamdAddress(address), content(), AbortSignal.timeout(timeLimitMs));
    switch (result) {
      case 'clean':
        return accepted('X-Virus-Status: Clean');
      case 'infected':
        this.#deps.logger.info('a message carries a virus', { transaction });
        return { kind: 'refuse', reason: 'virus' };
      case 'away':
        this.#deps.logger.warn('clamd is away', { transaction });
        return whenAway === 'defer' ? { kind: 'defer' } : accepted('X-Virus-Status: Unknown');
    }
  }

  async #spam(message: Filtered): Promise<FilterVerdict> {
    const { url, timeLimitMs, whenAway } = this.#deps.config.rspamd;
    if (url === undefined) return NOTHING;
    const { hostname } = this.#deps;
    const asked = { ...message, content: message.content(), hostname };
    const result = await rateWithRspamd(url, asked, AbortSignal.timeout(timeLimitMs));
    if (result.kind === 'away') {
      this.#deps.logger.warn('rspamd is away', { transaction: message.transaction });
      return whenAway === 'defer' ? { kind: 'defer' } : accepted('X-Spam-Status: Unknown');
    }
    const { action, score, requiredScore } = result;
    const numbers = `score=${score.toFixed(1)} required=${requiredScore.toFixed(1)}`;
    switch (action) {
      case 'accept':
        return accepted(`X-Spam-Status: No, ${numbers}`);
      case 'junk':
        return { ...accepted(`X-Spam-Status: Yes, ${numbers}`), kind: 'junk' };
      case 'refuse':
        return { kind: 'refuse', reason: 'spam' };
      case 'defer':
        return { kind: 'defer' };
    }
  }
}

const NOTHING = { kind: 'accept', fields: Buffer.alloc(0) } as const;

function accepted(field: string): Readonly<{ kind: 'accept'; fields: Buffer }> {
  return { kind: 'accept', fields: Buffer.from(`${field}\r\n`) };
}

/** `/path/of/socket`, or `host:port`. */
function clamdAddress(written: string): ClamdAddress {
  if (written.startsWith('/')) return { path: written };
  const at = written.lastIndexOf(':');
  return { host: written.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(written.slice(at + 1)) };
}
