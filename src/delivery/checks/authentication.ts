/**
 * Who a message is from, as far as SPF, DKIM, ARC and DMARC tell: checked while it streams in.
 *
 * AU1  Nothing but `pass` counts as authenticated: not "no failure", not "no answer".
 * AU2  What cannot be found out in time is `temperror`, and does not lead to a refusal. Only what would have made the
 *      message pass counts as not found out: a sender's own slow or broken name servers do not help a forger. Hence the
 *      author's policy is looked up with a budget of its own.
 * AU3  A message without one clear author fails DMARC, whatever else passes (author.ts).
 * AU4  The body is hashed as it passes, and not kept.
 *
 * Called by incoming.ts.
 */
import { createHash } from 'node:crypto';
import type { Resolver } from '../../dns/resolver.ts';
import { RelaxedBody, SimpleBody } from '../../mime/dkim.ts';
import { authorOf, type Author } from './author.ts';
import { type ArcChain, readChain, verifyArc } from './arc.ts';
import { dkimSignatures, type DkimResult, type ReadSignatures, verifyDkim } from './dkim.ts';
import { Lookups } from './lookups.ts';
import type { MethodResult } from './results-field.ts';
import { checkDmarc, checkSpf, type DmarcResult, type MailPeer, type SpfResult } from './sender-policy.ts';
import { type BodyDigest, type Canonicalization, type SignedHeader, SigningKeys } from './signature.ts';

type AuthenticationDeps = Readonly<{
  resolver: Pick<Resolver, 'resolve'>;
  timeLimitMs: number;
  nowMs(): number;
}>;
/** `policy`: what is asked for a message that fails; that of an unclear author is ours. */
export type Authentication = Readonly<{
  dmarc: DmarcResult['result'];
  policy: DmarcResult['policy'];
  results: readonly MethodResult[];
}>;
type Verified = Readonly<{
  author: Author;
  header: SignedHeader;
  signatures: ReadSignatures;
  chain: ArcChain | 'none' | 'fail';
}>;

export class MessageAuthentication {
  readonly #deps: AuthenticationDeps;
  readonly #abort = new AbortController();
  readonly #policyAbort = new AbortController();
  readonly #lookups: Lookups;
  readonly #policyLookups: Lookups;
  readonly #keys: SigningKeys;
  readonly #spf: Promise<SpfResult>;
  readonly #bodies = new Map<Canonicalization, BodyHash>();
  #verified: Verified | null = null;

  /** Begins with what the envelope tells. */
  constructor(deps: AuthenticationDeps, peer: MailPeer) {
    this.#deps = deps;
    this.#lookups = new Lookups(deps.resolver, this.#abort.signal);
    this.#policyLookups = new Lookups(deps.resolver, this.#policyAbort.signal);
    this.#keys = new SigningKeys(this.#lookups);
    this.#spf = checkSpf(peer, this.#lookups, deps.timeLimitMs);
  }

  /** The header is complete: from here on the body is pushed. */
  startBody(header: SignedHeader): void {
    const signatures = dkimSignatures(header);
    const chain = readChain(header);
    const all = [...signatures.good, ...(typeof chain === 'string' ? [] : [chain.newest])];
    for (const signature of all) {
      this.#keys.prefetch(signature);
      if (!this.#bodies.has(signature.bodyForm)) this.#bodies.set(signature.bodyForm, new BodyHash(signature.bodyForm));
    }
    this.#verified = { author: authorOf(header.block, header.fields), header, signatures, chain };
  }

  push(body: Uint8Array): void {
    for (const hash of this.#bodies.values()) hash.push(body);
  }

  /** The message is complete. Does not throw. */
  async end(): Promise<Authentication> {
    const verified = this.#verified;
    if (!verified) throw new TypeError('a message without a header was ended');
    const { timeLimitMs } = this.#deps;
    const timers = [
      setTimeout(() => {
        this.#abort.abort(new Error('time limit'));
      }, timeLimitMs * IDENTITIES_SHARE),
      setTimeout(() => {
        this.#policyAbort.abort(new Error('time limit'));
      }, timeLimitMs),
    ];
    try {
      return await this.#evaluate(verified);
    } finally {
      for (const timer of timers) clearTimeout(timer);
      this.discard();
    }
  }

  /** Gives the checks up. */
  discard(): void {
    this.#abort.abort(new Error('not needed any more'));
    this.#policyAbort.abort(new Error('not needed any more'));
  }

  async #evaluate({ author, header, signatures, chain }: Verified): Promise<Authentication> {
    const bodies = new Map([...this.#bodies].map(([form, hash]): [Canonicalization, BodyDigest] => [form, hash.end()]));
    const at = { bodies, keys: this.#keys, nowMs: this.#deps.nowMs() };
    const [spf, dkim, arc] = await Promise.all([
      this.#spf,
      verifyDkim(header, signatures, at),
      verifyArc(header, chain, at),
    ]);
    const dmarc = await this.#dmarc(author, spf, dkim);
    const results: MethodResult[] = [
      { method: 'spf', result: spf.result, properties: { [`smtp.${spf.identity}`]: spf.domain } },
      ...(dkim.length > 0 ? dkim : NOT_SIGNED).map(({ result, reason, domain, selector, algorithm }) => ({
        method: 'dkim' as const,
        result,
        reason,
        properties: { 'header.d': domain, 'header.s': selector, 'header.a': algorithm && `${algorithm}-sha256` },
      })),
      ...(arc.result === 'none'
        ? []
        : [{ method: 'arc' as const, result: arc.result, properties: { 'header.d': arc.sealer } }]),
      {
        method: 'dmarc',
        result: dmarc.result,
        reason: dmarc.reason ?? null,
        properties: { 'header.from': author.kind === 'known' ? author.domain : null },
      },
    ];
    return { dmarc: dmarc.result, policy: dmarc.policy, results };
  }

  async #dmarc(author: Author, spf: SpfResult, dkim: readonly DkimResult[]): Promise<JudgedAuthor> {
    if (author.kind !== 'known') {
      return {
        result: 'fail',
        policy: author.kind === 'unclear' ? 'quarantine' : 'reject',
        reason: NO_AUTHOR[author.kind],
      };
    }
    const judged = (accepted: readonly string[]): Promise<DmarcResult> => {
      const isAccepted = ({ result }: Readonly<{ result: string }>): boolean => accepted.includes(result);
      const domains = dkim.flatMap((one) => (one.domain !== null && isAccepted(one) ? [one.domain] : []));
      return checkDmarc(
        author.domain,
        { spf: isAccepted(spf) ? spf.domain : null, dkim: domains },
        this.#policyLookups,
      );
    };
    const found = await judged(['pass']);
    if (found.result !== 'fail') return found;
    return (await judged(['pass', 'temperror'])).result === 'fail' ? found : { ...found, result: 'temperror' }; // AU2
  }
}

type JudgedAuthor = DmarcResult & Readonly<{ reason?: string }>;
/** Of the time limit, for what says who sent a message; the rest is for what the author's domain asks for. */
const IDENTITIES_SHARE = 0.75;

const NO_AUTHOR = {
  missing: 'no From field',
  repeated: 'several From fields',
  unclear: 'no clear author',
} as const;
const NOT_SIGNED = [{ result: 'none', reason: null, domain: null, selector: null, algorithm: null }] as const;

/** One form of the body, hashed and counted. */
class BodyHash {
  readonly #hash = createHash('sha256');
  readonly #body: SimpleBody | RelaxedBody;
  #sizeBytes = 0;

  constructor(form: Canonicalization) {
    const take = (bytes: Uint8Array): void => {
      this.#hash.update(bytes);
      this.#sizeBytes += bytes.length;
    };
    this.#body = form === 'simple' ? new SimpleBody(take) : new RelaxedBody(take);
  }

  push(bytes: Uint8Array): void {
    this.#body.push(bytes);
  }

  end(): BodyDigest {
    this.#body.end();
    return { digest: this.#hash.digest(), sizeBytes: this.#sizeBytes };
  }
}
