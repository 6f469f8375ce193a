/**
 * The DNS lookups of one message: counted, so that no message makes us ask without end, and in the forms in which the
 * checks want them. RFC 7208 §11.1.
 *
 * LU1  After `MAX_LOOKUPS_COUNT` questions, or once `signal` is aborted, every further one fails for the time being.
 *
 * Called by the other files of this folder.
 */
import type { DNSResolver } from 'mailauth';
import { ServerError } from '../../base/errors.ts';
import type { Answer, DnsRecord, RecordType, Resolver } from '../../dns/resolver.ts';

/** SPF may take 10 and the addresses of 10 MX hosts, DKIM and ARC one for each key, DMARC eight. */
const MAX_LOOKUPS_COUNT = 150;

export class Lookups {
  readonly #resolver: Pick<Resolver, 'resolve'>;
  readonly #signal: AbortSignal;
  #count = 0;

  constructor(resolver: Pick<Resolver, 'resolve'>, signal: AbortSignal) {
    this.#resolver = resolver;
    this.#signal = signal;
  }

  /** The TXT records at `name`, each joined; none where there is no such name. Throws ServerError, or the signal's reason. */
  async texts(name: string): Promise<readonly string[]> {
    const answer = await this.#ask(name, 'TXT');
    return answer.kind === 'records'
      ? answer.records.flatMap((record) => (record.type === 'TXT' ? [record.strings.join('')] : []))
      : [];
  }

  /** As node:dns answers: its codes say what is only temporary. */
  readonly asNode: DNSResolver = async (name, type) => {
    let answer: Answer;
    try {
      answer = await this.#ask(name, type as RecordType);
    } catch (cause) {
      throw Object.assign(new Error('not known now', { cause }), { code: 'ETIMEOUT' });
    }
    if (answer.kind === 'records') return answer.records.map(asNode) as string[];
    throw Object.assign(new Error('none'), { code: answer.kind === 'no-name' ? 'ENOTFOUND' : 'ENODATA' });
  };

  async #ask(name: string, type: RecordType): Promise<Answer> {
    this.#count += 1;
    if (this.#count > MAX_LOOKUPS_COUNT) {
      const detail = 'a message needs too many lookups';
      throw new ServerError('limit-exceeded', { clientText: 'Too many names to look up', detail });
    }
    return this.#resolver.resolve(name, type, this.#signal);
  }
}

function asNode(record: DnsRecord): unknown {
  switch (record.type) {
    case 'A':
    case 'AAAA':
      return record.address;
    case 'MX':
      return { priority: record.preference, exchange: record.exchange };
    case 'TXT':
      return record.strings;
    case 'PTR':
    case 'CNAME':
    case 'NS':
      return record.host;
    case 'SRV':
    case 'TLSA':
      return record;
  }
}
