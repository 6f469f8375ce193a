/**
 * Whether the chain of ARC sets on a message is whole: who handled it on its way, and found what. RFC 8617 §5.2.
 *
 * AR1  The chain is whole or it is not: every set is complete, every seal and the newest message signature are good.
 * AR2  At most 50 sets (RFC 8617 §4.2.1), of `MAX_CHAIN_CHARS` in all.
 *
 * Called by authentication.ts.
 */
import { parseTags, withoutSignature } from '../../mime/dkim.ts';
import type { HeaderField } from '../../mime/headers.ts';
import { readSignature, verifySignature, verifyText } from './signature.ts';
import type { BodyDigest, Canonicalization, Signature, SignedHeader, SigningKeys } from './signature.ts';

/** `sealer`: the domain of the newest seal. */
type ArcResult = Readonly<{ result: 'none' | 'pass' | 'fail' | 'temperror'; sealer: string | null }>;
type ArcSet = Readonly<{ results: HeaderField; message: HeaderField; seal: HeaderField }>;
/** `newest` is what the body is hashed for. */
export type ArcChain = Readonly<{ sets: readonly ArcSet[]; newest: Signature }>;

const MAX_SETS_COUNT = 50;
const MAX_CHAIN_CHARS = 256 * 1024;
const NAMES = ['arc-authentication-results', 'arc-message-signature', 'arc-seal'] as const;

/** The sets in order; 'none' where there are none, 'fail' where they are no chain. RFC 8617 §5.2 steps 1 to 3. */
export function readChain(header: SignedHeader): ArcChain | 'none' | 'fail' {
  const fields = header.fields.filter(({ name }) => (NAMES as readonly string[]).includes(name));
  if (fields.length === 0) return 'none';
  const count = fields.length / NAMES.length;
  const chars = fields.reduce((sum, { start, end }) => sum + end - start, 0);
  if (!Number.isInteger(count) || count > MAX_SETS_COUNT || chars > MAX_CHAIN_CHARS) return 'fail';
  const [results, messages, seals] = NAMES.map((name) => byInstance(header, fields, name));
  const sets: ArcSet[] = [];
  for (let instance = 1; instance <= count; instance += 1) {
    const set = {
      results: results?.get(instance),
      message: messages?.get(instance),
      seal: seals?.get(instance),
    };
    if (!isWhole(set)) return 'fail';
    if (sealedStatus(header, set.seal) !== (instance === 1 ? 'none' : 'pass')) return 'fail';
    sets.push(set);
  }
  const last = sets.at(-1);
  const newest = last && readSignature(header, last.message, 'arc-message');
  return newest && !('result' in newest) ? { sets, newest } : 'fail';
}

/** Does not throw. RFC 8617 §5.2 steps 4 to 6. */
export async function verifyArc(
  header: SignedHeader,
  chain: ArcChain | 'none' | 'fail',
  at: Readonly<{ bodies: ReadonlyMap<Canonicalization, BodyDigest>; keys: SigningKeys; nowMs: number }>,
): Promise<ArcResult> {
  if (chain === 'none' || chain === 'fail') return { result: chain, sealer: null };
  const body = at.bodies.get(chain.newest.bodyForm);
  if (!body) return { result: 'fail', sealer: null };
  const message = await verifySignature(header, chain.newest, { ...at, body });
  if (message.result !== 'pass') return { result: message.result === 'temperror' ? 'temperror' : 'fail', sealer: null };
  const seals = chain.sets.map(({ seal }) => readSignature(header, seal, 'arc-seal'));
  for (const seal of seals) if (!('result' in seal)) at.keys.prefetch(seal);
  let [before, sealer] = ['', ''];
  for (const [index, set] of chain.sets.entries()) {
    const seal = seals[index];
    if (!seal || 'result' in seal) return { result: 'fail', sealer: null };
    const text = (field: HeaderField): string => header.text(field, 'relaxed');
    before += `${text(set.results)}\r\n${text(set.message)}\r\n`;
    const outcome = await verifyText(before + withoutSignature(text(set.seal)), seal, at.keys);
    if (outcome.result !== 'pass')
      return { result: outcome.result === 'temperror' ? 'temperror' : 'fail', sealer: null };
    before += `${text(set.seal)}\r\n`;
    sealer = seal.domain;
  }
  return { result: 'pass', sealer };
}

/** Instances that occur twice are left out: their sets are not whole. */
function byInstance(header: SignedHeader, fields: readonly HeaderField[], name: string): Map<number, HeaderField> {
  const found = new Map<number, HeaderField>();
  const repeated = new Set<number>();
  for (const field of fields.filter((one) => one.name === name)) {
    const value = header.block.slice(field.valueStart, field.end);
    const written =
      name === NAMES[0]
        ? /^[ \t\r\n]*i[ \t]*=[ \t]*([0-9]{1,2})[ \t\r\n]*;/.exec(value)?.[1]
        : parseTags(value)?.get('i');
    const instance = /^[0-9]{1,2}$/.test(written ?? '') ? Number(written) : 0;
    if (found.has(instance)) repeated.add(instance);
    found.set(instance, field);
  }
  for (const instance of repeated) found.delete(instance);
  return found;
}

function isWhole(set: Readonly<Record<keyof ArcSet, HeaderField | undefined>>): set is ArcSet {
  return set.results !== undefined && set.message !== undefined && set.seal !== undefined;
}

function sealedStatus({ block }: SignedHeader, { valueStart, end }: HeaderField): string {
  return (parseTags(block.slice(valueStart, end))?.get('cv') ?? '').toLowerCase();
}
